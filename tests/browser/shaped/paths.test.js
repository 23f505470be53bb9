// Other ways to the server: a machine that gets another address in mid-call, and one whose UDP goes
// nowhere. Server and browsers are in network namespaces of their own.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { CHROMIUM, DEVICES, launch, longestGap, media, watchGaps, watchNetworks } from "../lib/browser.js";
import { withEvidence } from "../lib/evidence.js";
import { Person } from "../lib/meeting.js";
import { assertEmpty, here, Namespace } from "../lib/network.js";
import { Server } from "../lib/server.js";
import { until } from "../lib/wait.js";

const SERVER = "10.78.0.1";
const PUBLISHER = "10.78.0.2";
const SUBSCRIBER = "10.78.0.3";
const MOVED = "10.78.0.4";
const SECOND = "10.79.0.4";

/** Frames that show that the picture flows. */
const FRAMES = 60;

/**
 * How long a picture may stand still while the machine moves to another address at once. Chromium looks at addresses
 * two seconds after they changed, when it takes the network for settled (on Linux), and has nothing to send from
 * before; the rest is the new path and a slow machine.
 */
const GAP_MS = 3_500;

/**
 * How long where there is another way already: some looks at a flow that has stopped, another socket, some checks. It is
 * 0.9 s over TCP and 1.4 s at another address on a machine with nothing else to do, and the test prints it.
 */
const READY_GAP_MS = 3_000;

/** A counter of the data plane. @param {Server} server @param {string} name */
async function counter(server, name) {
  const { dataplane } = await server.stats();
  return dataplane.cores.reduce((sum, core) => sum + (core.counters[name] ?? 0), 0);
}

/** A namespace behind a pair of interfaces. @param {string} name @param {string} address */
async function behind(name, address) {
  const space = await Namespace.make();
  await here(`link add ${name} type veth peer name inner`, `link set inner netns ${space.pid}`);
  await space.ip(`addr add ${address}/32 dev inner`, "link set inner up", "route add default dev inner");
  await here(`link set ${name} up`, `route add ${address}/32 dev ${name} src ${SERVER}`);
  return space;
}

