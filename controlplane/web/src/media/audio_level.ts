// The loudness of a local track, for the level meter and the own speaking ring.

export class LevelMeter {
  private readonly context: AudioContext;
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;
  private source: MediaStreamAudioSourceNode | undefined;
  private track: MediaStreamTrack | undefined;

  constructor() {
    this.context = new AudioContext();
    this.analyser = this.context.createAnalyser();
    // 1024 samples are about 21 ms: short enough to move with syllables.
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
  }

  follow(track: MediaStreamTrack | undefined): void {
    if (track === this.track) return;
    this.source?.disconnect();
    this.track = track;
    this.source = track && this.context.createMediaStreamSource(new MediaStream([track]));
    this.source?.connect(this.analyser);
  }

  /** Root mean square of the last samples, 0 to 1. */
  level(): number {
    if (!this.source || !this.track?.enabled) return 0;
    // Browsers start a context suspended until the person has touched the page.
    if (this.context.state === "suspended") void this.context.resume();
    this.analyser.getFloatTimeDomainData(this.samples);
    return rms(this.samples);
  }

  close(): void {
    this.follow(undefined);
    void this.context.close();
  }
}

export function rms(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length);
}
