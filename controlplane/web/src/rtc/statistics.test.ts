import { describe, expect, it } from "vitest";
import { StatisticsReader } from "./statistics";

const at = (seconds: number, bytes: number, lost: number, came: number) => [
  { id: "t", type: "transport", timestamp: seconds * 1000, selectedCandidatePairId: "p", bytesSent: 2 * bytes, bytesReceived: bytes },
  { id: "p", type: "candidate-pair", timestamp: 0, currentRoundTripTime: 0.025, availableOutgoingBitrate: 2_000_000 },
  { id: "q", type: "candidate-pair", timestamp: 0, currentRoundTripTime: 9 },
  {
    id: "i",
    type: "inbound-rtp",
    kind: "video",
    mid: "5",
    timestamp: seconds * 1000,
    bytesReceived: bytes,
    packetsReceived: came,
    packetsLost: lost,
    jitter: 0.004,
    frameWidth: 640,
    frameHeight: 360,
    framesPerSecond: 30,
  },
  { id: "j", type: "inbound-rtp", kind: "video", mid: "6", timestamp: seconds * 1000, packetsReceived: 0 },
  { id: "o", type: "outbound-rtp", kind: "video", mid: "1", rid: "q", active: false, timestamp: seconds * 1000, bytesSent: bytes, remoteId: "r" },
  { id: "r", type: "remote-inbound-rtp", timestamp: 0, fractionLost: 0.25, jitter: 0.01 },
];
const source = (mid: string) => (mid === "1" ? ("camera" as const) : undefined);

describe("statistics", () => {
  it("have no rates at first, then those of the time between", () => {
    const reader = new StatisticsReader();
    const first = reader.read(at(10, 1000, 0, 10), source);
    expect(first).toMatchObject({ rtt: 25, availableOutgoing: 2_000_000, sending: undefined });
    expect(first.received).toMatchObject([{ mid: "5", bitrate: undefined, loss: undefined, fps: 30 }]);
    const second = reader.read(at(12, 251_000, 5, 105), source);
    expect(second).toMatchObject({ sending: 2_000_000, receiving: 1_000_000 });
    expect(second.received).toEqual([
      { mid: "5", kind: "video", size: { width: 640, height: 360 }, fps: 30, bitrate: 1_000_000, loss: 0.05, jitter: 4 },
    ]);
    expect(second.sent).toMatchObject([{ source: "camera", rid: "q", active: false, bitrate: 1_000_000, loss: 0.25, jitter: 10 }]);
  });

  it("tell no rate when a count began anew, nor of no time at all", () => {
    const reader = new StatisticsReader();
    reader.read(at(10, 5000, 9, 10), source);
    expect(reader.read(at(11, 1000, 3, 20), source).received).toMatchObject([{ bitrate: undefined, loss: 0 }]);
    expect(reader.read(at(11, 2000, 3, 20), source).received).toMatchObject([{ bitrate: undefined, loss: undefined }]);
  });

  it("survive a browser that tells little", () => {
    const reader = new StatisticsReader();
    const bare = [{ id: "i", type: "inbound-rtp", kind: "audio", mid: "2", timestamp: 0, packetsReceived: 1 }];
    expect(reader.read(bare, source)).toEqual({
      rtt: undefined,
      availableOutgoing: undefined,
      sending: undefined,
      receiving: undefined,
      received: [{ mid: "2", kind: "audio", size: undefined, fps: undefined, bitrate: undefined, loss: undefined, jitter: undefined }],
      sent: [],
    });
  });
});
