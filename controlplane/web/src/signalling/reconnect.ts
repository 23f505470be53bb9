// Keeps a participant joined: opens sockets, joins, and after a loss comes back with the last
// resume token. Decides which failures end the meeting and which are worth another attempt.
// Media is none of its business; it only says whether the media session was resumed.

import { CLOSE, type ClientMessage, type ErrorCode, type Joined, type ServerMessage } from "../protocol";
import { backoff } from "./backoff";
import { Disconnected, NO_ANSWER, realTimers, Refused, Socket, type Timers, type WebSocketLike } from "./socket";

/** Why there is no way back without the person's doing. */
export type EndCode = ErrorCode | "left" | "kicked" | "lobby_rejected" | "room_closed";

export type ConnectionState =
  /** A socket is being opened, or `join` waits for its answer. */
  | { readonly name: "connecting"; readonly attempt: number; readonly before: boolean }
  /** Somebody has to let this client in first. */
  | { readonly name: "lobby"; readonly roomName: string }
  /** In the room. */
  | { readonly name: "joined" }
  /** The last attempt failed or the socket was lost; the next one is due in `retryInMs`. */
  | { readonly name: "waiting"; readonly attempt: number; readonly before: boolean; readonly retryInMs: number }
  /** Over. */
  | { readonly name: "ended"; readonly code: EndCode; readonly message: string };

export interface SignallingOptions {
  /** Full WebSocket address, token included. */
  readonly url: string;
  /** Id or slug. */
  readonly room: string;
  readonly name: string;
  readonly password?: string;
}

export interface SignallingEvents {
  onState(state: ConnectionState): void;
  /** Every message in order, `joined` included. */
  onMessage(message: ServerMessage): void;
}

export interface SignallingEnvironment {
  openSocket(url: string): WebSocketLike;
  readonly timers: Timers;
  random(): number;
}

const browser: SignallingEnvironment = {
  openSocket: (url) => new WebSocket(url),
  timers: realTimers,
  random: () => Math.random(),
};

/** Refusals of `join` that the same request will meet again. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "auth_failed",
  "bad_message",
  "unknown_type",
  "permission_denied",
  "room_not_found",
  "room_full",
  "room_locked",
  "password_required",
  "password_wrong",
  "banned",
  "replaced",
]);

/**
 * How long the first attempt may take to open its socket, in milliseconds: the four round trips of TCP, TLS and
 * WebSocket over a poor network. One that began on an address or a route that is gone never opens, and would cost as
 * long as the server keeps a lost participant; a server that is slow gets more with each attempt.
 */
const OPEN_TIMEOUT_MS = 3_000;
const OPEN_TIMEOUT_LONGEST_MS = 12_000;

export class Signalling {
  private socket: Socket | undefined;
  private resume: string | undefined;
  private identity: string | undefined;
  private attempt = 0;
  private retry: number | undefined;
  private current: ConnectionState = { name: "connecting", attempt: 0, before: false };

  constructor(
    private readonly options: SignallingOptions,
    private readonly events: SignallingEvents,
    private readonly environment: SignallingEnvironment = browser,
  ) {}

  get state(): ConnectionState {
    return this.current;
  }

  start(): void {
    this.connect();
  }

  /** Tries at once instead of at the end of the wait. */
  retryNow(): void {
    if (this.current.name === "waiting") this.connect();
  }

  /** Dropped when there is no connection: what must not be lost goes by `request`. */
  send(message: ClientMessage): void {
    if (this.current.name === "joined") this.socket?.send(message);
  }

  /** `timeout` in milliseconds, where something tells that the socket may be dead. */
  request(message: ClientMessage, timeout?: number): Promise<ServerMessage> {
    if (this.current.name !== "joined" || !this.socket) return Promise.reject(new Disconnected());
    return this.socket.request(message, timeout);
  }

