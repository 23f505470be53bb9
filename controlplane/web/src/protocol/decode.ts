// Decodes server frames. What comes from the network is checked here, field by field, so that
// every other module can trust its types. Unknown message types are told apart from malformed
// ones: a newer server may say more than this client knows, and that is no error.

import type { AuthMode } from "./generated/AuthMode";
import type { Breakout } from "./generated/Breakout";
import type { BreakoutAssign } from "./generated/BreakoutAssign";
import type { Breakouts } from "./generated/Breakouts";
import type { ChatMessage } from "./generated/ChatMessage";
import type { ErrorCode } from "./generated/ErrorCode";
import type { IceServer } from "./generated/IceServer";
import type { Layer } from "./generated/Layer";
import type { Permissions } from "./generated/Permissions";
import type { Participant } from "./generated/Participant";
import type { Presence } from "./generated/Presence";
import type { Role } from "./generated/Role";
import type { RoomInfo } from "./generated/RoomInfo";
import type { ServerInfo } from "./generated/ServerInfo";
import type { ServerMessage } from "./generated/ServerMessage";
import type { Kind } from "./generated/Kind";
import type { Source } from "./generated/Source";
import type { Track } from "./generated/Track";

export type Decoded =
  | { readonly ok: true; readonly re: string | number | undefined; readonly message: ServerMessage }
  | { readonly ok: false; readonly why: "malformed"; readonly detail: string; readonly re: string | number | undefined }
  | { readonly ok: false; readonly why: "unknown_type"; readonly detail: string; readonly re: string | number | undefined };

type Fields = Readonly<Record<string, unknown>>;
type MessageOf<T extends ServerMessage["type"]> = Extract<ServerMessage, { type: T }>;

/** A field has the wrong shape; the text names it. Never leaves this module. */
class Malformed extends Error {}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(value: unknown, name: string): Fields {
  if (!isFields(value)) throw new Malformed(name);
  return value;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new Malformed(name);
  return value;
}

/** Absent and null mean the same on the wire. */
function optionalText(fields: Fields, name: string): string | undefined {
  return fields[name] === undefined || fields[name] === null ? undefined : text(fields, name);
}

function numeric(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Malformed(name);
  return value;
}

function optionalNumeric(fields: Fields, name: string): number | undefined {
  return fields[name] === undefined || fields[name] === null ? undefined : numeric(fields, name);
}

function flag(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== "boolean") throw new Malformed(name);
  return value;
}

function optionalFlag(fields: Fields, name: string): boolean {
  return fields[name] === undefined || fields[name] === null ? false : flag(fields, name);
}

/** An object whose members are all flags. */
function flags(fields: Fields, name: string): Record<string, boolean> {
  const members = fieldsOf(fields[name], name);
  // Without a prototype: names come from the network.
  const read = Object.create(null) as Record<string, boolean>;
  for (const key of Object.keys(members)) read[key] = flag(members, key);
  return read;
}

function list<T>(fields: Fields, name: string, one: (value: unknown) => T): T[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw new Malformed(name);
  return value.map(one);
}

/** Drops undefined members, which exact optional properties do not allow. */
function present<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

const KINDS: readonly Kind[] = ["audio", "video"];
const SOURCES: readonly Source[] = ["camera", "microphone", "screen", "screen_audio"];
const ROLES: readonly Role[] = ["host", "co_host", "guest", "viewer"];
const MODES: readonly AuthMode[] = ["token", "open", "lobby"];
const ASSIGNS: readonly BreakoutAssign[] = ["manual", "random", "choice"];
const LAYERS: readonly Layer[] = ["low", "medium", "high", "auto"];

function oneOf<T extends string>(fields: Fields, name: string, allowed: readonly T[]): T {
  const value = text(fields, name);
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new Malformed(name);
  return found;
}

function track(value: unknown): Track {
  const fields = fieldsOf(value, "tracks");
  return {
    track_id: text(fields, "track_id"),
    kind: oneOf(fields, "kind", KINDS),
    source: oneOf(fields, "source", SOURCES),
    muted: flag(fields, "muted"),
    simulcast: flag(fields, "simulcast"),
  };
}

function participant(value: unknown): Participant {
  const fields = fieldsOf(value, "participants");
  return {
    identity: text(fields, "identity"),
    name: text(fields, "name"),
    role: oneOf(fields, "role", ROLES),
    joined_at: text(fields, "joined_at"),
    hand: optionalFlag(fields, "hand"),
    tracks: list(fields, "tracks", track),
  };
}

function iceServer(value: unknown): IceServer {
  const fields = fieldsOf(value, "ice_servers");
  return present<IceServer>({
    urls: list(fields, "urls", (url) => {
      if (typeof url !== "string") throw new Malformed("urls");
      return url;
    }),
    username: optionalText(fields, "username"),
    credential: optionalText(fields, "credential"),
  });
}

