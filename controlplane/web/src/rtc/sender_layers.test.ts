import { describe, expect, it, vi } from "vitest";
import { settle } from "../signalling/fake";
import type { Encoding } from "./encodings";
import { FakeSender } from "./fake";
import { SenderLayers } from "./sender_layers";

function make() {
  const sender = new FakeSender([{ rid: "q" }, { rid: "h" }, { rid: "f" }], () => Promise.resolve());
  const layers = new SenderLayers(sender as unknown as RTCRtpSender, 1_000_000);
  const active = () => sender.encodings.filter((encoding) => encoding.active).map(({ rid }) => rid);
  return { sender, layers, active };
}

describe("the layers of a sender", () => {
  it("change only what differs, and leave alone what is not named", async () => {
    const { sender, layers, active } = make();
    await layers.want({ q: true, f: false });
    expect(active()).toEqual(["q", "h"]);
    await layers.want({ q: true, f: false, x: true });
    expect(sender.changes).toHaveLength(1);
  });

  it("are changed one after the other, and end as was said last", async () => {
    const { sender, layers, active } = make();
    sender.hold = true;
    const first = layers.want({ q: false, h: false, f: false });
    const second = layers.want({ q: true, h: false, f: false });
    const third = layers.want({ q: true, h: true, f: false });
    sender.hold = false;
    sender.finish?.();
    await Promise.all([first, second, third]);
    expect(active()).toEqual(["q", "h"]);
    // What was overtaken is never applied.
    expect(sender.changes).toHaveLength(2);
  });

  it("survive a browser that refuses, and try again when told again", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { sender, layers, active } = make();
    sender.refuse = true;
    await layers.want({ f: false });
    expect(active()).toEqual(["q", "h", "f"]);
    sender.refuse = false;
    await layers.negotiated();
    expect(active()).toEqual(["q", "h"]);
    expect(warn).toHaveBeenCalledOnce();
    warn.mockRestore();
  });

  it("of one stream are left out from the top", async () => {
    const sender = new FakeSender([{ scalabilityMode: "L3T3_KEY" } as Encoding], () => Promise.resolve());
    const layers = new SenderLayers(sender as unknown as RTCRtpSender, 1_000_000);
    const only = () => sender.encodings[0] as Encoding;
    await layers.negotiated();
    expect(sender.changes).toEqual([]);
    await layers.want({ 0: false, 1: true, 2: false });
    expect(only()).toMatchObject({ active: true, scalabilityMode: "L2T3_KEY", scaleResolutionDownBy: 2 });
    await layers.want({ 0: true, 1: false, 2: false });
    expect(only()).toMatchObject({ active: true, scalabilityMode: "L1T3", scaleResolutionDownBy: 4 });
    await layers.want({ 0: false, 1: false, 2: false });
    expect(only().active).toBe(false);
    await layers.want({ 0: true, 1: true, 2: true });
    expect(only()).toMatchObject({ active: true, scalabilityMode: "L3T3_KEY", scaleResolutionDownBy: 1 });
  });

  it("of one stream that has fewer of them keep their sizes", async () => {
    const sender = new FakeSender([{ scalabilityMode: "L3T3_KEY" } as Encoding], () => Promise.resolve());
    const layers = new SenderLayers(sender as unknown as RTCRtpSender, 1_000_000);
    // A small camera: the browser makes two layers of it.
    await layers.want({ 0: true, 1: false });
    expect(sender.encodings[0]).toMatchObject({ scalabilityMode: "L1T3", scaleResolutionDownBy: 2 });
  });

  it("may all be off: the server knows who watches", async () => {
    const { layers, active } = make();
    await layers.want({ q: false, h: false, f: false });
    await settle();
    expect(active()).toEqual([]);
  });
});
