// A peer connection without a network: it keeps its lines, gives mids when an offer is set, and
// lets tests say what state it is in.

export class FakeTrack {
  enabled = true;
  stopped = false;
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

interface FakeLine {
  mid: string | null;
  currentDirection: RTCRtpTransceiverDirection | "stopped" | null;
  readonly kind: string;
  readonly init: RTCRtpTransceiverInit | undefined;
  sent: MediaStreamTrack | null;
  readonly sender: { replaceTrack(track: MediaStreamTrack | null): Promise<void> };
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
  readonly lines: FakeLine[] = [];

  constructor(readonly configuration: RTCConfiguration) {}

  addTransceiver(what: MediaStreamTrack | string, init?: RTCRtpTransceiverInit): FakeLine {
    const kind = typeof what === "string" ? what : what.kind;
    const line: FakeLine = {
      mid: null,
      currentDirection: null,
      kind,
      init,
      sent: typeof what === "string" ? null : what,
      sender: {
        replaceTrack: (track) => {
          line.sent = track;
          return Promise.resolve();
        },
      },
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

  getTransceivers(): FakeLine[] {
    return this.lines;
  }

  createOffer(): Promise<{ type: string; sdp: string }> {
    return Promise.resolve({ type: "offer", sdp: `offer of ${this.lines.length} lines` });
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
  readonly create = (configuration: RTCConfiguration): RTCPeerConnection => {
    const connection = new FakeConnection(configuration);
    this.all.push(connection);
    return connection as unknown as RTCPeerConnection;
  };

  get last(): FakeConnection {
    const connection = this.all.at(-1);
    if (!connection) throw new Error("no peer connection was made");
    return connection;
  }
}
