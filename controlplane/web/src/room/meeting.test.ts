import { beforeEach, describe, expect, it } from "vitest";
import { LocalMedia, type MediaDevicesLike } from "../media/local";
import { ScreenShare } from "../media/screen";
import { fakeTrack, FakeConnections } from "../rtc/fake";
import { FakeNetwork, joinedMessage, settle } from "../signalling/fake";
import { Meeting } from "./meeting";

const devices: MediaDevicesLike = {
  getUserMedia: (constraints = {}) => {
    const audio = constraints.audio ? [fakeTrack("audio")] : [];
    const video = constraints.video ? [fakeTrack("video")] : [];
    return Promise.resolve({
      getAudioTracks: () => audio,
      getVideoTracks: () => video,
      getTracks: () => [...audio, ...video],
    } as unknown as MediaStream);
  },
  enumerateDevices: () => Promise.resolve([]),
};

const published = (source: "microphone" | "camera", muted: boolean) =>
  ({
    type: "track_published",
    track_id: `tr_${source}`,
    kind: source === "camera" ? "video" : "audio",
    source,
    from: "me",
    mid: "0",
    muted,
    simulcast: false,
  }) as const;

let network: FakeNetwork;
let connections: FakeConnections;
let local: LocalMedia;
let meeting: Meeting;
let loudness: number;
let changeNetwork: () => void;

beforeEach(() => {
  network = new FakeNetwork();
  connections = new FakeConnections();
  loudness = 0;
  local = new LocalMedia(devices, { load: () => ({}), save: () => undefined }, false);
  meeting = new Meeting({ url: "ws://kall/ws", room: "standup-a1b2", name: "Ada" }, local, {
    signalling: network,
    createConnection: connections.create,
    timers: network.timers,
    now: () => network.timers.now,
    ownLevel: () => loudness,
    onNetworkChange: (listener) => {
      changeNetwork = listener;
      return () => undefined;
    },
  });
  meeting.start();
});

async function enter(part: Parameters<typeof joinedMessage>[0] = {}): Promise<void> {
  network.socket.open();
  network.socket.answer("join", joinedMessage(part));
  await settle();
}

async function answerOffer(): Promise<void> {
  network.socket.answer("offer", { type: "answer", sdp: "answer" });
  await settle();
}

async function connect(): Promise<void> {
  await enter();
  await answerOffer();
  connections.last.become("connected");
}

/** Somebody sends a picture, and a slot shows it. */
function showAlice(): void {
  network.socket.say({ type: "participant_joined", identity: "alice", name: "Alice", role: "guest" });
  network.socket.say({ ...published("camera", false), track_id: "tr_alice", from: "alice" });
  network.socket.say({ type: "slot", mid: "3", track_id: "tr_alice", from: "alice", paused: false, epoch: 1 });
}

/** What has gone over the path when the meeting looks next. */
async function look(bytesReceived: number, bytesSent = 0): Promise<void> {
  connections.last.reports = [
    { id: "t", type: "transport", selectedCandidatePairId: "p" },
    { id: "p", type: "candidate-pair", bytesReceived, bytesSent },
  ] as unknown as { id: string }[];
  network.timers.advance(200);
  await settle();
}

