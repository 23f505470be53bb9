// One person in the grid: picture or initials, name, and whether they are heard.

import { createEffect, createMemo, Show, type JSX } from "solid-js";
import type { LocalState } from "../media/local";
import type { Meeting } from "../room/meeting";
import { isMuted, participant, slotOf, slotReason } from "../room/selectors";
import type { RoomState } from "../room/store";
import { CameraOffIcon, MicOffIcon } from "./Icons";
import { Video } from "./Video";
import { hueOf, initials } from "./words";

export function OtherTile(props: {
  identity: string;
  room: RoomState;
  generation: number;
  meeting: Meeting;
}): JSX.Element {
  const name = createMemo(() => participant(props.room, props.identity)?.name ?? props.identity);
  const mutedAudio = createMemo(() => isMuted(props.room, props.identity, "microphone"));
  const mutedVideo = createMemo(() => isMuted(props.room, props.identity, "camera"));
  const speaking = createMemo(() => props.room.speaking.includes(props.identity));
  const mid = createMemo(() => slotOf(props.room, props.identity, "camera"));
  const unplayable = createMemo(() => slotReason(props.room, props.identity, "camera") === "codec");
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
}): JSX.Element {
  let avatar: HTMLElement | undefined;
  createEffect(() => avatar?.style.setProperty("--hue", String(hueOf(props.identity || props.name))));
  const picture = (): boolean => props.stream !== undefined && !props.mutedVideo;
  return (
    <article
      class="tile"
      classList={{ "tile-speaking": props.speaking, "tile-picture": picture() }}
      data-testid="tile"
      data-identity={props.identity}
      data-name={props.name}
      data-self={String(props.self)}
      data-muted-audio={String(props.mutedAudio)}
      data-muted-video={String(props.mutedVideo)}
      data-speaking={String(props.speaking)}
      aria-label={`${props.name}${props.self ? " (you)" : ""}${props.mutedAudio ? ", microphone off" : ""}${props.mutedVideo ? ", camera off" : ""}`}
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
      <Show when={props.note}>
        <p class="tile-note">{props.note}</p>
      </Show>
    </article>
  );
}
