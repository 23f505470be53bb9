import { describe, expect, it } from "vitest";
import { rms } from "../media/audio_level";
import { tileSize } from "./layout";
import { linkify } from "./linkify";
import { errorWords, initials, problemLine, problemWords } from "./words";

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

  it("has words for a code it does not know", () => {
    expect(errorWords("too_warm", "Cool down.").text).toBe("Cool down.");
    expect(errorWords("too_warm", "").text).not.toBe("");
  });
});

it("measures loudness", () => {
  expect(rms(new Float32Array([1, -1, 1, -1]))).toBe(1);
  expect(rms(new Float32Array(4))).toBe(0);
});
