import { describe, expect, it } from "vitest";
import { rms } from "../media/audio_level";
import { containedPicture, coveringPicture, featuredSizes, pinnedSizes, tileSize } from "./layout";
import { linkify } from "./linkify";
import { bitrateWords, errorWords, initials, millisecondWords, percentWords, problemLine, problemWords } from "./words";

describe("the grid", () => {
  it.each([
    [1, 1400, 700],
    [2, 1400, 700],
    [5, 1400, 700],
    [9, 1400, 700],
    [4, 366, 650],
  ])("fits %i tiles into %i x %i", (count, width, height) => {
    const tile = tileSize(count, width, height, 12);
    const columns = Math.floor((width + 12) / (tile.width + 12));
    const rows = Math.ceil(count / columns);
    expect(rows * tile.height + (rows - 1) * 12).toBeLessThanOrEqual(height);
    expect(tile.width / tile.height).toBeLessThanOrEqual(16 / 9 + 0.01);
    expect(tile.width / tile.height).toBeGreaterThanOrEqual(height > width ? 0.74 : 1.32);
  });

  it("puts two people side by side on a desk and one above the other on a phone", () => {
    expect(tileSize(2, 1400, 700, 12).width).toBe(694);
    expect(tileSize(2, 366, 650, 12).width).toBe(366);
  });

  it("gives four people on a phone two columns", () => {
    expect(tileSize(4, 366, 690, 12).width).toBe(177);
  });

  it("scrolls rather than shrink without end", () => {
    expect(tileSize(60, 366, 600, 12).width).toBeGreaterThanOrEqual(148);
  });

  it("survives a place without size", () => {
    expect(tileSize(3, 0, 0, 12)).toEqual({ width: 0, height: 0 });
  });
});

describe("a pinned tile", () => {
  it.each([
    [1400, 700],
    [366, 650],
    [800, 300],
    [300, 80],
  ])("fits above its strip in %i x %i", (width, height) => {
    const { pinned, strip } = pinnedSizes(width, height, 12);
    expect(pinned.width).toBeLessThanOrEqual(width);
    expect(pinned.height + 12 + strip.height).toBeLessThanOrEqual(Math.max(height, 12 + strip.height));
    if (height > 120) expect(pinned.height).toBeGreaterThan(strip.height);
  });
});

describe("a large tile", () => {
  it.each([
    [1400, 740, true],
    [1400, 740, false],
    [800, 900, true],
    [366, 650, true],
    [366, 650, false],
    [200, 100, true],
  ])("and its strip share %i x %i", (width, height, screen) => {
    const { large, left, top, strip, side } = featuredSizes(width, height, 12, screen);
    expect(left).toBeGreaterThanOrEqual(0);
    expect(top).toBeGreaterThanOrEqual(0);
    if (side) {
      expect(left + large.width + 12 + strip.width).toBeLessThanOrEqual(width);
      expect(top + large.height).toBeLessThanOrEqual(height);
    } else {
      expect(left + large.width).toBeLessThanOrEqual(width);
      expect(top + large.height).toBeLessThanOrEqual(Math.max(0, height - strip.height - 12));
    }
    if (screen && large.width > 0) expect(large.width / large.height).toBeCloseTo(16 / 9, 1);
  });

  it("has its strip beside it on a desk and below it on a phone", () => {
    expect(featuredSizes(1400, 740, 12, true).side).toBe(true);
    expect(featuredSizes(366, 650, 12, true).side).toBe(false);
  });
});

describe("the picture of a tile", () => {
  it("fits into it as a whole", () => {
    expect(containedPicture({ width: 320, height: 320 }, 16 / 9, 2)).toEqual({ width: 640, height: 360 });
    expect(containedPicture({ width: 320, height: 90 }, 16 / 9, 1)).toEqual({ width: 160, height: 90 });
  });

  it("covers it, also the side that is cut off", () => {
    expect(coveringPicture({ width: 320, height: 180 }, 16 / 9, 2)).toEqual({ width: 640, height: 360 });
    expect(coveringPicture({ width: 180, height: 180 }, 16 / 9, 1)).toEqual({ width: 320, height: 180 });
    expect(coveringPicture({ width: 160, height: 90 }, 1 / 2, 1)).toEqual({ width: 160, height: 320 });
  });
});

describe("chat text", () => {
  it("finds addresses and leaves the sentence's full stop", () => {
    expect(linkify("See https://example.com/a?b=c. Or (http://kall.test)!")).toEqual([
      { text: "See " },
      { text: "https://example.com/a?b=c", href: "https://example.com/a?b=c" },
      { text: ". Or (" },
      { text: "http://kall.test", href: "http://kall.test" },
      { text: ")!" },
    ]);
  });

  it("makes no link of a script", () => {
    expect(linkify("javascript:alert(1)")).toEqual([{ text: "javascript:alert(1)" }]);
  });
});

describe("words", () => {
  it("takes initials of any script", () => {
    expect([initials("ada lovelace"), initials("Óscar"), initials("  "), initials("😀 Smile Day")]).toEqual(["AL", "Ó", "?", "😀D"]);
  });

  it("names the cure for an insecure origin", () => {
    expect(problemWords("insecure", "camera").text).toContain("kall setup --self-signed");
  });

  it("says in one line what to do during a meeting", () => {
    expect(problemLine("not_found", "camera")).toBe("No camera found. Plug one in, then switch it on again.");
  });

  it("tells figures as people read them", () => {
    expect([bitrateWords(0), bitrateWords(149_600), bitrateWords(999_600), bitrateWords(2_450_000), bitrateWords(12_340_000)]).toEqual([
      "0 kbit/s",
      "150 kbit/s",
      "1.00 Mbit/s",
      "2.45 Mbit/s",
      "12.3 Mbit/s",
    ]);
    expect([millisecondWords(0.42), millisecondWords(9.96), millisecondWords(123.4), millisecondWords(undefined)]).toEqual([
      "0.4 ms",
      "10 ms",
      "123 ms",
      undefined,
    ]);
    expect([percentWords(0), percentWords(0.0123), percentWords(undefined)]).toEqual(["0.0 %", "1.2 %", undefined]);
  });

  it("has words for a code it does not know", () => {
    expect(errorWords("too_warm", "Cool down.").text).toBe("Cool down.");
    expect(errorWords("too_warm", "").text).not.toBe("");
  });
});

it("measures loudness", () => {
  expect(rms(new Float32Array([1, -1, 1, -1]))).toBe(1);
  expect(rms(new Float32Array(4))).toBe(0);
});