function roomInfo(value: unknown): RoomInfo {
  const fields = fieldsOf(value, "room_info");
  return {
    id: text(fields, "id"),
    slug: text(fields, "slug"),
    name: text(fields, "name"),
    max_participants: numeric(fields, "max_participants"),
    locked: flag(fields, "locked"),
    mode: oneOf(fields, "mode", MODES),
    lobby_enabled: flag(fields, "lobby_enabled"),
    password_protected: flag(fields, "password_protected"),
    recording_enabled: flag(fields, "recording_enabled"),
    chat_history: flag(fields, "chat_history"),
  };
}

function presence(fields: Fields): Presence {
  return { participants: numeric(fields, "participants"), viewers: numeric(fields, "viewers") };
}

function words(fields: Fields, name: string): string[] {
  return list(fields, name, (value) => {
    if (typeof value !== "string") throw new Malformed(name);
    return value;
  });
}

function breakout(value: unknown): Breakout {
  const fields = fieldsOf(value, "rooms");
  return {
    id: text(fields, "id"),
    name: text(fields, "name"),
    assigned: words(fields, "assigned"),
    present: words(fields, "present"),
  };
}

function breakouts(value: unknown): Breakouts | undefined {
  if (value === undefined || value === null) return undefined;
  const fields = fieldsOf(value, "breakouts");
  return present<Breakouts>({
    open: flag(fields, "open"),
    assign: oneOf(fields, "assign", ASSIGNS),
    ends_at: optionalText(fields, "ends_at"),
    rooms: list(fields, "rooms", breakout),
  });
}

function chatMessage(value: unknown): ChatMessage {
  const fields = fieldsOf(value, "messages");
  const given = fieldsOf(fields["reactions"], "reactions");
  // Without a prototype: names come from the network.
  const reactions = Object.create(null) as Record<string, string[]>;
  for (const emoji of Object.keys(given)) reactions[emoji] = words(given, emoji);
  return present<ChatMessage>({
    id: text(fields, "id"),
    from: text(fields, "from"),
    name: text(fields, "name"),
    text: text(fields, "text"),
    to: optionalText(fields, "to"),
    timestamp: numeric(fields, "timestamp"),
    edited_at: optionalNumeric(fields, "edited_at"),
    deleted: flag(fields, "deleted"),
    reactions,
  });
}

function permissions(value: unknown): Permissions {
  const fields = fieldsOf(value, "permissions");
  return {
    publish: flag(fields, "publish"),
    subscribe: flag(fields, "subscribe"),
    chat: flag(fields, "chat"),
    screen: flag(fields, "screen"),
    record: flag(fields, "record"),
    admin: flag(fields, "admin"),
  };
}

function serverInfo(value: unknown): ServerInfo {
  const fields = fieldsOf(value, "server");
  return {
    version: text(fields, "version"),
    features: list(fields, "features", (feature) => {
      if (typeof feature !== "string") throw new Malformed("features");
      return feature;
    }),
    max_bitrate: numeric(fields, "max_bitrate"),
    screen_share_bitrate: numeric(fields, "screen_share_bitrate"),
  };
}

function candidate(fields: Fields): RTCIceCandidateInit | null {
  const value = fields["candidate"];
  if (value === null) return null;
  const init = fieldsOf(value, "candidate");
  return present<RTCIceCandidateInit>({
    candidate: optionalText(init, "candidate"),
    sdpMid: optionalText(init, "sdpMid"),
    sdpMLineIndex: typeof init["sdpMLineIndex"] === "number" ? init["sdpMLineIndex"] : undefined,
    usernameFragment: optionalText(init, "usernameFragment"),
  });
}

