import { beforeEach, describe, expect, it } from "vitest";
import { FakeTimers } from "../signalling/fake";
import { initialRoom, type RoomState } from "./store";
import { PRIORITY, Subscriptions, type SubscriptionMessage, type View } from "./subscriptions";

const SETTLED = 250;
const AWAY = 2000;
const HIDDEN = 5000;

let timers: FakeTimers;
let sent: SubscriptionMessage[];
let subscriptions: Subscriptions;

beforeEach(() => {
  timers = new FakeTimers();
  sent = [];
  subscriptions = new Subscriptions((message) => sent.push(message), timers, 2);
});

/** A room in which these people have a camera each. */
function room(...people: string[]): RoomState {
  return {
    ...initialRoom("Ada"),
    participants: people.map((identity) => ({
      identity,
      name: identity,
      role: "guest",
      hand: false,
      tracks: [
        { id: `tr_${identity}`, kind: "video", source: "camera", muted: false },
        { id: `tr_${identity}_mic`, kind: "audio", source: "microphone", muted: false },
      ],
    })),
  };
}

function view(width: number, priority: number = PRIORITY.tile): View {
  return { width, height: (width * 9) / 16, priority };
}

const see = (who: string, shown: View | undefined): void => subscriptions.see(who, "camera", shown);
/** What was said since the last look: who, and how wide; `-` for nothing. */
const said = (): string[] =>
  sent.splice(0).map((message) => (message.type === "subscribe" ? `${message.track_id} ${message.max_width}` : `${message.track_id} -`));

describe("subscriptions", () => {
  it("tell a tile's size once it has come to rest", () => {
    subscriptions.follow(room("bob"));
    subscriptions.open();
    for (const width of [320, 400, 640]) {
      see("bob", view(width));
      timers.advance(SETTLED / 2);
    }
    expect(sent).toEqual([]);
    timers.advance(SETTLED);
    expect(sent).toEqual([{ type: "subscribe", track_id: "tr_bob", priority: 100, max_width: 640, max_height: 360 }]);
  });

  it("say nothing of small changes, and something of a new priority", () => {
    subscriptions.follow(room("bob"));
    subscriptions.open();
    see("bob", view(640));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_bob 640"]);
    see("bob", view(600));
    timers.advance(SETTLED);
    expect(said()).toEqual([]);
    see("bob", view(600, PRIORITY.pinned));
    timers.advance(SETTLED);
    expect(sent).toMatchObject([{ priority: 200, max_width: 600 }]);
  });

  it("wait for the slots and for a track, whichever comes last", () => {
    see("bob", view(640));
    timers.advance(SETTLED);
    subscriptions.open();
    expect(said()).toEqual([]);
    subscriptions.follow(room("bob"));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_bob 640"]);
    // A change of the room that is none of tracks.
    subscriptions.follow({ ...room("bob"), speaking: ["bob"] });
    timers.advance(SETTLED);
    expect(said()).toEqual([]);
  });

  it("want nothing of a tile that stays out of sight, and something again when it is back", () => {
    subscriptions.follow(room("bob"));
    subscriptions.open();
    see("bob", view(640));
    timers.advance(SETTLED);
    said();
    see("bob", undefined);
    timers.advance(AWAY - 1);
    see("bob", view(640));
    timers.advance(AWAY + SETTLED);
    expect(said(), "it was only scrolled past").toEqual([]);
    see("bob", undefined);
    timers.advance(AWAY + SETTLED);
    expect(said()).toEqual(["tr_bob -"]);
    see("bob", view(320));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_bob 320"]);
  });

  it("want nothing of tiles that begin out of sight, which the server would fill", () => {
    subscriptions.follow(room("bob"));
    subscriptions.open();
    see("bob", undefined);
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_bob -"]);
  });

  it("want nothing while the page is hidden, and everything at once when it is back", () => {
    subscriptions.follow(room("bob", "carol"));
    subscriptions.open();
    see("bob", view(640));
    see("carol", view(320));
    timers.advance(SETTLED);
    said();
    subscriptions.setHidden(true);
    timers.advance(HIDDEN - 1);
    subscriptions.setHidden(false);
    timers.advance(HIDDEN);
    expect(said(), "a glance at another tab").toEqual([]);
    subscriptions.setHidden(true);
    timers.advance(HIDDEN);
    expect(said()).toEqual(["tr_bob -", "tr_carol -"]);
    subscriptions.setHidden(false);
    expect(said()).toEqual(["tr_bob 640", "tr_carol 320"]);
  });

  it("give the slots to the most urgent tiles, and free them first", () => {
    subscriptions.follow(room("bob", "carol", "dora"));
    subscriptions.open();
    see("bob", view(320));
    see("carol", view(320));
    see("dora", view(320));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_dora -", "tr_bob 320", "tr_carol 320"]);
    see("dora", view(1280, PRIORITY.pinned));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_carol -", "tr_dora 1280"]);
  });

  it("are all told again when the slots are new or messages may be lost", () => {
    subscriptions.follow(room("bob"));
    subscriptions.open();
    see("bob", view(640));
    timers.advance(SETTLED);
    subscriptions.open();
    expect(said(), "open already").toEqual(["tr_bob 640"]);
    subscriptions.close();
    see("bob", view(320));
    timers.advance(SETTLED);
    expect(said()).toEqual([]);
    subscriptions.open();
    expect(said()).toEqual(["tr_bob 320"]);
  });

  it("forget tracks that are gone and leave those without a tile alone", () => {
    subscriptions.follow(room("bob", "carol"));
    subscriptions.open();
    see("bob", view(640));
    timers.advance(SETTLED);
    expect(said()).toEqual(["tr_bob 640"]);
    subscriptions.follow(room("carol"));
    subscriptions.follow(room("bob", "carol"));
    timers.advance(SETTLED);
    expect(said(), "a track that came back is told again").toEqual(["tr_bob 640"]);
    subscriptions.forget("bob", "camera");
    timers.advance(SETTLED);
    expect(said()).toEqual([]);
    subscriptions.end();
    timers.advance(60_000);
    expect(sent).toEqual([]);
  });
});
