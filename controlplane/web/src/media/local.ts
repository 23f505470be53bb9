// The person's own camera and microphone: opens and closes them, remembers which were chosen, and
// says why one can't be had. No page, no peer connection: both follow by `onChange`.

import { problemOf, type DeviceProblem } from "./problem";

export type DeviceKind = "microphone" | "camera";

export interface DeviceState {
  /** What the person wants. */
  readonly on: boolean;
  /** A camera that is off has none, so that its light goes out; a muted microphone keeps it. */
  readonly track: MediaStreamTrack | undefined;
  readonly problem: DeviceProblem | undefined;
  /** Being opened now. */
  readonly busy: boolean;
}

export interface DeviceChoice {
  readonly id: string;
  readonly label: string;
}

export interface LocalState {
  readonly microphone: DeviceState;
  readonly camera: DeviceState;
  readonly microphones: readonly DeviceChoice[];
  readonly cameras: readonly DeviceChoice[];
  /** Empty where the browser can't choose. */
  readonly speakers: readonly DeviceChoice[];
  readonly chosen: Readonly<Partial<Record<DeviceKind | "speaker", string>>>;
}

/** The part of `navigator.mediaDevices` used here; undefined on an insecure origin. */
export type MediaDevicesLike = Pick<MediaDevices, "getUserMedia" | "enumerateDevices"> &
  Partial<Pick<MediaDevices, "addEventListener" | "removeEventListener">>;

export interface ChoiceMemory {
  load(): Partial<Record<DeviceKind | "speaker", string>>;
  save(chosen: LocalState["chosen"]): void;
}

const OFF: DeviceState = { on: true, track: undefined, problem: undefined, busy: false };

export class LocalMedia {
  private current: LocalState;
  private readonly listeners = new Set<(state: LocalState) => void>();
  private closed = false;
  private readonly refreshDevices = (): void => void this.listDevices();

  constructor(
    private readonly devices: MediaDevicesLike | undefined,
    private readonly memory: ChoiceMemory,
    private readonly canChooseSpeaker: boolean,
  ) {
    this.current = {
      microphone: OFF,
      camera: OFF,
      microphones: [],
      cameras: [],
      speakers: [],
      chosen: memory.load(),
    };
    devices?.addEventListener?.("devicechange", this.refreshDevices);
  }

  get state(): LocalState {
    return this.current;
  }

  onChange(listener: (state: LocalState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Opens both with one question to the person, then each alone if that fails. */
  async openBoth(): Promise<void> {
    if (!this.devices) {
      this.change("microphone", { problem: "insecure" });
      this.change("camera", { problem: "insecure" });
      return;
    }
    this.change("microphone", { busy: true });
    this.change("camera", { busy: true });
    try {
      const stream = await this.devices.getUserMedia({
        audio: this.constraints("microphone"),
        video: this.constraints("camera"),
      });
      this.adopt("microphone", stream.getAudioTracks()[0]);
      this.adopt("camera", stream.getVideoTracks()[0]);
    } catch (error) {
      // One missing or forbidden device fails both. A plain no to both would only be asked again.
      if (problemOf(error) === "denied" && !(await someAllowed())) {
        this.change("microphone", { problem: "denied", busy: false });
        this.change("camera", { problem: "denied", busy: false });
      } else {
        await this.open("microphone");
        await this.open("camera");
      }
    }
    await this.listDevices();
  }

  async setOn(kind: DeviceKind, on: boolean): Promise<void> {
    this.change(kind, { on });
    const { track } = this.current[kind];
    if (kind === "microphone" && track) {
      track.enabled = on;
      this.emit();
    } else if (on && !track) {
      await this.open(kind);
      await this.listDevices();
    } else if (!on && track) {
      track.stop();
      this.change(kind, { track: undefined });
    }
  }

  async choose(kind: DeviceKind | "speaker", id: string): Promise<void> {
    this.current = { ...this.current, chosen: { ...this.current.chosen, [kind]: id } };
    this.memory.save(this.current.chosen);
    this.emit();
    if (kind === "speaker" || !this.current[kind].on) return;
    this.current[kind].track?.stop();
    await this.open(kind);
  }

  /** Closes the devices; the lights go out. */
  close(): void {
    this.closed = true;
    this.devices?.removeEventListener?.("devicechange", this.refreshDevices);
    for (const kind of ["microphone", "camera"] as const) {
      this.current[kind].track?.stop();
      this.change(kind, { track: undefined });
    }
    this.listeners.clear();
  }

  private async open(kind: DeviceKind): Promise<void> {
    if (!this.devices) {
      this.change(kind, { problem: "insecure", busy: false });
      return;
    }
    this.change(kind, { busy: true });
    try {
      const wanted = this.constraints(kind);
      const stream = await this.devices.getUserMedia(kind === "camera" ? { video: wanted } : { audio: wanted });
      this.adopt(kind, stream.getTracks()[0]);
    } catch (error) {
      this.change(kind, { track: undefined, problem: problemOf(error), busy: false });
    }
  }

  private adopt(kind: DeviceKind, track: MediaStreamTrack | undefined): void {
    // The person may have left, or switched it off, while the browser asked.
    if (this.closed || (kind === "camera" && !this.current.camera.on)) {
      track?.stop();
      this.change(kind, { busy: false });
      return;
    }
    if (track) {
      track.enabled = kind === "camera" || this.current.microphone.on;
      // Unplugged, or taken back by the browser.
      track.onended = () => {
        if (this.current[kind].track === track) this.change(kind, { track: undefined, problem: "not_found" });
      };
    }
    this.change(kind, { track, problem: track ? undefined : "not_found", busy: false });
  }

  private constraints(kind: DeviceKind): MediaTrackConstraints {
    const id = this.current.chosen[kind];
    // `ideal`: a device that is gone gives way to another one.
    const device = id === undefined ? {} : { deviceId: { ideal: id } };
    return kind === "camera"
      ? { ...device, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }
      : { ...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  }

  private async listDevices(): Promise<void> {
    if (!this.devices) return;
    const all = await this.devices.enumerateDevices();
    const of = (kind: MediaDeviceKind, word: string): DeviceChoice[] =>
      all
        // Before permission is given, ids and labels are empty.
        .filter((device) => device.kind === kind && device.deviceId !== "")
        .map((device, index) => ({ id: device.deviceId, label: device.label || `${word} ${index + 1}` }));
    this.current = {
      ...this.current,
      microphones: of("audioinput", "Microphone"),
      cameras: of("videoinput", "Camera"),
      speakers: this.canChooseSpeaker ? of("audiooutput", "Speaker") : [],
    };
    this.emit();
  }

  private change(kind: DeviceKind, part: Partial<DeviceState>): void {
    this.current = { ...this.current, [kind]: { ...this.current[kind], ...part } };
    this.emit();
  }

  private emit(): void {
    for (const listener of this.listeners) listener(this.current);
  }
}

/** Whether asking for one device alone could still succeed. */
async function someAllowed(): Promise<boolean> {
  try {
    const states = await Promise.all(
      ["camera", "microphone"].map((name) => navigator.permissions.query({ name: name as PermissionName })),
    );
    return states.some(({ state }) => state === "granted");
  } catch {
    // Not every browser lets a page ask; then the answer to both stands for each.
    return false;
  }
}
