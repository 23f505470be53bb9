// What is not needed every minute, behind one button of the toolbar: a menu as the ARIA practices
// describe it, with arrow keys, Escape, and the focus back where it came from.

import { createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";
import { MoreIcon } from "./Icons";

export interface MenuEntry {
  readonly id: string;
  readonly words: string;
  readonly icon: () => JSX.Element;
  /** A single key that does the same. */
  readonly shortcut?: string;
  /** For what can be on or off. */
  readonly checked?: boolean;
  readonly run: () => void;
}

export function MoreMenu(props: { entries: readonly MenuEntry[] }): JSX.Element {
  const [open, setOpen] = createSignal(false);
  let button: HTMLButtonElement | undefined;
  let menu: HTMLDivElement | undefined;

  const items = (): HTMLElement[] => [...(menu?.querySelectorAll<HTMLElement>("[data-entry]") ?? [])];
  const show = (): void => {
    setOpen(true);
    items()[0]?.focus();
  };
  const close = (): void => {
    setOpen(false);
    button?.focus();
  };
  const move = (event: KeyboardEvent): void => {
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next !== undefined) all[(next + all.length) % all.length]?.focus();
    else if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false);
    else return;
    if (event.key !== "Tab") event.preventDefault();
  };
  const outside = (event: PointerEvent): void => {
    const { target } = event;
    if (open() && target instanceof Node && !menu?.contains(target) && !button?.contains(target)) setOpen(false);
  };
  onMount(() => document.addEventListener("pointerdown", outside));
  onCleanup(() => document.removeEventListener("pointerdown", outside));

  return (
    <div class="more">
      <button
        type="button"
        class="tool"
        classList={{ "tool-active": open() }}
        ref={(created) => (button = created)}
        data-testid="more"
        aria-haspopup="menu"
        aria-expanded={open()}
        aria-label="More"
        title="More"
        onClick={() => (open() ? close() : show())}
      >
        <MoreIcon />
        <span class="tool-word">More</span>
      </button>
      <Show when={open()}>
        <div class="menu" role="menu" aria-label="More" ref={(created) => (menu = created)} onKeyDown={move}>
          <For each={props.entries}>
            {(entry) => (
              <button
                type="button"
                class="menu-entry"
                tabindex={-1}
                data-entry
                data-testid={entry.id}
                role={entry.checked === undefined ? "menuitem" : "menuitemcheckbox"}
                aria-checked={entry.checked}
                aria-keyshortcuts={entry.shortcut}
                onClick={() => {
                  close();
                  entry.run();
                }}
              >
                {entry.icon()}
                <span>{entry.words}</span>
                <Show when={entry.shortcut}>
                  <kbd aria-hidden="true">{entry.shortcut?.toUpperCase()}</kbd>
                </Show>
              </button>
            )}
          </For>
        </div>
      </Show>
    </div>
  );
}