describe("a meeting", () => {
  it("joins, names its lines, offers, and is connected", async () => {
    await local.openBoth();
    await enter();
    expect(network.socket.sent.map(({ type }) => type)).toEqual(["join", "publish", "publish", "offer"]);
    expect(meeting.state.media).toBe("connecting");
    await answerOffer();
    expect(connections.last.remoteDescription?.sdp).toBe("answer");
    connections.last.become("connected");
    expect(meeting.state).toMatchObject({ media: "connected", connection: { name: "joined" } });
  });

  it("keeps the peer connection over a resume", async () => {
    await connect();
    network.socket.drop();
    expect(meeting.state).toMatchObject({ media: "connected", connection: { name: "waiting" } });
    network.timers.advance(250);
    await enter({ resumed: true });
    expect(connections.all).toHaveLength(1);
    expect(connections.last.closed).toBe(false);
    expect(network.socket.last("offer")).toBeUndefined();
  });

  it("builds a new one when the media session is gone", async () => {
    await connect();
    network.socket.drop();
    network.timers.advance(250);
    await enter({ resumed: false });
    expect(connections.all).toHaveLength(2);
    expect(connections.all[0]?.closed).toBe(true);
    expect(network.socket.last("offer")).toBeDefined();
    expect(meeting.state.generation).toBe(2);
  });

  it("builds a new one when the data plane restarted, and forgets the slots", async () => {
    await connect();
    network.socket.say({ type: "slot", mid: "3", epoch: 9, paused: false, track_id: "tr_x", from: "bob" });
    network.socket.say({ type: "media_restarted" });
    await settle();
    expect(meeting.state).toMatchObject({ restarting: true, media: "connecting", room: { slots: {} } });
    await answerOffer();
    connections.last.become("connected");
    expect(meeting.state).toMatchObject({ restarting: false, media: "connected" });
    expect(connections.all).toHaveLength(2);
  });

  it("repeats an offer whose answer was lost with the socket", async () => {
    await enter();
    network.socket.drop();
    await settle();
    network.timers.advance(250);
    await enter({ resumed: true });
    expect(connections.all).toHaveLength(1);
    expect(network.socket.last("offer")).toBeDefined();
  });

  it("waits and offers again while the media plane is away", async () => {
    await enter();
    network.socket.answer("offer", { type: "error", code: "media_unavailable", message: "away" });
    await settle();
    expect(network.socket.sent.filter(({ type }) => type === "offer")).toHaveLength(1);
    network.timers.advance(500);
    await settle();
    expect(network.socket.sent.filter(({ type }) => type === "offer")).toHaveLength(2);
    expect(connections.all).toHaveLength(1);
  });

  it("says that the server is full, waits, and comes in as soon as there is room", async () => {
    await enter();
    network.socket.answer("offer", { type: "error", code: "room_full", message: "full" });
    await settle();
    expect(meeting.state).toMatchObject({ crowded: true, mediaProblem: undefined });
    network.timers.advance(500);
    await settle();
    expect(connections.all).toHaveLength(1);
    await answerOffer();
    expect(meeting.state.crowded).toBe(false);
  });

  it("says why when the server can't use the offer", async () => {
    await enter();
    network.socket.answer("offer", { type: "error", code: "sdp_invalid", message: "no codec in common" });
    await settle();
    expect(meeting.state).toMatchObject({ media: "failed", mediaProblem: "no codec in common" });
  });

  it("replaces a connection that never worked", async () => {
    await enter();
    await answerOffer();
    connections.last.become("failed");
    expect(meeting.state.media).toBe("failed");
    network.timers.advance(500);
    await settle();
    expect(connections.all).toHaveLength(2);
    expect(connections.all[0]?.restarts).toBe(0);
    expect(meeting.state.media).toBe("connecting");
  });

  describe("when a connection that worked stops", () => {
    const offers = () => network.socket.sent.filter(({ type }) => type === "offer").map((offer) => (offer as { sdp: string }).sdp);

    it("looks for another path, once, and the connection lives on", async () => {
      await connect();
      const before = offers().length;
      connections.last.become("disconnected");
      expect(meeting.state.media).toBe("interrupted");
      await settle();
      expect(offers().slice(before)).toEqual([expect.stringContaining("ICE 1")]);
      connections.last.become("failed");
      await answerOffer();
      connections.last.become("connected");
      network.timers.advance(60_000);
      await settle();
      expect(connections.all).toHaveLength(1);
      expect(connections.last.restarts).toBe(1);
      expect(meeting.state.media).toBe("connected");
      connections.last.become("failed");
      await settle();
      expect(offers().at(-1)).toContain("ICE 2");
    });

    it("waits for the socket, and looks for another path after the return", async () => {
      await connect();
      network.socket.drop();
      connections.last.become("failed");
      await settle();
      expect(connections.last.restarts).toBe(0);
      network.timers.advance(250);
      await enter({ resumed: true });
      expect(connections.all).toHaveLength(1);
      expect(network.socket.last("offer")).toMatchObject({ sdp: expect.stringContaining("ICE 1") as string });
    });

    it("repeats the offer when the socket was as dead as the media", async () => {
      await connect();
      connections.last.become("disconnected");
      await settle();
      network.timers.advance(400);
      connections.last.become("failed");
      await settle();
      expect(network.sockets).toHaveLength(1);
      network.timers.advance(100);
      await settle();
      network.timers.advance(0);
      expect(network.sockets).toHaveLength(2);
      await enter({ resumed: true });
      expect(connections.all).toHaveLength(1);
      expect(network.socket.last("offer")).toMatchObject({ sdp: expect.stringContaining("ICE 1") as string });
      await answerOffer();
      connections.last.become("connected");
      network.timers.advance(8000);
      await settle();
      expect(connections.all).toHaveLength(1);
      expect(meeting.state.media).toBe("connected");
    });

    it("looks for another path as soon as nothing more comes, before the browser misses it", async () => {
      await connect();
      showAlice();
      for (const bytes of [1, 2, 3, 4, 5, 6, 6, 6]) await look(bytes);
      expect(connections.last.restarts).toBe(0);
      await look(6);
      expect(connections.last.restarts).toBe(1);
      await answerOffer();
      // The browser noticed nothing at all: the path is another one, the connection is the same.
      network.timers.advance(60_000);
      await settle();
      expect(connections.all).toHaveLength(1);
      connections.last.become("disconnected");
      await settle();
      expect(connections.last.restarts).toBe(2);
    });

    it("takes no silence for a stall when nobody sends anything any more", async () => {
      await connect();
      showAlice();
      for (const bytes of [1, 2, 3, 4, 5, 6]) await look(bytes);
      network.socket.say({ type: "participant_left", identity: "alice" });
      for (let count = 0; count < 10; count++) await look(6);
      expect(connections.last.restarts).toBe(0);
    });

    it("knows that what it sends is to be answered", async () => {
      await connect();
      for (const bytes of [1, 2, 3, 4, 5, 6]) await look(bytes, bytes);
      for (const sent of [7, 8, 9]) await look(6, sent);
      expect(connections.last.restarts).toBe(1);
    });

    it("moves the socket and the media at once in another network", async () => {
      await connect();
      changeNetwork();
      await settle();
      network.timers.advance(0);
      expect(network.sockets).toHaveLength(2);
      await enter({ resumed: true });
      expect(network.socket.last("offer")).toMatchObject({ sdp: expect.stringContaining("ICE 1") as string });
      expect(connections.all).toHaveLength(1);
    });

    it("builds a new one when that does not help", async () => {
      await connect();
      connections.last.become("disconnected");
      await settle();
      await answerOffer();
      network.timers.advance(7900);
      await settle();
      expect(connections.all).toHaveLength(1);
      network.timers.advance(100);
      await settle();
      expect(connections.all).toHaveLength(2);
      expect(connections.all[0]?.closed).toBe(true);
      expect(meeting.state.media).toBe("connecting");
    });

    it("builds a new one when the server knows no restarts", async () => {
      await connect();
      connections.last.become("failed");
      await settle();
      network.socket.answer("offer", { type: "error", code: "sdp_invalid", message: "transport" });
      await settle();
      network.timers.advance(500);
      await settle();
      expect(connections.all).toHaveLength(2);
      expect(meeting.state.mediaProblem).toBeUndefined();
    });
  });

  it("mutes before the first offer, and follows the switch afterwards", async () => {
    await local.openBoth();
    await local.setOn("microphone", false);
    await enter();
    expect(network.socket.sent.map(({ type }) => type)).toEqual(["join", "mute", "publish", "publish", "offer"]);
    await answerOffer();
    network.socket.say(published("microphone", true));
    network.socket.say(published("camera", false));
    await local.setOn("microphone", true);
    expect(network.socket.sent.at(-1)).toEqual({ type: "unmute", track: "audio" });
    await local.setOn("camera", false);
    await settle();
    expect(network.socket.sent.at(-1)).toEqual({ type: "mute", track: "video" });
    expect(connections.last.lines[1]?.sent).toBeNull();
    await local.setOn("camera", true);
    await settle();
    expect(network.socket.sent.at(-1)).toEqual({ type: "unmute", track: "video" });
    expect(connections.last.lines[1]?.sent?.kind).toBe("video");
    expect(network.socket.sent.filter(({ type }) => type === "offer")).toHaveLength(1);
  });

  it("corrects the server's view of a track once it is published", async () => {
    await local.openBoth();
    await connect();
    await local.setOn("microphone", false);
    expect(network.socket.last("mute")).toBeUndefined();
    network.socket.say(published("microphone", false));
    expect(network.socket.last("mute")).toEqual({ type: "mute", track: "audio" });
  });

  it("repeats after a resume what is muted", async () => {
    await local.openBoth();
    await connect();
    network.socket.say(published("microphone", false));
    await local.setOn("microphone", false);
    network.socket.drop();
    network.timers.advance(250);
    await enter({ resumed: true });
    expect(network.socket.sent.filter(({ type }) => type === "mute")).toEqual([{ type: "mute", track: "audio" }]);
  });

  it("offers again for a camera that is switched on later", async () => {
    await connect();
    expect(network.socket.last("publish")).toBeUndefined();
    await local.setOn("camera", true);
    await settle();
    expect(network.socket.last("publish")).toMatchObject({ source: "camera" });
    expect(network.socket.sent.filter(({ type }) => type === "offer")).toHaveLength(2);
  });

  it("shows who speaks, itself included", async () => {
    await connect();
    network.socket.say({ type: "participant_joined", identity: "bob", name: "Bob", role: "guest" });
    network.socket.say({ ...published("microphone", false), track_id: "tr_b", from: "bob" });
    network.socket.say({ type: "slot", mid: "0", epoch: 1, paused: false, track_id: "tr_b", from: "bob" });
    loudness = 0.3;
    network.timers.advance(200);
    await settle();
    expect(meeting.state.room.speaking).toEqual(["bob", "me"]);
  });

  it("sends chat and says when it did not arrive", async () => {
    await connect();
    const sent = meeting.sendChat("Hello");
    network.socket.answer("chat", { type: "chat", id: "m1", from: "me", text: "Hello", timestamp: 1 });
    await sent;
    expect(meeting.state.room.chat).toMatchObject([{ text: "Hello", own: true, name: "Ada" }]);
    network.socket.drop();
    await expect(meeting.sendChat("Lost")).rejects.toThrow();
  });

  it("closes everything on leaving", async () => {
    await connect();
    meeting.leave();
    expect(meeting.state.connection).toMatchObject({ name: "ended", code: "left" });
    expect(connections.last.closed).toBe(true);
    network.timers.advance(60_000);
    expect(network.sockets).toHaveLength(1);
  });

  it("says how large its tiles are once the slots are there, and again after a resume", async () => {
    const tile = { width: 640, height: 360, priority: 100 };
    meeting.see("bob", "camera", tile);
    await enter({
      participants: [
        {
          identity: "bob",
          name: "Bob",
          role: "guest",
          hand: false,
          joined_at: "2026-03-16T10:00:00Z",
          tracks: [{ track_id: "tr_b", kind: "video", source: "camera", muted: false, simulcast: true }],
        },
      ],
    });
    network.timers.advance(1000);
    expect(network.socket.last("subscribe")).toBeUndefined();
    await answerOffer();
    const wish = { type: "subscribe", track_id: "tr_b", priority: 100, max_width: 640, max_height: 360 };
    expect(network.socket.last("subscribe")).toEqual(wish);
    connections.last.become("connected");
    network.socket.drop();
    network.timers.advance(250);
    network.socket.open();
    network.socket.answer("join", joinedMessage({ resumed: true }));
    network.socket.say({ type: "participant_joined", identity: "bob", name: "Bob", role: "guest" });
    network.socket.say({ ...published("camera", false), track_id: "tr_b", from: "bob" });
    await settle();
    network.timers.advance(1000);
    expect(network.socket.sent.filter(({ type }) => type === "subscribe")).toEqual([wish]);
  });

  it("switches the layers that the server names, also before it has named the track", async () => {
    await local.openBoth();
    await enter({ server: { version: "0.1.0", features: ["simulcast"], max_bitrate: 3_000_000, screen_share_bitrate: 5_000_000 } });
    await answerOffer();
    const active = () => connections.last.lines[1]?.sender.encodings.map((encoding) => encoding.active);
    network.socket.say({ type: "dynacast", track_id: "tr_camera", layers: { q: true, h: false, f: false } });
    await settle();
    expect(active()).toEqual([true, true, true]);
    network.socket.say({ ...published("camera", false), mid: "1", simulcast: true });
    await settle();
    expect(active()).toEqual([true, false, false]);
    network.socket.say({ type: "dynacast", track_id: "tr_camera", layers: { q: true, h: true, f: true } });
    await settle();
    expect(active()).toEqual([true, true, true]);
  });

  it("switches a device off that a moderator silenced, and leaves it to the person to switch it on", async () => {
    await local.openBoth();
    await connect();
    network.socket.say(published("microphone", false));
    network.socket.say({ type: "participant_joined", identity: "host", name: "Hana", role: "host" });
    network.socket.say({ type: "muted", identity: "me", track: "audio", by: "host" });
    await settle();
    expect(local.state.microphone).toMatchObject({ on: false, track: { enabled: false } });
    expect(meeting.state.room.mutedBy).toEqual({ audio: "Hana" });
    expect(network.socket.last("unmute")).toBeUndefined();
    await local.setOn("microphone", true);
    expect(network.socket.last("unmute")).toEqual({ type: "unmute", track: "audio" });
    expect(meeting.state.room.mutedBy).toEqual({});
  });

  it("shares a screen with its sound, and takes it back when the browser ends it", async () => {
    const [video, audio] = [fakeTrack("video"), fakeTrack("audio")];
    const screen = new ScreenShare({
      getDisplayMedia: () =>
        Promise.resolve({
          getVideoTracks: () => [video],
          getAudioTracks: () => [audio],
          getTracks: () => [video, audio],
        } as unknown as MediaStream),
    });
    meeting = new Meeting(
      { url: "ws://kall/ws", room: "standup-a1b2", name: "Ada" },
      local,
      {
        signalling: network,
        createConnection: connections.create,
        timers: network.timers,
        now: () => network.timers.now,
        ownLevel: () => loudness,
        onNetworkChange: () => () => undefined,
      },
      screen,
    );
    meeting.start();
    await connect();
    await screen.start();
    await settle();
    expect(network.socket.sent.filter(({ type }) => type === "publish")).toMatchObject([
      { source: "screen" },
      { source: "screen_audio" },
    ]);
    await answerOffer();
    const lines = () => connections.last.lines.filter(({ sent }) => sent === video || sent === audio);
    expect(lines().map(({ direction }) => direction)).toEqual(["sendonly", "sendonly"]);
    const shared = lines();
    video.onended?.();
    await settle();
    expect(shared.map(({ direction, sent }) => [direction, sent])).toEqual([
      ["inactive", null],
      ["inactive", null],
    ]);
    expect(audio.stopped).toBe(true);
    await answerOffer();
    // Left, it is no more shared.
    await screen.start();
    await settle();
    meeting.leave();
    expect(screen.state.video).toBeUndefined();
  });

  it("offers again on the same connection when the server asks for it", async () => {
    await connect();
    network.socket.say({ type: "renegotiate" });
    await settle();
    expect(network.socket.sent.filter(({ type }) => type === "offer")).toHaveLength(2);
    expect(connections.all).toHaveLength(1);
  });
});
