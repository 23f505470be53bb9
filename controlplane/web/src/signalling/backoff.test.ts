import { expect, it } from "vitest";
import { backoff } from "./backoff";

it("doubles, spreads by half, and stays below its ceiling", () => {
  expect(backoff(0, 0)).toBe(250);
  expect(backoff(0, 0.999_99)).toBe(500);
  expect(backoff(1, 0)).toBe(500);
  expect(backoff(3, 0)).toBe(2000);
  for (const attempt of [4, 10, 1000]) {
    expect(backoff(attempt, 0)).toBe(2500);
    expect(backoff(attempt, 0.999_99)).toBe(5000);
  }
});
