// Which camera, microphone and speaker. Shows only what there is to choose from.

import { For, Show, type JSX } from "solid-js";
import type { DeviceChoice, DeviceKind, LocalMedia, LocalState } from "../media/local";

export function DevicePicker(props: { local: LocalMedia; state: LocalState }): JSX.Element {
  return (
    <div class="device-picker">
      <Choice
        what="camera"
        label="Camera"
        devices={props.state.cameras}
        now={props.state.camera.track?.getSettings().deviceId ?? props.state.chosen.camera}
        local={props.local}
      />
      <Choice
        what="microphone"
        label="Microphone"
        devices={props.state.microphones}
        now={props.state.microphone.track?.getSettings().deviceId ?? props.state.chosen.microphone}
        local={props.local}
      />
      <Choice
        what="speaker"
        label="Speaker"
        devices={props.state.speakers}
        now={props.state.chosen.speaker}
        local={props.local}
      />
    </div>
  );
}

function Choice(props: {
  what: DeviceKind | "speaker";
  label: string;
  devices: readonly DeviceChoice[];
  now: string | undefined;
  local: LocalMedia;
}): JSX.Element {
  return (
    <Show when={props.devices.length > 0}>
      <label class="field">
        <span>{props.label}</span>
        <select
          data-testid={`choose-${props.what}`}
          onChange={(event) => void props.local.choose(props.what, event.currentTarget.value)}
        >
          <For each={props.devices}>
            {(device) => (
              <option value={device.id} selected={device.id === props.now}>
                {device.label}
              </option>
            )}
          </For>
        </select>
      </label>
    </Show>
  );
}
