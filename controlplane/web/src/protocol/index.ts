// The protocol as the rest of the client sees it: generated types, and nothing undecoded.

export type { ClientFrame } from "./generated/ClientFrame";
export type { ClientMessage } from "./generated/ClientMessage";
export type { AuthMode } from "./generated/AuthMode";
export type { Breakout } from "./generated/Breakout";
export type { Breakouts } from "./generated/Breakouts";
export type { ChatMessage } from "./generated/ChatMessage";
export type { ErrorCode } from "./generated/ErrorCode";
export type { IceServer } from "./generated/IceServer";
export type { Kind } from "./generated/Kind";
export type { Layer } from "./generated/Layer";
export type { Permissions } from "./generated/Permissions";
export type { Participant } from "./generated/Participant";
export type { Presence } from "./generated/Presence";
export type { Role } from "./generated/Role";
export type { RoomInfo } from "./generated/RoomInfo";
export type { ServerInfo } from "./generated/ServerInfo";
export type { ServerMessage } from "./generated/ServerMessage";
export type { Source } from "./generated/Source";
export type { Track } from "./generated/Track";
export { decode, type Decoded } from "./decode";

import type { ServerMessage } from "./generated/ServerMessage";

export type Joined = Extract<ServerMessage, { type: "joined" }>;

/** Close codes beyond those of RFC 6455. */
export const CLOSE = { idle: 4400, authFailed: 4401, removed: 4403, tooSlow: 4408, replaced: 4409 } as const;

/** Bounds the server puts on what it is sent. */
export const LIMITS = { chatText: 4096, name: 64, password: 128 } as const;
