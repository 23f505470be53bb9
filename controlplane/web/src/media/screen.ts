// The screen or window that the person shares, with its sound where the browser gives it. Asks the
// browser, follows its own "Stop sharing", and knows nothing of pages and connections.

/** The part of `navigator.mediaDevices` used here; undefined where nothing can be shared. */
export type DisplayMediaLike = Pick<MediaDevices, "getDisplayMedia">;

export interface ScreenState {
  readonly video: MediaStreamTrack | undefined;
  readonly audio: MediaStreamTrack | undefined;
  /** The browser asks the person what to share. */
  readonly busy: boolean;
  /** Why the last attempt came to nothing, but for a person who thought better of it. */
  readonly problem: string | undefined;
}

const NOTHING: ScreenState = { video: undefined, audio: undefined, busy: false, problem: undefined };

/** Text does not move: few pictures a second, each of them sharp. */
const PICTURE: MediaTrackConstraints = { frameRate: { ideal: 15, max: 30 } };
/** Music and speech of others as they are, not cleaned as a microphone's. */
const SOUND: MediaTrackConstraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

export class ScreenShare {
  private current = NOTHING;
  private readonly listeners = new Set<(state: ScreenState) => void>();

  constructor(private readonly devices: DisplayMediaLike | undefined) {}

  /** Whether this browser can share anything; those of phones can't. */
  get possible(): boolean {
    return this.devices !== undefined;
  }

  get state(): ScreenState {
    return this.current;
  }

  onChange(listener: (state: ScreenState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async start(): Promise<void> {
    if (!this.devices || this.current.busy || this.current.video) return;
    this.change({ ...NOTHING, busy: true });
    try {
      const stream = await this.devices.getDisplayMedia({ video: PICTURE, audio: SOUND });
      // Stopped, or the meeting was left, while the browser asked.
      if (!this.current.busy) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      const video = stream.getVideoTracks()[0];
      const audio = stream.getAudioTracks()[0];
      if (!video) return this.change(NOTHING);
      video.onended = () => this.ended(video);
      if (audio) audio.onended = () => this.ended(audio);
      this.change({ ...NOTHING, video, audio });
    } catch (error) {
      const refused = error instanceof Error && (error.name === "NotAllowedError" || error.name === "AbortError");
      this.change({ ...NOTHING, problem: refused ? undefined : String(error) });
    }
  }

  stop(): void {
    const { video, audio } = this.current;
    video?.stop();
    audio?.stop();
    if (this.current !== NOTHING) this.change(NOTHING);
  }

  /** The browser's own button, or the window was closed: without a picture there is no sound either. */
  private ended(track: MediaStreamTrack): void {
    if (track === this.current.video) this.stop();
    else if (track === this.current.audio) this.change({ ...this.current, audio: undefined });
  }

  private change(state: ScreenState): void {
    this.current = state;
    for (const listener of this.listeners) listener(state);
  }
}
