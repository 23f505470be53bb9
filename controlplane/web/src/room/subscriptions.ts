// What this client asks of others' pictures: as much as its tiles show, and nothing for tiles that
// nobody sees. Collects what tiles report and tells the server the differences, a moment later.
//
// Tracks without a tile are left to the server, which fills free slots by itself. No DOM.

import type { ClientMessage, Source } from "../protocol";
import type { Timers } from "../signalling/socket";
import type { RoomState } from "./store";

/** How a tile shows its picture. */
export interface View {
  /** The largest useful picture, in device pixels. */
  readonly width: number;
  readonly height: number;
  /** Higher first when the path is narrow, 0 to 255. */
  readonly priority: number;
}

/** What comes first on a narrow path: ordinary tiles, who speaks, what was made large, a shared screen. */
export const PRIORITY = { tile: 100, speaker: 150, pinned: 200, screen: 255 } as const;

/** Tiles change their size in steps while a window is dragged: only where they come to rest counts. */
const SETTLE_MS = 250;
/** A tile that is scrolled past comes back soon; stopping it would cost a key frame. */
const AWAY_MS = 2000;
/** So may a page that is hidden. */
const HIDDEN_MS = 5000;
/** A change of size below this share is not worth a message: layers are a factor of two apart. */
const SAME_SIZE = 0.1;

type Wish = View | "nothing";

interface Tile {
  readonly identity: string;
  readonly source: Source;
  view: View;
  /** Out of sight for a while. */
  away: boolean;
  timer: number | undefined;
}

export type SubscriptionMessage = Extract<ClientMessage, { type: "subscribe" | "unsubscribe" }>;

export class Subscriptions {
  private readonly tiles = new Map<string, Tile>();
  /** Tracks of the tiles' sources, as the room has them. */
  private readonly tracks = new Map<string, string>();
  private readonly told = new Map<string, Wish>();
  private ready = false;
  private hidden = false;
  private hiding: number | undefined;
  private settling: number | undefined;

  /** `slots`: pictures that the peer connection can receive at once. */
  constructor(
    private readonly send: (message: SubscriptionMessage) => void,
    private readonly timers: Timers,
    private readonly slots: number,
  ) {}

  /** A tile shows a source like this now; without a view it is out of sight. */
  see(identity: string, source: Source, view: View | undefined): void {
    const key = keyOf(identity, source);
    const tile = this.tiles.get(key);
    if (view) {
      if (tile) {
        this.stop(tile);
        tile.view = view;
        tile.away = false;
      } else {
        this.tiles.set(key, { identity, source, view, away: false, timer: undefined });
      }
    } else if (tile && !tile.away && tile.timer === undefined) {
      tile.timer = this.timers.set(() => {
        tile.timer = undefined;
        tile.away = true;
        this.settle();
      }, AWAY_MS);
      return;
    } else if (!tile) {
      // Never seen, so there is nothing to come back to.
      this.tiles.set(key, { identity, source, view: { width: 1, height: 1, priority: 0 }, away: true, timer: undefined });
    }
    this.settle();
  }

  /** The tile is gone. */
  forget(identity: string, source: Source): void {
    const key = keyOf(identity, source);
    const tile = this.tiles.get(key);
    if (!tile) return;
    this.stop(tile);
    this.tiles.delete(key);
    this.settle();
  }

  /** The room changed: tracks came or went. */
  follow(room: RoomState): void {
    const before = [...this.tracks].join();
    this.tracks.clear();
    for (const { identity, tracks } of room.participants) {
      for (const { id, kind, source } of tracks) if (kind === "video") this.tracks.set(keyOf(identity, source), id);
    }
    if ([...this.tracks].join() === before) return;
    const alive = new Set(this.tracks.values());
    for (const id of this.told.keys()) if (!alive.has(id)) this.told.delete(id);
    this.settle();
  }

  /** Whether anybody can see the page at all. */
  setHidden(hidden: boolean): void {
    if (this.hiding !== undefined) this.timers.clear(this.hiding);
    this.hiding = undefined;
    if (hidden && !this.hidden) {
      this.hiding = this.timers.set(() => {
        this.hiding = undefined;
        this.hidden = true;
        this.flush();
      }, HIDDEN_MS);
    } else if (!hidden && this.hidden) {
      this.hidden = false;
      // Somebody looks at an empty page right now.
      this.flush();
    }
  }

  /** The slots are there and messages get through. What was told before may be lost. */
  open(): void {
    if (this.ready) return;
    this.ready = true;
    this.told.clear();
    this.flush();
  }

  /** Messages would be lost, or the slots are gone. */
  close(): void {
    this.ready = false;
  }

  /** No more timers. */
  end(): void {
    this.close();
    for (const timer of [this.hiding, this.settling]) if (timer !== undefined) this.timers.clear(timer);
    for (const tile of this.tiles.values()) this.stop(tile);
    this.tiles.clear();
  }

  private stop(tile: Tile): void {
    if (tile.timer !== undefined) this.timers.clear(tile.timer);
    tile.timer = undefined;
  }

  private settle(): void {
    if (this.settling !== undefined) this.timers.clear(this.settling);
    this.settling = this.timers.set(() => {
      this.settling = undefined;
      this.flush();
    }, SETTLE_MS);
  }

  /** Tells the server what has changed; slots are freed before others want them. */
  private flush(): void {
    if (!this.ready) return;
    const wishes = this.wishes();
    for (const [id, wish] of wishes) {
      if (wish !== "nothing" || this.told.get(id) === "nothing") continue;
      this.told.set(id, wish);
      this.send({ type: "unsubscribe", track_id: id });
    }
    for (const [id, wish] of wishes) {
      if (wish === "nothing" || same(this.told.get(id), wish)) continue;
      this.told.set(id, wish);
      this.send({
        type: "subscribe",
        track_id: id,
        priority: wish.priority,
        max_width: wish.width,
        max_height: wish.height,
      });
    }
  }

  /** By track, the most urgent first; those beyond the slots get nothing. */
  private wishes(): [string, Wish][] {
    const shown: [string, View][] = [];
    const unseen: [string, Wish][] = [];
    for (const [key, tile] of this.tiles) {
      const id = this.tracks.get(key);
      if (id === undefined) continue;
      if (tile.away || this.hidden) unseen.push([id, "nothing"]);
      else shown.push([id, tile.view]);
    }
    // Stable: among equals, tiles keep the order in which they came.
    shown.sort(([, a], [, b]) => b.priority - a.priority || b.width * b.height - a.width * a.height);
    const beyond = shown.slice(this.slots).map(([id]): [string, Wish] => [id, "nothing"]);
    return [...shown.slice(0, this.slots), ...beyond, ...unseen];
  }
}

function keyOf(identity: string, source: Source): string {
  return `${source} ${identity}`;
}

function same(told: Wish | undefined, wish: View): boolean {
  if (told === undefined || told === "nothing") return false;
  const close = (a: number, b: number): boolean => Math.abs(a - b) <= SAME_SIZE * Math.max(a, b);
  return told.priority === wish.priority && close(told.width, wish.width) && close(told.height, wish.height);
}
