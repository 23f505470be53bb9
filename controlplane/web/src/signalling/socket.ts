// One WebSocket: frames out with ids, answers matched by `re`, everything else handed on in the
// order it came. Knows nothing of rooms, and never opens a second socket: see reconnect.ts.

import { decode, type ClientFrame, type ClientMessage, type ErrorCode, type ServerMessage } from "../protocol";

/** The part of a WebSocket that is used here, so that tests can stand in for the network. */
export interface WebSocketLike {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  readonly readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export interface Timers {
  set(run: () => void, milliseconds: number): number;
  clear(handle: number): void;
}

export const realTimers: Timers = {
  set: (run, milliseconds) => window.setTimeout(run, milliseconds),
  clear: (handle) => window.clearTimeout(handle),
};

/** The server refused a request. */
export class Refused extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** The socket went away, or said nothing, before the answer came. */
export class Disconnected extends Error {}

export interface SocketEvents {
  onOpen(): void;
  /** Every decoded message, also those that answer a request; errors with `re` only reject it. */
  onMessage(message: ServerMessage): void;
  onClose(code: number, reason: string): void;
}

/** An unanswered request means a dead connection: TCP alone may take minutes to notice. */
export const REQUEST_TIMEOUT_MS = 10_000;
/** `WebSocket.OPEN` (the constant, so that tests need no global). */
const OPEN = 1;
/** Application close code for a server that stopped answering. */
export const NO_ANSWER = 4000;

interface Pending {
  resolve(message: ServerMessage): void;
  reject(error: Error): void;
  timer: number;
}

export class Socket {
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private closed = false;

  constructor(
    private readonly socket: WebSocketLike,
    private readonly events: SocketEvents,
    private readonly timers: Timers = realTimers,
  ) {
    socket.onopen = () => {
      if (!this.closed) events.onOpen();
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.finish(event.code, event.reason);
    // A close event follows every error event and carries more.
    socket.onerror = null;
  }

  send(message: ClientMessage): void {
    if (this.socket.readyState === OPEN) this.socket.send(JSON.stringify(message));
  }

  request(message: ClientMessage, timeout = REQUEST_TIMEOUT_MS): Promise<ServerMessage> {
    if (this.closed || this.socket.readyState !== OPEN) return Promise.reject(new Disconnected());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const timer = this.timers.set(() => this.close(NO_ANSWER, "no answer"), timeout);
      this.pending.set(id, { resolve, reject, timer });
      this.socket.send(JSON.stringify({ id, ...message } satisfies ClientFrame));
    });
  }

  /** Closes at once for this side; the server's close frame is not waited for. */
  close(code = 1000, reason = ""): void {
    if (this.closed) return;
    this.socket.close(code, reason);
    this.finish(code, reason);
  }

  private receive(data: unknown): void {
    if (this.closed || typeof data !== "string") return;
    const decoded = decode(data);
    if (!decoded.ok) {
      console.warn(`kall: ignored a message (${decoded.why}: ${decoded.detail})`);
      this.settle(decoded.re, (pending) => pending.reject(new Refused("internal", "The answer was not understood.")));
      return;
    }
    const { re, message } = decoded;
    if (message.type === "error" && re !== undefined) {
      this.settle(re, (pending) => pending.reject(new Refused(message.code, message.message)));
      return;
    }
    this.events.onMessage(message);
    this.settle(re, (pending) => pending.resolve(message));
  }

  private settle(re: string | number | undefined, how: (pending: Pending) => void): void {
    if (typeof re !== "number") return;
    const pending = this.pending.get(re);
    if (!pending) return;
    this.pending.delete(re);
    this.timers.clear(pending.timer);
    how(pending);
  }

  private finish(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    for (const pending of this.pending.values()) {
      this.timers.clear(pending.timer);
      pending.reject(new Disconnected());
    }
    this.pending.clear();
    this.events.onClose(code, reason);
  }
}
