// Who is where: the order of the tiles, and which one is large. Pure.

import type { ParticipantState } from "./store";

/** What a tile shows. */
export interface Shown {
  readonly identity: string;
  readonly source: "camera" | "screen";
}

/** A tile by name, for comparing. */
export function tileKey({ identity, source }: Shown): string {
  return `${source} ${identity}`;
}

/**
 * The order of arrival, but whoever spoke lately is among the first `places`: there one sees them. They take the
 * place of who has not spoken for the longest time, so that nobody else moves. `spoken`: the newest first.
 */
export function stageOrder(identities: readonly string[], spoken: readonly string[], places: number): string[] {
  const order = [...identities];
  const turn = (identity: string): number => {
    const at = spoken.indexOf(identity);
    return at === -1 ? Infinity : at;
  };
  const here = new Set(identities);
  for (const identity of spoken.filter((one) => here.has(one)).slice(0, places).reverse()) {
    const at = order.indexOf(identity);
    if (at < places) continue;
    let weakest = 0;
    for (let i = 1; i < places; i++) {
      if (turn(order[i] ?? "") >= turn(order[weakest] ?? "")) weakest = i;
    }
    order[at] = order[weakest] ?? identity;
    order[weakest] = identity;
  }
  return order;
}

/** Whose screens are shared, in the order they began; `before` is the last answer. */
export function screens(participants: readonly ParticipantState[], before: readonly string[]): string[] {
  const sharing = participants
    .filter(({ tracks }) => tracks.some(({ source, muted }) => source === "screen" && !muted))
    .map(({ identity }) => identity);
  const kept = before.filter((identity) => sharing.includes(identity));
  return [...kept, ...sharing.filter((identity) => !kept.includes(identity))];
}

/** The large tile: what the person pinned, else the newest screen that they did not send back. */
export function featured(
  pinned: Shown | undefined,
  shared: readonly string[],
  sentBack: ReadonlySet<string>,
): Shown | undefined {
  if (pinned) return pinned;
  const newest = shared.findLast((identity) => !sentBack.has(identity));
  return newest === undefined ? undefined : { identity: newest, source: "screen" };
}
