// Firefox with fake devices, driven by WebDriver BiDi: pages look the same to a test as Chromium's.

import { firefox } from "playwright-core";

import { fetched, installed, OWN_ADDRESS } from "./paths.js";

/** Debian's Firefox, Mozilla's where there is none, or another one. */
export const FIREFOX = process.env.KALL_FIREFOX ?? installed("/usr/bin/firefox-esr", fetched("firefox/firefox"));

const YES = {
  // Whoever is asked for a camera says yes.
  "media.navigator.permission.disabled": true,
};
const NO = { "permissions.default.camera": 2, "permissions.default.microphone": 2 };

/** Preferences by what a machine has, as for Chromium. */
const DEVICES = {
  fake: { "media.navigator.streams.fake": true, ...YES },
  denied: { "media.navigator.streams.fake": true, ...NO },
  none: { "media.navigator.streams.fake": false, ...YES },
};

const PREFERENCES = {
  // A page reads the clipboard without being asked about it by hand.
  "dom.events.testing.asyncClipboard": true,
  // The servers of the tests have no certificates, and only secure pages get a camera.
  "dom.securecontext.allowlist": OWN_ADDRESS,
  "media.autoplay.default": 0,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // A video codec that is fetched from the network: what is tested is what the browser brings.
  "media.gmp-manager.updateEnabled": false,
  "app.normandy.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

/**
 * @param {keyof typeof DEVICES} [devices]
 * @param {string} [executablePath] what to start instead, such as a script that starts it elsewhere
 */
export function launchFirefox(devices = "fake", executablePath = FIREFOX) {
  return firefox.launch({
    // Any stock Firefox: the path tells which.
    channel: "moz-firefox",
    executablePath,
    headless: true,
    firefoxUserPrefs: { ...PREFERENCES, ...DEVICES[devices] },
  });
}
