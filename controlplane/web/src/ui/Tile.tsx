// One person in the grid: picture or initials, name, and whether they are heard.

import { createEffect, createMemo, createSignal, onCleanup, onMount, Show, type JSX } from "solid-js";
import type { LocalState } from "../media/local";
import type { Layer } from "../protocol";
import type { Meeting } from "../room/meeting";
import { isMuted, isPaused, participant, slotOf, slotReason } from "../room/selectors";
import type { RoomState } from "../room/store";
import { PRIORITY } from "../room/subscriptions";
import { CameraOffIcon, MicOffIcon, PinIcon, SlowIcon } from "./Icons";
import { Video } from "./Video";
import { watchView, type PictureSize } from "./view";
import { hueOf, initials } from "./words";

const TOO_SLOW = "Connection too slow for this video";

export function OtherTile(props: {
  identity: string;
  room: RoomState;
  generation: number;
  meeting: Meeting;
  pinned: boolean;
  onPin: () => void;
}): JSX.Element {
  const name = createMemo(() => participant(props.room, props.identity)?.name ?? props.identity);
  const mutedAudio = createMemo(() => isMuted(props.room, props.identity, "microphone"));
  const mutedVideo = createMemo(() => isMuted(props.room, props.identity, "camera"));
  const speaking = createMemo(() => props.room.speaking.includes(props.identity));
  const mid = createMemo(() => slotOf(props.room, props.identity, "camera"));
  const paused = createMemo(() => isPaused(props.room, props.identity, "camera"));
  const unplayable = createMemo(() => slotReason(props.room, props.identity, "camera") === "codec");
  const layer = createMemo(() => {
    const slot = mid();
    return slot === undefined ? undefined : props.room.slots[slot]?.layer;
  });
  let element: HTMLElement | undefined;
  onMount(() => {
    if (!element) return;
    const { meeting, identity } = props;
    // Null before the first look: a tile that was never measured is not out of sight.
    const [picture, setPicture] = createSignal<PictureSize | undefined | null>(null);
    const stop = watchView(element, setPicture);
    createEffect(() => {
      const [shown, priority] = [picture(), props.pinned ? PRIORITY.pinned : PRIORITY.tile];
      if (shown !== null) meeting.see(identity, "camera", shown && { ...shown, priority });
    });
    onCleanup(() => {
      stop();
      meeting.unsee(identity, "camera");
    });
  });
  const stream = createMemo(() => {
    const slot = mid();
    // Read for its dependency: after a rebuild the same mid means another stream.
    void props.generation;
    return slot === undefined ? undefined : props.meeting.stream(slot);
  });
  return (
    <Tile
      identity={props.identity}
      name={name()}
      self={false}
      mutedAudio={mutedAudio()}
      mutedVideo={mutedVideo()}
      speaking={speaking()}
      stream={stream()}
      note={unplayable() ? "This browser can't play the camera's codec" : undefined}
      paused={paused()}
      layer={layer()}
      pin={{ on: props.pinned, toggle: props.onPin }}
      onElement={(created) => (element = created)}
    />
  );
}

export function OwnTile(props: { room: RoomState; devices: LocalState }): JSX.Element {
  const track = createMemo(() => props.devices.camera.track);
  const stream = createMemo(() => {
    const camera = track();
    return camera && new MediaStream([camera]);
  });
  const identity = createMemo(() => props.room.identity ?? "");
  const mutedAudio = createMemo(() => !props.devices.microphone.on || props.devices.microphone.track === undefined);
  return (
    <Tile
      identity={identity()}
      name={props.room.name}
      self={true}
      mutedAudio={mutedAudio()}
      mutedVideo={track() === undefined}
      speaking={!mutedAudio() && props.room.speaking.includes(identity())}
      stream={stream()}
      note={undefined}
      paused={false}
      layer={undefined}
    />
  );
}

function Tile(props: {
  identity: string;
  name: string;
  self: boolean;
  mutedAudio: boolean;
  mutedVideo: boolean;
  speaking: boolean;
  stream: MediaStream | undefined;
  note: string | undefined;
  /** Held back by the server because the path here is too narrow. */
  paused: boolean;
  layer: Layer | undefined;
  pin?: { readonly on: boolean; readonly toggle: () => void };
  onElement?: (element: HTMLElement) => void;
}): JSX.Element {
  let avatar: HTMLElement | undefined;
  createEffect(() => avatar?.style.setProperty("--hue", String(hueOf(props.identity || props.name))));
  const picture = (): boolean => props.stream !== undefined && !props.mutedVideo;
  const slow = (): boolean => picture() && props.paused;
  return (
    <article
      class="tile"
      classList={{
        "tile-speaking": props.speaking,
        "tile-picture": picture(),
        "tile-slow": slow(),
        "tile-pinned": props.pin?.on === true,
      }}
      ref={(created) => props.onElement?.(created)}
      data-testid="tile"
      data-identity={props.identity}
      data-name={props.name}
      data-self={String(props.self)}
      data-muted-audio={String(props.mutedAudio)}
      data-muted-video={String(props.mutedVideo)}
      data-speaking={String(props.speaking)}
      data-paused={String(slow())}
      data-layer={props.layer}
      aria-label={`${props.name}${props.self ? " (you)" : ""}${props.mutedAudio ? ", microphone off" : ""}${props.mutedVideo ? ", camera off" : ""}${slow() ? ", video paused" : ""}`}
    >
      <span
        class="avatar"
        aria-hidden="true"
        ref={(created) => (avatar = created)}
      >
        {initials(props.name)}
      </span>
      <Video stream={props.stream} mirrored={props.self} label={props.self ? "Your picture" : `Picture of ${props.name}`} />
      <div class="tile-label">
        <Show when={props.mutedAudio}>
          <span class="tile-muted" title="Microphone off">
            <MicOffIcon />
          </span>
        </Show>
        <Show when={!props.mutedAudio}>
          <span class="tile-voice" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        </Show>
        <span class="tile-name">{props.name}</span>
        <Show when={props.self}>
          <span class="tile-self">You</span>
        </Show>
        <Show when={props.mutedVideo && !props.mutedAudio}>
          <span class="tile-camera-off" title="Camera off">
            <CameraOffIcon />
          </span>
        </Show>
      </div>
      <Show when={slow()}>
        <p class="tile-wait" data-testid="tile-slow" title={TOO_SLOW}>
          <SlowIcon />
          <span>{TOO_SLOW}</span>
        </p>
      </Show>
      <Show when={props.note}>
        <p class="tile-note">{props.note}</p>
      </Show>
      <Show when={props.pin}>
        {(pin) => (
          <button
            type="button"
            class="tile-pin"
            data-testid="pin"
            aria-pressed={pin().on}
            aria-label={pin().on ? `Show ${props.name} as large as the others` : `Show ${props.name} large`}
            title={pin().on ? "Unpin" : "Pin"}
            onClick={() => pin().toggle()}
          >
            <PinIcon />
          </button>
        )}
      </Show>
    </article>
  );
}
