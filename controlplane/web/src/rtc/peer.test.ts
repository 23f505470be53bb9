import { describe, expect, it } from "vitest";
import { Disconnected } from "../signalling/socket";
import { fakeTrack, FakeConnections } from "./fake";
import { DEFAULT_SLOTS, Peer } from "./peer";

function make(
  offer: (sdp: string) => Promise<string> = (sdp) => Promise.resolve(`answer to ${sdp}`),
  { simulcast = false, scalable = false, refusesSimulcast = false, ignoresScalability = false } = {},
) {
  const connections = new FakeConnections();
  connections.refusesSimulcast = refusesSimulcast;
  connections.ignoresScalability = ignoresScalability;
  const published: [string, string][] = [];
  const offers: string[] = [];
  const states: RTCPeerConnectionState[] = [];
  const peer = new Peer(
    {
      ...DEFAULT_SLOTS,
      iceServers: [{ urls: ["turn:x"] }],
      maxBitrate: { camera: 3_000_000, screen: 5_000_000 },
      simulcast,
      scalable,
    },
    {
      publish: (mid, source) => published.push([mid, source]),
      offer: (sdp) => {
        offers.push(sdp);
        return offer(sdp);
      },
    },
    (state) => states.push(state),
    connections.create,
  );
  return { peer, connection: connections.last, published, offers, states };
}

