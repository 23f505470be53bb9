// Which layers of one sender run: what the server said last, applied one change after the other.
//
// A sender takes one `setParameters` at a time, based on parameters read right before; whatever is
// said during it waits, and only the newest counts.

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
    const encodings = parameters.encodings ?? [];
    const [only] = encodings;
    let changed = false;
    if (only && encodings.length === 1 && (only.scaleResolutionDownBy ?? 1) !== 1) {
      // An answer without simulcast leaves the first layer, which is the smallest (RFC 8829
      // section 5.10): alone it has to be whole.
      only.scaleResolutionDownBy = 1;
      only.maxBitrate = this.maxBitrate;
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
}
