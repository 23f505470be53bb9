// `kall` is killed during a call: the pictures go on, and the clients come back by themselves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { markPeerConnections, media, peerConnections } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { twoPeople } from "../lib/meeting.js";
import { until } from "../lib/wait.js";

/** Frames that must be decoded in each state; the fake camera gives 20 a second. */
const FRAMES = 60;

for (const [io, ...names] of [
  ["io_uring", "Chromium", "Chromium"],
  ["syscall", "Chromium", "Chromium"],
  ["io_uring", "Firefox", "Chromium"],
]) {
  onStage(`kall dies during a call of ${names.join(" and ")} through ${io}`, names, { io, name: "survival" }, (stage) => {
    test("media goes on, both resume, nothing is rebuilt, a clean stop ends both planes", async () => {
      const { server, browsers } = stage();
      let people = [];
      await withEvidence(
        server,
        () => people,
        async () => {
          people = await twoPeople(browsers[0], server, browsers[1]);
          const [alice, bob] = people;
          await moreFrames(people, "before the kill");
          for (const { page } of people) assert.equal(await markPeerConnections(page), 1, "one peer connection each");
          const dataplane = server.dataplane();

          await server.kill();
          for (const { page } of people) {
            await page.locator('[data-testid="meeting"][data-connection="reconnecting"]').waitFor();
          }
          await moreFrames(people, "while kall is dead");
          assert.ok(dataplane.alive, "the data plane outlives kall");

          await server.run();
          assert.equal(server.dataplane().pid, dataplane.pid, "the new kall took the running data plane over");
          for (const person of people) await person.connected();
          await alice.say("hello again");
          await bob.hears("hello again");
          await bob.say("welcome back");
          await alice.hears("welcome back");
          await moreFrames(people, "after kall came back");
          for (const { name, page } of people) {
            assert.deepEqual(
              await peerConnections(page),
              [{ marked: true, state: "connected" }],
              `${name} has the same peer connection as before`,
            );
          }
          for (const person of people) person.assertContent();

          await server.terminate();
          await until("the data plane to go down with kall", () => !dataplane.alive);
        },
      );
    });
  });
}

async function moreFrames(people, when) {
  for (const { name, page } of people) {
    const before = (await media(page)).decoded;
    await until(
      `${name} to decode ${FRAMES} more frames ${when}`,
      async () => (await media(page)).decoded >= before + FRAMES,
      { describe: () => media(page) },
    );
  }
}
