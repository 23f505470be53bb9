// A state with no meeting in it: what happened, and what to do now.

import { onMount, Show, type JSX } from "solid-js";
import { Logo, WarningIcon } from "./Icons";
import { errorWords } from "./words";

export function ErrorPage(props: {
  code: string;
  message: string;
  onHome: () => void;
  onAction?: (() => void) | undefined;
}): JSX.Element {
  const words = () => errorWords(props.code, props.message);
  let heading: HTMLHeadingElement | undefined;
  onMount(() => {
    document.title = `${words().title} · kall`;
    heading?.focus();
  });
  return (
    <div class="page page-centred">
      <header class="page-header">
        <Logo />
      </header>
      <main class="card notice-card" data-testid="error-page" data-code={props.code}>
        <span class="notice-symbol notice-symbol-warn">
          <WarningIcon />
        </span>
        <h1 tabindex="-1" ref={heading}>
          {words().title}
        </h1>
        <p>{words().text}</p>
        <div class="button-row">
          <Show when={props.onAction && words().action}>
            <button type="button" class="button button-primary" data-testid="error-action" onClick={() => props.onAction?.()}>
              {words().action}
            </button>
          </Show>
          <button type="button" class="button" data-testid="home" onClick={() => props.onHome()}>
            To the start page
          </button>
        </div>
      </main>
    </div>
  );
}
