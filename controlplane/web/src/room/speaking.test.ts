import { expect, it } from "vitest";
import { SpeakingDetector } from "./speaking";

it("bridges pauses between words, and not silence", () => {
  const detector = new SpeakingDetector();
  const at = (now: number, a: number, b: number): string[] => detector.update(now, new Map([["b", b], ["a", a]]));
  expect(at(0, 0.2, 0)).toEqual(["a"]);
  expect(at(500, 0, 0.05)).toEqual(["a", "b"]);
  expect(at(800, 0.001, 0.05)).toEqual(["b"]);
  expect(detector.update(900, new Map([["a", 0]]))).toEqual([]);
});
