// The one peer connection of a participant. The client always offers: its own lines send only,
// the others are slots that only receive. What feeds a slot changes without a new offer; a new
// line (a camera that was switched on for the first time) takes one.
//
// Owns lines and negotiation. Never opens devices, and never decides when a connection is to be
// replaced: room/meeting.ts does.

import type { IceServer, Source } from "../protocol";
import { cameraEncodings, isScalable, scalableEncodings, screenEncodings, singleEncoding, type Encoding } from "./encodings";
import { SenderLayers, type WantedLayers } from "./sender_layers";
import { StatisticsReader, type Statistics } from "./statistics";

export interface PeerOptions {
  readonly iceServers: readonly IceServer[];
  /** Highest bitrate in bit/s for each source that has one. */
  readonly maxBitrate: Partial<Record<Source, number>>;
  /** Whether the server takes several layers of a camera. */
  readonly simulcast: boolean;
  /** Whether the codec that is sent carries its layers in one stream. */
  readonly scalable: boolean;
  readonly audioSlots: number;
  readonly videoSlots: number;
}

/** The server holds up to 3 loudest speakers and 9 pictures for a participant by default. */
export const DEFAULT_SLOTS = { audioSlots: 3, videoSlots: 9 } as const;

export interface PeerSignalling {
  /** Names the source of a line; called before the offer that holds it. */
  publish(mid: string, source: Source): void;
  /** Sends an offer and gives the answer. */
  offer(sdp: string): Promise<string>;
}

export type CreateConnection = (configuration: RTCConfiguration) => RTCPeerConnection;

const KIND: Record<Source, "audio" | "video"> = {
  camera: "video",
  microphone: "audio",
  screen: "video",
  screen_audio: "audio",
};

/** The members of RTCStats that tell what came over a path. */
interface PathReport {
  readonly id: string;
  readonly type: string;
  readonly selectedCandidatePairId?: string;
  readonly bytesReceived?: number;
  readonly bytesSent?: number;
}

/** Bytes over the path in use, of all kinds. */
export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

/** Sources that come and go. */
const SHARED: ReadonlySet<Source> = new Set<Source>(["screen", "screen_audio"]);

/** An audio level older than this tells nothing about now. */
const STALE_LEVEL_MS = 500;

export class Peer {
  /** For statistics and tests; nobody else changes it. */
  readonly connection: RTCPeerConnection;
  private readonly lines = new Map<Source, RTCRtpTransceiver>();
  private readonly layers = new Map<Source, SenderLayers>();
  /** What the server wants of sources, also of those without a line yet. */
  private readonly wantedLayers = new Map<Source, WantedLayers>();
  private readonly statisticsReader = new StatisticsReader();
  private readonly streams = new Map<string, MediaStream>();
  private running: Promise<void> | undefined;
  private wanted = true;
  private closed = false;

  constructor(
    private readonly options: PeerOptions,
    private readonly signalling: PeerSignalling,
    onState: (state: RTCPeerConnectionState) => void,
    private readonly create: CreateConnection = (configuration) => new RTCPeerConnection(configuration),
  ) {
    this.connection = create({
      iceServers: options.iceServers.map((server) => ({ ...server })),
      bundlePolicy: "max-bundle",
    });
    this.connection.onconnectionstatechange = () => {
      if (!this.closed) onState(this.connection.connectionState);
    };
  }

  /** Whether an offer is still to be made or answered. */
  get needsNegotiation(): boolean {
    return this.wanted || this.connection.signalingState !== "stable";
  }

  /** Adds the receiving lines. Own lines are added before, so that they come first. */
  addSlots(): void {
    for (let i = 0; i < this.options.audioSlots; i++) this.connection.addTransceiver("audio", { direction: "recvonly" });
    for (let i = 0; i < this.options.videoSlots; i++) this.connection.addTransceiver("video", { direction: "recvonly" });
    this.wanted = true;
  }

