// Sound with every packet repeating the one before it (RFC 2198): who has RED gets it as it was sent, who
// has not hears the same as plain Opus.

import assert from "node:assert/strict";
import { test } from "node:test";

import { media, reports } from "../lib/browser.js";
import { onStage } from "../lib/browsers.js";
import { withEvidence } from "../lib/evidence.js";
import { Person } from "../lib/meeting.js";
import { until } from "../lib/wait.js";

// Firefox knows no RED for sound by itself.
for (const [name, without] of [
  ["Chromium", withoutRed],
  ["Firefox", undefined],
]) {
  onStage(`redundant sound, and ${name} without it`, ["Chromium", "Chromium", name], { name: "red" }, (stage) => {
    test("is heard with RED and without", async () => {
      let people = [];
      const { server, browsers } = stage();
      await withEvidence(
        server,
        () => people,
        async () => {
          const alice = await Person.arrive(browsers[0], "Alice");
          people = [alice];
          await alice.page.addInitScript(preferRed);
          await alice.createMeeting(server.origin, "Redundant");
          await alice.enter();
          const enters = async (browser, name, script) => {
            const person = await Person.arrive(browser, name);
            people.push(person);
            if (script) await person.page.addInitScript(script);
            await person.page.goto(await alice.link());
            await person.enter();
            await alice.tile(name).waitFor();
            return person;
          };
          const bob = await enters(browsers[1], "Bob");
          const carol = await enters(browsers[2], "Carol", without);
          const room = new URL(await alice.link()).pathname.split("/").at(-1);
          await until("Alice to send RED", async () => (await codecOf(server, room, "Alice")) === "red");
          await until("Bob to send plain Opus", async () => (await codecOf(server, room, "Bob")) === "opus");

          // Only Alice speaks from here on: what comes is what she sends.
          for (const person of [bob, carol]) {
            await person.part("mute-mic").click();
            const muted = `[data-testid="tile"][data-name="${person.name}"][data-muted-audio="true"]`;
            for (const other of people) {
              if (other !== person) await other.page.locator(muted).waitFor();
            }
          }
          // Two frames in a packet are nearly twice one.
          let sizes;
          await until(
            "Bob to get RED and Carol Opus",
            async () => {
              sizes = { bob: await packetSize(bob), carol: await packetSize(carol) };
              return sizes.bob > 1.5 * sizes.carol;
            },
            { describe: () => sizes },
          );
          for (const person of [bob, carol]) {
            const { audioEnergy } = await media(person.page);
            await until(`${person.name} to hear Alice`, async () => (await media(person.page)).audioEnergy > audioEnergy + 0.01);
          }
          for (const person of people) person.assertContent();
        },
      );
    });
  });
}

/** What somebody's microphone sends, as the server sees it. */
async function codecOf(server, room, name) {
  const { sessions } = await server.roomStats(room);
  const tracks = sessions.find((session) => session.name === name)?.tracks ?? [];
  return tracks.find(({ source }) => source === "microphone")?.layers[0]?.codec;
}

/** Bytes of payload in a packet of sound, of those that come to a page between two looks. */
async function packetSize(person) {
  const look = async () => {
    const inbound = (await reports(person.page)).filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    const sum = (field) => inbound.reduce((total, report) => total + (report[field] ?? 0), 0);
    return { packets: sum("packetsReceived"), bytes: sum("bytesReceived") };
  };
  const first = await look();
  const last = await until("some packets more", async () => {
    const now = await look();
    return now.packets >= first.packets + 50 && now;
  });
  return (last.bytes - first.bytes) / (last.packets - first.packets);
}

/** Runs before the page: a client that chooses RED, which answers list behind Opus. */
function preferRed() {
  const native = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function setRemoteDescription({ type, sdp }) {
    const red = /^a=rtpmap:(\d+) red\/48000/m.exec(sdp)?.[1];
    const swapped = sdp.replaceAll(new RegExp(`^(m=audio \\d+ \\S+) (\\d+) ${red}\\b`, "gm"), `$1 ${red} $2`);
    return native.call(this, { type, sdp: swapped });
  };
}

/** Runs before the page: a browser that knows no RED for sound. */
function withoutRed() {
  const native = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function addTransceiver(what, init) {
    const line = native.call(this, what, init);
    if (line.receiver.track.kind === "audio") {
      const { codecs } = RTCRtpReceiver.getCapabilities("audio");
      line.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType.toLowerCase() !== "audio/red"));
    }
    return line;
  };
}
