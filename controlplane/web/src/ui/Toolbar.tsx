// What one does during a meeting.

import { Show, type JSX } from "solid-js";
import type { LocalState } from "../media/local";
import { CameraIcon, CameraOffIcon, ChatIcon, LeaveIcon, MicIcon, MicOffIcon, SettingsIcon, ShareIcon, StatisticsIcon, StopShareIcon } from "./Icons";
import { MoreMenu } from "./MoreMenu";

export function Toolbar(props: {
  devices: LocalState;
  /** Absent where nothing can be shared. */
  share: { readonly on: boolean; readonly busy: boolean; readonly toggle: () => void } | undefined;
  chatOpen: boolean;
  unread: number;
  statisticsOpen: boolean;
  onMicrophone: () => void;
  onCamera: () => void;
  onChat: () => void;
  onDevices: () => void;
  onStatistics: () => void;
  onLeave: () => void;
}): JSX.Element {
  const microphone = (): boolean => props.devices.microphone.on && props.devices.microphone.track !== undefined;
  const camera = (): boolean => props.devices.camera.track !== undefined;
  return (
    <footer class="toolbar" aria-label="Meeting controls">
      <button
        type="button"
        class="tool"
        classList={{ "tool-off": !microphone() }}
        data-testid="mute-mic"
        aria-label={microphone() ? "Mute microphone" : "Unmute microphone"}
        aria-keyshortcuts="m"
        title={microphone() ? "Mute microphone (M)" : "Unmute microphone (M)"}
        onClick={() => props.onMicrophone()}
      >
        {microphone() ? <MicIcon /> : <MicOffIcon />}
        <span class="tool-word">{microphone() ? "Mute" : "Unmute"}</span>
      </button>
      <button
        type="button"
        class="tool"
        classList={{ "tool-off": !camera() }}
        data-testid="mute-camera"
        aria-busy={props.devices.camera.busy}
        aria-label={camera() ? "Stop video" : "Start video"}
        aria-keyshortcuts="v"
        title={camera() ? "Stop video (V)" : "Start video (V)"}
        onClick={() => props.onCamera()}
      >
        {camera() ? <CameraIcon /> : <CameraOffIcon />}
        <span class="tool-word">{camera() ? "Stop video" : "Start video"}</span>
      </button>
      <Show when={props.share}>
        {(share) => (
          <button
            type="button"
            class="tool"
            classList={{ "tool-active": share().on }}
            data-testid="share-screen"
            aria-pressed={share().on}
            aria-busy={share().busy}
            aria-label={share().on ? "Stop sharing your screen" : "Share your screen"}
            aria-keyshortcuts="s"
            title={share().on ? "Stop sharing (S)" : "Share your screen (S)"}
            onClick={() => share().toggle()}
          >
            {share().on ? <StopShareIcon /> : <ShareIcon />}
            <span class="tool-word">{share().on ? "Stop sharing" : "Share"}</span>
          </button>
        )}
      </Show>
      <button
        type="button"
        class="tool"
        classList={{ "tool-active": props.chatOpen }}
        data-testid="open-chat"
        aria-expanded={props.chatOpen}
        aria-label={props.unread > 0 ? `Chat, ${props.unread} unread` : "Chat"}
        aria-keyshortcuts="c"
        title="Chat (C)"
        onClick={() => props.onChat()}
      >
        <span class="tool-icon">
          <ChatIcon />
          <Show when={props.unread > 0}>
            <span class="badge" data-testid="unread" aria-hidden="true">
              {props.unread > 99 ? "99+" : props.unread}
            </span>
          </Show>
        </span>
        <span class="tool-word">Chat</span>
      </button>
      <MoreMenu
        entries={[
          { id: "open-devices", words: "Devices", icon: SettingsIcon, run: () => props.onDevices() },
          {
            id: "open-statistics",
            words: "Connection statistics",
            icon: StatisticsIcon,
            shortcut: "i",
            checked: props.statisticsOpen,
            run: () => props.onStatistics(),
          },
        ]}
      />
      <button type="button" class="tool tool-leave" data-testid="leave" aria-label="Leave the meeting" title="Leave" onClick={() => props.onLeave()}>
        <LeaveIcon />
        <span class="tool-word">Leave</span>
      </button>
    </footer>
  );
}
