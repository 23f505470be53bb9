// Waiting for a condition with a deadline; nothing here sleeps for a guessed time.

import { setTimeout as pause } from "node:timers/promises";

/** How long a condition may take: a bound on hanging, not a measurement. */
export const DEADLINE_MS = 40_000;

const LOOK_AGAIN_MS = 100;

/**
 * Looks until `look` gives something truthy, and gives that back. On the deadline it fails with
 * `what` and the last value that `describe` shows.
 *
 * @template T
 * @param {string} what
 * @param {() => Promise<T> | T} look
 * @param {{ deadline?: number, describe?: () => unknown }} [options]
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, look, { deadline = DEADLINE_MS, describe } = {}) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (Date.now() >= end) {
      const seen = describe ? `; last seen: ${JSON.stringify(await describe())}` : "";
      throw new Error(`waited ${deadline} ms in vain for: ${what}${seen}`);
    }
    await pause(LOOK_AGAIN_MS);
  }
}

/**
 * Takes one sample now and one at the end of each window. The windows are what is measured, so
 * their length is part of the test and not a guess.
 *
 * @template T
 * @param {number} windows
 * @param {number} lengthMs
 * @param {() => Promise<T>} sample
 * @returns {Promise<T[]>}
 */
export async function sampleWindows(windows, lengthMs, sample) {
  const start = Date.now();
  const samples = [await sample()];
  for (let index = 1; index <= windows; index += 1) {
    await pause(Math.max(0, start + index * lengthMs - Date.now()));
    samples.push(await sample());
  }
  return samples;
}
