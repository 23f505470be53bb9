import { describe, expect, it } from "vitest";
import { featured, screens, stageOrder } from "./stage";
import type { ParticipantState } from "./store";

describe("the order of tiles", () => {
  const people = ["a", "b", "c", "d", "e", "f"];

  it("is that of arrival while speakers are in sight", () => {
    expect(stageOrder(people, [], 4)).toEqual(people);
    expect(stageOrder(people, ["d", "b"], 4)).toEqual(people);
  });

  it("brings a speaker into sight and moves nobody but who was quiet longest", () => {
    expect(stageOrder(people, ["e"], 4)).toEqual(["a", "b", "c", "e", "d", "f"]);
    expect(stageOrder(people, ["f", "e"], 4)).toEqual(["a", "b", "f", "e", "d", "c"]);
    expect(stageOrder(people, ["e", "d", "c", "b", "a"], 4)).toEqual(["e", "b", "c", "d", "a", "f"]);
  });

  it("forgets who left", () => {
    expect(stageOrder(["a", "b"], ["gone", "b"], 1)).toEqual(["b", "a"]);
  });
});

describe("shared screens", () => {
  const person = (identity: string, muted: boolean): ParticipantState => ({
    identity,
    name: identity,
    role: "guest",
    hand: false,
    tracks: [{ id: `tr_${identity}`, kind: "video", source: "screen", muted }],
  });

  it("keep the order in which they began", () => {
    const first = screens([person("b", false)], []);
    const second = screens([person("a", false), person("b", false)], first);
    expect(second).toEqual(["b", "a"]);
    expect(screens([person("a", false), person("b", true)], second)).toEqual(["a"]);
  });

  it("are large, the newest of them, until somebody wants something else", () => {
    expect(featured(undefined, [], new Set())).toBeUndefined();
    expect(featured(undefined, ["b", "a"], new Set())).toEqual({ identity: "a", source: "screen" });
    expect(featured(undefined, ["b", "a"], new Set(["a"]))).toEqual({ identity: "b", source: "screen" });
    const pinned = { identity: "c", source: "camera" } as const;
    expect(featured(pinned, ["b", "a"], new Set())).toBe(pinned);
  });
});
