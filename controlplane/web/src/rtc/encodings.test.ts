import { describe, expect, it } from "vitest";
import { cameraEncodings, isScalable, scalableEncodings, screenEncodings } from "./encodings";

describe("encodings", () => {
  it.each([1_200_000, 1_500_000, 3_000_000, 100_000_000])("keep to %i bit/s together, each layer more than the one below", (max) => {
    const bitrates = cameraEncodings(max, true).map(({ maxBitrate }) => maxBitrate ?? 0);
    expect(bitrates).toHaveLength(3);
    expect(bitrates.reduce((sum, one) => sum + one)).toBe(max);
    expect([...bitrates].sort((a, b) => a - b)).toEqual(bitrates);
  });

  it("of a screen are two, of which the small one has few pictures", () => {
    const [small, whole] = screenEncodings(5_000_000, true);
    expect((small?.maxBitrate ?? 0) + (whole?.maxBitrate ?? 0)).toBe(5_000_000);
    expect(small).toMatchObject({ rid: "q", scaleResolutionDownBy: 2, maxFramerate: 5 });
    expect(whole).toMatchObject({ rid: "f", scaleResolutionDownBy: 1 });
    expect(whole?.maxFramerate).toBeUndefined();
  });

  it("are one where three make no sense, or the server takes one", () => {
    expect(cameraEncodings(900_000, true)).toEqual([{ maxBitrate: 900_000 }]);
    expect(cameraEncodings(3_000_000, false)).toEqual([{ maxBitrate: 3_000_000 }]);
    expect(screenEncodings(900_000, true)).toEqual([{ maxBitrate: 900_000 }]);
    expect(screenEncodings(5_000_000, false)).toEqual([{ maxBitrate: 5_000_000 }]);
    expect(scalableEncodings(900_000)).toEqual([{ maxBitrate: 900_000 }]);
  });

  it("are scalable as one stream with a mode, never as one of several", () => {
    expect(isScalable(scalableEncodings(3_000_000))).toBe(true);
    expect(isScalable(cameraEncodings(3_000_000, true))).toBe(false);
    expect(isScalable(screenEncodings(3_000_000, true))).toBe(false);
  });
});
