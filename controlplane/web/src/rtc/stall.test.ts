import { describe, expect, it } from "vitest";
import { StallDetector } from "./stall";

/** What the detector says of each count. */
function told(...counts: (number | undefined)[]): boolean[] {
  const detector = new StallDetector();
  return counts.map((count) => detector.look(count, true));
}

/** The places at which it said so. */
const stalls = (...counts: (number | undefined)[]) => told(...counts).flatMap((stalled, at) => (stalled ? [at] : []));

describe("a stall", () => {
  it("is told once, when a flow has stopped for three looks", () => {
    expect(stalls(1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5)).toEqual([7]);
  });

  it("is told again only after another flow", () => {
    expect(stalls(1, 2, 3, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6)).toEqual([7]);
    expect(stalls(1, 2, 3, 4, 5, 5, 5, 5, 6, 7, 8, 9, 9, 9, 9)).toEqual([7, 14]);
  });

  it("is no silence in which nothing is to be expected", () => {
    const detector = new StallDetector();
    for (const bytes of [1, 2, 3, 4, 5, 5, 5]) expect(detector.look(bytes, true)).toBe(false);
    // The last one who sent anything has left.
    expect(detector.look(5, false)).toBe(false);
    // Somebody comes who has sent nothing yet.
    for (let count = 0; count < 5; count++) expect(detector.look(5, true)).toBe(false);
  });

  it("is no gap of a moment, and no silence where nothing flowed", () => {
    expect(stalls(1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 7)).toEqual([]);
    expect(stalls(1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)).toEqual([]);
    expect(stalls(undefined, undefined, 1, 1, 1, 1)).toEqual([]);
  });
});
