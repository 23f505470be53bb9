// A call of two browsers in network namespaces of their own: the publisher beside the server, the
// subscriber behind a path that can be made bad.

import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { CHROMIUM, DEVICES, launch } from "./browser.js";
import { Person } from "./meeting.js";
import { assertEmpty, Emulator, here, Namespace } from "./network.js";
import { Server } from "./server.js";
import { watchSlots } from "./timeline.js";

const run = promisify(execFile);

const SERVER = "10.77.0.1";
const PUBLISHER = "10.77.0.2";
const SUBSCRIBER = "10.77.0.3";

/** A camera of 960x540 in which everything moves; libwebrtc allows a picture of this size three layers. */
export const CAMERA = { width: 960, height: 540, rate: 20 };

/** Highest bitrates of the layers in bit/s: the page gives the largest what the others leave of the whole. */
export const CAPS = [150_000, 400_000, 1_200_000];

const WHOLE = CAPS.reduce((sum, cap) => sum + cap, 0);

/** Five seconds of pictures, which the browser repeats. @param {string} file */
async function film(file) {
  const source = `testsrc2=size=${CAMERA.width}x${CAMERA.height}:rate=${CAMERA.rate}`;
  const picture = ["-t", "5", "-pix_fmt", "yuv420p"];
  await run("ffmpeg", ["-v", "error", "-y", "-f", "lavfi", "-i", source, ...picture, file]);
}

export class ShapedCall {
  #close = [];

  /** @param {string} name @param {string} down properties of the path while the call begins */
  static async start(name, down) {
    const call = new ShapedCall();
    try {
      await call.#begin(name, down);
    } catch (error) {
      await call.end();
      throw error;
    }
    return call;
  }

  /** Undoes a step when the call ends, the last first. @param {() => unknown} undo */
  #later(undo) {
    this.#close.unshift(undo);
  }

  async #begin(name, down) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kall-shaped-"));
    this.#later(() => fs.rmSync(folder, { recursive: true, force: true }));
    await this.#connect();
    await this.emulator.down(down);

    const config = { media: [`max_bitrate = ${WHOLE}`], dataplane: [`advertise = ["${SERVER}"]`] };
    this.server = await Server.start({ name, address: SERVER, config });
    this.#later(() => this.server.remove());
    const camera = path.join(folder, "camera.y4m");
    await film(camera);
    const trusted = `--unsafely-treat-insecure-origin-as-secure=${this.server.origin}`;
    const browser = async (space, flags) => {
      const started = await launch([...flags, trusted], space.script(folder, CHROMIUM));
      this.#later(() => started.close());
      return started;
    };
    const sending = await browser(this.near, [...DEVICES.fake, `--use-file-for-fake-video-capture=${camera}`]);
    const receiving = await browser(this.far, DEVICES.none);

    this.publisher = await Person.arrive(sending, "Alice");
    await this.publisher.createMeeting(this.server.origin, "A shaped path");
    await this.publisher.enter();
    this.room = new URL(await this.publisher.link()).pathname.split("/").at(-1);
    this.subscriber = await Person.arrive(receiving, "Bob");
    this.slots = watchSlots(this.subscriber.page);
    await this.subscriber.page.goto(await this.publisher.link());
    await this.subscriber.enter();
    await this.subscriber.tile("Alice").waitFor();
    // So large that nothing but the path bounds the layer.
    await this.subscriber.pin("Alice");
  }

  /** The server's address is its own; a pair of interfaces leads to the publisher, the emulator to the subscriber. */
  async #connect() {
    await assertEmpty();
    await here("link set lo up", `addr add ${SERVER}/32 dev lo`);
    this.#later(() => here(`addr del ${SERVER}/32 dev lo`));
    this.near = await Namespace.make();
    this.#later(() => this.near.remove());
    this.far = await Namespace.make();
    this.#later(() => this.far.remove());

    await here("link add publisher type veth peer name server", `link set server netns ${this.near.pid}`);
    // A namespace that nobody is in goes later, and its interfaces with it.
    this.#later(() => here("link del publisher"));
    await this.near.ip(`addr add ${PUBLISHER}/32 dev server`, "link set server up", "route add default dev server");
    await here("link set publisher up", `route add ${PUBLISHER}/32 dev publisher src ${SERVER}`);

    this.emulator = await Emulator.start("subscriber", "path");
    this.#later(() => this.emulator.stop());
    await here(`link set path netns ${this.far.pid}`);
    await this.far.ip(`addr add ${SUBSCRIBER}/32 dev path`, "link set path up", "route add default dev path");
    await here("link set subscriber up", `route add ${SUBSCRIBER}/32 dev subscriber src ${SERVER}`);
  }

  /** What the data plane counts of the subscriber's session. */
  async figures() {
    const { sessions } = await this.server.roomStats(this.room);
    return sessions.find((session) => session.name === "Bob");
  }

  get people() {
    return [this.publisher, this.subscriber].filter(Boolean);
  }

  async end() {
    for (const undo of this.#close) await undo();
    this.#close = [];
  }
}
