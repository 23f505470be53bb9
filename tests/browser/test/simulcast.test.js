// A camera is sent in layers: each viewer gets the one that its tile needs, and the publisher stops
// those that nobody takes. What flows is told by the server's statistics and in the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { layers, markPeerConnections, media, peerConnections } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { DESKTOP, Person, twoPeople } from "../lib/meeting.js";
import { until } from "../lib/wait.js";

/** Tiles so small that the smallest layer serves them. */
const SMALL = { width: 320, height: 480 };

for (const names of [
  ["Chromium", "Chromium"],
  ["Firefox", "Chromium"],
  ["Chromium", "Firefox"],
]) {
  onStage(`simulcast from ${names.join(" to ")}`, names, { name: "simulcast" }, (stage) => {
    test("a tile gets the layer it needs, and layers that nobody takes are stopped", async (t) => {
      const { server, browsers } = stage();
      let people = [];
      await withEvidence(
        server,
        () => people,
        async () => {
          people = await twoPeople(browsers[0], server, browsers[1]);
          const [alice, bob] = people;
          for (const { page } of people) await markPeerConnections(page);

          await bob.pin("Alice");
          let sent;
          await until(
            "Alice to send three layers",
            async () => {
              sent = await layers(alice.page);
              return ["q", "h", "f"].every((rid) => sent[rid]?.frames > 0);
            },
            { describe: () => sent },
          );
          assert.deepEqual(Object.keys(sent).sort(), ["f", "h", "q"]);
          // Five seconds after the large tile took the largest, the others may be stopped already.
          const widths = ["q", "h", "f"].map((rid) => sent[rid].width).filter((width) => width > 0);
          assert.ok(
            widths.every((width, at) => at === 0 || width > widths[at - 1]),
            JSON.stringify(sent),
          );
          t.diagnostic(`Alice sends ${sent.q.size}, ${sent.h.size} and ${sent.f.size}`);
          await shows(bob, alice, "f");
          await told(bob, "Alice", "high");

          await statisticsTell(server, alice, bob);

          // A small window: the smallest layer serves it, and nobody takes the others.
          await bob.pin("Alice");
          await bob.page.setViewportSize(SMALL);
          await shows(bob, alice, "q");
          await told(bob, "Alice", "low");
          await until(
            "Alice to stop what nobody takes",
            async () => {
              sent = await layers(alice.page);
              return sent.q.active && !sent.h.active && !sent.f.active;
            },
            { describe: () => sent },
          );
          // What is switched off sends nothing, what is left goes on. Pictures that were on their way into an encoder
          // are still counted.
          let stopped = sent;
          await until(
            "the others to stand still while the smallest layer goes on",
            async () => {
              sent = await layers(alice.page);
              if (sent.h.frames !== stopped.h.frames || sent.f.frames !== stopped.f.frames) stopped = sent;
              return sent.q.frames > stopped.q.frames + 20;
            },
            { describe: () => ({ stopped, sent }) },
          );

          // Large again: the layer is switched on for who wants it.
          await bob.page.setViewportSize(DESKTOP);
          await bob.pin("Alice");
          await until("Alice to send the largest layer again", async () => {
            sent = await layers(alice.page);
            return sent.f.active && sent.f.frames > stopped.f.frames;
          });
          await shows(bob, alice, "f");
          for (const { name, page } of people) {
            const expected = [{ marked: true, state: "connected" }];
            assert.deepEqual(await peerConnections(page), expected, `${name} has the same peer connection all the time`);
          }
          for (const person of people) person.assertContent();
        },
      );
    });
  });
}

for (const name of ["Chromium", "Firefox"]) {
  onStage(`a late camera of ${name}`, [name], { name: "late-camera" }, (stage) => {
    test("is sent in layers, too, when it opens after its owner came in", async () => {
      const alice = await Person.arrive(stage().browsers[0], "Alice");
      await withEvidence(
        stage().server,
        () => [alice],
        async () => {
          await alice.page.addInitScript(holdDevices);
          await alice.createMeeting(stage().server.origin, "A late camera");
          await alice.enter();
          await until("a connection without a line of its own", async () =>
            (await peerConnections(alice.page)).some(({ state }) => state === "connected"),
          );
          await alice.page.evaluate(() => window.letDevicesOpen());
          let sent;
          await until(
            "three layers",
            async () => {
              sent = await layers(alice.page);
              return ["q", "h", "f"].every((rid) => sent[rid]?.frames > 0);
            },
            { describe: () => sent },
          );
          assert.equal((await peerConnections(alice.page)).length, 1);
          alice.assertContent();
        },
      );
    });
  });

  const plain = { name: "no-simulcast", config: { media: ["simulcast = false"] } };
  onStage(`a camera of ${name} at a server with simulcast switched off`, [name, name], plain, (stage) => {
    test("is sent in one layer, whole", async () => {
      let people = [];
      await withEvidence(
        stage().server,
        () => people,
        async () => {
          people = await twoPeople(stage().browsers[0], stage().server);
          const [alice, bob] = people;
          let ends;
          await until(
            "Bob to see what Alice sends",
            async () => {
              ends = { sent: await layers(alice.page), received: (await media(bob.page)).received };
              const [only, more] = Object.values(ends.sent);
              return more === undefined && only?.width >= 640 && ends.received === only.size;
            },
            { describe: () => ends },
          );
          for (const person of people) person.assertContent();
        },
      );
    });
  });
}

