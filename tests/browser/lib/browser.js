// Chromium with fake devices, and what tests look at inside a page of any browser.

import { chromium } from "playwright-core";

import { installed } from "./paths.js";

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

const FAKE_DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

/** Flags by what a machine has: devices whose owner says yes, or when asked in a headless browser no; or none. */
export const DEVICES = {
  fake: FAKE_DEVICES,
  denied: ["--use-fake-device-for-media-stream"],
  none: ["--use-fake-ui-for-media-stream"],
};

/** Debian's Chromium, Google Chrome where there is none, or another one. */
export const CHROMIUM = process.env.KALL_CHROMIUM ?? installed("/usr/bin/chromium", "/usr/bin/google-chrome");

/**
 * @param {string[]} [devices]
 * @param {string} [executablePath] what to start instead, such as a script that starts it elsewhere
 */
export function launch(devices = DEVICES.fake, executablePath = CHROMIUM) {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [...QUIET, ...devices],
  });
}

/** Keeps every RTCPeerConnection the page makes, so that a test can tell whether one was rebuilt. */
function keepPeerConnections() {
  const Native = window.RTCPeerConnection;
  const kept = [];
  window.keptPeerConnections = kept;
  window.RTCPeerConnection = class extends Native {
    constructor(...values) {
      super(...values);
      kept.push(this);
    }
  };
}

/** Keeps what the page's sockets hear: not every browser tells a test from outside. */
function keepMessages() {
  const Native = window.WebSocket;
  const heard = [];
  window.heardMessages = heard;
  window.WebSocket = class extends Native {
    constructor(...values) {
      super(...values);
      this.addEventListener("message", ({ data }) => heard.push(JSON.parse(data)));
    }
  };
}

/** @param {import("playwright-core").BrowserContext} context */
export async function instrument(context) {
  await context.addInitScript(keepPeerConnections);
  await context.addInitScript(keepMessages);
}

/** Every report of every open connection of a page. @param {import("playwright-core").Page} page */
export function reports(page) {
  return page.evaluate(async () => {
    const open = window.keptPeerConnections.filter((peer) => peer.connectionState !== "closed");
    const all = await Promise.all(open.map((peer) => peer.getStats()));
    return all.flatMap((report) => [...report.values()]);
  });
}

/** What a test asserts of one end. @param {import("playwright-core").Page} page */
export async function media(page) {
  const all = await reports(page);
  const inbound = (kind) => all.filter((report) => report.type === "inbound-rtp" && report.kind === kind);
  const most = (list, field) =>
    list.reduce((best, next) => ((next[field] ?? 0) > (best?.[field] ?? -1) ? next : best), undefined);
  const sent = all.filter((report) => report.type === "outbound-rtp" && report.kind === "video").map(size);
  const video = most(inbound("video"), "framesDecoded");
  const transport = all.find((report) => report.type === "transport");
  const pair = all.find((report) => report.id === transport?.selectedCandidatePairId);
  const remote = all.find((report) => report.id === pair?.remoteCandidateId);
  return {
    decoded: video?.framesDecoded ?? 0,
    received: size(video),
    /** Of each layer, in no order. */
    sent: sent.filter((layer) => layer !== undefined),
    codec: all.find((report) => report.id === video?.codecId)?.mimeType,
    freezes: video?.freezeCount ?? 0,
    freezeSeconds: video?.totalFreezesDuration ?? 0,
    audioEnergy: inbound("audio").reduce((sum, report) => sum + (report.totalAudioEnergy ?? 0), 0),
    dtls: transport?.dtlsState,
    srtp: transport?.srtpCipher,
    remotePort: remote?.port,
    /** "udp" or "tcp". */
    protocol: remote?.protocol,
  };
}

