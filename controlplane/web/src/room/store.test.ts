import { describe, expect, it } from "vitest";
import type { ServerMessage } from "../protocol";
import { joinedMessage } from "../signalling/fake";
import { audioSlots, isMuted, isPaused, occupants, participantCount, slotOf, slotReason } from "./selectors";
import { initialRoom, reduce, type RoomEvent, type RoomState } from "./store";

function run(...events: (ServerMessage | RoomEvent)[]): RoomState {
  return events.reduce<RoomState>(
    (state, event) =>
      reduce(
        state,
        event.type === "message" || event.type === "speaking" || event.type === "chat_open" || event.type === "media_reset"
          ? event
          : { type: "message", message: event },
      ),
    initialRoom("Ada"),
  );
}

const bob = { type: "participant_joined", identity: "bob", name: "Bob", role: "guest" } as const;
const camera = {
  type: "track_published",
  track_id: "tr_c",
  kind: "video",
  source: "camera",
  from: "bob",
  mid: "1",
  muted: false,
  simulcast: false,
} as const;
const microphone = { ...camera, track_id: "tr_m", kind: "audio", source: "microphone", mid: "0" } as const;

describe("the room", () => {
  it("counts and names who comes and goes", () => {
    const state = run(joinedMessage(), bob);
    expect(participantCount(state)).toBe(2);
    expect(state.notice).toEqual({ count: 1, what: { kind: "joined", name: "Bob" } });
    const later = run(joinedMessage(), bob, { type: "participant_left", identity: "bob" });
    expect(participantCount(later)).toBe(1);
    expect(later.notice).toEqual({ count: 2, what: { kind: "left", name: "Bob" } });
  });

  it("does not announce the same person twice, nor itself", () => {
    const state = run(joinedMessage(), bob, { ...bob, name: "Robert" }, { ...bob, identity: "me" });
    expect(state.participants).toHaveLength(1);
    expect(state.participants[0]?.name).toBe("Robert");
    expect(state.notice?.count).toBe(1);
  });

  it("maps slots to people by track", () => {
    const state = run(
      joinedMessage(),
      bob,
      camera,
      microphone,
      { type: "slot", mid: "5", epoch: 1, paused: false, track_id: "tr_c", from: "bob" },
      { type: "slot", mid: "2", epoch: 1, paused: false, track_id: "tr_m", from: "bob" },
      { type: "slot", mid: "3", epoch: 1, paused: false },
    );
    expect(slotOf(state, "bob", "camera")).toBe("5");
    expect(audioSlots(state)).toEqual([{ mid: "2", from: "bob" }]);
    const emptied = reduce(state, { type: "message", message: { type: "slot", mid: "5", epoch: 2, paused: false, reason: "codec" } });
    expect(slotOf(emptied, "bob", "camera")).toBeUndefined();
    const unplayable = reduce(state, {
      type: "message",
      message: { type: "slot", mid: "5", epoch: 2, paused: false, track_id: "tr_c", from: "bob", reason: "codec" },
    });
    expect(slotReason(unplayable, "bob", "camera")).toBe("codec");
  });

  it("tells a picture that is held back from one that flows, and which layer it is", () => {
    const slot = { type: "slot", mid: "5", epoch: 1, track_id: "tr_c", from: "bob", layer: "low", paused: true } as const;
    const held = run(joinedMessage(), bob, camera, slot);
    expect(isPaused(held, "bob", "camera")).toBe(true);
    expect(occupants(held).get("5")).toEqual({ identity: "bob", name: "Bob", source: "camera", layer: "low", paused: true });
    // The epoch stays: the occupant is the same.
    const flowing = reduce(held, { type: "message", message: { ...slot, layer: "high", paused: false } });
    expect(isPaused(flowing, "bob", "camera")).toBe(false);
    expect(occupants(flowing).get("5")?.layer).toBe("high");
    expect(isPaused(flowing, "nobody", "camera")).toBe(false);
  });

  it("ignores a slot's older state, and takes any after a resume", () => {
    const older = { type: "slot", mid: "5", epoch: 2, paused: false, track_id: "tr_old", from: "bob" } as const;
    const state = run(joinedMessage(), { ...older, epoch: 3, track_id: "tr_c" }, older);
    expect(state.slots["5"]?.trackId).toBe("tr_c");
    const resumed = reduce(state, { type: "message", message: joinedMessage({ resumed: true }) });
    expect(resumed.slots["5"]?.trackId).toBe("tr_c");
    expect(reduce(resumed, { type: "message", message: older }).slots["5"]?.trackId).toBe("tr_old");
  });

  it("forgets slots when the media session is new", () => {
    const slot = { type: "slot", mid: "5", epoch: 3, paused: false, track_id: "tr_c", from: "bob" } as const;
    expect(run(joinedMessage(), slot, joinedMessage()).slots).toEqual({});
    expect(run(joinedMessage(), slot, { type: "media_reset" }).slots).toEqual({});
  });

  it("follows muting by name and by track id", () => {
    const base = [joinedMessage(), bob, camera, microphone] as const;
    expect(isMuted(run(joinedMessage(), bob), "bob", "microphone")).toBe(true);
    expect(isMuted(run(...base), "bob", "microphone")).toBe(false);
    const muted = run(...base, { type: "muted", identity: "bob", track: "audio", by: "bob" });
    expect([isMuted(muted, "bob", "microphone"), isMuted(muted, "bob", "camera")]).toEqual([true, false]);
    const byId = run(...base, { type: "muted", identity: "bob", track: "tr_c", by: "host" });
    expect([isMuted(byId, "bob", "microphone"), isMuted(byId, "bob", "camera")]).toEqual([false, true]);
    const back = reduce(byId, { type: "message", message: { type: "unmuted", identity: "bob", track: "video", by: "bob" } });
    expect(isMuted(back, "bob", "camera")).toBe(false);
  });

  it("replaces a source's track and drops it when unpublished", () => {
    const state = run(joinedMessage(), bob, camera, { ...camera, track_id: "tr_d" });
    expect(state.participants[0]?.tracks.map(({ id }) => id)).toEqual(["tr_d"]);
    const gone = reduce(state, { type: "message", message: { type: "track_unpublished", track_id: "tr_d", from: "bob" } });
    expect(gone.participants[0]?.tracks).toEqual([]);
  });

  it("counts unread messages while the chat is closed, each id once", () => {
    const message = { type: "chat", id: "m1", from: "bob", text: "Hello", timestamp: 1 } as const;
    const state = run(joinedMessage(), bob, message, message, { ...message, id: "m2", from: "me" });
    expect(state.unread).toBe(1);
    expect(state.chat.map(({ name, own }) => [name, own])).toEqual([
      ["Bob", false],
      ["Ada", true],
    ]);
    const open = reduce(state, { type: "chat_open", open: true });
    expect(open.unread).toBe(0);
    expect(reduce(open, { type: "message", message: { ...message, id: "m3" } }).unread).toBe(0);
  });

  it("keeps the sender's name after it left", () => {
    const state = run(
      joinedMessage(),
      bob,
      { type: "chat", id: "m1", from: "bob", text: "Bye", timestamp: 1 },
      { type: "participant_left", identity: "bob" },
    );
    expect(state.chat[0]?.name).toBe("Bob");
  });

  it("remembers who spoke, the newest first, and forgets who left", () => {
    const speaks = (identity: string) => ({ type: "active_speaker", identity }) as const;
    const state = run(joinedMessage(), bob, speaks("bob"), speaks("me"), speaks("bob"));
    expect(state.spoken).toEqual(["bob", "me"]);
    expect(reduce(state, { type: "message", message: speaks("bob") })).toBe(state);
    expect(reduce(state, { type: "message", message: { type: "participant_left", identity: "bob" } }).spoken).toEqual(["me"]);
  });

  it("says who muted an own track until it is back", () => {
    const muted = (by: string) => ({ type: "muted", identity: "me", track: "audio", by }) as const;
    const state = run(joinedMessage(), bob, muted("bob"));
    expect(state.mutedBy).toEqual({ audio: "Bob" });
    expect(state.notice?.what).toEqual({ kind: "muted", name: "Bob", track: "audio" });
    const back = { type: "unmuted", identity: "me", track: "audio", by: "me" } as const;
    expect(reduce(state, { type: "message", message: back }).mutedBy).toEqual({});
    expect(run(joinedMessage(), bob, muted("me")).mutedBy).toEqual({});
    expect(run(joinedMessage(), bob, { ...muted("me"), identity: "bob" }).mutedBy).toEqual({});
  });

  it("gives the same object when nothing changed", () => {
    const state = run(joinedMessage(), { type: "speaking", identities: ["bob"] });
    expect(reduce(state, { type: "speaking", identities: ["bob"] })).toBe(state);
    expect(reduce(state, { type: "message", message: { type: "media_restarted" } })).toBe(state);
  });

  it("follows into a breakout room, where the others are other people", () => {
    const carol = {
      identity: "carol",
      name: "Carol",
      role: "guest",
      joined_at: "2026-03-16T10:00:00Z",
      hand: true,
      tracks: [],
    } as const;
    const participants = [{ ...carol, tracks: [] }];
    const state = run(joinedMessage(), bob, { type: "room_moved", breakout: "rm_b", name: "Red", participants });
    expect(state.participants.map(({ identity, hand }) => [identity, hand])).toEqual([["carol", true]]);
  });

  it("knows a new role, a raised hand, and what was changed or taken back", () => {
    const said = { type: "chat", from: "bob", timestamp: 1 } as const;
    const state = run(
      joinedMessage(),
      bob,
      { type: "role_changed", identity: "bob", role: "co_host", by: "host" },
      { type: "hand", identity: "bob", raised: true, by: "bob" },
      { ...said, id: "msg-1", text: "helo" },
      { ...said, id: "msg-2", text: "rude" },
      { type: "chat_edited", id: "msg-1", text: "hello", edited_at: 2 },
      { type: "chat_deleted", id: "msg-2", by: "host" },
    );
    expect(state.participants[0]).toMatchObject({ role: "co_host", hand: true });
    expect(state.chat.map(({ text }) => text)).toEqual(["hello"]);
  });
});
