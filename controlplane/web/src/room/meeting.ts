// A participant's meeting: signalling, the peer connection and own devices, wired to the room's
// state. This is where it is decided when a peer connection lives on and when it is replaced.
// No DOM and no framework; pages read `state` and call the actions.

import type { Joined, ServerMessage, Source } from "../protocol";
import type { DeviceKind, LocalMedia } from "../media/local";
import { ScreenShare } from "../media/screen";
import { DEFAULT_SLOTS, Peer, type CreateConnection } from "../rtc/peer";
import { LOOK_MS, StallDetector } from "../rtc/stall";
import type { WantedLayers } from "../rtc/sender_layers";
import type { Statistics } from "../rtc/statistics";
import { backoff } from "../signalling/backoff";
import { Signalling, type ConnectionState, type SignallingEnvironment, type SignallingOptions } from "../signalling/reconnect";
import { Disconnected, realTimers, Refused, type Timers } from "../signalling/socket";
import { audioSlots, isFed } from "./selectors";
import { SpeakingDetector } from "./speaking";
import { initialRoom, reduce, type RoomEvent, type RoomState } from "./store";
import { Subscriptions, type View } from "./subscriptions";

/** How the media path is. */
export type MediaState =
  | "connecting"
  | "connected"
  /** Packets stopped; the browser still tries. */
  | "interrupted"
  /** Given up; another path is looked for, or a new connection is built. */
  | "failed";

export interface MeetingState {
  readonly room: RoomState;
  readonly connection: ConnectionState;
  readonly media: MediaState;
  /** The server lost its media plane and this client is building a new connection. */
  readonly restarting: boolean;
  /** Words of the server about an offer it could not use. */
  readonly mediaProblem: string | undefined;
  /** Whether the server has no room for own media at the moment; it is asked again. */
  readonly crowded: boolean;
  /** Counts peer connections: streams of an earlier one are dead. */
  readonly generation: number;
}

export interface MeetingEnvironment {
  readonly signalling?: SignallingEnvironment;
  readonly createConnection?: CreateConnection;
  readonly timers: Timers;
  now(): number;
  /** Loudness of the own microphone, 0 to 1. */
  ownLevel(): number;
  /** Tells when the machine is in another network; gives what ends that. */
  onNetworkChange(listener: () => void): () => void;
}

export const realEnvironment: MeetingEnvironment = {
  timers: realTimers,
  now: () => performance.now(),
  ownLevel: () => 0,
  onNetworkChange: (listener) => {
    // Where neither event tells, the flow that stops does.
    const { connection } = navigator as { connection?: EventTarget & { readonly type?: string } };
    let type = connection?.type;
    const changed = (): void => {
      // The event also tells of mere estimates, on a path that is the same.
      if (connection?.type === type) return;
      type = connection?.type;
      listener();
    };
    window.addEventListener("online", listener);
    connection?.addEventListener("change", changed);
    return () => {
      window.removeEventListener("online", listener);
      connection?.removeEventListener("change", changed);
    };
  },
};

/**
 * How long a restart of ICE may take after its answer before a new connection is built, in milliseconds: some
 * rounds of checks over a slow path. Browsers themselves wait for half a minute.
 */
const RESTART_WAIT_MS = 8000;

/**
 * How long the answer to a restart may take in milliseconds, before its socket counts as dead as the path of the
 * media: a round trip over a poor network and the server's work. It costs no more than another socket.
 */
const RESTART_ANSWER_MS = 500;

/** How the peer connection fared so far. */
type Course =
  /** It never worked, so there is nothing to restart. */
  | "new"
  | "worked"
  /** It worked once, and another path is being looked for. */
  | "restarting";

/** How often levels are read, in milliseconds: a ring that follows speech, not syllables. */
const LEVELS_EVERY_MS = 200;
const SOURCE: Record<DeviceKind, Source> = { microphone: "microphone", camera: "camera" };
/** The names that `mute` has for own tracks. */
const MUTE_NAME: Record<DeviceKind, string> = { microphone: "audio", camera: "video" };
const KINDS: readonly DeviceKind[] = ["microphone", "camera"];
const DEVICE: Readonly<Record<string, DeviceKind>> = { audio: "microphone", video: "camera" };

export class Meeting {
  private current: MeetingState;
  private readonly listeners = new Set<(state: MeetingState) => void>();
  private readonly signalling: Signalling;
  private peer: Peer | undefined;
  private joined: Joined | undefined;
  /** Rebuilds since media last worked, for the back-off. */
  private rebuilds = 0;
  private retry: number | undefined;
  private course: Course = "new";
  /** Whether the restart under way has asked for an answer in a hurry: its next socket has its time. */
  private moved = false;
  /** When a restart counts as one that does not help. */
  private restartTimer: number | undefined;
  private levelTimer: number | undefined;
  private stallTimer: number | undefined;
  private readonly stall = new StallDetector();
  /** Bytes sent at the last look. */
  private sentBefore: number | undefined;
  private readonly speaking = new SpeakingDetector();
  private readonly subscriptions: Subscriptions;
  /** What the server wants of own tracks, also of those it has not announced yet. */
  private readonly wantedLayers = new Map<string, WantedLayers>();
  private readonly stopFollowing: readonly (() => void)[];

