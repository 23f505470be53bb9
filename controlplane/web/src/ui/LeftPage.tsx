// After leaving: the way back in.

import { onMount, type JSX } from "solid-js";
import { CheckIcon, Logo } from "./Icons";

export function LeftPage(props: { onRejoin: () => void; onHome: () => void }): JSX.Element {
  let heading: HTMLHeadingElement | undefined;
  onMount(() => {
    document.title = "You left · kall";
    heading?.focus();
  });
  return (
    <div class="page page-centred">
      <header class="page-header">
        <Logo />
      </header>
      <main class="card notice-card" data-testid="left-page">
        <span class="notice-symbol">
          <CheckIcon />
        </span>
        <h1 tabindex="-1" ref={heading}>
          You left the meeting
        </h1>
        <p>Your camera and microphone are off.</p>
        <div class="button-row">
          <button type="button" class="button button-primary" data-testid="rejoin" onClick={() => props.onRejoin()}>
            Join again
          </button>
          <button type="button" class="button" data-testid="home" onClick={() => props.onHome()}>
            To the start page
          </button>
        </div>
      </main>
    </div>
  );
}
