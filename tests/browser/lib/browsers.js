// The browsers of the tests by name, each with a camera and a microphone, at a server that all of them
// reach: a page, a meeting and its figures are the same for a test, whichever browser it looks at.

import { FAKE_DEVICES, launch } from "./browser.js";
import { launchFirefox } from "./firefox.js";

/** @typedef {"Chromium" | "Firefox"} BrowserName */

/** Starts a browser. @param {BrowserName} name @param {import("./server.js").Server} server its pages are trusted */
export function start(name, server) {
  if (name === "Firefox") return launchFirefox();
  return launch([...FAKE_DEVICES, `--unsafely-treat-insecure-origin-as-secure=${server.origin}`]);
}

/**
 * Starts a browser for each of several people; who has the same has one together.
 *
 * @param {BrowserName[]} names
 * @param {import("./server.js").Server} server
 */
export async function startAll(names, server) {
  const started = new Map();
  for (const name of names) if (!started.has(name)) started.set(name, await start(name, server));
  return {
    browsers: names.map((name) => started.get(name)),
    close: async () => {
      for (const browser of started.values()) await browser.close();
    },
  };
}