describe("the peer connection", () => {
  it("offers own lines first, then three audio and nine video slots", async () => {
    const { peer, connection, published, offers } = make();
    await peer.setTrack("microphone", fakeTrack("audio"));
    await peer.setTrack("camera", fakeTrack("video"));
    peer.addSlots();
    await peer.negotiate();
    expect(connection.lines.map(({ kind, init }) => `${kind} ${init?.direction}`)).toEqual([
      "audio sendonly",
      "video sendonly",
      ...Array<string>(3).fill("audio recvonly"),
      ...Array<string>(9).fill("video recvonly"),
    ]);
    expect(connection.lines[1]?.init?.sendEncodings).toEqual([{ maxBitrate: 3_000_000 }]);
    expect(connection.lines[0]?.init?.sendEncodings).toBeUndefined();
    expect(published).toEqual([["0", "microphone"], ["1", "camera"]]);
    expect(offers).toEqual(["offer of 14 lines"]);
    expect(connection.remoteDescription).toEqual({ type: "answer", sdp: "answer to offer of 14 lines" });
    expect(peer.needsNegotiation).toBe(false);
  });

  it("adds a line by a new offer for a camera that came later", async () => {
    const { peer, connection, published, offers } = make();
    peer.addSlots();
    await peer.negotiate();
    await peer.setTrack("camera", null);
    expect(peer.needsNegotiation).toBe(false);
    await peer.setTrack("camera", fakeTrack("video"));
    expect(peer.needsNegotiation).toBe(true);
    await peer.negotiate();
    expect(offers).toEqual(["offer of 12 lines", "offer of 13 lines"]);
    expect(published).toEqual([["12", "camera"]]);
    expect(connection.lines).toHaveLength(13);
  });

  it("changes the track of a line without a new offer", async () => {
    const { peer, connection, offers } = make();
    await peer.setTrack("camera", fakeTrack("video", "front"));
    await peer.negotiate();
    await peer.setTrack("camera", null);
    expect(connection.lines[0]?.sent).toBeNull();
    const back = fakeTrack("video", "back");
    await peer.setTrack("camera", back);
    expect(connection.lines[0]?.sent).toBe(back);
    expect(peer.needsNegotiation).toBe(false);
    expect(offers).toHaveLength(1);
  });

  it("makes one exchange of calls that come together, and another for what came during it", async () => {
    let answer = (_: string): void => undefined;
    const { peer, offers } = make(() => new Promise((resolve) => (answer = resolve)));
    peer.addSlots();
    const first = peer.negotiate();
    const second = peer.negotiate();
    await Promise.resolve().then(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(offers).toEqual(["offer of 12 lines"]);
    await peer.setTrack("microphone", fakeTrack("audio"));
    answer("a");
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(offers).toEqual(["offer of 12 lines", "offer of 13 lines"]);
    answer("b");
    await Promise.all([first, second]);
    expect(peer.needsNegotiation).toBe(false);
  });

  it("keeps the wish when the exchange fails", async () => {
    let fail = true;
    const { peer, offers } = make(() => (fail ? Promise.reject(new Disconnected()) : Promise.resolve("a")));
    peer.addSlots();
    await expect(peer.negotiate()).rejects.toBeInstanceOf(Disconnected);
    expect(peer.needsNegotiation).toBe(true);
    fail = false;
    await peer.negotiate();
    expect(peer.needsNegotiation).toBe(false);
    expect(offers).toHaveLength(2);
  });

  it("sets no answer on a connection that was closed meanwhile", async () => {
    let answer = (_: string): void => undefined;
    const { peer, connection } = make(() => new Promise((resolve) => (answer = resolve)));
    peer.addSlots();
    const exchange = peer.negotiate();
    await new Promise((resolve) => setTimeout(resolve, 0));
    peer.close();
    answer("late");
    await exchange;
    expect(connection.closed).toBe(true);
    expect(connection.remoteDescription).toBeNull();
  });

  it("tells the state until it is closed", () => {
    const { peer, connection, states } = make();
    connection.become("connected");
    peer.close();
    connection.become("failed");
    expect(states).toEqual(["connected"]);
  });

  it("reads levels from fresh packets, else from statistics", async () => {
    const { peer, connection } = make();
    peer.addSlots();
    await peer.negotiate();
    const now = performance.timeOrigin + performance.now();
    const receiver = connection.lines[0]?.receiver;
    expect(await peer.audioLevel("0")).toBe(0.25);
    receiver?.sources.push({ audioLevel: 0.5, timestamp: now });
    expect(await peer.audioLevel("0")).toBe(0.5);
    receiver?.sources.splice(0, 1, { audioLevel: 0.5, timestamp: now - 2000 });
    expect(await peer.audioLevel("0")).toBe(0);
    expect(await peer.audioLevel("none")).toBe(0);
  });

  it("sends a camera in three sizes, smallest first, where the server takes them", async () => {
    const { peer, connection } = make(undefined, { simulcast: true });
    await peer.setTrack("camera", fakeTrack("video"));
    const encodings = connection.lines[0]?.init?.sendEncodings ?? [];
    expect(encodings.map(({ rid, scaleResolutionDownBy, active }) => [rid, scaleResolutionDownBy, active])).toEqual([
      ["q", 4, true],
      ["h", 2, true],
      ["f", 1, true],
    ]);
    expect(encodings.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0)).toBe(3_000_000);
  });

  it("sends three sizes in one stream where server and browser take them", async () => {
    const { peer, connection } = make(undefined, { simulcast: true, scalable: true });
    await peer.setTrack("camera", fakeTrack("video"));
    expect(connection.lines[0]?.init?.sendEncodings).toEqual([{ maxBitrate: 3_000_000, scalabilityMode: "L3T3_KEY" }]);
    await peer.negotiate();
    await peer.setLayers("camera", { 0: true, 1: true, 2: false });
    expect(connection.lines[0]?.sender.encodings).toMatchObject([{ scalabilityMode: "L2T3_KEY", scaleResolutionDownBy: 2 }]);
  });

  it("sends them beside each other where the browser knows no other way", async () => {
    const { peer, connection } = make(undefined, { simulcast: true, scalable: true, ignoresScalability: true });
    await peer.setTrack("camera", fakeTrack("video"));
    expect(connection.lines[0]?.init?.sendEncodings?.map(({ rid }) => rid)).toEqual(["q", "h", "f"]);
  });

  it("sends one size where the browser can't do more", async () => {
    const { peer, connection } = make(undefined, { simulcast: true, refusesSimulcast: true });
    await peer.setTrack("camera", fakeTrack("video"));
    expect(connection.lines[0]?.init?.sendEncodings).toEqual([{ maxBitrate: 3_000_000 }]);
  });

  it("makes the only layer whole when the answer leaves one", async () => {
    const { peer, connection } = make(undefined, { simulcast: true });
    await peer.setTrack("camera", fakeTrack("video"));
    const sender = connection.lines[0]?.sender;
    sender?.encodings.splice(1);
    await peer.negotiate();
    expect(sender?.encodings).toMatchObject([{ rid: "q", scaleResolutionDownBy: 1, maxBitrate: 3_000_000 }]);
  });

  it("sends a screen sharp, and small beside it", async () => {
    const { peer, connection } = make(undefined, { simulcast: true });
    const screen = fakeTrack("video");
    await peer.setTrack("screen", screen);
    expect(connection.lines[0]?.init?.sendEncodings?.map(({ rid }) => rid)).toEqual(["q", "f"]);
    expect(screen.contentHint).toBe("detail");
  });

  it("makes the small one whole when the answer leaves only that", async () => {
    const { peer, connection } = make(undefined, { simulcast: true });
    await peer.setTrack("screen", fakeTrack("video"));
    const sender = connection.lines[0]?.sender;
    sender?.encodings.splice(1);
    await peer.negotiate();
    expect(sender?.encodings).toMatchObject([{ rid: "q", scaleResolutionDownBy: 1, maxBitrate: 5_000_000 }]);
    expect(sender?.encodings[0]).not.toHaveProperty("maxFramerate");
  });

  it("leaves lines alone when it is closed while a track is put into them", async () => {
    const { peer, connection } = make();
    await peer.setTrack("screen", fakeTrack("video"));
    const over = peer.setTrack("screen", null);
    peer.close();
    await over;
    expect(connection.lines[0]?.direction).toBe("sendonly");
  });

  it("ends the line of a share that is over, and takes it again for the next", async () => {
    const { peer, connection, offers } = make();
    await peer.setTrack("camera", fakeTrack("video"));
    await peer.setTrack("screen", fakeTrack("video"));
    await peer.negotiate();
    const [camera, screen] = connection.lines;
    await peer.setTrack("camera", null);
    expect(peer.needsNegotiation).toBe(false);
    await peer.setTrack("screen", null);
    expect([camera?.direction, screen?.direction]).toEqual(["sendonly", "inactive"]);
    expect(peer.needsNegotiation).toBe(true);
    await peer.negotiate();
    const again = fakeTrack("video");
    await peer.setTrack("screen", again);
    await peer.negotiate();
    expect(connection.lines).toHaveLength(2);
    expect([screen?.direction, screen?.sent]).toEqual(["sendonly", again]);
    expect(offers).toHaveLength(3);
  });

  it("switches layers, also those it was told of before there was a line, and never sound", async () => {
    const { peer, connection } = make(undefined, { simulcast: true });
    await peer.setLayers("camera", { q: true, h: true, f: false });
    await peer.setTrack("microphone", fakeTrack("audio"));
    await peer.setTrack("camera", fakeTrack("video"));
    await peer.negotiate();
    const [sound, picture] = connection.lines;
    const active = () => picture?.sender.encodings.map((encoding) => encoding.active);
    expect(active()).toEqual([true, true, false]);
    await peer.setLayers("camera", { q: false, h: false, f: false });
    expect(active()).toEqual([false, false, false]);
    await peer.setLayers("microphone", { q: false });
    expect(sound?.sender.changes).toEqual([]);
  });

  it("names the sources of what it sends in its figures", async () => {
    const { peer, connection } = make();
    await peer.setTrack("camera", fakeTrack("video"));
    await peer.negotiate();
    connection.reports = [
      { id: "o", type: "outbound-rtp", kind: "video", mid: "0", timestamp: 1000, bytesSent: 0 },
      { id: "x", type: "outbound-rtp", kind: "video", mid: "7", timestamp: 1000, bytesSent: 0 },
    ] as unknown as { id: string }[];
    expect((await peer.statistics()).sent.map(({ source }) => source)).toEqual(["camera"]);
  });
});
