// Tells when a flow of media stops at once, long before the browser does: its own checks of a path are
// seconds apart, while packets come many times a second. Only what flowed can stop, and only where something
// is to be expected: a quiet room is no stall, nor is one whose last speaker has left. Each is told once.

/** Between two looks, in milliseconds: sound alone, or the feedback for it, comes more often. */
export const LOOK_MS = 200;

/** Looks in a row with something new: a flow, and not a report or a check now and then. */
const FLOWING_LOOKS = 4;

/** Looks in a row without anything new. A hiccup of a radio network or a slow core is shorter. */
const STALLED_LOOKS = 3;

export class StallDetector {
  private before: number | undefined;
  private grew = 0;
  private silent = 0;
  private flowing = false;

  /**
   * Takes the count of all bytes received so far, and whether anything is to be expected now; true once the flow has
   * stopped.
   */
  look(bytes: number | undefined, expected: boolean): boolean {
    const { before } = this;
    this.before = bytes;
    if (bytes === undefined || before === undefined) return false;
    if (bytes !== before) {
      this.silent = 0;
      this.grew += 1;
      if (this.grew >= FLOWING_LOOKS) this.flowing = true;
      return false;
    }
    this.grew = 0;
    if (!expected) {
      this.flowing = false;
      return false;
    }
    this.silent += 1;
    if (!this.flowing || this.silent < STALLED_LOOKS) return false;
    this.flowing = false;
    return true;
  }
}
