// Two browsers see and hear each other, through either driver, and whichever of them is Chromium or Firefox.

import assert from "node:assert/strict";
import { test } from "node:test";

import { media, picture } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { twoPeople } from "../lib/meeting.js";
import { sampleWindows, until } from "../lib/wait.js";

// As browsers name them in its transport statistics.
const AEAD = ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM"];
const WINDOWS = 5;
const WINDOW_MS = 4_000;

for (const [io, ...names] of [
  ["io_uring", "Chromium", "Chromium"],
  ["syscall", "Chromium", "Chromium"],
  ["io_uring", "Firefox", "Chromium"],
  ["io_uring", "Chromium", "Firefox"],
  ["syscall", "Firefox", "Firefox"],
]) {
  // The server's start also asserts that the driver in use is the one asked for.
  onStage(`a call of ${names.join(" and ")} through ${io}`, names, { io, name: "call" }, (stage) => {
    test("each sees and hears the other", async (t) => {
      let people = [];
      await withEvidence(
        stage().server,
        () => people,
        async () => {
          people = await twoPeople(stage().browsers[0], stage().server, stage().browsers[1]);
          const [alice, bob] = people;
          for (const [here, there] of [
            [alice, bob],
            [bob, alice],
          ]) {
            await seesAndHears(here, there);
          }
          await framesRiseInEveryWindow(t, people);
          await mutingShows(alice, bob);
          for (const person of people) person.assertContent();
        },
      );
    });
  });
}

/** `here` decodes what `there` sends, at a size that it sends at that moment. */
async function seesAndHears(here, there) {
  let ends;
  await until(
    `${here.name} to decode 50 frames of ${there.name} at the sent size`,
    async () => {
      const sender = await media(there.page);
      ends = { sender, receiver: await media(here.page) };
      return ends.receiver.decoded >= 50 && sender.sent.includes(ends.receiver.received);
    },
    { describe: () => ends },
  );
  assert.equal(ends.receiver.dtls, "connected");
  assert.ok(AEAD.includes(ends.receiver.srtp), `an AEAD profile protects the media, not ${ends.receiver.srtp}`);

  const video = here.tile(there.name).locator("video");
  const first = await until("a picture that is not black", async () => {
    const seen = await picture(video);
    return seen.brightest > 60 && seen;
  });
  await until("the picture to change", async () => (await picture(video)).print !== first.print);

  const energy = (await media(here.page)).audioEnergy;
  await until(
    `${here.name} to hear ${there.name}`,
    async () => (await media(here.page)).audioEnergy > energy,
  );
}

async function framesRiseInEveryWindow(t, people) {
  const samples = await sampleWindows(WINDOWS, WINDOW_MS, () => Promise.all(people.map(({ page }) => media(page))));
  for (const [index, person] of people.entries()) {
    const decoded = samples.map((sample) => sample[index].decoded);
    for (let window = 1; window < decoded.length; window += 1) {
      assert.ok(
        decoded[window] > decoded[window - 1],
        `frames that ${person.name} decoded rise in every ${WINDOW_MS} ms: ${decoded}`,
      );
    }
    const last = samples.at(-1)[index];
    t.diagnostic(
      `${person.name}: decoded ${decoded.join(", ")} (${last.codec} ${last.received}), ` +
        `${last.freezes} freezes of ${last.freezeSeconds.toFixed(2)} s together, ${last.srtp}`,
    );
  }
}

async function mutingShows(alice, bob) {
  await alice.part("mute-mic").click();
  await bob.page.locator('[data-testid="tile"][data-name="Alice"][data-muted-audio="true"]').waitFor();
  await alice.part("mute-camera").click();
  await bob.page.locator('[data-testid="tile"][data-name="Alice"][data-muted-video="true"]').waitFor();
  await alice.part("mute-mic").click();
  await alice.part("mute-camera").click();
  await bob.page
    .locator('[data-testid="tile"][data-name="Alice"][data-muted-audio="false"][data-muted-video="false"]')
    .waitFor();
  const { decoded } = await media(bob.page);
  await until("pictures to come again after the camera was off", async () => (await media(bob.page)).decoded > decoded);
}
