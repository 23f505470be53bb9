// A network and a clock that tests hold in their hands.

import type { ClientMessage, ServerMessage } from "../protocol";
import type { SignallingEnvironment } from "./reconnect";
import type { Timers, WebSocketLike } from "./socket";

export class FakeTimers implements Timers {
  now = 0;
  private next = 1;
  private readonly due = new Map<number, { at: number; run: () => void }>();

  set(run: () => void, milliseconds: number): number {
    this.due.set(this.next, { at: this.now + milliseconds, run });
    return this.next++;
  }

  clear(handle: number): void {
    this.due.delete(handle);
  }

  /** Runs what falls due, in order. */
  advance(milliseconds: number): void {
    const until = this.now + milliseconds;
    for (;;) {
      const first = [...this.due].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!first) break;
      this.due.delete(first[0]);
      this.now = first[1].at;
      first[1].run();
    }
    this.now = until;
  }
}

export class FakeSocket implements WebSocketLike {
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  readyState = 0;
  readonly sent: (ClientMessage & { id?: number })[] = [];
  closedWith: number | undefined;

  constructor(readonly url: string) {}

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientMessage & { id?: number });
  }

  close(code?: number): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.(new Event("open"));
  }

  /** The server says something; `re` answers a request. */
  say(message: ServerMessage, re?: number): void {
    this.onmessage?.(new MessageEvent("message", { data: JSON.stringify({ re, ...message }) }));
  }

  raw(data: string): void {
    this.onmessage?.(new MessageEvent("message", { data }));
  }

  /** The connection is lost, or closed by the server. */
  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" } as CloseEvent);
  }

  last(type: ClientMessage["type"]): (ClientMessage & { id?: number }) | undefined {
    return this.sent.findLast((message) => message.type === type);
  }

  /** Answers the newest request of a type. */
  answer(type: ClientMessage["type"], message: ServerMessage): void {
    const { id } = this.last(type) ?? {};
    if (id === undefined) throw new Error(`no ${type} with an id was sent`);
    this.say(message, id);
  }
}

export class FakeNetwork implements SignallingEnvironment {
  readonly sockets: FakeSocket[] = [];
  readonly timers = new FakeTimers();
  readonly random = (): number => 0;
  readonly openSocket = (url: string): WebSocketLike => {
    const socket = new FakeSocket(url);
    this.sockets.push(socket);
    return socket;
  };

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }
}

export function joinedMessage(part: Partial<Extract<ServerMessage, { type: "joined" }>> = {}): ServerMessage {
  return {
    type: "joined",
    room: "rm_1",
    identity: "me",
    role: "guest",
    permissions: { publish: true, subscribe: true, chat: true, screen: true, record: false, admin: false },
    resume: "resume-1",
    resumed: false,
    participants: [],
    ice_servers: [],
    room_info: {
    id: "rm_1",
    slug: "standup-a1b2",
    name: "Standup",
    max_participants: 10,
    locked: false,
    mode: "open",
    lobby_enabled: false,
    password_protected: false,
    recording_enabled: false,
    chat_history: true,
  },
  presence: { participants: 1, viewers: 0 },
    server: { version: "0.1.0", features: [], max_bitrate: 3_000_000, screen_share_bitrate: 5_000_000 },
    ...part,
  };
}

/** Lets every promise that can go on do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
