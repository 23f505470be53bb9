// Every page and its states, at the width of a desktop and of a phone; pictures go to artifacts/.

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

for (const [device, viewport, browser] of ALL) {
  onStage(`pages in ${browser} on a ${device}`, [browser], { name: `pages-${device}` }, (stage) => {
    const shot = photographer(device, browser);

    const run = (title, body) =>
      test(title, async () => {
        const people = [];
        /** A person whose machine has these devices. */
        const guest = async (name, devices = "fake") => {
          const person = await Person.arrive(await stage().browser(browser, devices), name, { viewport });
          people.push(person);
          return person;
        };
        const { server } = stage();
        await withEvidence(server, () => people, () => body(server, guest));
        for (const person of people) await person.page.context().close();
      });

    run("landing, pre-join, meeting with chat, leaving", async (server, guest) => {
      const alice = await guest("Alice");
      await alice.page.goto(server.origin);
      await alice.part("new-meeting").waitFor();
      await shot(alice, "landing");
      await alice.createMeeting(server.origin, "Weekly review");
      await alice.part("preview").locator("video").waitFor();
      await until("a preview", () => alice.part("preview").locator("video").evaluate((video) => video.videoWidth > 0));
      await alice.part("name").fill("Alice");
      await shot(alice, "prejoin");
      await alice.enter();
      await shot(alice, "meeting-alone");

      const bob = await guest("Bob");
      await bob.page.goto(await alice.link());
      await bob.enter();
      await alice.tile("Bob").waitFor();
      await until("a picture of Bob", async () => (await media(alice.page)).decoded > 10);
      await shot(alice, "meeting");
      await bob.say("Shall we begin?");
      await alice.hears("Shall we begin?");
      await shot(alice, "meeting-chat");
      assert.equal(await alice.part("chat-message").first().getAttribute("data-from"), await identity(alice, "Bob"));

      // On a phone the chat covers the toolbar.
      await bob.part("close-chat").click();
      await bob.leave();
      await shot(bob, "left");
      await alice.tile("Bob").waitFor({ state: "detached" });
    });

    run("joining by code from the landing page", async (server, guest) => {
      const meeting = await server.post("/rooms", { name: "By code" });
      const alice = await guest("Alice");
      await alice.page.goto(server.origin);
      await alice.part("join-code").fill(meeting.slug);
      await alice.part("join").click();
      await alice.enter();
    });

    run("the copied link opens the meeting", async (server, guest) => {
      const alice = await guest("Alice");
      // Firefox is told by a preference.
      const permissions = browser === "Firefox" ? [] : ["clipboard-read", "clipboard-write"];
      await alice.page.context().grantPermissions(permissions, { origin: server.origin });
      await alice.createMeeting(server.origin, "Copied");
      await alice.enter();
      await alice.part("copy-link").first().click();
      const copied = await until("a link in the clipboard", () => alice.page.evaluate(() => navigator.clipboard.readText()));
      assert.equal(new URL(copied).pathname, new URL(alice.page.url()).pathname);
    });

    run("a camera that nobody may use", async (server, guest) => {
      const denied = await guest("Dora", "denied");
      await denied.createMeeting(server.origin, "Denied");
      await denied.page.getByText(/permission|allow|blocked/i).first().waitFor();
      await shot(denied, "prejoin-denied");
      await denied.enter();
    });

    run("no camera at all", async (server, guest) => {
      const none = await guest("Nora", "none");
      await none.createMeeting(server.origin, "No camera");
      await none.page.getByText(/no camera|not found|camera is off/i).first().waitFor();
      await shot(none, "prejoin-no-camera");
      await none.enter();
      await shot(none, "meeting-no-camera");
    });

    run("a full room", async (server, guest) => {
      const room = await server.post("/rooms", { name: "Small", max_participants: 1 });
      const first = await guest("Alice");
      await first.page.goto(`${server.origin}/r/${room.slug}`);
      await first.enter();
      const second = await guest("Bob");
      await second.page.goto(`${server.origin}/r/${room.slug}`);
      await second.part("name").fill("Bob");
      await second.part("enter").click();
      await second.page.locator('[data-testid="error-page"][data-code="room_full"]').waitFor();
      await shot(second, "room-full");
    });

    run("a wrong token", async (server, guest) => {
      const room = await server.post("/rooms", { name: "Guarded" });
      const eve = await guest("Eve");
      await eve.page.goto(`${server.origin}/r/${room.slug}?token=not-a-token`);
      await eve.part("name").fill("Eve");
      await eve.part("enter").click();
      await eve.page.locator('[data-testid="error-page"][data-code="auth_failed"]').waitFor();
      await shot(eve, "wrong-token");
    });

    run("a server that is away", async (server, guest) => {
      const alice = await guest("Alice");
      await alice.createMeeting(server.origin, "Interrupted");
      await alice.enter();
      await server.kill();
      await alice.page.locator('[data-testid="meeting"][data-connection="reconnecting"]').waitFor();
      await alice.part("banner").waitFor();
      await shot(alice, "reconnecting");
      await server.run();
      await alice.connected();
    });
  });
}

/** The identity of the participant with a name, as the tiles tell it. */
function identity(person, name) {
  return person.tile(name).getAttribute("data-identity");
}
