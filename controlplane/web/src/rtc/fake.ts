// A peer connection without a network: it keeps its lines, gives mids when an offer is set, and
// lets tests say what state it is in.

import type { Encoding } from "./encodings";

export class FakeTrack {
  enabled = true;
  stopped = false;
  contentHint = "";
  onended: (() => void) | null = null;
  constructor(
    readonly kind: "audio" | "video",
    readonly label = "",
  ) {}
  stop(): void {
    this.stopped = true;
  }
  getSettings(): MediaTrackSettings {
    return { deviceId: this.label };
  }
}

export function fakeTrack(kind: "audio" | "video", label?: string): MediaStreamTrack & FakeTrack {
  return new FakeTrack(kind, label) as unknown as MediaStreamTrack & FakeTrack;
}

/** Takes parameters as a browser does: only those read last, and one change at a time. */
export class FakeSender {
  encodings: RTCRtpEncodingParameters[];
  /** Changes that were taken. */
  readonly changes: RTCRtpEncodingParameters[][] = [];
  /** Holds the next change back until it is called. */
  finish: (() => void) | undefined;
  hold = false;
  refuse = false;
  private transaction = 0;

  constructor(
    encodings: readonly RTCRtpEncodingParameters[],
    readonly replaceTrack: (track: MediaStreamTrack | null) => Promise<void>,
  ) {
    this.encodings = encodings.map((encoding) => ({ active: true, ...encoding }));
  }

  getParameters(): RTCRtpSendParameters {
    this.transaction += 1;
    return { transactionId: String(this.transaction), encodings: this.encodings.map((encoding) => ({ ...encoding })) } as RTCRtpSendParameters;
  }

  async setParameters({ transactionId, encodings }: RTCRtpSendParameters): Promise<void> {
    if (transactionId !== String(this.transaction) || this.finish || this.refuse) throw new DOMException("", "InvalidStateError");
    if (this.hold) await new Promise<void>((resolve) => (this.finish = resolve));
    this.finish = undefined;
    this.encodings = encodings;
    this.changes.push(encodings);
  }
}

interface FakeLine {
  mid: string | null;
  direction: RTCRtpTransceiverDirection;
  currentDirection: RTCRtpTransceiverDirection | "stopped" | null;
  readonly kind: string;
  readonly init: RTCRtpTransceiverInit | undefined;
  sent: MediaStreamTrack | null;
  readonly sender: FakeSender;
  readonly receiver: {
    track: MediaStreamTrack;
    sources: { audioLevel?: number; timestamp: number }[];
    getSynchronizationSources(): { audioLevel?: number; timestamp: number }[];
    getStats(): Promise<Map<string, unknown>>;
  };
}

export class FakeConnection {
  onconnectionstatechange: (() => void) | null = null;
  connectionState: RTCPeerConnectionState = "new";
  signalingState: RTCSignalingState = "stable";
  localDescription: { type: string; sdp: string } | null = null;
  remoteDescription: { type: string; sdp: string } | null = null;
  closed = false;
  /** Calls of `restartIce`. */
  restarts = 0;
  /** A browser that sends one size. */
  refusesSimulcast = false;
  /** A browser that knows no layers inside a stream. */
  ignoresScalability = false;
  /** What `getStats` gives. */
  reports: { readonly id: string }[] = [];
  readonly lines: FakeLine[] = [];

  constructor(readonly configuration: RTCConfiguration) {}

  addTransceiver(what: MediaStreamTrack | string, init?: RTCRtpTransceiverInit): FakeLine {
    const kind = typeof what === "string" ? what : what.kind;
    if (this.refusesSimulcast && (init?.sendEncodings?.length ?? 0) > 1) throw new TypeError("one encoding");
    const line: FakeLine = {
      mid: null,
      direction: init?.direction ?? "sendrecv",
      currentDirection: null,
      kind,
      init,
      sent: typeof what === "string" ? null : what,
      sender: new FakeSender(this.known(init?.sendEncodings ?? [{}]), (track) => {
        line.sent = track;
        return Promise.resolve();
      }),
      receiver: {
        track: fakeTrack(kind === "audio" ? "audio" : "video"),
        sources: [],
        getSynchronizationSources: () => line.receiver.sources,
        getStats: () => Promise.resolve(new Map([["in", { type: "inbound-rtp", audioLevel: 0.25 }]])),
      },
    };
    this.lines.push(line);
    return line;
  }

  private known(encodings: Encoding[]): Encoding[] {
    return this.ignoresScalability ? encodings.map(({ scalabilityMode: _, ...rest }) => rest) : encodings;
  }

  getTransceivers(): FakeLine[] {
    return this.lines;
  }

  restartIce(): void {
    this.restarts += 1;
  }

  createOffer(): Promise<{ type: string; sdp: string }> {
    const restart = this.restarts > 0 ? `, ICE ${this.restarts}` : "";
    return Promise.resolve({ type: "offer", sdp: `offer of ${this.lines.length} lines${restart}` });
  }

  setLocalDescription(description: { type: string; sdp: string }): Promise<void> {
    this.localDescription = description;
    this.signalingState = "have-local-offer";
    for (const [index, line] of this.lines.entries()) line.mid = String(index);
    return Promise.resolve();
  }

  setRemoteDescription(description: { type: string; sdp: string }): Promise<void> {
    this.remoteDescription = description;
    this.signalingState = "stable";
    return Promise.resolve();
  }

  getStats(): Promise<Map<string, unknown>> {
    return Promise.resolve(new Map(this.reports.map((report) => [report.id, report])));
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close(): void {
    this.closed = true;
    this.signalingState = "closed";
  }
}

/** Hands out fakes and keeps them for the test to look at. */
export class FakeConnections {
  readonly all: FakeConnection[] = [];
  refusesSimulcast = false;
  ignoresScalability = false;
  readonly create = (configuration: RTCConfiguration): RTCPeerConnection => {
    const connection = new FakeConnection(configuration);
    connection.refusesSimulcast = this.refusesSimulcast;
    connection.ignoresScalability = this.ignoresScalability;
    this.all.push(connection);
    return connection as unknown as RTCPeerConnection;
  };

  get last(): FakeConnection {
    const connection = this.all.at(-1);
    if (!connection) throw new Error("no peer connection was made");
    return connection;
  }
}
