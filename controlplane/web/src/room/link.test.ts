import { describe, expect, it } from "vitest";
import { meetingPath, parseLink, roomOfPath } from "./link";

const ORIGIN = "https://kall.example.com";

describe("meeting links", () => {
  it.each([
    ["standup-a1b2", "standup-a1b2", undefined],
    ["  rm_a1b2c3d4 ", "rm_a1b2c3d4", undefined],
    ["/r/standup-a1b2", "standup-a1b2", undefined],
    ["https://kall.example.com/r/standup-a1b2", "standup-a1b2", undefined],
    ["kall.example.com/r/standup-a1b2/", "standup-a1b2", undefined],
    ["https://kall.example.com/r/standup-a1b2?token=ey.x.y#top", "standup-a1b2", "ey.x.y"],
  ])("reads %s", (input, room, token) => {
    expect(parseLink(input, ORIGIN)).toEqual({ ok: true, room, token });
  });

  it.each([
    ["", "empty"],
    ["two words", "malformed"],
    ["https://kall.example.com/about", "malformed"],
    ["https://kall.example.com/r/a/b", "malformed"],
    ["https://evil.example.net/r/standup-a1b2", "other_server"],
  ])("refuses %j", (input, why) => {
    expect(parseLink(input, ORIGIN)).toEqual({ ok: false, why });
  });

  it("knows its own paths", () => {
    expect(roomOfPath(meetingPath("standup-a1b2"))).toBe("standup-a1b2");
    expect(roomOfPath("/r/%E0%A4%A")).toBeUndefined();
    expect(roomOfPath("/")).toBeUndefined();
  });
});
