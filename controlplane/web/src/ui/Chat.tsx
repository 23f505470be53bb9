// The chat: a panel beside the pictures, a drawer over them on a phone.

import { createEffect, createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";
import { LIMITS } from "../protocol";
import type { ChatEntry } from "../room/store";
import { ChatIcon, CloseIcon, SendIcon } from "./Icons";
import { linkify } from "./linkify";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
/** Messages of one person within this many seconds stand under one name. */
const GROUPED_WITHIN = 120;

export function Chat(props: {
  entries: readonly ChatEntry[];
  canSend: boolean;
  onSend: (text: string) => Promise<void>;
  onClose: () => void;
}): JSX.Element {
  const [text, setText] = createSignal("");
  const [problem, setProblem] = createSignal("");
  const [sending, setSending] = createSignal(false);
  let list: HTMLOListElement | undefined;
  let input: HTMLTextAreaElement | undefined;
  const before = document.activeElement;
  onMount(() => input?.focus());
  onCleanup(() => {
    if (before instanceof HTMLElement && before.isConnected) before.focus();
  });

  createEffect(() => {
    // Follow the newest, whatever its number.
    void props.entries.length;
    queueMicrotask(() => list?.scrollTo({ top: list.scrollHeight }));
  });

  const send = async (): Promise<void> => {
    const message = text().trim();
    if (message === "" || sending() || !props.canSend) return;
    setSending(true);
    setProblem("");
    try {
      await props.onSend(message);
      setText("");
    } catch (error) {
      // The text stays in the field: nothing is lost.
      setProblem(error instanceof Error && error.message !== "" ? error.message : "Not sent: the connection was lost. Try again.");
    } finally {
      setSending(false);
      input?.focus();
    }
  };

  const grouped = (index: number): boolean => {
    const entry = props.entries[index];
    const earlier = props.entries[index - 1];
    return (
      entry !== undefined &&
      earlier !== undefined &&
      earlier.from === entry.from &&
      entry.timestamp - earlier.timestamp < GROUPED_WITHIN
    );
  };

  return (
    <aside
      class="chat"
      aria-label="Chat"
      onKeyDown={(event) => {
        if (event.key === "Escape") props.onClose();
      }}
    >
      <header class="chat-header">
        <h2>Chat</h2>
        <button type="button" class="icon-button" data-testid="close-chat" aria-label="Close chat" onClick={() => props.onClose()}>
          <CloseIcon />
        </button>
      </header>
      <ol class="chat-list" ref={(created) => (list = created)} tabindex="0" aria-label="Messages">
        <For
          each={props.entries}
          fallback={
            <li class="chat-empty">
              <ChatIcon />
              <span>No messages yet. Everybody in the meeting sees what you write.</span>
            </li>
          }
        >
          {(entry, index) => (
            <li
              class="chat-entry"
              classList={{ "chat-own": entry.own, "chat-grouped": grouped(index()) }}
              data-testid="chat-message"
              data-from={entry.from}
            >
              <Show when={!grouped(index())}>
                <div class="chat-meta">
                  <span class="chat-name">{entry.own ? "You" : entry.name}</span>
                  <Show when={entry.private}>
                    <span class="chat-private">private</span>
                  </Show>
                  <time datetime={new Date(entry.timestamp * 1000).toISOString()}>{clock.format(entry.timestamp * 1000)}</time>
                </div>
              </Show>
              <p class="chat-text">
                <For each={linkify(entry.text)}>
                  {(piece) => (
                    <Show when={piece.href} fallback={piece.text}>
                      <a href={piece.href} target="_blank" rel="noopener noreferrer">
                        {piece.text}
                      </a>
                    </Show>
                  )}
                </For>
              </p>
            </li>
          )}
        </For>
      </ol>
      <Show when={problem() !== ""}>
        <p class="form-problem chat-problem" role="alert">
          {problem()}
        </p>
      </Show>
      <form
        class="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <textarea
          ref={(created) => (input = created)}
          data-testid="chat-input"
          rows="1"
          aria-label="Message to everybody"
          placeholder="Message to everybody"
          maxLength={LIMITS.chatText}
          value={text()}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            // Not while an input method composes a word.
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              void send();
            }
          }}
        />
        <button
          type="submit"
          class="icon-button icon-button-accent"
          data-testid="chat-send"
          aria-label="Send"
          disabled={!props.canSend || sending() || text().trim() === ""}
        >
          <SendIcon />
        </button>
      </form>
    </aside>
  );
}