/** `here` decodes pictures as large as `there` sends by that rid. */
async function shows(here, there, rid) {
  let ends;
  await until(
    `${here.name} to see layer ${rid} of ${there.name}`,
    async () => {
      const sent = await layers(there.page);
      const received = await shown(here, there.name);
      ends = { sent, received };
      return received !== undefined && received === sent[rid]?.size;
    },
    { describe: () => ends },
  );
}

/** The size of the picture in a tile right now. */
function shown(person, name) {
  return person
    .tile(name)
    .locator("video")
    .evaluate((video) => (video.videoWidth > 0 ? `${video.videoWidth}x${video.videoHeight}` : undefined));
}

/** The server told which layer a tile shows. */
async function told(person, name, layer) {
  await person.page.locator(`[data-testid="tile"][data-name="${name}"][data-layer="${layer}"]`).waitFor();
}

/** What `/stats?room=` and the metrics page say while Bob sees Alice large. */
async function statisticsTell(server, alice, bob) {
  const room = new URL(await alice.link()).pathname.split("/").at(-1);
  const flows = (layer) => layer.active && layer.bitrate_bps > 0 && layer.width > 0;
  let figures;
  await until(
    "the statistics to tell what flows",
    async () => {
      figures = await server.roomStats(room);
      const [hers, his] = ["Alice", "Bob"].map((name) => figures.sessions.find((session) => session.name === name));
      const camera = hers?.tracks.find(({ source }) => source === "camera");
      const slot = his?.slots.find(({ source }) => source === "camera");
      return (
        camera?.layers.length === 3 &&
        // The others may be stopped by now: nobody takes them.
        flows(camera.layers.at(-1)) &&
        slot?.layer === "high" &&
        slot.bitrate_bps > 0 &&
        his.send_bps > 0 &&
        hers.receive_bps > his.slots[0].bitrate_bps
      );
    },
    { describe: () => figures },
  );
  const hers = figures.sessions.find(({ name }) => name === "Alice");
  const his = figures.sessions.find(({ name }) => name === "Bob");
  const camera = hers.tracks.find(({ source }) => source === "camera");
  assert.deepEqual(camera.layers.map(({ rid }) => rid), ["q", "h", "f"]);
  assert.deepEqual(hers.tracks.map(({ kind }) => kind).sort(), ["audio", "video"]);
  const slot = his.slots.find(({ source }) => source === "camera");
  assert.deepEqual([slot.from, slot.track_id, slot.paused], [hers.identity, camera.track_id, false]);
  assert.ok(his.estimate_bps > 0, `the path to Bob is estimated: ${his.estimate_bps}`);
  await assert.rejects(server.roomStats("no-such-room-0000"), /404/);

  const metrics = await server.metrics();
  for (const name of [
    'koder_kall_media_bitrate_bps{direction="ingress"}',
    'koder_kall_media_bitrate_bps{direction="egress"}',
    'koder_kall_media_packets_total{direction="egress"}',
    'koder_kall_media_estimate_bps{quantile="0.5"}',
    'koder_kall_media_slots{layer="high"}',
    'koder_kall_bandwidth_bytes_total{direction="egress"}',
    'koder_kall_tracks_total{kind="video"}',
  ]) {
    assert.ok(metrics[name] > 0, `${name} is ${metrics[name]}`);
  }
  for (const name of [
    'koder_kall_media_rtt_seconds{quantile="1"}',
    'koder_kall_media_loss_ratio{quantile="0.9"}',
    'koder_kall_media_nack_total{direction="received"}',
    "koder_kall_media_slots_paused",
  ]) {
    assert.ok(metrics[name] >= 0, `${name} is ${metrics[name]}`);
  }
  const labelled = Object.keys(metrics).filter((name) => name.includes(hers.identity) || name.includes("Alice"));
  assert.deepEqual(labelled, [], "nothing is labelled by participant");
}

/** Runs before the page: a person who answers the question for the devices late. */
function holdDevices() {
  // The empty page before the first has no devices.
  if (!window.MediaDevices) return;
  const native = MediaDevices.prototype.getUserMedia;
  const allowed = new Promise((resolve) => {
    window.letDevicesOpen = resolve;
  });
  MediaDevices.prototype.getUserMedia = async function getUserMedia(constraints) {
    await allowed;
    return native.call(this, constraints);
  };
}
