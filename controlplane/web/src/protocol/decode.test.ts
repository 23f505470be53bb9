import { describe, expect, it } from "vitest";
import { decode } from "./decode";

const joined = {
  type: "joined",
  room: "rm_a1b2c3d4",
  identity: "user-1",
  role: "host",
  permissions: { publish: true, subscribe: true, chat: true, screen: true, record: true, admin: true },
  resume: "token",
  resumed: false,
  participants: [
    {
      identity: "user-2",
      name: "Bob",
      role: "guest",
      joined_at: "2026-03-16T10:00:00Z",
      hand: false,
      tracks: [{ track_id: "tr_a", kind: "audio", source: "microphone", muted: false, simulcast: false }],
    },
  ],
  ice_servers: [{ urls: ["turn:turn.example.com"], username: "u", credential: null }],
  room_info: {
    id: "rm_a1b2c3d4",
    slug: "standup-a1b2",
    name: "Standup",
    max_participants: 20,
    locked: false,
    mode: "open",
    lobby_enabled: false,
    password_protected: false,
    recording_enabled: false,
    chat_history: true,
  },
  presence: { participants: 2, viewers: 0 },
  server: { version: "0.1.0", features: [], max_bitrate: 3_000_000, screen_share_bitrate: 5_000_000 },
};

describe("decode", () => {
  it("takes a whole joined and drops nulls", () => {
    const decoded = decode(JSON.stringify({ re: 1, ...joined }));
    expect(decoded).toEqual({
      ok: true,
      re: 1,
      message: { ...joined, ice_servers: [{ urls: ["turn:turn.example.com"], username: "u" }] },
    });
  });

  it("reads an empty slot, whose members are null on the wire", () => {
    const decoded = decode('{"type":"slot","mid":"5","epoch":3,"track_id":null,"from":null,"reason":"codec"}');
    expect(decoded).toEqual({
      ok: true,
      re: undefined,
      message: { type: "slot", mid: "5", epoch: 3, paused: false, reason: "codec" },
    });
  });

  it("reads the layer of a slot, and which own layers are wanted", () => {
    expect(decode('{"type":"slot","mid":"5","epoch":3,"track_id":"t","from":"u","layer":"low","paused":true}')).toMatchObject({
      message: { layer: "low", paused: true },
    });
    expect(decode('{"type":"dynacast","track_id":"t","layers":{"q":true,"f":false}}')).toMatchObject({
      message: { type: "dynacast", track_id: "t", layers: { q: true, f: false } },
    });
  });

  it("reads breakout rooms, and their end", () => {
    const breakouts = {
      open: true,
      assign: "choice",
      rooms: [{ id: "rm_b", name: "Red", assigned: ["u"], present: [] }],
    };
    expect(decode(JSON.stringify({ type: "breakouts", breakouts }))).toMatchObject({ message: { breakouts } });
    expect(decode('{"type":"breakouts","breakouts":null}')).toEqual({
      ok: true,
      re: undefined,
      message: { type: "breakouts" },
    });
  });

  it("reads what was said before", () => {
    const message = { id: "msg-1", from: "u", name: "U", text: "hi", timestamp: 1, deleted: false, reactions: { x: ["u"] } };
    expect(decode(JSON.stringify({ type: "chat_history", messages: [message], more: true, re: 3 }))).toMatchObject({
      re: 3,
      message: { messages: [{ ...message, reactions: { x: ["u"] } }], more: true },
    });
  });

  it.each([
    ["breakouts.rooms", '{"type":"breakouts","breakouts":{"open":true,"assign":"manual","rooms":5}}'],
    ["role_changed.role", '{"type":"role_changed","identity":"u","role":"king","by":"h"}'],
    ["not JSON", "{"],
    ["not an object", "[]"],
    ["type", '{"re":1}'],
    ["slot.epoch", '{"type":"slot","mid":"5","epoch":"3"}'],
    ["track_published.source", '{"type":"track_published","track_id":"t","kind":"video","source":"scanner","from":"u","mid":"0","muted":false,"simulcast":false}'],
    ["slot.layer", '{"type":"slot","mid":"5","epoch":3,"layer":"huge"}'],
    ["slot.paused", '{"type":"slot","mid":"5","epoch":3,"paused":"no"}'],
    ["dynacast.layers", '{"type":"dynacast","track_id":"t","layers":[]}'],
    ["dynacast.h", '{"type":"dynacast","track_id":"t","layers":{"q":true,"h":1}}'],
    ["joined.tracks", JSON.stringify({ ...joined, participants: [{ ...joined.participants[0], tracks: {} }] })],
    ["joined.room_info", JSON.stringify({ ...joined, room_info: null })],
  ])("refuses a frame that is malformed: %s", (detail, frame) => {
    expect(decode(frame)).toMatchObject({ ok: false, why: "malformed", detail });
  });

  it("tells a type it does not know from a malformed one", () => {
    expect(decode('{"type":"hologram","re":"x"}')).toEqual({ ok: false, why: "unknown_type", detail: "hologram", re: "x" });
    expect(decode('{"type":"constructor"}')).toMatchObject({ ok: false, why: "unknown_type" });
  });

  it("keeps an error code of a newer server", () => {
    expect(decode('{"type":"error","code":"too_warm","message":"Cool down."}')).toMatchObject({
      ok: true,
      message: { type: "error", code: "too_warm", message: "Cool down." },
    });
  });
});
