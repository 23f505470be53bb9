// Changing devices during the meeting.

import { onMount, type JSX } from "solid-js";
import type { LocalMedia, LocalState } from "../media/local";
import { DevicePicker } from "./DevicePicker";
import { CloseIcon } from "./Icons";

export function DeviceDialog(props: { local: LocalMedia; state: LocalState; onClose: () => void }): JSX.Element {
  let dialog: HTMLDialogElement | undefined;
  onMount(() => dialog?.showModal());
  const none = (): boolean =>
    props.state.cameras.length + props.state.microphones.length + props.state.speakers.length === 0;
  return (
    <dialog
      class="dialog"
      aria-label="Devices"
      ref={(created) => (dialog = created)}
      onClose={() => props.onClose()}
      onClick={(event) => {
        // A click on the backdrop has the dialog itself as its target.
        if (event.target === dialog) dialog?.close();
      }}
    >
      <div class="dialog-body">
        <header class="chat-header">
          <h2>Devices</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={() => dialog?.close()}>
            <CloseIcon />
          </button>
        </header>
        {none() ? <p>Your browser shows no devices to this page.</p> : <DevicePicker local={props.local} state={props.state} />}
      </div>
    </dialog>
  );
}