for (const io of ["io_uring", "syscall"]) {
  describe(`a subscriber in a network of its own, through ${io}`, () => {
    /** @type {(() => unknown)[]} */
    const undo = [];
    const later = (step) => undo.unshift(step);
    const people = [];
    let server, far, link, receiving;

    before(async () => {
      await assertEmpty();
      await here("link set lo up", `addr add ${SERVER}/32 dev lo`);
      later(() => here(`addr del ${SERVER}/32 dev lo`));
      const near = await behind("publisher", PUBLISHER);
      later(() => near.remove());
      far = await behind("subscriber", SUBSCRIBER);
      later(() => far.remove());
      // Its second interface, which is down as yet.
      await here("link add second type veth peer name inner2", `link set inner2 netns ${far.pid}`);
      // A namespace that nobody is in goes later, and its interfaces with it.
      for (const name of ["publisher", "subscriber", "second"]) later(() => here(`link del ${name}`));
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kall-paths-"));
      later(() => fs.rmSync(folder, { recursive: true, force: true }));
      server = await Server.start({ io, name: "paths", address: SERVER, tcpPort: 7881 });
      later(() => server.remove());
      const trusted = `--unsafely-treat-insecure-origin-as-secure=${server.origin}`;
      const sending = await launch([...DEVICES.fake, trusted], near.script(folder, CHROMIUM));
      later(() => sending.close());
      receiving = await launch([...DEVICES.none, trusted], far.script(folder, CHROMIUM));
      later(() => receiving.close());
      const alice = await Person.arrive(sending, "Alice");
      people.push(alice);
      await alice.createMeeting(server.origin, "Other ways");
      await alice.enter();
      link = await alice.link();
    });

    after(async () => {
      for (const step of undo) await step();
    });

    const evidently = (body) => withEvidence(server, () => people, body);

    /** Bob comes in, and sees Alice. */
    const enter = async (name) => {
      const person = await Person.arrive(receiving, name);
      people.push(person);
      await person.page.goto(link);
      await person.enter();
      await person.tile("Alice").waitFor();
      await flows(person);
      return person;
    };

    /** Waits for more pictures. */
    const flows = async (person) => {
      const { decoded } = await media(person.page);
      let seen;
      await until(
        `${FRAMES} more frames at ${person.name}`,
        async () => {
          seen = await media(person.page);
          return seen.decoded >= decoded + FRAMES;
        },
        { describe: () => seen },
      );
      return seen;
    };

    /**
     * Someone comes in, and the way to the server changes: the picture stands still for less than `most` ms, and session
     * and connection are the same before and after.
     */
    const staysWhile = async (t, name, most, change) => {
      const person = await enter(name);
      assert.equal((await media(person.page)).protocol, "udp", "UDP goes first");
      const opened = await counter(server, "sessions_opened");
      await watchGaps(person.tile("Alice").locator("video"));
      await change(person);
      await flows(person);
      await person.connected();
      const gap = await longestGap(person.page);
      t.diagnostic(`no picture for ${gap.toFixed(0)} ms`);
      assert.ok(gap < most, `no picture for ${gap.toFixed(0)} ms`);
      assert.equal(await person.page.evaluate(() => window.keptPeerConnections.length), 1, "no connection was built anew");
      assert.equal(await counter(server, "sessions_opened"), opened);
      person.assertContent();
      await person.leave();
    };

    test("a call goes on at another address, on the same connection", (t) =>
      evidently(() =>
        staysWhile(t, "Bob", GAP_MS, async () => {
          await here(`route add ${MOVED}/32 dev subscriber src ${SERVER}`);
          await far.ip(`addr add ${MOVED}/32 dev inner`, `addr del ${SUBSCRIBER}/32 dev inner`, "route replace default dev inner");
          await until("another path", async () => (await counter(server, "path_changes")) >= 1);
        }),
      ));

    test("a call goes on at another address that was there before the old one went", (t) =>
      evidently(() =>
        staysWhile(t, "Bob", READY_GAP_MS, async (bob) => {
          const moves = await counter(server, "path_changes");
          await watchNetworks(bob.page);
          await far.ip(`addr add ${SECOND}/32 dev inner2`, "link set inner2 up", "route add default dev inner2 metric 200");
          await here("link set second up", `route add ${SECOND}/32 dev second src ${SERVER}`);
          await until("Chromium to see the other address", () => bob.page.evaluate(() => window.seenNetwork));
          await far.ip("link set inner down", `addr del ${MOVED}/32 dev inner`);
          await until("another path", async () => (await counter(server, "path_changes")) > moves);
        }),
      ));

    test("where no datagram gets out, a connection carries the call", () =>
      evidently(async () => {
        const living = async () => (await counter(server, "tcp_opened")) - (await counter(server, "tcp_closed"));
        const before = await living();
        await far.dropUdp();
        const carol = await enter("Carol");
        const seen = await flows(carol);
        assert.equal(seen.protocol, "tcp");
        assert.equal(seen.remotePort, 7881);
        assert.ok((await living()) > before);
        assert.ok((await counter(server, "tcp_frames_out")) > FRAMES);
        carol.assertContent();
        await carol.leave();
        await until("the connection to end with the session", async () => (await living()) <= before);
        await far.letUdpPass();
      }));

    test("where datagrams stop in mid-call, a connection carries on", (t) =>
      evidently(async () => {
        await staysWhile(t, "Dave", READY_GAP_MS, async (dave) => {
          await far.dropUdp();
          await until("the way by TCP", async () => (await media(dave.page)).protocol === "tcp");
        });
        await far.letUdpPass();
      }));
  });
}
