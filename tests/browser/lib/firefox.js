// Debian's Firefox with fake devices, driven by WebDriver BiDi: pages look the same to a test as Chromium's.

import { firefox } from "playwright-core";

import { OWN_ADDRESS } from "./paths.js";

/** Debian's Firefox, or another one. */
export const FIREFOX = process.env.KALL_FIREFOX ?? "/usr/bin/firefox-esr";

const PREFERENCES = {
  "media.navigator.streams.fake": true,
  // Whoever is asked for a camera says yes.
  "media.navigator.permission.disabled": true,
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

/** @param {string} [executablePath] what to start instead, such as a script that starts it elsewhere */
export function launchFirefox(executablePath = FIREFOX) {
  return firefox.launch({
    // Any stock Firefox: the path tells which.
    channel: "moz-firefox",
    executablePath,
    headless: true,
    firefoxUserPrefs: PREFERENCES,
  });
}
