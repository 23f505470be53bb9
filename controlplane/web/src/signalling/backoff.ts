// How long to wait before the next attempt.

/** The first wait in milliseconds, before jitter. */
const FIRST_MS = 500;
/**
 * The longest wait in milliseconds. The server keeps a lost participant's media for 30 s, so
 * several attempts must fit into that.
 */
const LONGEST_MS = 5_000;

/**
 * Exponential back-off with half of it random, so that everybody in a room does not come back at
 * the same moment. `attempt` counts from 0; `random` is in [0, 1).
 */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
