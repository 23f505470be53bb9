// What a call over a shaped path looked like: a line for every half second, from all who saw it.

import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { reports } from "./browser.js";

const STEP_MS = 500;

/** Messages that say which layer each of a page's slots shows. @param {import("playwright-core").Page} page */
export function watchSlots(page) {
  const seen = { layer: undefined, paused: false, changes: 0 };
  page.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => {
      const message = JSON.parse(String(payload));
      // Audio slots have no layers, and free slots no track.
      if (message.type !== "slot" || !message.track_id || (!message.layer && !message.paused)) return;
      if (message.layer && message.layer !== seen.layer) seen.changes += 1;
      seen.layer = message.layer ?? seen.layer;
      seen.paused = message.paused;
    }),
  );
  return seen;
}

/** The picture as a subscriber decodes it. @param {import("playwright-core").Page} page */
export async function picture(page) {
  const all = await reports(page);
  const videos = all.filter((report) => report.type === "inbound-rtp" && report.kind === "video");
  const video = videos.sort((one, other) => (other.framesDecoded ?? 0) - (one.framesDecoded ?? 0))[0] ?? {};
  const transport = all.find((report) => report.type === "transport");
  const pair = all.find((report) => report.id === transport?.selectedCandidatePairId);
  return {
    decoded: video.framesDecoded ?? 0,
    keyFrames: video.keyFramesDecoded ?? 0,
    width: video.frameWidth ?? 0,
    dropped: video.framesDropped ?? 0,
    freezes: video.freezeCount ?? 0,
    freezeSeconds: video.totalFreezesDuration ?? 0,
    bytes: video.bytesReceived ?? 0,
    lost: video.packetsLost ?? 0,
    nacks: video.nackCount ?? 0,
    plis: video.pliCount ?? 0,
    repaired: video.retransmittedPacketsReceived ?? 0,
    bufferSeconds: video.jitterBufferDelay ?? 0,
    buffered: video.jitterBufferEmittedCount ?? 0,
    roundTripMs: Math.round((pair?.currentRoundTripTime ?? 0) * 1000),
  };
}

/** The layers as a publisher sends them, the smallest first. @param {import("playwright-core").Page} page */
export async function sent(page) {
  const layers = (await reports(page)).filter((report) => report.type === "outbound-rtp" && report.kind === "video");
  return layers
    .map((layer) => ({
      rid: layer.rid,
      width: layer.frameWidth ?? 0,
      height: layer.frameHeight ?? 0,
      target: layer.targetBitrate ?? 0,
      bytes: layer.bytesSent ?? 0,
      frames: layer.framesEncoded ?? 0,
      limit: layer.qualityLimitationReason,
      active: layer.active,
      plis: layer.pliCount ?? 0,
    }))
    .sort((one, other) => one.width - other.width);
}

export class Timeline {
  #stopped = false;
  #running;
  /** @type {object[]} */
  lines = [];

  /**
   * @param {import("./shaped.js").ShapedCall} call
   */
  constructor(call) {
    this.call = call;
    this.began = Date.now();
    this.phase = "start";
    this.#running = this.#run();
    // Told when the timeline is stopped; until then nobody waits for it.
    this.#running.catch(() => undefined);
  }

  async #run() {
    for (let step = 0; !this.#stopped; step += 1) {
      this.lines.push(await this.look());
      await pause(Math.max(0, this.began + (step + 1) * STEP_MS - Date.now()));
    }
  }

  async look() {
    const { publisher, subscriber, slots, emulator } = this.call;
    const [seen, layers, path, session] = await Promise.all([
      picture(subscriber.page),
      sent(publisher.page),
      emulator.stats(),
      this.call.figures(),
    ]);
    return {
      seconds: (Date.now() - this.began) / 1000,
      phase: this.phase,
      layer: slots.layer,
      paused: slots.paused,
      changes: slots.changes,
      ...seen,
      layers,
      session: {
        estimateKbps: Math.round((session?.estimate_bps ?? 0) / 1000),
        sendKbps: Math.round((session?.send_bps ?? 0) / 1000),
        lossPermille: session?.loss_permille,
        rttMs: session?.rtt_ms,
        queued: session?.queued_packets,
        padding: session?.padding_packets,
        repaired: session?.rtx_packets,
        slots: session?.slots,
      },
      down: path.down,
      up: path.up,
    };
  }

  async stop() {
    this.#stopped = true;
    await this.#running;
  }

  /** @param {string} phase */
  of(phase) {
    return this.lines.filter((line) => line.phase === phase);
  }

  /** @param {string} file */
  keep(file) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, this.lines.map((line) => JSON.stringify(line)).join("\n"));
  }

  /** What a phase was like, in figures. @param {string} phase */
  figures(phase) {
    const lines = this.of(phase);
    const [first, last] = [lines[0], lines.at(-1)];
    if (!first || !last) return {};
    const seconds = Math.max(last.seconds - first.seconds, STEP_MS / 1000);
    const growth = (field) => last[field] - first[field];
    const most = (read) => Math.max(...lines.map(read));
    return {
      seconds,
      layers: changesOf(lines.map((line) => line.layer ?? "none")),
      widths: changesOf(lines.map((line) => line.width)),
      fps: growth("decoded") / seconds,
      kbps: (growth("bytes") * 8) / 1000 / seconds,
      freezes: growth("freezes"),
      freezeSeconds: growth("freezeSeconds"),
      lost: growth("lost"),
      nacks: growth("nacks"),
      plis: growth("plis"),
      estimateKbps: [Math.min, Math.max].map((pick) => pick(...lines.map((line) => line.session.estimateKbps))),
      queueMs: most((line) => line.down.waited_ms_max),
      queueDrops: last.down.queue_drops - first.down.queue_drops,
      wireLosses: last.down.wire_losses - first.down.wire_losses,
    };
  }
}

/** A list without what repeats its neighbour. @template T @param {T[]} list */
function changesOf(list) {
  return list.filter((value, index) => index === 0 || value !== list[index - 1]);
}

/** Figures of phases as a table. @param {Record<string, object>} phases */
export function table(phases) {
  const columns = {
    "phase": (_, name) => name,
    "s": (row) => row.seconds.toFixed(0),
    "layer": (row) => row.layers.join(" → "),
    "width": (row) => row.widths.join(" → "),
    "frames/s": (row) => row.fps.toFixed(1),
    "kbit/s": (row) => row.kbps.toFixed(0),
    "estimate, kbit/s": (row) => row.estimateKbps.join(" to "),
    "freezes": (row) => `${row.freezes} (${row.freezeSeconds.toFixed(2)} s)`,
    "lost": (row) => String(row.lost),
    "NACK": (row) => String(row.nacks),
    "PLI": (row) => String(row.plis),
    "queue, longest": (row) => `${row.queueMs.toFixed(0)} ms`,
    "queue drops": (row) => String(row.queueDrops),
    "wire losses": (row) => String(row.wireLosses),
  };
  const names = Object.keys(columns);
  const rows = Object.entries(phases).map(([name, row]) => names.map((column) => columns[column](row, name)));
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(names), line(names.map(() => "---")), ...rows.map(line)].join("\n");
}
