import { afterEach, describe, expect, it, vi } from "vitest";
import { fakeTrack, type FakeTrack } from "../rtc/fake";
import { LocalMedia, type ChoiceMemory, type MediaDevicesLike } from "./local";

class Named extends Error {
  constructor(name: string) {
    super(name);
    this.name = name;
  }
}

/** Devices that are there unless an error is set for their kind. */
class FakeDevices implements MediaDevicesLike {
  readonly asked: MediaStreamConstraints[] = [];
  readonly given: FakeTrack[] = [];
  errors: { audio?: string; video?: string } = {};

  getUserMedia(constraints: MediaStreamConstraints = {}): Promise<MediaStream> {
    this.asked.push(constraints);
    const error = (constraints.audio && this.errors.audio) || (constraints.video && this.errors.video);
    if (error) return Promise.reject(new Named(error));
    const audio = constraints.audio ? [fakeTrack("audio")] : [];
    const video = constraints.video ? [fakeTrack("video")] : [];
    this.given.push(...audio, ...video);
    return Promise.resolve({
      getAudioTracks: () => audio,
      getVideoTracks: () => video,
      getTracks: () => [...audio, ...video],
    } as unknown as MediaStream);
  }

  enumerateDevices(): Promise<MediaDeviceInfo[]> {
    const device = (kind: MediaDeviceKind, deviceId: string, label: string) => ({ kind, deviceId, label }) as MediaDeviceInfo;
    return Promise.resolve([
      device("videoinput", "cam-1", "Front"),
      device("videoinput", "cam-2", ""),
      device("audioinput", "", ""),
      device("audiooutput", "out-1", "Desk"),
    ]);
  }
}

function make(devices: MediaDevicesLike | undefined = new FakeDevices(), speaker = true) {
  const memory: ChoiceMemory = { load: () => ({ camera: "cam-2" }), save: vi.fn() };
  return { local: new LocalMedia(devices, memory, speaker), memory };
}

function permissions(camera: PermissionState, microphone: PermissionState): void {
  vi.spyOn(navigator.permissions, "query").mockImplementation(({ name }) =>
    Promise.resolve({ state: (name as string) === "camera" ? camera : microphone } as PermissionStatus),
  );
}

afterEach(() => vi.restoreAllMocks());

describe("own devices", () => {
  it("opens both with one question and lists what there is", async () => {
    const devices = new FakeDevices();
    const { local } = make(devices);
    await local.openBoth();
    expect(devices.asked).toHaveLength(1);
    expect(devices.asked[0]?.video).toMatchObject({ deviceId: { ideal: "cam-2" } });
    expect(local.state.microphone).toMatchObject({ on: true, problem: undefined, busy: false });
    expect(local.state.camera.track?.kind).toBe("video");
    expect(local.state.cameras).toEqual([
      { id: "cam-1", label: "Front" },
      { id: "cam-2", label: "Camera 2" },
    ]);
    expect(local.state.microphones).toEqual([]);
    expect(local.state.speakers).toHaveLength(1);
    expect(make(devices, false).local.state.speakers).toEqual([]);
  });

  it("takes the microphone when there is no camera", async () => {
    const devices = new FakeDevices();
    devices.errors = { video: "NotFoundError" };
    const { local } = make(devices);
    await local.openBoth();
    expect(local.state.camera).toMatchObject({ track: undefined, problem: "not_found", busy: false });
    expect(local.state.microphone.track?.kind).toBe("audio");
  });

  it("does not ask again after a no to both", async () => {
    const devices = new FakeDevices();
    devices.errors = { audio: "NotAllowedError", video: "NotAllowedError" };
    permissions("denied", "denied");
    const { local } = make(devices);
    await local.openBoth();
    expect(devices.asked).toHaveLength(1);
    expect([local.state.microphone.problem, local.state.camera.problem]).toEqual(["denied", "denied"]);
  });

  it("takes the microphone when only the camera is forbidden", async () => {
    const devices = new FakeDevices();
    devices.errors = { video: "NotAllowedError" };
    permissions("denied", "granted");
    const { local } = make(devices);
    await local.openBoth();
    expect(local.state.camera.problem).toBe("denied");
    expect(local.state.microphone.track?.kind).toBe("audio");
  });

  it("says so on an insecure origin", async () => {
    const memory: ChoiceMemory = { load: () => ({}), save: () => undefined };
    const local = new LocalMedia(undefined, memory, true);
    await local.openBoth();
    expect([local.state.microphone.problem, local.state.camera.problem]).toEqual(["insecure", "insecure"]);
    await local.setOn("camera", true);
    expect(local.state.camera).toMatchObject({ problem: "insecure", busy: false });
  });

  it("silences a microphone that stays open, and closes a camera that is off", async () => {
    const devices = new FakeDevices();
    const { local } = make(devices);
    await local.openBoth();
    const [microphone, camera] = devices.given;
    await local.setOn("microphone", false);
    expect(microphone).toMatchObject({ enabled: false, stopped: false });
    await local.setOn("camera", false);
    expect(camera?.stopped).toBe(true);
    expect(local.state.camera).toMatchObject({ on: false, track: undefined, problem: undefined });
    await local.setOn("microphone", true);
    await local.setOn("camera", true);
    expect(microphone?.enabled).toBe(true);
    expect(local.state.camera.track).toBe(devices.given[2]);
  });

  it("closes a camera that opens after it was switched off", async () => {
    const devices = new FakeDevices();
    const { local } = make(devices);
    const opening = local.setOn("camera", true);
    await local.setOn("camera", false);
    await opening;
    expect(local.state.camera.track).toBeUndefined();
    expect(devices.given.every(({ stopped }) => stopped)).toBe(true);
  });

  it("reports a device that is unplugged, and one that another program holds", async () => {
    const devices = new FakeDevices();
    const { local } = make(devices);
    await local.openBoth();
    devices.given[1]?.onended?.();
    expect(local.state.camera).toMatchObject({ track: undefined, problem: "not_found" });
    devices.errors = { video: "NotReadableError" };
    await local.setOn("camera", true);
    expect(local.state.camera.problem).toBe("in_use");
  });

  it("opens the chosen device and remembers it", async () => {
    const devices = new FakeDevices();
    const { local, memory } = make(devices);
    await local.openBoth();
    await local.choose("camera", "cam-1");
    expect(devices.given[1]?.stopped).toBe(true);
    expect(devices.asked.at(-1)?.video).toMatchObject({ deviceId: { ideal: "cam-1" } });
    expect(memory.save).toHaveBeenLastCalledWith({ camera: "cam-1" });
  });

  it("lets everything go when closed", async () => {
    const devices = new FakeDevices();
    const { local } = make(devices);
    await local.openBoth();
    local.close();
    expect(devices.given.every(({ stopped }) => stopped)).toBe(true);
    await local.setOn("camera", true);
    expect(devices.given.every(({ stopped }) => stopped)).toBe(true);
  });
});
