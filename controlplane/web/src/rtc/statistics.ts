// What a peer connection tells of itself, as figures for people: rates instead of sums, one entry for
// each line. Keeps the reports of the last call, nothing else.

import type { Source } from "../protocol";

/** One received line. */
export interface ReceivedFigures {
  readonly mid: string;
  readonly kind: "audio" | "video";
  /** In pixels; none before the first picture and for sound. */
  readonly size: Size | undefined;
  readonly fps: number | undefined;
  /** Over the time since the last call, in bit/s. */
  readonly bitrate: number | undefined;
  /** Share of the packets of that time that never came, 0 to 1. */
  readonly loss: number | undefined;
  /** In milliseconds. */
  readonly jitter: number | undefined;
}

/** One layer of a sent line. */
export interface SentFigures {
  readonly source: Source;
  readonly kind: "audio" | "video";
  readonly rid: string | undefined;
  /** Whether it is switched on. */
  readonly active: boolean;
  readonly size: Size | undefined;
  readonly fps: number | undefined;
  readonly bitrate: number | undefined;
  /** As the other end reports, 0 to 1. */
  readonly loss: number | undefined;
  /** At the other end, in milliseconds. */
  readonly jitter: number | undefined;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Statistics {
  /** In milliseconds. */
  readonly rtt: number | undefined;
  /** What the browser believes it can send, in bit/s. */
  readonly availableOutgoing: number | undefined;
  /** Sums over all lines, in bit/s. */
  readonly sending: number | undefined;
  readonly receiving: number | undefined;
  readonly received: readonly ReceivedFigures[];
  readonly sent: readonly SentFigures[];
}

/** The members of RTCStats that are read here; all may be absent. */
interface Report {
  readonly id: string;
  readonly type: string;
  readonly timestamp: number;
  readonly kind?: "audio" | "video";
  readonly mid?: string;
  readonly rid?: string;
  readonly active?: boolean;
  readonly frameWidth?: number;
  readonly frameHeight?: number;
  readonly framesPerSecond?: number;
  readonly bytesReceived?: number;
  readonly bytesSent?: number;
  readonly packetsReceived?: number;
  readonly packetsLost?: number;
  readonly fractionLost?: number;
  readonly jitter?: number;
  readonly remoteId?: string;
  readonly selectedCandidatePairId?: string;
  readonly currentRoundTripTime?: number;
  readonly availableOutgoingBitrate?: number;
}

const MS = 1000;
const BITS = 8;

export class StatisticsReader {
  private before = new Map<string, Report>();

  /** `sourceOf` names the source of an own line. */
  read(reports: Iterable<unknown>, sourceOf: (mid: string) => Source | undefined): Statistics {
    const now = new Map<string, Report>();
    for (const report of reports as Iterable<Report>) now.set(report.id, report);
    const all = [...now.values()];
    const transport = all.find(({ type }) => type === "transport");
    const pair = transport?.selectedCandidatePairId === undefined ? undefined : now.get(transport.selectedCandidatePairId);
    // Firefox counts by pair only.
    const path = transport?.bytesSent === undefined ? pair : transport;
    const statistics: Statistics = {
      rtt: scaled(pair?.currentRoundTripTime, MS),
      availableOutgoing: pair?.availableOutgoingBitrate,
      sending: path && this.rate(path, "bytesSent"),
      receiving: path && this.rate(path, "bytesReceived"),
      received: all.filter(({ type, packetsReceived }) => type === "inbound-rtp" && (packetsReceived ?? 0) > 0).flatMap((report) => this.received(report)),
      sent: all.filter(({ type }) => type === "outbound-rtp").flatMap((report) => this.sent(report, now, sourceOf)),
    };
    this.before = now;
    return statistics;
  }

  private received(report: Report): ReceivedFigures[] {
    const { mid, kind } = report;
    if (mid === undefined || kind === undefined) return [];
    return [
      {
        mid,
        kind,
        size: size(report),
        fps: report.framesPerSecond,
        bitrate: this.rate(report, "bytesReceived"),
        loss: this.loss(report),
        jitter: scaled(report.jitter, MS),
      },
    ];
  }

  private sent(report: Report, now: ReadonlyMap<string, Report>, sourceOf: (mid: string) => Source | undefined): SentFigures[] {
    const { mid, kind } = report;
    const source = mid === undefined ? undefined : sourceOf(mid);
    if (source === undefined || kind === undefined) return [];
    const remote = report.remoteId === undefined ? undefined : now.get(report.remoteId);
    return [
      {
        source,
        kind,
        rid: report.rid,
        active: report.active ?? true,
        size: size(report),
        fps: report.framesPerSecond,
        bitrate: this.rate(report, "bytesSent"),
        loss: remote?.fractionLost,
        jitter: scaled(remote?.jitter, MS),
      },
    ];
  }

  /** Growth since the last call in bit/s; none at the first, or when the count began anew. */
  private rate(report: Report, field: "bytesSent" | "bytesReceived"): number | undefined {
    const before = this.before.get(report.id);
    const [from, to] = [before?.[field], report[field]];
    if (before === undefined || from === undefined || to === undefined) return undefined;
    const seconds = (report.timestamp - before.timestamp) / MS;
    if (seconds <= 0 || to < from) return undefined;
    return ((to - from) * BITS) / seconds;
  }

  private loss(report: Report): number | undefined {
    const before = this.before.get(report.id);
    if (!before) return undefined;
    // Late packets are taken back from the count, which may so fall.
    const lost = Math.max(0, (report.packetsLost ?? 0) - (before.packetsLost ?? 0));
    const came = Math.max(0, (report.packetsReceived ?? 0) - (before.packetsReceived ?? 0));
    return lost + came === 0 ? undefined : lost / (lost + came);
  }
}

function size({ frameWidth, frameHeight }: Report): Size | undefined {
  return frameWidth === undefined || frameHeight === undefined ? undefined : { width: frameWidth, height: frameHeight };
}

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}
