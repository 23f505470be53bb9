// A subscriber behind a path that becomes narrow, wide again, and lossy. What is asserted are states and
// counts; the figures are printed, and kept in `artifacts/shaped/`.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { withEvidence } from "../lib/evidence.js";
import { artifactFolder } from "../lib/paths.js";
import { CAMERA, CAPS, ShapedCall } from "../lib/shaped.js";
import { picture, table, Timeline } from "../lib/timeline.js";
import { sampleWindows, until } from "../lib/wait.js";

/** Both ways; `delay_ms` is one way. */
const QUEUE = "queue = { ms = 200 }";
const WIDE = `rate_kbps = 2000, ${QUEUE}, delay_ms = 20`;
const NARROW = `rate_kbps = 300, ${QUEUE}, delay_ms = 20`;
const LOSSY = `rate_kbps = 2000, ${QUEUE}, delay_ms = 40, loss = { random = 0.05 }`;

/** Frames of a state before the next one begins: five seconds. */
const FRAMES = 5 * CAMERA.rate;

/** How long the path stays narrow once the picture is small. */
const NARROW_SECONDS = 15;
const FREEZE_SECONDS_MAX = 1;
const RETURN_MS = 20_000;
const WINDOWS = 5;
const WINDOW_MS = 4_000;

describe("a subscriber behind a shaped path", () => {
  /** @type {ShapedCall} */
  let call;
  /** @type {Timeline} */
  let timeline;

  before(async () => {
    call = await ShapedCall.start("shaped", WIDE);
    await call.emulator.up("delay_ms = 20");
    timeline = new Timeline(call);
  });

  after(async () => {
    try {
      await timeline?.stop();
      if (timeline) report(timeline);
    } finally {
      await call?.end();
    }
  });

  /** Runs a phase; a failure leaves what everybody saw. */
  const phase = (name, body) =>
    withEvidence(
      call.server,
      () => call.people,
      async () => {
        timeline.phase = name;
        await body();
      },
    );

  /** The layer that the server says it shows, at the width that is decoded. */
  const shown = async (layer, width) => {
    const seen = await picture(call.subscriber.page);
    return call.slots.layer === layer && seen.width === width;
  };
  const describeShown = async () => ({ slots: call.slots, picture: await picture(call.subscriber.page) });

  /** Waits until a layer has been shown for a while without a break. */
  const steady = async (layer, width) => {
    let since;
    await until(
      `${FRAMES} frames of the ${layer} layer without a break`,
      async () => {
        const { decoded } = await picture(call.subscriber.page);
        since = (await shown(layer, width)) ? (since ?? decoded) : undefined;
        return since !== undefined && decoded >= since + FRAMES;
      },
      { describe: describeShown },
    );
  };

  test("at 2 Mbit/s it gets the high layer", () =>
    phase("2 Mbit/s", async () => {
      await steady("high", CAMERA.width);
    }));

  test("at 300 kbit/s it falls to the low layer almost without a freeze, and comes back", () =>
    phase("300 kbit/s", async () => {
      const before = await picture(call.subscriber.page);
      await call.emulator.down(NARROW);
      await until("the low layer", () => shown("low", CAMERA.width / 4), { describe: describeShown });
      await sampleWindows(1, NARROW_SECONDS * 1000, () => picture(call.subscriber.page));
      const narrow = await picture(call.subscriber.page);
      assert.equal(call.slots.layer, "low", "the low layer is what 300 kbit/s carry");
      const frozen = narrow.freezeSeconds - before.freezeSeconds;
      assert.ok(frozen < FREEZE_SECONDS_MAX, `frozen for ${frozen} s together`);

      timeline.phase = "released";
      await call.emulator.down(WIDE);
      await until("the high layer again", () => shown("high", CAMERA.width), {
        deadline: RETURN_MS,
        describe: describeShown,
      });
      await steady("high", CAMERA.width);
    }));

  test("at 5 % loss and 80 ms round trip frames come in every window", () =>
    phase("5 % loss, 80 ms", async () => {
      await Promise.all([call.emulator.down(LOSSY), call.emulator.up("delay_ms = 40, loss = { random = 0.05 }")]);
      const samples = await sampleWindows(WINDOWS, WINDOW_MS, () => picture(call.subscriber.page));
      const decoded = samples.map((sample) => sample.decoded);
      for (let window = 1; window < decoded.length; window += 1) {
        assert.ok(decoded[window] > decoded[window - 1], `frames rise in every ${WINDOW_MS} ms: ${decoded}`);
      }
      for (const person of call.people) person.assertContent();
    }));
});

/** @param {Timeline} timeline */
function report(timeline) {
  const folder = artifactFolder("shaped");
  timeline.keep(path.join(folder, "timeline.jsonl"));
  const phases = [...new Set(timeline.lines.map((line) => line.phase))].filter((phase) => phase !== "start");
  const figures = table(Object.fromEntries(phases.map((phase) => [phase, timeline.figures(phase)])));
  // A layer that is switched off has no size.
  const seen = timeline.lines.flatMap((line) => line.layers).filter((layer) => layer.width > 0);
  const layers = [...new Set(seen.sort((one, other) => one.width - other.width).map(({ width, height }) => `${width}x${height}`))];
  const page = `# A browser behind a shaped path

Written by \`make shaped-page\`, from one run. Chromium sends ${CAMERA.width}x${CAMERA.height} at ${CAMERA.rate} frames/s in layers of ${layers.join(", ")},
capped at ${CAPS.map((cap) => cap / 1000).join(", ")} kbit/s; another one receives it behind the link emulator. Figures are of the subscriber
within each phase; queue, drops and losses are the emulator's, towards the subscriber.

${figures}
`;
  fs.writeFileSync(path.join(folder, "figures.md"), page);
  process.stdout.write(`${page}\n`);
}