/** What a page sends of its camera, by rid. @param {import("playwright-core").Page} page */
export async function layers(page) {
  const all = await reports(page);
  const active = await switchedOn(page);
  const sent = all.filter((report) => report.type === "outbound-rtp" && report.kind === "video");
  return Object.fromEntries(
    sent.map((report) => [
      report.rid ?? "only",
      { active: report.active ?? active[report.rid], frames: report.framesSent ?? 0, width: report.frameWidth ?? 0, size: size(report) },
    ]),
  );
}

/**
 * Notes the longest time between two pictures of a video, as a person sees it.
 * @param {import("playwright-core").Locator} video
 */
export function watchGaps(video) {
  return video.evaluate((element) => {
    const seen = { last: performance.now(), longest: 0, pictures: 0 };
    const note = () => {
      const now = performance.now();
      seen.longest = Math.max(seen.longest, now - seen.last);
      seen.last = now;
      seen.pictures += 1;
      element.requestVideoFrameCallback(note);
    };
    element.requestVideoFrameCallback(note);
    window.seenPictures = seen;
  });
}

/** In milliseconds, since `watchGaps`, the time without a picture now included. @param {import("playwright-core").Page} page */
export function longestGap(page) {
  return page.evaluate(() => Math.max(window.seenPictures.longest, performance.now() - window.seenPictures.last));
}

/**
 * Notes in `window.seenNetwork` when the browser has seen another address: no event of a page says so, but a connection
 * that waits for its answer gathers there, too. It is none of those that `instrument` keeps.
 * @param {import("playwright-core").Page} page
 */
export function watchNetworks(page) {
  return page.evaluate(async () => {
    const waiting = new RTCPeerConnection();
    window.keptPeerConnections.splice(window.keptPeerConnections.indexOf(waiting), 1);
    window.waitingPeerConnection = waiting;
    window.seenNetwork = false;
    waiting.createDataChannel("");
    await waiting.setLocalDescription();
    await new Promise((resolve) => {
      waiting.onicecandidate = ({ candidate }) => candidate ?? resolve();
    });
    waiting.onicecandidate = ({ candidate }) => {
      if (candidate) window.seenNetwork = true;
    };
  });
}

/** Whether the layers that a page sends are switched on, by rid: reports of Firefox do not say so. */
function switchedOn(page) {
  return page.evaluate(() => {
    const senders = window.keptPeerConnections.filter((peer) => peer.connectionState !== "closed").flatMap((peer) => peer.getSenders());
    const encodings = senders.flatMap((sender) => sender.getParameters().encodings ?? []);
    return Object.fromEntries(encodings.filter(({ rid }) => rid).map(({ rid, active }) => [rid, active]));
  });
}

function size(report) {
  return report?.frameWidth ? `${report.frameWidth}x${report.frameHeight}` : undefined;
}

/** Marks the page's connections; a connection that was rebuilt has no mark. @param {import("playwright-core").Page} page */
export function markPeerConnections(page) {
  return page.evaluate(() => {
    for (const peer of window.keptPeerConnections) peer.markOfTheTest = true;
    return window.keptPeerConnections.length;
  });
}

/** The state of every connection the page ever made. @param {import("playwright-core").Page} page */
export function peerConnections(page) {
  return page.evaluate(() =>
    window.keptPeerConnections.map((peer) => ({
      marked: peer.markOfTheTest === true,
      state: peer.connectionState,
    })),
  );
}

/**
 * The brightest pixel of a video and a number that changes with its picture.
 * @param {import("playwright-core").Locator} video
 */
export function picture(video) {
  return video.evaluate((element) => {
    if (!element.videoWidth) return { brightest: 0, print: 0 };
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 90;
    const context = canvas.getContext("2d");
    context.drawImage(element, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let brightest = 0;
    let print = 0;
    for (let at = 0; at < data.length; at += 4) {
      const light = data[at] + data[at + 1] + data[at + 2];
      brightest = Math.max(brightest, light / 3);
      print = (Math.imul(print, 31) + light) | 0;
    }
    return { brightest, print };
  });
}
