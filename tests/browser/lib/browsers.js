// The browsers of the tests by name, at a server that all of them reach: a page, a meeting and its figures are the same
// for a test, whichever browser it looks at.

import { after, before, describe } from "node:test";

import { DEVICES, launch } from "./browser.js";
import { launchFirefox } from "./firefox.js";
import { OWN_ADDRESS } from "./paths.js";
import { Server } from "./server.js";

/** @typedef {"Chromium" | "Firefox"} BrowserName */

/** Whether this run is the one of the casts with Firefox (`make firefox`), or that of Chromium alone (`make browser`). */
const WITH_FIREFOX = process.env.KALL_CASTS === "firefox";

/** Where a test plays: a server, and the browsers of its people. */
class Stage {
  /** One for each person; who has the same has one together. @type {import("playwright-core").Browser[]} */
  browsers = [];
  #started = new Map();

  /** @param {Server} server */
  constructor(server) {
    this.server = server;
  }

  /**
   * A browser, the same one for the same machine.
   *
   * @param {BrowserName} name
   * @param {keyof typeof DEVICES} [devices]
   * @param {string[]} [flags] for Chromium, further ones
   */
  async browser(name, devices = "fake", flags = []) {
    const key = [name, devices, ...flags].join();
    if (!this.#started.has(key)) {
      const trusted = `--unsafely-treat-insecure-origin-as-secure=${this.server.origin}`;
      const started = name === "Firefox" ? launchFirefox(devices) : launch([...DEVICES[devices], trusted, ...flags]);
      this.#started.set(key, await started);
    }
    return this.#started.get(key);
  }

  async end() {
    for (const browser of this.#started.values()) await browser.close();
    await this.server.remove();
  }
}

/**
 * Describes tests of people who have these browsers at one server, if this run is about them.
 *
 * @param {string} title
 * @param {BrowserName[]} names one for each person
 * @param {Parameters<typeof Server.start>[0]} options
 * @param {(stage: () => Stage) => void} body declares the tests; the stage is there when they run
 */
export function onStage(title, names, options, body) {
  if (names.includes("Firefox") !== WITH_FIREFOX) return;
  describe(title, () => {
    let stage;
    before(async () => {
      stage = new Stage(await Server.start({ address: OWN_ADDRESS, ...options }));
      for (const name of names) stage.browsers.push(await stage.browser(name));
    });
    after(() => stage?.end());
    body(() => stage);
  });
}
