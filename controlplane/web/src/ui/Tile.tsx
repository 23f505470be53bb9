// One person in the grid: picture or initials, name, and whether they are heard; or what they share.

import { createEffect, createMemo, createSignal, onCleanup, onMount, Show, type JSX } from "solid-js";
import type { LocalState } from "../media/local";
import type { Layer } from "../protocol";
import type { Meeting } from "../room/meeting";
import { isMuted, isPaused, participant, slotOf, slotReason } from "../room/selectors";
import type { RoomState } from "../room/store";
import { PRIORITY } from "../room/subscriptions";
import { CameraOffIcon, MicOffIcon, PinIcon, ShareIcon, SlowIcon } from "./Icons";
import { Video } from "./Video";
import { watchView, type PictureSize } from "./view";
import { hueOf, initials } from "./words";

const TOO_SLOW = "Connection too slow for this video";

/** The camera or the screen of somebody else. */
export function OtherTile(props: {
  identity: string;
  source: "camera" | "screen";
  room: RoomState;
  generation: number;
  meeting: Meeting;
  pinned: boolean;
  onPin: () => void;
}): JSX.Element {
  const { source } = props;
  const screen = source === "screen";
  const name = createMemo(() => participant(props.room, props.identity)?.name ?? props.identity);
  const mutedAudio = createMemo(() => isMuted(props.room, props.identity, screen ? "screen_audio" : "microphone"));
  const mutedVideo = createMemo(() => isMuted(props.room, props.identity, source));
  const speaking = createMemo(() => !screen && props.room.speaking.includes(props.identity));
  const active = createMemo(() => !screen && props.room.spoken[0] === props.identity);
  const mayMute = createMemo(() => !screen && props.room.permissions?.admin === true && !mutedAudio());
  const mid = createMemo(() => slotOf(props.room, props.identity, source));
  const paused = createMemo(() => isPaused(props.room, props.identity, source));
  const unplayable = createMemo(() => slotReason(props.room, props.identity, source) === "codec");
  const priority = createMemo(() => {
    if (screen) return PRIORITY.screen;
    if (props.pinned) return PRIORITY.pinned;
    return active() ? PRIORITY.speaker : PRIORITY.tile;
  });
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
    const stop = watchView(element, screen, setPicture);
    createEffect(() => {
      const [shown, wanted] = [picture(), priority()];
      if (shown !== null) meeting.see(identity, source, shown && { ...shown, priority: wanted });
    });
    onCleanup(() => {
      stop();
      meeting.unsee(identity, source);
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
      screen={screen}
      mutedAudio={mutedAudio()}
      mutedVideo={mutedVideo()}
      speaking={speaking()}
      active={active()}
      stream={stream()}
      note={unplayable() ? "This browser can't play the codec of this video" : undefined}
      paused={paused()}
      layer={layer()}
      pin={{ on: props.pinned, toggle: props.onPin }}
      {...(mayMute() ? { onMute: () => void props.meeting.muteParticipant(props.identity, "audio").catch(() => undefined) } : {})}
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
      screen={false}
      mutedAudio={mutedAudio()}
      mutedVideo={track() === undefined}
      speaking={!mutedAudio() && props.room.speaking.includes(identity())}
      active={identity() !== "" && props.room.spoken[0] === identity()}
      stream={stream()}
      note={undefined}
      paused={false}
      layer={undefined}
    />
  );
}

/** What the person shares themselves: not its picture, which would show itself again and again. */
export function OwnScreenTile(props: { onStop: () => void }): JSX.Element {
  return (
    <article class="tile tile-sharing" data-testid="own-screen" aria-label="You share your screen">
      <ShareIcon />
      <p>You share your screen</p>
      <button type="button" class="button button-small" data-testid="stop-sharing" onClick={() => props.onStop()}>
        Stop sharing
      </button>
    </article>
  );
}

function Tile(props: {
  identity: string;
  name: string;
  self: boolean;
  /** It shows a shared screen, and no face. */
  screen: boolean;
  mutedAudio: boolean;
  mutedVideo: boolean;
  speaking: boolean;
  /** They are the one who speaks to the room, or spoke last. */
  active: boolean;
  stream: MediaStream | undefined;
  note: string | undefined;
  /** Held back by the server because the path here is too narrow, or the server has too much to do. */
  paused: boolean;
  layer: Layer | undefined;
  pin?: { readonly on: boolean; readonly toggle: () => void };
  /** For moderators. */
  onMute?: () => void;
  onElement?: (element: HTMLElement) => void;
}): JSX.Element {
  let avatar: HTMLElement | undefined;
  createEffect(() => avatar?.style.setProperty("--hue", String(hueOf(props.identity || props.name))));
  const picture = (): boolean => props.stream !== undefined && !props.mutedVideo;
  const slow = (): boolean => picture() && props.paused;
  const label = (): string => {
    if (props.screen) return `Screen of ${props.name}${slow() ? ", video paused" : ""}`;
    return `${props.name}${props.self ? " (you)" : ""}${props.mutedAudio ? ", microphone off" : ""}${props.mutedVideo ? ", camera off" : ""}${slow() ? ", video paused" : ""}`;
  };
  return (
    <article
      class="tile"
      classList={{
        "tile-speaking": props.speaking,
        "tile-active": props.active,
        "tile-screen": props.screen,
        "tile-picture": picture(),
        "tile-slow": slow(),
        "tile-pinned": props.pin?.on === true,
      }}
      ref={(created) => props.onElement?.(created)}
      data-testid={props.screen ? "screen-tile" : "tile"}
      data-identity={props.identity}
      data-name={props.name}
      data-self={String(props.self)}
      data-muted-audio={String(props.mutedAudio)}
      data-muted-video={String(props.mutedVideo)}
      data-speaking={String(props.speaking)}
      data-active-speaker={String(props.active)}
      data-paused={String(slow())}
      data-layer={props.layer}
      aria-label={label()}
    >
      <span
        class="avatar"
        aria-hidden="true"
        ref={(created) => (avatar = created)}
      >
        {initials(props.name)}
      </span>
      <Video
        stream={props.stream}
        mirrored={props.self}
        label={props.self ? "Your picture" : `${props.screen ? "Screen" : "Picture"} of ${props.name}`}
      />
      <div class="tile-label">
        <Show when={props.screen}>
          <ShareIcon />
        </Show>
        <Show when={props.mutedAudio && !props.screen}>
          <span class="tile-muted" title="Microphone off">
            <MicOffIcon />
          </span>
        </Show>
        <Show when={!props.mutedAudio && !props.screen}>
          <span class="tile-voice" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        </Show>
        <span class="tile-name">{props.screen ? `${props.name}’s screen` : props.name}</span>
        <Show when={props.self}>
          <span class="tile-self">You</span>
        </Show>
        <Show when={props.mutedVideo && !props.mutedAudio && !props.screen}>
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
      <Show when={props.onMute}>
        {(mute) => (
          <button
            type="button"
            class="tile-pin tile-mute"
            data-testid="mute-participant"
            aria-label={`Mute ${props.name}`}
            title="Mute for everybody"
            onClick={() => mute()()}
          >
            <MicOffIcon />
          </button>
        )}
      </Show>
    </article>
  );
}