  constructor(
    options: SignallingOptions,
    private readonly local: LocalMedia,
    private readonly environment: MeetingEnvironment = realEnvironment,
    readonly screen: ScreenShare = new ScreenShare(undefined),
  ) {
    this.signalling = new Signalling(
      options,
      { onState: (connection) => this.connectionChanged(connection), onMessage: (message) => this.receive(message) },
      environment.signalling,
    );
    this.current = {
      room: initialRoom(options.name),
      connection: this.signalling.state,
      media: "connecting",
      restarting: false,
      mediaProblem: undefined,
      crowded: false,
      generation: 0,
    };
    this.subscriptions = new Subscriptions(
      (message) => this.signalling.send(message),
      environment.timers,
      DEFAULT_SLOTS.videoSlots,
    );
    this.stopFollowing = [
      local.onChange(() => void this.localChanged()),
      this.screen.onChange(() => void this.localChanged()),
      environment.onNetworkChange(() => this.networkChanged()),
    ];
  }

  get state(): MeetingState {
    return this.current;
  }

  onChange(listener: (state: MeetingState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  start(): void {
    this.signalling.start();
    this.levelTimer = this.environment.timers.set(() => void this.readLevels(), LEVELS_EVERY_MS);
    this.stallTimer = this.environment.timers.set(() => void this.watchFlow(), LOOK_MS);
  }

  leave(): void {
    this.signalling.leave();
  }

  retryNow(): void {
    this.signalling.retryNow();
  }

  /** Resolves when the server has the message. */
  async sendChat(text: string): Promise<void> {
    await this.signalling.request({ type: "chat", text });
  }

  /** A moderator silences somebody. */
  async muteParticipant(identity: string, track: "audio" | "video" | "screen"): Promise<void> {
    await this.signalling.request({ type: "mute_participant", identity, track });
  }

  setChatOpen(open: boolean): void {
    this.reduce({ type: "chat_open", open });
  }

  /** What a slot receives now. */
  stream(mid: string): MediaStream | undefined {
    return this.peer?.stream(mid);
  }

  /** A tile shows a source of somebody like this now; without a view it is out of sight. */
  see(identity: string, source: Source, view: View | undefined): void {
    this.subscriptions.see(identity, source, view);
  }

  /** The tile is gone. */
  unsee(identity: string, source: Source): void {
    this.subscriptions.forget(identity, source);
  }

  /** Whether anybody can see the page at all. */
  setHidden(hidden: boolean): void {
    this.subscriptions.setHidden(hidden);
  }

  /** Figures of this moment; none without a connection. */
  statistics(): Promise<Statistics | undefined> {
    return this.peer?.statistics() ?? Promise.resolve(undefined);
  }

  private connectionChanged(connection: ConnectionState): void {
    if (connection.name !== "joined") this.subscriptions.close();
    this.update({ connection });
    if (connection.name === "ended") this.close();
  }

  private receive(message: ServerMessage): void {
    this.reduce({ type: "message", message });
    switch (message.type) {
      case "joined":
        this.entered(message);
        break;
      case "media_restarted":
        this.update({ restarting: true });
        void this.buildPeer();
        break;
      case "renegotiate":
        if (this.peer) void this.negotiate(this.peer);
        break;
      case "muted":
        if (message.identity === this.current.room.identity && message.by !== message.identity) this.silenced(message.track);
        break;
      case "dynacast":
        this.wantedLayers.set(message.track_id, message.layers);
        this.syncLayers();
        break;
      case "track_published":
        if (message.from === this.current.room.identity) {
          this.syncMutes(false);
          this.syncLayers();
        }
        break;
      default:
        break;
    }
  }

  /** A moderator did it: the devices follow, and stay so until the person switches them on again. */
  private silenced(track: string): void {
    const kind = DEVICE[track];
    if (kind) void this.local.setOn(kind, false);
    else if (track === "screen") this.screen.stop();
  }

  private entered(joined: Joined): void {
    this.joined = joined;
    const { media } = this.current;
    if (joined.resumed && this.peer && !(media === "failed" && this.isHopeless(this.peer))) {
      // The media session lived on: the same connection goes on with it, if need be over another path.
      if (this.course === "worked" && media !== "connected") this.restart(this.peer);
      else if (this.peer.needsNegotiation) void this.negotiate(this.peer);
      else this.subscriptions.open();
      this.syncMutes(true);
    } else {
      void this.buildPeer();
    }
  }

  private async buildPeer(): Promise<void> {
    const joined = this.joined;
    if (!joined) return;
    this.clearRetry();
    this.clearRestart();
    this.course = "new";
    this.peer?.close();
    this.subscriptions.close();
    this.wantedLayers.clear();
    this.reduce({ type: "media_reset" });
    this.update({ media: "connecting", mediaProblem: undefined });
    const { max_bitrate, screen_share_bitrate, features } = joined.server;
    const peer: Peer = new Peer(
      {
        ...DEFAULT_SLOTS,
        iceServers: joined.ice_servers,
        maxBitrate: { camera: max_bitrate, screen: screen_share_bitrate },
        simulcast: features.includes("simulcast"),
        scalable: features.includes("svc"),
      },
      {
        publish: (mid, source) => this.signalling.send({ type: "publish", mid, source }),
        offer: async (sdp) => {
          const hurry = this.course === "restarting" && !this.moved ? RESTART_ANSWER_MS : undefined;
          this.moved = true;
          const answer = await this.signalling.request({ type: "offer", sdp }, hurry);
          if (answer.type !== "answer") throw new Refused("internal", "The server did not answer the offer.");
          return answer.sdp;
        },
      },
      (state) => {
        if (this.peer === peer) this.mediaChanged(state);
      },
      this.environment.createConnection,
    );
    this.peer = peer;
    this.update({ generation: this.current.generation + 1 });
    this.announceMutes();
    await this.syncTracks(peer);
    if (this.peer !== peer) return;
    peer.addSlots();
    await this.negotiate(peer);
  }

  private async negotiate(peer: Peer, exchange = () => peer.negotiate()): Promise<void> {
    try {
      await exchange();
      if (this.peer === peer && this.current.crowded) this.update({ crowded: false });
      if (this.peer === peer && this.course === "restarting") this.awaitRestart();
      if (this.peer === peer && this.signalling.state.name === "joined") this.subscriptions.open();
    } catch (error) {
      // A replaced connection's failure is nobody's; a lost socket's offer is repeated on return.
      if (this.peer !== peer || error instanceof Disconnected) return;
      const refusal = error instanceof Refused ? error : undefined;
      if (refusal?.code === "sdp_invalid" && this.course === "restarting") {
        // This server knows no restarts.
        this.later(() => void this.buildPeer());
        return;
      }
      if (refusal && refusal.code !== "sdp_invalid" && refusal.code !== "permission_denied") {
        if (refusal.code === "room_full") this.update({ crowded: true });
        this.later(() => void this.negotiate(peer));
        return;
      }
      console.error("kall: negotiation failed", error);
      this.update({ media: "failed", mediaProblem: refusal?.message ?? String(error) });
    }
  }

  private mediaChanged(state: RTCPeerConnectionState): void {
    switch (state) {
      case "connected":
        this.rebuilds = 0;
        this.course = "worked";
        this.clearRestart();
        this.update({ media: "connected", restarting: false });
        break;
      case "disconnected":
        this.update({ media: "interrupted" });
        this.recover();
        break;
      case "failed":
        this.update({ media: "failed" });
        this.recover();
        break;
      default:
        break;
    }
  }

  /** Media stopped: another path first, and a new connection when there is none or that does not help. */
  private recover(): void {
    // With the socket away, `joined` decides after the return.
    if (!this.peer || this.signalling.state.name !== "joined") return;
    if (this.course === "worked") this.restart(this.peer);
    else if (this.current.media === "failed" && this.isHopeless(this.peer)) this.later(() => void this.buildPeer());
  }

  /**
   * Whether nothing but a new connection can help one that failed. A restart under way has its time,
   * whatever the browser thinks of the old path meanwhile: its offer may be on a socket that is as
   * dead as the media, and is repeated on the next.
   */
  private isHopeless(peer: Peer): boolean {
    return this.course === "new" || (this.course === "restarting" && this.restartTimer === undefined && !peer.needsNegotiation);
  }

  /** Other addresses: what was open is on a path that is gone, whatever the browser still believes. */
  private networkChanged(): void {
    this.signalling.moveSocket();
    // Offered when the socket is there again.
    if (this.peer && this.course === "worked") this.restart(this.peer);
  }

  /** Looks whether media still comes; when it stops, the browser notices much later. */
  private async watchFlow(): Promise<void> {
    const { peer } = this;
    const traffic = this.current.media === "connected" ? await peer?.traffic() : undefined;
    if (this.current.connection.name === "ended") return;
    const now = peer === this.peer ? traffic : undefined;
    // Own media is answered by feedback, at once and all the time.
    const sends = now !== undefined && now.sent !== this.sentBefore;
    this.sentBefore = now?.sent;
    if (this.stall.look(now?.received, sends || isFed(this.current.room))) this.recover();
    this.stallTimer = this.environment.timers.set(() => void this.watchFlow(), LOOK_MS);
  }

  private restart(peer: Peer): void {
    this.course = "restarting";
    this.moved = false;
    void this.negotiate(peer, () => peer.restartIce());
  }

  private awaitRestart(): void {
    this.clearRestart();
    this.restartTimer = this.environment.timers.set(() => {
      this.restartTimer = undefined;
      // A path that was found before the browser missed the old one changes no state.
      if (this.current.media === "connected") this.course = "worked";
      else if (this.signalling.state.name === "joined") void this.buildPeer();
    }, RESTART_WAIT_MS);
  }

  private clearRestart(): void {
    if (this.restartTimer !== undefined) this.environment.timers.clear(this.restartTimer);
    this.restartTimer = undefined;
  }

  private later(run: () => void): void {
    this.clearRetry();
    const wait = backoff(this.rebuilds, 1);
    this.rebuilds += 1;
    this.retry = this.environment.timers.set(run, wait);
  }

  private clearRetry(): void {
    if (this.retry !== undefined) this.environment.timers.clear(this.retry);
    this.retry = undefined;
  }

  private async localChanged(): Promise<void> {
    this.syncMutes(false);
    const { peer } = this;
    if (!peer) return;
    await this.syncTracks(peer);
    if (this.peer === peer && peer.needsNegotiation && this.signalling.state.name === "joined") {
      await this.negotiate(peer);
    }
  }

  private async syncTracks(peer: Peer): Promise<void> {
    for (const kind of KINDS) await peer.setTrack(SOURCE[kind], this.local.state[kind].track ?? null);
    const { video, audio } = this.screen.state;
    await peer.setTrack("screen", video ?? null);
    await peer.setTrack("screen_audio", audio ?? null);
  }

  /** Before an offer: what is captured but off begins muted, and is never heard even for a moment. */
  private announceMutes(): void {
    for (const kind of KINDS) {
      const { on, track } = this.local.state[kind];
      if (track && !on) this.signalling.send({ type: "mute", track: MUTE_NAME[kind] });
    }
  }

  /**
   * Keeps the server's view of own tracks in step with the devices. `again` repeats what a
   * restarted server may have forgotten.
   */
  private syncMutes(again: boolean): void {
    if (this.signalling.state.name !== "joined") return;
    const { identity, ownTracks } = this.current.room;
    if (identity === undefined) return;
    for (const kind of KINDS) {
      const track = ownTracks.find(({ source }) => source === SOURCE[kind]);
      if (!track) continue;
      const { on, track: capture } = this.local.state[kind];
      const muted = !on || capture === undefined;
      if (muted === track.muted && !(again && muted)) continue;
      this.signalling.send({ type: muted ? "mute" : "unmute", track: MUTE_NAME[kind] });
      const message = { type: muted ? "muted" : "unmuted", identity, track: MUTE_NAME[kind], by: identity } as const;
      this.reduce({ type: "message", message });
    }
  }

  /** Hands what the server wants of own tracks to the lines that send them. */
  private syncLayers(): void {
    for (const { id, source } of this.current.room.ownTracks) {
      const layers = this.wantedLayers.get(id);
      if (layers) void this.peer?.setLayers(source, layers);
    }
  }

  private async readLevels(): Promise<void> {
    const { peer } = this;
    const levels = new Map<string, number>();
    const { identity } = this.current.room;
    if (identity !== undefined) levels.set(identity, this.environment.ownLevel());
    if (peer) {
      await Promise.all(
        // The sound of a screen is nobody's voice.
        audioSlots(this.current.room, "microphone").map(async ({ mid, from }) => {
          const level = await peer.audioLevel(mid);
          levels.set(from, Math.max(level, levels.get(from) ?? 0));
        }),
      );
    }
    if (this.current.connection.name === "ended") return;
    this.reduce({ type: "speaking", identities: this.speaking.update(this.environment.now(), levels) });
    this.levelTimer = this.environment.timers.set(() => void this.readLevels(), LEVELS_EVERY_MS);
  }

  private close(): void {
    this.clearRetry();
    this.clearRestart();
    if (this.levelTimer !== undefined) this.environment.timers.clear(this.levelTimer);
    if (this.stallTimer !== undefined) this.environment.timers.clear(this.stallTimer);
    for (const stop of this.stopFollowing) stop();
    this.screen.stop();
    this.subscriptions.end();
    this.peer?.close();
    this.peer = undefined;
  }

  private reduce(event: RoomEvent): void {
    const room = reduce(this.current.room, event);
    if (room === this.current.room) return;
    this.update({ room });
    this.subscriptions.follow(room);
  }

  private update(part: Partial<MeetingState>): void {
    this.current = { ...this.current, ...part };
    for (const listener of this.listeners) listener(this.current);
  }
}
