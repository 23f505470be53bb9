// Which layers of one sender run: what the server said last, applied one change after the other.
//
// A sender takes one `setParameters` at a time, based on parameters read right before; whatever is
// said during it waits, and only the newest counts.

import { isScalable, scalableMode, type Encoding } from "./encodings";

export type WantedLayers = Readonly<Record<string, boolean>>;

/** The part of a sender that is used here. */
export type LayeredSender = Pick<RTCRtpSender, "getParameters" | "setParameters">;

export class SenderLayers {
  private wanted: WantedLayers | undefined;
  private due = false;
  private running: Promise<void> | undefined;

  constructor(
    private readonly sender: LayeredSender,
    private readonly maxBitrate: number,
  ) {}

  /** The server says which rids anybody takes. Those it does not name stay as they are. */
  want(layers: WantedLayers): Promise<void> {
    this.wanted = layers;
    return this.apply();
  }

  /** An offer was answered: only now is it known how many layers there are. */
  negotiated(): Promise<void> {
    return this.apply();
  }

  private apply(): Promise<void> {
    this.due = true;
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async run(): Promise<void> {
    while (this.due) {
      this.due = false;
      const parameters = this.sender.getParameters();
      if (!this.change(parameters)) continue;
      try {
        await this.sender.setParameters(parameters);
      } catch (error) {
        // The connection is closing, or the browser can't: the next message tries again.
        console.warn("kall: the layers of a sender stay as they are", error);
      }
    }
  }

  /** Whether anything has to change. */
  private change(parameters: RTCRtpSendParameters): boolean {
    // Firefox has had senders without encodings before their first answer.
    const encodings: Encoding[] = parameters.encodings ?? [];
    if (isScalable(encodings)) return this.changeScalable(encodings);
    const [only] = encodings;
    let changed = false;
    if (only && encodings.length === 1 && (only.scaleResolutionDownBy ?? 1) !== 1) {
      // An answer without simulcast leaves the first layer, which is the smallest (RFC 8829
      // section 5.10): alone it has to be whole.
      only.scaleResolutionDownBy = 1;
      only.maxBitrate = this.maxBitrate;
      delete only.maxFramerate;
      changed = true;
    }
    for (const encoding of encodings) {
      const wanted = encoding.rid === undefined ? undefined : this.wanted?.[encoding.rid];
      if (wanted === undefined || encoding.active === wanted) continue;
      encoding.active = wanted;
      changed = true;
    }
    return changed;
  }

  /** The same for spatial layers of one stream, which the server names by their numbers. */
  private changeScalable([only]: Encoding[]): boolean {
    const names = Object.keys(this.wanted ?? {});
    if (!only || names.length === 0) return false;
    // Layers lean on those below them, so only the uppermost can be left out.
    const count = Math.max(0, ...names.filter((name) => this.wanted?.[name]).map((name) => Number(name) + 1));
    const active = count > 0;
    const { scalabilityMode, scaleResolutionDownBy } = scalableMode(Math.max(1, count), names.length);
    const same =
      only.active === active &&
      (!active || (only.scalabilityMode === scalabilityMode && (only.scaleResolutionDownBy ?? 1) === scaleResolutionDownBy));
    if (same) return false;
    only.active = active;
    // What is not sent needs no other mode, and gets the right one when it is sent again.
    if (active) Object.assign(only, { scalabilityMode, scaleResolutionDownBy });
    return true;
  }
}