  /** The network is another one: the socket is on a path that is gone, and a new one is opened at once. */
  moveSocket(): void {
    switch (this.current.name) {
      case "joined":
        this.socket?.close(NO_ANSWER, "moved");
        break;
      case "connecting":
      case "lobby": {
        const { socket } = this;
        // Forgotten first: its close is no failure, and nothing to wait after.
        this.socket = undefined;
        socket?.close(NO_ANSWER, "moved");
        this.connect();
        break;
      }
      default:
        this.retryNow();
    }
  }

  leave(): void {
    if (this.current.name === "ended") return;
    this.socket?.send({ type: "leave" });
    this.end("left", "");
  }

  private connect(): void {
    this.clearRetry();
    this.become({ name: "connecting", attempt: this.attempt, before: this.resume !== undefined });
    const { timers } = this.environment;
    const patience = Math.min(OPEN_TIMEOUT_LONGEST_MS, OPEN_TIMEOUT_MS * 2 ** this.attempt);
    const opening = timers.set(() => socket.close(NO_ANSWER, "too slow"), patience);
    const socket: Socket = new Socket(
      this.environment.openSocket(this.options.url),
      {
        onOpen: () => {
          timers.clear(opening);
          void this.join(socket);
        },
        onMessage: (message) => {
          if (this.socket === socket) this.receive(message);
        },
        onClose: (code) => {
          timers.clear(opening);
          if (this.socket === socket) this.lost(code);
        },
      },
      timers,
    );
    this.socket = socket;
  }

  private async join(socket: Socket): Promise<void> {
    const { room, name, password } = this.options;
    try {
      // `joined` itself is handled in receive(), in order with what follows it.
      await socket.request({
        type: "join",
        room,
        name,
        auto_subscribe: true,
        ...(password === undefined ? {} : { password }),
        ...(this.resume === undefined ? {} : { resume: this.resume }),
      });
    } catch (error) {
      if (this.socket !== socket || !(error instanceof Refused)) return;
      if (FINAL.has(error.code)) this.end(error.code, error.message);
      else socket.close(1000, "join failed");
    }
  }

  private receive(message: ServerMessage): void {
    switch (message.type) {
      case "joined":
        this.entered(message);
        break;
      case "kicked":
        if (message.identity === this.identity) {
          this.end("kicked", "");
          return;
        }
        break;
      case "lobby_waiting":
        this.become({ name: "lobby", roomName: message.room_name });
        break;
      case "lobby_rejected":
        this.end("lobby_rejected", message.reason);
        return;
      case "room_closed":
        this.end("room_closed", "");
        return;
      case "error":
        // Errors that answer nothing: a refused token comes before any request.
        if (message.code === "auth_failed" || message.code === "replaced") {
          this.end(message.code, message.message);
          return;
        }
        break;
      default:
        break;
    }
    this.events.onMessage(message);
  }

  private entered(joined: Joined): void {
    this.resume = joined.resume;
    this.identity = joined.identity;
    this.attempt = 0;
    this.become({ name: "joined" });
  }

  private lost(code: number): void {
    this.socket = undefined;
    if (code === CLOSE.authFailed) return this.end("auth_failed", "");
    if (code === CLOSE.removed) return this.end("kicked", "");
    if (code === CLOSE.replaced) return this.end("replaced", "");
    // Whoever stopped answering one client is not away for all: nobody else comes back at this moment.
    const alone = code === NO_ANSWER && this.current.name === "joined";
    const retryInMs = alone ? 0 : backoff(this.attempt, this.environment.random());
    this.become({ name: "waiting", attempt: this.attempt, before: this.resume !== undefined, retryInMs });
    this.attempt += 1;
    this.retry = this.environment.timers.set(() => this.connect(), retryInMs);
  }

  private end(code: EndCode, message: string): void {
    if (this.current.name === "ended") return;
    this.clearRetry();
    const socket = this.socket;
    // Forgotten first: its close must not look like a loss.
    this.socket = undefined;
    this.become({ name: "ended", code, message });
    socket?.close(1000, "");
  }

  private clearRetry(): void {
    if (this.retry !== undefined) this.environment.timers.clear(this.retry);
    this.retry = undefined;
  }

  private become(state: ConnectionState): void {
    this.current = state;
    this.events.onState(state);
  }
}
