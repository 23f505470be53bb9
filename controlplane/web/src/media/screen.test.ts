import { describe, expect, it } from "vitest";
import { fakeTrack, type FakeTrack } from "../rtc/fake";
import { ScreenShare, type DisplayMediaLike } from "./screen";

type Track = MediaStreamTrack & FakeTrack;

function browser(video: Track | undefined, audio?: Track): DisplayMediaLike {
  const list = (track: Track | undefined): Track[] => (track ? [track] : []);
  return {
    getDisplayMedia: () =>
      Promise.resolve({
        getVideoTracks: () => list(video),
        getAudioTracks: () => list(audio),
        getTracks: () => [...list(video), ...list(audio)],
      } as unknown as MediaStream),
  };
}

describe("a shared screen", () => {
  it("comes with its sound", async () => {
    const [video, audio] = [fakeTrack("video"), fakeTrack("audio")];
    const screen = new ScreenShare(browser(video, audio));
    await screen.start();
    expect(screen.state).toMatchObject({ video, audio, busy: false });
  });

  it("ends as a whole when the browser ends its picture", async () => {
    const [video, audio] = [fakeTrack("video"), fakeTrack("audio")];
    const screen = new ScreenShare(browser(video, audio));
    await screen.start();
    video.onended?.();
    expect(screen.state.video).toBeUndefined();
    expect(audio.stopped).toBe(true);
  });

  it("goes on without sound when that ends", async () => {
    const [video, audio] = [fakeTrack("video"), fakeTrack("audio")];
    const screen = new ScreenShare(browser(video, audio));
    await screen.start();
    audio.onended?.();
    expect(screen.state).toMatchObject({ video, audio: undefined });
  });

  it("is no problem when the person thinks better of it", async () => {
    const refuse = (name: string): DisplayMediaLike => ({
      getDisplayMedia: () => Promise.reject(new DOMException("", name)),
    });
    const screen = new ScreenShare(refuse("NotAllowedError"));
    await screen.start();
    expect(screen.state).toEqual({ video: undefined, audio: undefined, busy: false, problem: undefined });
    const broken = new ScreenShare(refuse("NotReadableError"));
    await broken.start();
    expect(broken.state.problem).toContain("NotReadableError");
  });

  it("is closed again when it was stopped while the browser asked", async () => {
    const video = fakeTrack("video");
    const screen = new ScreenShare(browser(video));
    const started = screen.start();
    screen.stop();
    await started;
    expect(video.stopped).toBe(true);
    expect(screen.state.video).toBeUndefined();
  });
});
