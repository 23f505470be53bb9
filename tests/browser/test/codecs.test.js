// Every video codec that an answer may offer is decoded by somebody, and survives a camera that goes
// off and on: the picture comes back only if its key frame is recognised.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch, media, picture } from "../lib/browser.js";
import { withEvidence } from "../lib/evidence.js";
import { twoPeople } from "../lib/meeting.js";
import { Server } from "../lib/server.js";
import { until } from "../lib/wait.js";

for (const codec of ["VP8", "VP9", "H264"]) {
  describe(`a call in ${codec}`, () => {
    let browser;
    let server;
    before(async () => {
      server = await Server.start({
        name: `codec-${codec}`,
        config: { media: [`codecs = ["${codec}", "opus"]`] },
      });
      browser = await launch();
    });
    after(async () => {
      await browser?.close();
      await server?.remove();
    });

    test("is decoded, and again after the camera was off", async () => {
      let people = [];
      await withEvidence(
        server,
        () => people,
        async () => {
          people = await twoPeople(browser, server);
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
        },
      );
    });
  });
}