  /**
   * Gives a source another track, or none. A source without a line gets one, and `negotiate` is
   * due; an existing line keeps its SSRC and needs nothing, but for a share that begins or ends.
   */
  async setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const line = this.lines.get(source);
    // Text of a screen is read, not watched: sharp pictures before many.
    if (track && source === "screen") track.contentHint = "detail";
    // A line that the answer refused is stopped for good (RFC 8829 section 4.1.10).
    if (line && line.currentDirection !== "stopped") {
      await line.sender.replaceTrack(track);
      // Whoever leaves meanwhile has no line to turn any more.
      if (this.closed) return;
      // A camera that is off stays a line of its own; a share that is over is gone.
      const direction = track || !SHARED.has(source) ? "sendonly" : "inactive";
      if (line.direction !== direction) {
        line.direction = direction;
        this.wanted = true;
      }
      return;
    }
    if (!track) return;
    this.addLine(source, track);
    this.wanted = true;
  }

  private addLine(source: Source, track: MediaStreamTrack): void {
    const maxBitrate = this.options.maxBitrate[source];
    if (KIND[source] === "audio" || maxBitrate === undefined) {
      this.lines.set(source, this.connection.addTransceiver(track, { direction: "sendonly" }));
      return;
    }
    const line = this.addVideoLine(
      track,
      source === "camera" ? this.cameraEncodings(maxBitrate) : screenEncodings(maxBitrate, this.options.simulcast),
      maxBitrate,
    );
    this.lines.set(source, line);
    const layers = new SenderLayers(line.sender, maxBitrate);
    this.layers.set(source, layers);
    const wanted = this.wantedLayers.get(source);
    if (wanted) void layers.want(wanted);
  }

  private cameraEncodings(maxBitrate: number): Encoding[] {
    const scalable = scalableEncodings(maxBitrate);
    return this.options.scalable && isScalable(scalable) && this.takesMode(scalable)
      ? scalable
      : cameraEncodings(maxBitrate, this.options.simulcast);
  }

  /** Whether the browser takes a mode: one that does not know the member leaves it out (Firefox), another throws. */
  private takesMode(sendEncodings: Encoding[]): boolean {
    const probe = this.create({});
    try {
      const { sender } = probe.addTransceiver("video", { direction: "sendonly", sendEncodings });
      return isScalable(sender.getParameters().encodings ?? []);
    } catch {
      return false;
    } finally {
      probe.close();
    }
  }

  private addVideoLine(track: MediaStreamTrack, sendEncodings: Encoding[], maxBitrate: number): RTCRtpTransceiver {
    try {
      return this.connection.addTransceiver(track, { direction: "sendonly", sendEncodings });
    } catch (error) {
      // A browser without simulcast, or without a mode it does not know, sends one size.
      if (sendEncodings.length === 1) throw error;
      return this.connection.addTransceiver(track, { direction: "sendonly", sendEncodings: singleEncoding(maxBitrate) });
    }
  }

  /** The server says which layers of a source anybody takes; it may say so before there is a line. */
  async setLayers(source: Source, layers: WantedLayers): Promise<void> {
    if (KIND[source] === "audio") return;
    this.wantedLayers.set(source, layers);
    await this.layers.get(source)?.want(layers);
  }

  /** Every line's figures now; rates are since the last call. */
  async statistics(): Promise<Statistics> {
    const report = await this.connection.getStats();
    return this.statisticsReader.read(report.values(), (mid) => this.sourceOf(mid));
  }

  /** What has gone over the path in use; another path counts anew. */
  async traffic(): Promise<Traffic | undefined> {
    const reports = [...(await this.connection.getStats()).values()] as PathReport[];
    const selected = reports.find(({ type }) => type === "transport")?.selectedCandidatePairId;
    const path = reports.find(({ id }) => id === selected);
    if (path?.bytesReceived === undefined) return undefined;
    return { received: path.bytesReceived, sent: path.bytesSent ?? 0 };
  }

  private sourceOf(mid: string): Source | undefined {
    for (const [source, line] of this.lines) if (line.mid === mid) return source;
    return undefined;
  }

  hasLine(source: Source): boolean {
    return this.lines.has(source);
  }

  /**
   * Offers until nothing is left to offer. Concurrent calls share one exchange. A failure leaves
   * the wish standing, so that a later call makes it good.
   */
  negotiate(): Promise<void> {
    this.wanted = true;
    this.running ??= this.exchange().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  /**
   * Looks for another way to the server; lines, keys and streams stay. The server answers a
   * restart of ICE on the session it has.
   */
  restartIce(): Promise<void> {
    this.connection.restartIce();
    return this.negotiate();
  }

  private async exchange(): Promise<void> {
    while (this.wanted && !this.closed) {
      this.wanted = false;
      try {
        await this.offerOnce();
      } catch (error) {
        this.wanted = true;
        throw error;
      }
    }
  }

  private async offerOnce(): Promise<void> {
    const { connection } = this;
    await connection.setLocalDescription(await connection.createOffer());
    // Lines have their mids from here on.
    for (const [source, line] of this.lines) {
      if (line.mid !== null) this.signalling.publish(line.mid, source);
    }
    const sdp = connection.localDescription?.sdp;
    if (this.closed || sdp === undefined) return;
    // Own candidates are not trickled: the server is ICE-lite and learns a client's addresses
    // from its checks (RFC 8445 section 7.3.1.3), so they would tell it nothing.
    const answer = await this.signalling.offer(sdp);
    if (this.closed) return;
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    for (const layers of this.layers.values()) void layers.negotiated();
  }

  private transceiver(mid: string): RTCRtpTransceiver | undefined {
    return this.connection.getTransceivers().find((transceiver) => transceiver.mid === mid);
  }

  /** What a slot receives; the same object for the life of the connection. */
  stream(mid: string): MediaStream | undefined {
    const known = this.streams.get(mid);
    if (known) return known;
    const transceiver = this.transceiver(mid);
    if (!transceiver) return undefined;
    const stream = new MediaStream([transceiver.receiver.track]);
    this.streams.set(mid, stream);
    return stream;
  }

  /** Loudness of a slot now, 0 to 1. */
  async audioLevel(mid: string): Promise<number> {
    const receiver = this.transceiver(mid)?.receiver;
    if (!receiver) return 0;
    // From the RTP header extension where the server forwards it: no statistics run needed.
    const source = receiver.getSynchronizationSources()[0];
    if (source?.audioLevel !== undefined) {
      const age = performance.timeOrigin + performance.now() - source.timestamp;
      // A source stays listed for 10 s after its last packet.
      return age > STALE_LEVEL_MS ? 0 : source.audioLevel;
    }
    for (const report of (await receiver.getStats()).values()) {
      const { type, audioLevel } = report as { type: string; audioLevel?: number };
      if (type === "inbound-rtp" && audioLevel !== undefined) return audioLevel;
    }
    return 0;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.connection.onconnectionstatechange = null;
    this.connection.close();
    this.streams.clear();
  }
}
