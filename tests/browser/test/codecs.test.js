// Every video codec that an answer may offer is decoded by somebody, and survives a camera that goes
// off and on: the picture comes back only if its key frame is recognised.

import assert from "node:assert/strict";
import { test } from "node:test";

import { media, picture, reports } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { DESKTOP, twoPeople } from "../lib/meeting.js";
import { until } from "../lib/wait.js";

/** Those whose layers go in one stream. */
const SCALABLE = ["VP9", "AV1"];

/** Tiles so small that the smallest layer serves them. */
const SMALL = { width: 320, height: 480 };

/** Firefox as Debian has it encodes no H264. */
const CASTS = {
  VP8: [["Chromium", "Chromium"], ["Firefox", "Chromium"], ["Chromium", "Firefox"]],
  VP9: [["Chromium", "Chromium"], ["Firefox", "Chromium"], ["Chromium", "Firefox"]],
  H264: [["Chromium", "Chromium"]],
  AV1: [["Chromium", "Chromium"], ["Firefox", "Chromium"], ["Chromium", "Firefox"]],
};

const ALL = Object.entries(CASTS).flatMap(([codec, casts]) => casts.map((names) => [codec, ...names]));

for (const [codec, ...names] of ALL) {
  const options = { name: `codec-${codec}`, config: { media: [`codecs = ["${codec}", "opus"]`] } };
  onStage(`a call in ${codec} from ${names.join(" to ")}`, names, options, (stage) => {
    const meet = () => twoPeople(stage().browsers[0], stage().server, stage().browsers[1]);

    test("is decoded, and again after the camera was off", async () => {
      let people = [];
      await withEvidence(
        stage().server,
        () => people,
        async () => {
          people = await meet();
          const [alice, bob] = people;
          const seen = await until("50 decoded frames", async () => {
            const end = await media(bob.page);
            return end.decoded >= 50 && end;
          });
          assert.equal(seen.codec, `video/${codec}`);
          const video = bob.tile("Alice").locator("video");
          await until("a picture that is not black", async () => (await picture(video)).brightest > 60);

          await alice.part("mute-camera").click();
          await bob.page.locator('[data-testid="tile"][data-name="Alice"][data-muted-video="true"]').waitFor();
          await alice.part("mute-camera").click();
          await bob.page.locator('[data-testid="tile"][data-name="Alice"][data-muted-video="false"]').waitFor();
          const { decoded } = await media(bob.page);
          await until("pictures to come again", async () => (await media(bob.page)).decoded > decoded + 20);
          for (const person of people) person.assertContent();
          for (const { page } of people) await page.context().close();
        },
      );
    });

    // Firefox sends its layers beside each other in these codecs, too.
    if (!SCALABLE.includes(codec) || names.includes("Firefox")) return;

    test("goes in layers of one stream, and a viewer sees the one that its tile needs", async (t) => {
      let people = [];
      await withEvidence(
        stage().server,
        () => people,
        async () => {
          people = await meet();
          const [alice, bob] = people;
          await bob.pin("Alice");
          const large = await until("the largest layer", async () => {
            const sent = await stream(alice.page);
            const seen = await shown(bob, "Alice");
            return sent?.scalabilityMode === "L3T3_KEY" && sent.frameWidth >= 640 && seen === sent.frameWidth && seen;
          });
          await told(bob, "high");

          // No tile is large any more, and the window is small.
          await bob.pin("Alice");
          await bob.page.setViewportSize(SMALL);
          const small = await until("a smaller layer", async () => {
            const seen = await shown(bob, "Alice");
            return seen > 0 && seen <= large / 2 && seen;
          });
          await told(bob, "low");
          t.diagnostic(`${large} and ${small} pixels wide`);
          await goesOn(bob);
          await until("layers that nobody takes to be left out", async () => {
            const sent = await stream(alice.page);
            return sent.scalabilityMode === "L1T3" && sent.frameWidth === small;
          });
          await goesOn(bob);

          await bob.page.setViewportSize(DESKTOP);
          await bob.pin("Alice");
          await until("the largest layer again", async () => (await shown(bob, "Alice")) === large);
          await told(bob, "high");
          await goesOn(bob);
          for (const person of people) person.assertContent();
        },
      );
    });
  });
}

/** The one stream of a page's camera. */
async function stream(page) {
  const all = await reports(page);
  const sent = all.filter((report) => report.type === "outbound-rtp" && report.kind === "video");
  return sent.length === 1 ? sent[0] : undefined;
}

/** How wide the picture in a tile is right now. */
function shown(person, name) {
  return person
    .tile(name)
    .locator("video")
    .evaluate((video) => video.videoWidth);
}

/** The server told which layer Alice's tile shows. */
async function told(person, layer) {
  await person.page.locator(`[data-testid="tile"][data-name="Alice"][data-layer="${layer}"]`).waitFor();
}

/** Pictures keep being decoded. */
async function goesOn({ page }) {
  const { decoded } = await media(page);
  await until("pictures to go on", async () => (await media(page)).decoded > decoded + 20);
}
