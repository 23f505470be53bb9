// Who watches decides what is sent: a page that nobody sees takes nothing, a publisher is told again after
// `kall` came back, and is told nothing where the operator wants it so.

import assert from "node:assert/strict";
import { test } from "node:test";

import { layers, picture } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { twoPeople } from "../lib/meeting.js";
import { until } from "../lib/wait.js";

/** Tiles so small that the smallest layer serves them. */
const SMALL = { width: 320, height: 480 };

for (const names of [
  ["Chromium", "Chromium"],
  ["Firefox", "Chromium"],
  ["Chromium", "Firefox"],
]) {
  const run = (title, options, body) =>
    onStage(`dynacast from ${names.join(" to ")}`, names, options, (stage) => {
      test(title, async () => {
        const { server, browsers } = stage();
        let people = [];
        await withEvidence(
          server,
          () => people,
          async () => {
            people = await twoPeople(browsers[0], server, browsers[1]);
            await body(server, ...people);
            for (const person of people) person.assertContent();
          },
        );
      });
    });

  run("a page that nobody sees gets no pictures, and gets them back", { name: "hidden" }, async (server, alice, bob) => {
    await seesPictures(bob);
    await setVisible(bob, false);
    await sends(alice, "nothing", ({ q, h, f }) => !q.active && !h.active && !f.active);
    const room = new URL(await alice.link()).pathname.split("/").at(-1);
    const figures = await server.roomStats(room);
    const his = figures.sessions.find(({ name }) => name === "Bob");
    const filled = his.slots.filter(({ source }) => source === "camera");
    assert.deepEqual(filled, [], "no slot of Bob's has a picture");
    await setVisible(bob, true);
    await seesPictures(bob);
  });

  run("a publisher is told its layers again when kall came back", { name: "told-again" }, async (server, alice, bob) => {
    await bob.page.setViewportSize(SMALL);
    await sends(alice, "only the smallest layer", ({ q, h, f }) => q.active && !h.active && !f.active);
    const before = (await alice.said("dynacast")).at(-1);
    assert.deepEqual(before.layers, { q: true, h: false, f: false });
    const count = (await alice.said("dynacast")).length;
    await server.kill();
    await alice.page.locator('[data-testid="meeting"][data-connection="reconnecting"]').waitFor();
    await server.run();
    await alice.connected();
    await until("dynacast to be said again", async () => (await alice.said("dynacast")).length > count);
    assert.deepEqual((await alice.said("dynacast"))[count], before);
  });

  run(
    "with dynacast switched off every layer is sent, whoever watches",
    { name: "no-dynacast", config: { media: ["dynacast = false"] } },
    async (server, alice, bob) => {
      await bob.page.setViewportSize(SMALL);
      await bob.page.locator('[data-testid="tile"][data-name="Alice"][data-layer="low"]').waitFor();
      await sends(alice, "three layers", ({ q, h, f }) => q.frames > 0 && h.frames > 0 && f.frames > 0);
      const start = await layers(alice.page);
      // At 20 pictures a second this is longer than an idle layer is left running elsewhere.
      await sends(alice, "all layers", ({ q, h, f }) => q.frames > start.q.frames + 160 && h.frames > start.h.frames && f.frames > start.f.frames);
      const { q, h, f } = await layers(alice.page);
      assert.deepEqual([q.active, h.active, f.active], [true, true, true]);
      assert.deepEqual(await alice.said("dynacast"), []);
    },
  );
}

async function sends(person, what, is) {
  let sent;
  await until(
    `${person.name} to send ${what}`,
    async () => {
      sent = await layers(person.page);
      return sent.q && sent.h && sent.f && is(sent);
    },
    { describe: () => sent },
  );
}

/** The picture in the other's tile moves. */
async function seesPictures(person) {
  const video = person.page.locator('[data-testid="tile"][data-self="false"] video');
  const seen = new Set();
  await until(`${person.name} to see pictures`, async () => {
    const { brightest, print } = await picture(video);
    if (brightest > 0) seen.add(print);
    return seen.size > 5;
  });
}

/** What the browser says when a tab goes to the background; a headless one never does by itself. */
function setVisible(person, visible) {
  return person.page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    document.dispatchEvent(new Event("visibilitychange"));
  }, visible ? "visible" : "hidden");
}
