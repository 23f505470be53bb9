// The one line above the pictures that says what is wrong right now, worst first.

import { createMemo, Show, type JSX } from "solid-js";
import type { DeviceKind, LocalState } from "../media/local";
import type { MeetingState } from "../room/meeting";
import { problemLine } from "./words";

interface BannerState {
  readonly state: string;
  readonly text: string;
  readonly tone: "calm" | "warn";
  readonly action?: { readonly label: string; readonly run: () => void };
}

/** After this many failed attempts in a row the server counts as away. */
const AWAY_AFTER = 3;

export function Banner(props: {
  state: MeetingState;
  soundBlocked: boolean;
  devices: LocalState;
  /** Devices that worked here or were asked for here: their failure is news. */
  expected: ReadonlySet<DeviceKind>;
  /** Who silenced the own microphone, until that was read. */
  mutedBy: string | undefined;
  onMutedRead: () => void;
  /** Why sharing the screen failed. */
  shareProblem: string | undefined;
  onDismiss: (kind: DeviceKind) => void;
  onSound: () => void;
  onRetry: () => void;
}): JSX.Element {
  const banner = createMemo((): BannerState | undefined => {
    const { connection, media, restarting, mediaProblem, crowded } = props.state;
    if (connection.name === "waiting" || (connection.name === "connecting" && connection.before)) {
      const action = { label: "Try now", run: props.onRetry };
      if (!connection.before) {
        return { state: "server_away", tone: "warn", text: "The server does not answer. Trying again…", action };
      }
      return connection.attempt >= AWAY_AFTER
        ? {
            state: "server_away",
            tone: "warn",
            text:
              media === "connected"
                ? "The server does not answer. Sound and picture go on; chat comes back with it."
                : "The server does not answer. Trying again…",
            action,
          }
        : {
            state: "reconnecting",
            tone: "warn",
            text: media === "connected" ? "Reconnecting… Sound and picture go on." : "Reconnecting…",
          };
    }
    if (connection.name === "connecting") {
      return { state: "connecting", tone: "calm", text: "Connecting…" };
    }
    if (connection.name === "lobby") {
      return { state: "lobby", tone: "calm", text: `Waiting to be let in to “${connection.roomName}”…` };
    }
    if (restarting) return { state: "media_restarted", tone: "warn", text: "The media server restarted. Sound and picture are coming back…" };
    if (mediaProblem !== undefined) {
      return { state: "media_refused", tone: "warn", text: `The server could not take this browser's media: ${mediaProblem}` };
    }
    if (crowded && media !== "connected") {
      return {
        state: "server_full",
        tone: "warn",
        text: "The server is full at the moment. Stay here: sound and picture start by themselves as soon as there is room. Chat works.",
      };
    }
    switch (media) {
      case "interrupted":
        return { state: "media_interrupted", tone: "warn", text: "Your connection is interrupted. Waiting for it to come back…" };
      case "failed":
        return {
          state: "media_failed",
          tone: "warn",
          text: "Sound and picture don't get through. A firewall may block UDP on this network. Trying again…",
        };
      case "connecting":
        return { state: "connecting", tone: "calm", text: "Connecting sound and picture…" };
      case "connected":
        break;
    }
    if (props.soundBlocked) {
      return {
        state: "autoplay_blocked",
        tone: "warn",
        text: "Your browser holds the sound back.",
        action: { label: "Turn sound on", run: props.onSound },
      };
    }
    if (props.mutedBy !== undefined) {
      return {
        state: "muted_by",
        tone: "warn",
        text: `${props.mutedBy} muted your microphone. Unmute when you want to speak.`,
        action: { label: "OK", run: props.onMutedRead },
      };
    }
    if (props.shareProblem !== undefined) {
      return { state: "share_problem", tone: "warn", text: `Your screen can't be shared: ${props.shareProblem}` };
    }
    for (const kind of ["camera", "microphone"] as const) {
      const { on, problem, track } = props.devices[kind];
      if (on && problem !== undefined && !track && props.expected.has(kind)) {
        return {
          state: `${kind}_problem`,
          tone: "warn",
          text: problemLine(problem, kind),
          action: { label: "OK", run: () => props.onDismiss(kind) },
        };
      }
    }
    return undefined;
  });

  return (
    <div class="banner-place" aria-live="polite">
      <Show when={banner()}>
        {(shown) => (
          <div class="banner" classList={{ "banner-warn": shown().tone === "warn" }} data-testid="banner" data-state={shown().state}>
            <span class="banner-dot" aria-hidden="true" />
            <span>{shown().text}</span>
            <Show when={shown().action}>
              {(action) => (
                <button type="button" class="button button-small" data-testid="banner-action" onClick={() => action().run()}>
                  {action().label}
                </button>
              )}
            </Show>
          </div>
        )}
      </Show>
    </div>
  );
}
