// Who is heard: levels in, a steady set of speakers out. A voice pauses between words, so a
// speaker stays one for a moment after the last loud sample.

/** Linear level (0 to 1) that counts as speech: about -40 dBov, above the noise of a room. */
const LOUD = 0.01;
/** How long a pause may be, in milliseconds. */
const HOLD_MS = 700;

export class SpeakingDetector {
  private readonly lastLoud = new Map<string, number>();

  /** Takes the levels of this moment and gives the speakers, sorted for easy comparison. */
  update(now: number, levels: ReadonlyMap<string, number>): string[] {
    for (const [identity, level] of levels) {
      if (level >= LOUD) this.lastLoud.set(identity, now);
    }
    for (const [identity, since] of this.lastLoud) {
      if (now - since > HOLD_MS || !levels.has(identity)) this.lastLoud.delete(identity);
    }
    return [...this.lastLoud.keys()].sort();
  }
}
