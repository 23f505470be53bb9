// Pictures of pages, for people to look at.

import assert from "node:assert/strict";
import path from "node:path";

import { artifactFolder } from "./paths.js";

const screens = artifactFolder("screens");

/**
 * What takes a person's page into artifacts/, and asserts that nothing lies outside the page's width.
 *
 * @param {string} device
 * @param {import("./browsers.js").BrowserName} browser
 */
export function photographer(device, browser) {
  const suffix = browser === "Chromium" ? device : `${device}-${browser.toLowerCase()}`;
  /** @param {import("./meeting.js").Person} person @param {string} name */
  return async (person, name) => {
    const wide = await person.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    await person.page.screenshot({ path: path.join(screens, `${name}-${suffix}.png`) });
    assert.ok(wide <= 0, `${name} is ${wide} px wider than a ${device}`);
    person.assertContent();
  };
}
