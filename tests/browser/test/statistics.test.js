// The connection's figures over the pictures, the menu that opens them, a pinned tile, and a picture that
// the server holds back; pictures go to artifacts/.

import assert from "node:assert/strict";
import { test } from "node:test";

import { media } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { DESKTOP, PHONE, Person } from "../lib/meeting.js";
import { photographer } from "../lib/screens.js";
import { until } from "../lib/wait.js";

const ALL = [
  ["desktop", DESKTOP, "Chromium"],
  ["phone", PHONE, "Chromium"],
  ["desktop", DESKTOP, "Firefox"],
];

for (const [device, viewport, name] of ALL) {
  onStage(`what ${name} on a ${device} shows of the connection`, [name], { name: `statistics-${device}` }, (stage) => {
    const shot = photographer(device, name);

    const run = (title, body) =>
      test(title, async () => {
        const people = [];
        const arrive = async (who) => {
          const person = await Person.arrive(stage().browsers[0], who, { viewport });
          people.push(person);
          return person;
        };
        await withEvidence(stage().server, () => people, () => body(arrive));
        for (const person of people) await person.page.context().close();
      });

    /** Two people who see each other. */
    const meet = async (arrive, title) => {
      const alice = await arrive("Alice");
      await alice.createMeeting(stage().server.origin, title);
      await alice.enter();
      const bob = await arrive("Bob");
      await bob.page.goto(await alice.link());
      await bob.enter();
      await until("a picture of Bob", async () => (await media(alice.page)).decoded > 10);
      return [alice, bob];
    };

    run("the statistics have a figure for everything that flows", async (arrive) => {
      const [alice] = await meet(arrive, "Figures");
      await alice.part("more").click();
      await shot(alice, "menu");
      await alice.part("open-statistics").click();
      const row = alice.page.locator('[data-testid="statistics-row"][data-name="Bob"][data-source="camera"]');
      const figure = async (id) => (await row.getByTestId(id).textContent())?.trim() ?? "";
      let seen;
      await until(
        "Bob's row to be filled",
        async () => {
          if ((await row.count()) === 0) return false;
          seen = Object.fromEntries(
            await Promise.all(["size", "fps", "bitrate", "loss", "jitter"].map(async (id) => [id, await figure(id)])),
          );
          return (
            /^\d+×\d+$/.test(seen.size) &&
            Number(seen.fps) > 0 &&
            /[1-9].* [kM]bit\/s$/.test(seen.bitrate) &&
            /^\d+\.\d %$/.test(seen.loss) &&
            /^\d+(\.\d)? ms$/.test(seen.jitter)
          );
        },
        { describe: () => seen },
      );
      // Firefox tells nobody what it takes the path for.
      const told = name === "Firefox" ? ["rtt", "sending", "receiving"] : ["rtt", "available", "sending", "receiving"];
      for (const id of told) {
        await until(`a figure for ${id}`, async () => /\d/.test((await alice.part(`statistics-${id}`).textContent()) ?? ""));
      }
      const own = alice.page.locator('[data-testid="statistics-row"][data-self="true"][data-source="camera"]');
      assert.ok((await own.count()) >= 1, "what is sent has rows, too");
      await shot(alice, "statistics");
      await alice.part("close-statistics").click();
      await alice.part("statistics").waitFor({ state: "detached" });
      await alice.page.keyboard.press("i");
      await alice.part("statistics").waitFor();
      await alice.page.keyboard.press("i");
      await alice.part("statistics").waitFor({ state: "detached" });
    });

    run("a pinned tile is large, and the others are a strip below", async (arrive) => {
      const [alice] = await meet(arrive, "Pinned");
      await alice.pin("Bob");
      const pinned = alice.page.locator('[data-testid="pin"][aria-pressed="true"]');
      await pinned.waitFor();
      const area = async (tile) => {
        const box = await tile.boundingBox();
        return box.width * box.height;
      };
      const own = alice.page.locator('[data-testid="tile"][data-self="true"]');
      await until("Bob to be larger than Alice", async () => (await area(alice.tile("Bob"))) > 4 * (await area(own)));
      await shot(alice, "pinned");
      await alice.pin("Bob");
      await until("both to be equal again", async () => (await area(alice.tile("Bob"))) === (await area(own)));
    });

    run("a picture that is held back stays, dimmed, and says why", async (arrive) => {
      const alice = await arrive("Alice");
      // The server's word about the slot is changed on its way; what it makes of a narrow path is
      // tested where there is one.
      let hold = () => undefined;
      await alice.page.routeWebSocket(/\/ws\b/, (page) => {
        const server = page.connectToServer();
        const cameras = new Set();
        let slot;
        let paused = false;
        server.onMessage((frame) => {
          const message = JSON.parse(String(frame));
          // Her own camera is none that she is shown.
          if (message.type === "track_published" && message.kind === "video") cameras.add(message.track_id);
          if (message.type !== "slot" || !cameras.has(message.track_id)) return page.send(frame);
          // The layer may change meanwhile: then it is the new one that is held back.
          slot = message;
          page.send(JSON.stringify(paused ? { ...slot, paused } : slot));
        });
        hold = (held) => {
          paused = held;
          page.send(JSON.stringify({ ...slot, paused }));
        };
      });
      await alice.createMeeting(stage().server.origin, "Held back");
      await alice.enter();
      const bob = await arrive("Bob");
      await bob.page.goto(await alice.link());
      await bob.enter();
      const video = alice.tile("Bob").locator("video");
      await until("a picture of Bob", () => video.evaluate((element) => element.videoWidth > 0));
      hold(true);
      const slow = alice.tile("Bob").getByTestId("tile-slow");
      await slow.waitFor();
      assert.equal((await slow.textContent())?.trim(), "Connection too slow for this video");
      assert.equal(await alice.tile("Bob").getAttribute("data-muted-video"), "false");
      await shot(alice, "held-back");
      hold(false);
      await slow.waitFor({ state: "detached" });
    });
  });
}
