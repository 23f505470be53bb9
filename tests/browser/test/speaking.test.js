// Who speaks is seen, a moderator silences somebody, and screens are shared, one and two at a time; pictures go to
// artifacts/.

import assert from "node:assert/strict";
import { test } from "node:test";

import { picture } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { DESKTOP, PHONE, Person } from "../lib/meeting.js";
import { photographer } from "../lib/screens.js";
import { voiceFlag } from "../lib/voice.js";
import { until } from "../lib/wait.js";

/** The screen that somebody shares, as another sees it. */
const screenOf = (person, name) => person.page.locator(`[data-testid="screen-tile"][data-name="${name}"]`);

/** The devices are open. */
const seesOneself = (person) =>
  until(`${person.name}'s camera`, async () => (await picture(person.page.locator("video").first())).brightest > 40);

/** What the browser's own bar does when its button is pressed. */
const endByBrowser = (person) =>
  person.page.evaluate(() => {
    const senders = window.keptPeerConnections.flatMap((peer) => peer.getSenders());
    const track = senders.map((sender) => sender.track).find((one) => one?.label.startsWith("screen:"));
    track.stop();
    track.dispatchEvent(new Event("ended"));
  });

/** A machine whose microphone hears somebody speak. */
const VOICE = [voiceFlag()];

const ALL = [
  ["desktop", DESKTOP, "Chromium"],
  ["phone", PHONE, "Chromium"],
  ["desktop", DESKTOP, "Firefox"],
];

// Voices and screens come of Chromium: Firefox brings neither a voice from a file nor a screen where there is none.
for (const [device, viewport, name] of ALL) {
  onStage(`speakers and screens in ${name} on a ${device}`, [name], { name: `speaking-${device}` }, (stage) => {
    const shot = photographer(device, name);

    const run = (title, body) =>
      test(title, async () => {
        const people = [];
        const arrive = async (from, who) => {
          const person = await Person.arrive(from, who, { viewport });
          people.push(person);
          return person;
        };
        await withEvidence(stage().server, () => people, () => body(arrive));
        for (const person of people) await person.page.context().close();
      });

    /** The host, and a guest with a voice. */
    const meet = async (arrive, browser, title) => {
      const alice = await arrive(browser, "Alice");
      await alice.createMeeting(stage().server.origin, title);
      await seesOneself(alice);
      await alice.enter();
      const bob = await arrive(await stage().browser("Chromium", "fake", VOICE), "Bob");
      await bob.page.goto(await alice.link());
      await seesOneself(bob);
      await bob.enter();
      await alice.tile("Bob").waitFor();
      return [alice, bob];
    };

    run("whoever speaks has a ring, and is silenced by a host", async (arrive) => {
      const [alice, bob] = await meet(arrive, stage().browsers[0], "Voices");
      const tile = alice.page.locator('[data-testid="tile"][data-name="Bob"][data-active-speaker="true"]');
      await tile.waitFor();
      assert.equal((await alice.said("active_speaker")).at(-1).identity, await tile.getAttribute("data-identity"));
      await alice.page.locator('[data-testid="tile"][data-name="Bob"][data-speaking="true"]').waitFor();
      const own = bob.page.locator('[data-testid="tile"][data-self="true"][data-active-speaker="true"]');
      await own.waitFor();
      await shot(alice, "speaking");

      await alice.tile("Bob").hover();
      await alice.tile("Bob").getByTestId("mute-participant").click();
      await bob.page.locator('[data-testid="banner"][data-state="muted_by"]').waitFor();
      assert.match((await bob.part("banner").textContent()) ?? "", /Alice muted your microphone/);
      await alice.page.locator('[data-testid="tile"][data-name="Bob"][data-muted-audio="true"]').waitFor();
      await shot(bob, "muted-by-host");
      // He may speak again, by his own hand.
      await bob.part("mute-mic").click();
      await alice.page.locator('[data-testid="tile"][data-name="Bob"][data-muted-audio="false"]').waitFor();
      await bob.page.locator('[data-testid="banner"][data-state="muted_by"]').waitFor({ state: "detached" });
    });

    run("screens are shared with their sound, large, until they end", async (arrive) => {
      const [alice, bob] = await meet(arrive, await stage().browser("Chromium"), "Screens");
      await alice.part("share-screen").click();
      const shown = screenOf(bob, "Alice");
      await shown.waitFor();
      const video = shown.locator("video");
      await until("Alice's screen to be seen", async () => (await picture(video)).brightest > 40);
      const large = await shown.boundingBox();
      const face = await bob.tile("Alice").boundingBox();
      assert.ok(large.width > 1.4 * face.width, `${large.width} px beside ${face.width} px`);
      const sources = async () => (await bob.said("track_published")).map(({ source, from }) => `${source} ${from}`);
      const identity = await shown.getAttribute("data-identity");
      await until("the sound of the screen", async () => (await sources()).includes(`screen_audio ${identity}`));
      await alice.part("own-screen").waitFor();
      await shot(bob, "screen");
      await shot(alice, "screen-own");

      // Two at once: the newer one is large, and the other on request.
      await bob.part("share-screen").click();
      await screenOf(alice, "Bob").waitFor();
      const carol = await arrive(stage().browsers[0], "Carol");
      await carol.page.goto(await alice.link());
      await seesOneself(carol);
      await carol.enter();
      for (const name of ["Alice", "Bob"]) {
        await until(`${name}'s screen to be seen`, async () =>
          (await picture(screenOf(carol, name).locator("video"))).brightest > 40,
        );
      }
      await shot(carol, "screens-two");
      // Which of them is the newer one she can't know.
      const isLarge = (name) => screenOf(carol, name).evaluate((tile) => tile.classList.contains("tile-pinned"));
      const [small, big] = (await isLarge("Alice")) ? ["Bob", "Alice"] : ["Alice", "Bob"];
      await screenOf(carol, small).getByTestId("pin").click();
      await until("the other screen to be large", async () => (await isLarge(small)) && !(await isLarge(big)));

      // By the browser's own button, and by ours; then once more on the same line.
      await endByBrowser(alice);
      await shown.waitFor({ state: "detached" });
      await alice.part("own-screen").waitFor({ state: "detached" });
      await bob.part("stop-sharing").click();
      await screenOf(alice, "Bob").waitFor({ state: "detached" });
      const connections = await alice.page.evaluate(() => window.keptPeerConnections.length);
      await alice.part("share-screen").click();
      await shown.waitFor();
      await until("her screen to be seen again", async () => (await picture(shown.locator("video"))).brightest > 40);
      assert.equal(await alice.page.evaluate(() => window.keptPeerConnections.length), connections);
    });
  });
}
