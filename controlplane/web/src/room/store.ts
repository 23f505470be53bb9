// The room as this client knows it: an event in, the next state out. Pure: no clock, no DOM, no
// network. Own devices and the state of the connection live elsewhere (room/meeting.ts).

import type { Kind, Layer, Participant, Permissions, Role, RoomInfo, ServerMessage, Source, Track } from "../protocol";

export interface TrackState {
  readonly id: string;
  readonly kind: Kind;
  readonly source: Source;
  readonly muted: boolean;
}

export interface ParticipantState {
  readonly identity: string;
  readonly name: string;
  readonly role: Role;
  readonly hand: boolean;
  readonly tracks: readonly TrackState[];
}

export interface SlotState {
  readonly epoch: number;
  readonly trackId: string | undefined;
  /** Why the server leaves it empty, e.g. `codec`. */
  readonly reason: string | undefined;
  /** The layer that is shown; none for a track with a single one. */
  readonly layer: Layer | undefined;
  /** Held back by the server: the path here is too narrow for the picture, or the server has too much to do. */
  readonly paused: boolean;
}

export interface ChatEntry {
  readonly id: string;
  readonly from: string;
  /** The sender's name when the message came: it may leave before the message is read. */
  readonly name: string;
  readonly text: string;
  readonly private: boolean;
  readonly own: boolean;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

export type Notice =
  | { readonly kind: "joined" | "left" | "shares"; readonly name: string }
  /** A moderator silenced an own track. */
  | { readonly kind: "muted"; readonly name: string; readonly track: string }
  | { readonly kind: "chat"; readonly name: string; readonly text: string };

export interface RoomState {
  readonly identity: string | undefined;
  readonly name: string;
  readonly role: Role | undefined;
  /** What the client may do; nothing before it is in. */
  readonly permissions: Permissions | undefined;
  readonly info: RoomInfo | undefined;
  /** Everybody else, in order of arrival. */
  readonly participants: readonly ParticipantState[];
  readonly ownTracks: readonly TrackState[];
  readonly slots: Readonly<Record<string, SlotState>>;
  readonly chat: readonly ChatEntry[];
  readonly chatOpen: boolean;
  readonly unread: number;
  /** Who is heard now, own identity included. */
  readonly speaking: readonly string[];
  /** Who spoke to the room, as the server tells: the newest first, so the first is the active speaker. */
  readonly spoken: readonly string[];
  /** Who silenced own tracks, by the name they were silenced by, until they are back. */
  readonly mutedBy: Readonly<Record<string, string>>;
  /** The newest thing worth saying aloud, with a number that rises so that repeats are told apart. */
  readonly notice: { readonly count: number; readonly what: Notice } | undefined;
}

export type RoomEvent =
  | { readonly type: "message"; readonly message: ServerMessage }
  | { readonly type: "speaking"; readonly identities: readonly string[] }
  | { readonly type: "chat_open"; readonly open: boolean }
  /** The peer connection was replaced: the slots of the old one are gone. */
  | { readonly type: "media_reset" };

/** More people than a page shows at once. */
const SPOKEN_KEPT = 50;

/** Older messages fall out of the panel; the server keeps its own history. */
const CHAT_KEPT = 500;

export function initialRoom(name: string): RoomState {
  return {
    identity: undefined,
    name,
    role: undefined,
    permissions: undefined,
    info: undefined,
    participants: [],
    ownTracks: [],
    slots: {},
    chat: [],
    chatOpen: false,
    unread: 0,
    speaking: [],
    spoken: [],
    mutedBy: {},
    notice: undefined,
  };
}

export function reduce(state: RoomState, event: RoomEvent): RoomState {
  switch (event.type) {
    case "message":
      return receive(state, event.message);
    case "speaking":
      return sameList(state.speaking, event.identities) ? state : { ...state, speaking: event.identities };
    case "chat_open":
      return { ...state, chatOpen: event.open, unread: event.open ? 0 : state.unread };
    case "media_reset":
      return { ...state, slots: {}, ownTracks: [] };
  }
}

function receive(state: RoomState, message: ServerMessage): RoomState {
  switch (message.type) {
    case "joined":
      return {
        ...state,
        identity: message.identity,
        role: message.role,
        permissions: message.permissions,
        info: message.room_info,
        participants: message.participants.filter(({ identity }) => identity !== message.identity).map(participantState),
        // Every slot's state comes again, with epochs that a restarted server may count anew.
        slots: message.resumed ? mapSlots(state.slots, (slot) => ({ ...slot, epoch: 0 })) : {},
        ownTracks: message.resumed ? state.ownTracks : [],
        spoken: [],
      };
    case "participant_joined": {
      const { identity, name, role } = message;
      if (identity === state.identity) return state;
      const newcomer: ParticipantState = { identity, name, role, hand: false, tracks: [] };
      const others = state.participants.filter((participant) => participant.identity !== identity);
      const known = others.length !== state.participants.length;
      return notify(
        { ...state, participants: known ? replace(state.participants, newcomer) : [...others, newcomer] },
        known ? undefined : { kind: "joined", name },
      );
    }
    case "room_moved":
      // Everybody else is another one; slots are told anew by the server.
      return { ...state, participants: message.participants.map(participantState), speaking: [], spoken: [] };
    case "room_updated":
      return { ...state, info: message.room_info };
    case "role_changed":
      if (message.identity === state.identity) {
        return { ...state, role: message.role, permissions: message.permissions ?? state.permissions };
      }
      return changeParticipant(state, message.identity, (participant) => ({ ...participant, role: message.role }));
    case "hand":
      return changeParticipant(state, message.identity, (participant) => ({ ...participant, hand: message.raised }));
    case "chat_edited":
      return {
        ...state,
        chat: state.chat.map((entry) => (entry.id === message.id ? { ...entry, text: message.text } : entry)),
      };
    case "chat_deleted":
      return { ...state, chat: state.chat.filter(({ id }) => id !== message.id) };
    case "participant_left": {
      const gone = state.participants.find(({ identity }) => identity === message.identity);
      if (!gone) return state;
      return notify(
        {
          ...state,
          participants: state.participants.filter((participant) => participant !== gone),
          speaking: state.speaking.filter((identity) => identity !== gone.identity),
          spoken: state.spoken.filter((identity) => identity !== gone.identity),
        },
        { kind: "left", name: gone.name },
      );
    }
    case "track_published": {
      const { track_id: id, kind, source, muted } = message;
      const changed = changeTracks(state, message.from, (tracks) => [
        ...tracks.filter((track) => track.id !== id && track.source !== source),
        { id, kind, source, muted },
      ]);
      const shares = source === "screen" && message.from !== state.identity;
      return notify(changed, shares ? { kind: "shares", name: nameOf(state, message.from) } : undefined);
    }
    case "track_unpublished":
      return changeTracks(state, message.from, (tracks) => tracks.filter(({ id }) => id !== message.track_id));
    case "muted":
    case "unmuted": {
      const muted = message.type === "muted";
      const changed = changeTracks(state, message.identity, (tracks) =>
        tracks.map((track) => (names(message.track, track) ? { ...track, muted } : track)),
      );
      if (message.identity !== state.identity) return changed;
      const name = muted && message.by !== state.identity ? nameOf(state, message.by) : undefined;
      const { [message.track]: _, ...others } = state.mutedBy;
      const mutedBy = name === undefined ? others : { ...others, [message.track]: name };
      return notify(
        { ...changed, mutedBy },
        name === undefined ? undefined : { kind: "muted", name, track: message.track },
      );
    }
    case "active_speaker": {
      if (state.spoken[0] === message.identity) return state;
      const before = state.spoken.filter((identity) => identity !== message.identity);
      return { ...state, spoken: [message.identity, ...before].slice(0, SPOKEN_KEPT) };
    }
    case "slot": {
      const known = state.slots[message.mid];
      if (known && message.epoch < known.epoch) return state;
      const slot: SlotState = {
        epoch: message.epoch,
        trackId: message.track_id,
        reason: message.reason,
        layer: message.layer,
        paused: message.paused,
      };
      return { ...state, slots: { ...state.slots, [message.mid]: slot } };
    }
    case "chat": {
      if (state.chat.some(({ id }) => id === message.id)) return state;
      const own = message.from === state.identity;
      const entry: ChatEntry = {
        id: message.id,
        from: message.from,
        name: own ? state.name : nameOf(state, message.from),
        text: message.text,
        private: message.to !== undefined,
        own,
        timestamp: message.timestamp,
      };
      return notify(
        {
          ...state,
          chat: [...state.chat, entry].slice(-CHAT_KEPT),
          unread: state.chatOpen || own ? state.unread : state.unread + 1,
        },
        own ? undefined : { kind: "chat", name: entry.name, text: entry.text },
      );
    }
    default:
      return state;
  }
}

/** Whether `muted.track` (`audio`, `video`, `screen` or a track id) means this track. */
function names(what: string, track: TrackState): boolean {
  switch (what) {
    case "audio":
      return track.source === "microphone";
    case "video":
      return track.source === "camera";
    case "screen":
      return track.source === "screen" || track.source === "screen_audio";
    default:
      return track.id === what;
  }
}

function trackState({ track_id: id, kind, source, muted }: Track): TrackState {
  return { id, kind, source, muted };
}

function participantState({ identity, name, role, hand, tracks }: Participant): ParticipantState {
  return { identity, name, role, hand, tracks: tracks.map(trackState) };
}

function changeParticipant(
  state: RoomState,
  identity: string,
  change: (participant: ParticipantState) => ParticipantState,
): RoomState {
  return {
    ...state,
    participants: state.participants.map((one) => (one.identity === identity ? change(one) : one)),
  };
}

function nameOf(state: RoomState, identity: string): string {
  return state.participants.find((participant) => participant.identity === identity)?.name ?? identity;
}

function replace(participants: readonly ParticipantState[], one: ParticipantState): ParticipantState[] {
  return participants.map((participant) => (participant.identity === one.identity ? one : participant));
}

function changeTracks(
  state: RoomState,
  identity: string,
  change: (tracks: readonly TrackState[]) => readonly TrackState[],
): RoomState {
  if (identity === state.identity) return { ...state, ownTracks: change(state.ownTracks) };
  return {
    ...state,
    participants: state.participants.map((participant) =>
      participant.identity === identity ? { ...participant, tracks: change(participant.tracks) } : participant,
    ),
  };
}

function mapSlots(slots: RoomState["slots"], change: (slot: SlotState) => SlotState): RoomState["slots"] {
  return Object.fromEntries(Object.entries(slots).map(([mid, slot]) => [mid, change(slot)]));
}

function notify(state: RoomState, what: Notice | undefined): RoomState {
  if (!what) return state;
  return { ...state, notice: { count: (state.notice?.count ?? 0) + 1, what } };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