const DECODERS: { readonly [T in ServerMessage["type"]]: (fields: Fields) => MessageOf<T> } = {
  joined: (f) => present<MessageOf<"joined">>({
    type: "joined",
    room: text(f, "room"),
    identity: text(f, "identity"),
    role: oneOf(f, "role", ROLES),
    permissions: permissions(f["permissions"]),
    resume: text(f, "resume"),
    resumed: flag(f, "resumed"),
    participants: list(f, "participants", participant),
    ice_servers: list(f, "ice_servers", iceServer),
    room_info: roomInfo(f["room_info"]),
    presence: presence(fieldsOf(f["presence"], "presence")),
    breakouts: breakouts(f["breakouts"]),
    breakout: optionalText(f, "breakout"),
    server: serverInfo(f["server"]),
  }),
  participant_joined: (f) => ({
    type: "participant_joined",
    identity: text(f, "identity"),
    name: text(f, "name"),
    role: oneOf(f, "role", ROLES),
  }),
  participant_left: (f) => ({ type: "participant_left", identity: text(f, "identity") }),
  offer: (f) => ({ type: "offer", sdp: text(f, "sdp"), from: text(f, "from") }),
  answer: (f) => present<MessageOf<"answer">>({ type: "answer", sdp: text(f, "sdp"), from: optionalText(f, "from") }),
  candidate: (f) => ({ type: "candidate", candidate: candidate(f), from: text(f, "from") }),
  track_published: (f) => ({
    type: "track_published",
    track_id: text(f, "track_id"),
    kind: oneOf(f, "kind", KINDS),
    source: oneOf(f, "source", SOURCES),
    from: text(f, "from"),
    mid: text(f, "mid"),
    muted: flag(f, "muted"),
    simulcast: flag(f, "simulcast"),
  }),
  track_unpublished: (f) => ({ type: "track_unpublished", track_id: text(f, "track_id"), from: text(f, "from") }),
  slot: (f) =>
    present<MessageOf<"slot">>({
      type: "slot",
      mid: text(f, "mid"),
      epoch: numeric(f, "epoch"),
      track_id: optionalText(f, "track_id"),
      from: optionalText(f, "from"),
      layer: optionalText(f, "layer") === undefined ? undefined : oneOf(f, "layer", LAYERS),
      paused: optionalFlag(f, "paused"),
      reason: optionalText(f, "reason"),
    }),
  dynacast: (f) => ({ type: "dynacast", track_id: text(f, "track_id"), layers: flags(f, "layers") }),
  active_speaker: (f) => ({ type: "active_speaker", identity: text(f, "identity") }),
  muted: (f) => ({ type: "muted", identity: text(f, "identity"), track: text(f, "track"), by: text(f, "by") }),
  unmuted: (f) => ({ type: "unmuted", identity: text(f, "identity"), track: text(f, "track"), by: text(f, "by") }),
  chat: (f) =>
    present<MessageOf<"chat">>({
      type: "chat",
      id: text(f, "id"),
      from: text(f, "from"),
      text: text(f, "text"),
      to: optionalText(f, "to"),
      timestamp: numeric(f, "timestamp"),
    }),
  lobby_waiting: (f) => ({ type: "lobby_waiting", room_name: text(f, "room_name"), identity: text(f, "identity") }),
  lobby_rejected: (f) => ({ type: "lobby_rejected", reason: text(f, "reason") }),
  lobby_request: (f) => ({ type: "lobby_request", identity: text(f, "identity"), name: text(f, "name") }),
  lobby_left: (f) => ({ type: "lobby_left", identity: text(f, "identity") }),
  chat_history: (f) => ({ type: "chat_history", messages: list(f, "messages", chatMessage), more: flag(f, "more") }),
  chat_edited: (f) => ({
    type: "chat_edited",
    id: text(f, "id"),
    text: text(f, "text"),
    edited_at: numeric(f, "edited_at"),
  }),
  chat_deleted: (f) => ({ type: "chat_deleted", id: text(f, "id"), by: text(f, "by") }),
  reaction: (f) =>
    present<MessageOf<"reaction">>({
      type: "reaction",
      from: text(f, "from"),
      emoji: text(f, "emoji"),
      message_id: optionalText(f, "message_id"),
      removed: flag(f, "removed"),
    }),
  hand: (f) => ({ type: "hand", identity: text(f, "identity"), raised: flag(f, "raised"), by: text(f, "by") }),
  role_changed: (f) =>
    present<MessageOf<"role_changed">>({
      type: "role_changed",
      identity: text(f, "identity"),
      role: oneOf(f, "role", ROLES),
      by: text(f, "by"),
      permissions: isFields(f["permissions"]) ? permissions(f["permissions"]) : undefined,
    }),
  host_offer: () => ({ type: "host_offer" }),
  room_updated: (f) => ({ type: "room_updated", room_info: roomInfo(f["room_info"]), by: text(f, "by") }),
  presence: (f) => ({ type: "presence", ...presence(f) }),
  breakouts: (f) => present<MessageOf<"breakouts">>({ type: "breakouts", breakouts: breakouts(f["breakouts"]) }),
  room_moved: (f) =>
    present<MessageOf<"room_moved">>({
      type: "room_moved",
      breakout: optionalText(f, "breakout"),
      name: text(f, "name"),
      participants: list(f, "participants", participant),
    }),
  breakouts_ending: (f) => ({ type: "breakouts_ending", seconds: numeric(f, "seconds") }),
  announcement: (f) => ({ type: "announcement", from: text(f, "from"), text: text(f, "text") }),
  media_restarted: () => ({ type: "media_restarted" }),
  renegotiate: () => ({ type: "renegotiate" }),
  room_closed: () => ({ type: "room_closed" }),
  kicked: (f) => ({ type: "kicked", identity: text(f, "identity"), by: text(f, "by") }),
  // A code that this client does not know still has words for people.
  error: (f) => ({ type: "error", code: text(f, "code") as ErrorCode, message: optionalText(f, "message") ?? "" }),
};

function isKnownType(type: string): type is ServerMessage["type"] {
  return Object.hasOwn(DECODERS, type);
}

/** Decodes one WebSocket text frame. */
export function decode(frame: string): Decoded {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return { ok: false, why: "malformed", detail: "not JSON", re: undefined };
  }
  if (!isFields(value)) return { ok: false, why: "malformed", detail: "not an object", re: undefined };
  const re = typeof value["re"] === "string" || typeof value["re"] === "number" ? value["re"] : undefined;
  const type = value["type"];
  if (typeof type !== "string") return { ok: false, why: "malformed", detail: "type", re };
  if (!isKnownType(type)) return { ok: false, why: "unknown_type", detail: type, re };
  try {
    return { ok: true, re, message: DECODERS[type](value) };
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, why: "malformed", detail: `${type}.${error.message}`, re };
    throw error;
  }
}
