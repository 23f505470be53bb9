// Shown in the second place of the grid while one is alone.

import type { JSX } from "solid-js";
import { CheckIcon, LinkIcon } from "./Icons";

export function Invite(props: { link: string; copied: boolean; onCopy: () => void }): JSX.Element {
  return (
    <section class="tile invite" data-testid="invite" aria-label="Invite others">
      <h2>Nobody else is here yet</h2>
      <p>Send this link to whoever you want to talk with.</p>
      <code>{props.link}</code>
      <button type="button" class="button button-primary" onClick={() => props.onCopy()}>
        {props.copied ? <CheckIcon /> : <LinkIcon />}
        {props.copied ? "Copied" : "Copy link"}
      </button>
    </section>
  );
}
