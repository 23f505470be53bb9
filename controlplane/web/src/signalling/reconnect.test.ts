import { describe, expect, it } from "vitest";
import type { ServerMessage } from "../protocol";
import { FakeNetwork, joinedMessage, settle } from "./fake";
import { Signalling, type ConnectionState } from "./reconnect";
import { Disconnected, Refused, REQUEST_TIMEOUT_MS } from "./socket";

function begin() {
  const network = new FakeNetwork();
  const states: ConnectionState[] = [];
  const messages: ServerMessage[] = [];
  const signalling = new Signalling(
    { url: "ws://kall/ws?token=t", room: "standup-a1b2", name: "Ada" },
    { onState: (state) => states.push(state), onMessage: (message) => messages.push(message) },
    network,
  );
  signalling.start();
  return { network, states, messages, signalling };
}

async function enter(part: Parameters<typeof joinedMessage>[0] = {}) {
  const all = begin();
  all.network.socket.open();
  all.network.socket.answer("join", joinedMessage(part));
  await settle();
  return all;
}

describe("signalling", () => {
  it("joins when the socket opens, and hands messages on in order", async () => {
    const { network, states, messages } = begin();
    expect(states).toEqual([{ name: "connecting", attempt: 0, before: false }]);
    network.socket.open();
    expect(network.socket.sent).toEqual([
      { id: 1, type: "join", room: "standup-a1b2", name: "Ada", auto_subscribe: true },
    ]);
    network.socket.answer("join", joinedMessage());
    network.socket.say({ type: "participant_left", identity: "x" });
    expect(states.at(-1)).toEqual({ name: "joined" });
    expect(messages.map(({ type }) => type)).toEqual(["joined", "participant_left"]);
  });

  it("waits in the lobby until it is let in, or not", async () => {
    const { network, states } = begin();
    network.socket.open();
    network.socket.say({ type: "lobby_waiting", room_name: "Standup", identity: "me" });
    expect(states.at(-1)).toEqual({ name: "lobby", roomName: "Standup" });
    network.socket.say(joinedMessage());
    expect(states.at(-1)).toEqual({ name: "joined" });
    const other = begin();
    other.network.socket.open();
    other.network.socket.answer("join", { type: "lobby_waiting", room_name: "Standup", identity: "me" });
    await settle();
    other.network.socket.say({ type: "lobby_rejected", reason: "Not invited" });
    expect(other.states.at(-1)).toEqual({ name: "ended", code: "lobby_rejected", message: "Not invited" });
  });

  it("comes back after a loss with the newest resume token", async () => {
    const { network, states } = await enter();
    network.socket.drop();
    expect(states.at(-1)).toEqual({ name: "waiting", attempt: 0, before: true, retryInMs: 250 });
    network.timers.advance(249);
    expect(network.sockets).toHaveLength(1);
    network.timers.advance(1);
    expect(network.sockets).toHaveLength(2);
    network.socket.open();
    expect(network.socket.last("join")).toMatchObject({ resume: "resume-1" });
    network.socket.answer("join", joinedMessage({ resume: "resume-2", resumed: true }));
    network.socket.drop();
    network.timers.advance(250);
    network.socket.open();
    expect(network.socket.last("join")).toMatchObject({ resume: "resume-2" });
  });

  it("waits longer after each failure, and starts over after a success", async () => {
    const { network, states } = await enter();
    const waits = [250, 500, 1000, 2000, 2500, 2500];
    for (const [attempt, retryInMs] of waits.entries()) {
      network.socket.drop();
      expect(states.at(-1)).toEqual({ name: "waiting", attempt, before: true, retryInMs });
      network.timers.advance(retryInMs);
    }
    network.socket.open();
    network.socket.answer("join", joinedMessage({ resumed: true }));
    network.socket.drop();
    expect(states.at(-1)).toMatchObject({ retryInMs: 250 });
  });

  it("gives up a socket that does not open, the first one soon", async () => {
    const { network, states } = begin();
    for (const [attempt, patience] of [3000, 6000, 12_000, 12_000].entries()) {
      network.timers.advance(patience - 1);
      expect(network.sockets).toHaveLength(attempt + 1);
      network.timers.advance(1);
      expect(network.socket.closedWith).toBe(4000);
      const state = states.at(-1);
      if (state?.name !== "waiting") throw new Error(state?.name);
      network.timers.advance(state.retryInMs);
      expect(network.sockets).toHaveLength(attempt + 2);
    }
    network.socket.open();
    network.socket.answer("join", joinedMessage());
    await settle();
    expect(states.at(-1)).toEqual({ name: "joined" });
  });

  it("opens another socket at once when the network changes while one is being opened", () => {
    const { network, states, signalling } = begin();
    signalling.moveSocket();
    expect(network.sockets).toHaveLength(2);
    expect(network.sockets[0]?.closedWith).toBe(4000);
    expect(states.at(-1)).toEqual({ name: "connecting", attempt: 0, before: false });
    network.timers.advance(2999);
    expect(network.sockets).toHaveLength(2);
  });

  it("tries at once when told to, and only once", async () => {
    const { network, signalling } = await enter();
    network.socket.drop();
    signalling.retryNow();
    signalling.retryNow();
    expect(network.sockets).toHaveLength(2);
    network.timers.advance(1000);
    expect(network.sockets).toHaveLength(2);
  });

  it.each(["room_full", "room_locked", "room_not_found", "password_required", "permission_denied"] as const)(
    "ends when join is refused with %s",
    async (code) => {
      const { network, states } = begin();
      network.socket.open();
      network.socket.answer("join", { type: "error", code, message: "no" });
      await settle();
      expect(states.at(-1)).toEqual({ name: "ended", code, message: "no" });
      network.timers.advance(60_000);
      expect(network.sockets).toHaveLength(1);
    },
  );

  it("tries again when join fails for a reason that passes", async () => {
    const { network, states } = begin();
    network.socket.open();
    network.socket.answer("join", { type: "error", code: "media_unavailable", message: "" });
    await settle();
    expect(states.at(-1)).toMatchObject({ name: "waiting" });
  });

  it("ends on a refused token, said by message or by close code", async () => {
    const first = begin();
    first.network.socket.open();
    first.network.socket.say({ type: "error", code: "auth_failed", message: "expired" });
    expect(first.states.at(-1)).toEqual({ name: "ended", code: "auth_failed", message: "expired" });
    const second = begin();
    second.network.socket.drop(4401);
    expect(second.states.at(-1)).toMatchObject({ name: "ended", code: "auth_failed" });
  });

  it("ends when another tab takes over, when kicked, and when the room closes", async () => {
    const replaced = await enter();
    replaced.network.socket.drop(4409);
    expect(replaced.states.at(-1)).toMatchObject({ name: "ended", code: "replaced" });
    const kicked = await enter();
    kicked.network.socket.say({ type: "kicked", identity: "other", by: "host" });
    expect(kicked.states.at(-1)).toMatchObject({ name: "joined" });
    kicked.network.socket.say({ type: "kicked", identity: "me", by: "host" });
    expect(kicked.states.at(-1)).toMatchObject({ name: "ended", code: "kicked" });
    const closed = await enter();
    closed.network.socket.say({ type: "room_closed" });
    expect(closed.states.at(-1)).toMatchObject({ name: "ended", code: "room_closed" });
  });

  it("says leave and closes cleanly", async () => {
    const { network, states, signalling } = await enter();
    signalling.leave();
    expect(network.socket.sent.at(-1)).toEqual({ type: "leave" });
    expect(network.socket.closedWith).toBe(1000);
    expect(states.at(-1)).toMatchObject({ name: "ended", code: "left" });
    network.timers.advance(60_000);
    expect(network.sockets).toHaveLength(1);
  });

  it("rejects requests on refusal and on loss", async () => {
    const { network, signalling } = await enter();
    const refused = signalling.request({ type: "chat", text: "hi" });
    network.socket.answer("chat", { type: "error", code: "rate_limited", message: "slowly" });
    await expect(refused).rejects.toMatchObject({ code: "rate_limited", message: "slowly" });
    await expect(refused).rejects.toBeInstanceOf(Refused);
    const lost = signalling.request({ type: "chat", text: "hi" });
    network.socket.drop();
    await expect(lost).rejects.toBeInstanceOf(Disconnected);
    await expect(signalling.request({ type: "chat", text: "hi" })).rejects.toBeInstanceOf(Disconnected);
  });

  it("takes a silent server for a lost one", async () => {
    const { network, states, signalling } = await enter();
    const unanswered = signalling.request({ type: "chat", text: "hi" });
    network.timers.advance(REQUEST_TIMEOUT_MS);
    await expect(unanswered).rejects.toBeInstanceOf(Disconnected);
    expect(states.some(({ name }) => name === "waiting")).toBe(true);
  });

  it("ignores what it does not understand", async () => {
    const { network, messages, states } = await enter();
    network.socket.raw('{"type":"hologram"}');
    network.socket.raw("{");
    expect(messages).toHaveLength(1);
    expect(states.at(-1)).toEqual({ name: "joined" });
  });

  it("ignores a socket that was already given up", async () => {
    const { network, messages } = await enter();
    const [old] = network.sockets;
    old?.drop();
    network.timers.advance(250);
    old?.say({ type: "media_restarted" });
    old?.drop();
    expect(messages).toHaveLength(1);
    expect(network.sockets).toHaveLength(2);
  });
});
