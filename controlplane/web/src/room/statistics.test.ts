import { expect, it } from "vitest";
import { joinedMessage } from "../signalling/fake";
import { statisticsRows } from "./statistics";
import { initialRoom, reduce, type RoomState } from "./store";

it("names figures after the people they belong to, others first", () => {
  const track = (from: string, source: "camera" | "microphone", id: string) =>
    ({ type: "track_published", track_id: id, kind: source === "camera" ? "video" : "audio", source, from, mid: "0", muted: false, simulcast: true }) as const;
  const messages = [
    joinedMessage(),
    { type: "participant_joined", identity: "bob", name: "Bob", role: "guest" },
    { type: "participant_joined", identity: "carol", name: "Carol", role: "guest" },
    track("bob", "camera", "tr_b"),
    track("bob", "microphone", "tr_m"),
    track("carol", "camera", "tr_c"),
    { type: "slot", mid: "3", epoch: 1, track_id: "tr_c", from: "carol", layer: "low", paused: true },
    { type: "slot", mid: "2", epoch: 1, track_id: "tr_m", from: "bob", paused: false },
    { type: "slot", mid: "4", epoch: 1, track_id: "tr_b", from: "bob", layer: "high", paused: false },
  ] as const;
  const room = messages.reduce<RoomState>((state, message) => reduce(state, { type: "message", message }), initialRoom("Ada"));
  const none = { size: undefined, fps: undefined, bitrate: undefined, loss: undefined, jitter: undefined };
  const rows = statisticsRows(room, {
    rtt: 1,
    availableOutgoing: 1,
    sending: 1,
    receiving: 1,
    received: [
      { ...none, mid: "2", kind: "audio" },
      { ...none, mid: "3", kind: "video" },
      { ...none, mid: "4", kind: "video", fps: 30 },
      { ...none, mid: "9", kind: "video" },
    ],
    sent: [
      { ...none, source: "microphone", kind: "audio", rid: undefined, active: true },
      { ...none, source: "camera", kind: "video", rid: "q", active: true, size: { width: 320, height: 180 } },
      { ...none, source: "camera", kind: "video", rid: "f", active: false, size: { width: 1280, height: 720 } },
    ],
  });
  expect(rows.map(({ name, self, source, layer, state }) => `${self ? "me" : name} ${source} ${layer ?? "-"} ${state}`)).toEqual([
    "Bob camera high flowing",
    "Bob microphone - flowing",
    "Carol camera low paused",
    "me camera high off",
    "me camera low flowing",
    "me microphone - flowing",
  ]);
  expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
});
