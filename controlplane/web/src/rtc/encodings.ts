// What a line sends: three sizes of a camera, two of a screen. Pure.

import type { Layer } from "../protocol";

/** Layers by ascending size, as libwebrtc wants them; the names are for the server to repeat. */
const LAYERS = [
  { rid: "q", scaleResolutionDownBy: 4 },
  { rid: "h", scaleResolutionDownBy: 2 },
  { rid: "f", scaleResolutionDownBy: 1 },
] as const;

/** What the server calls layers of these names. */
const NAMES: Readonly<Record<string, Layer>> = { q: "low", h: "medium", f: "high" };

export function layerOfRid(rid: string | undefined): Layer | undefined {
  return rid === undefined ? undefined : NAMES[rid];
}

/** Usual rates of 180 and 360 lines in bit/s; the largest layer has the rest. */
const LOW_BITRATE = 150_000;
const MIDDLE_BITRATE = 400_000;

/** Enough for text that stands still, and for seeing that something moves. */
const SMALL_SCREEN_BITRATE = 200_000;
const SMALL_SCREEN_FPS = 5;

/** Below this in bit/s the largest of three layers would be no better than the middle one. */
const SIMULCAST_FROM = 1_200_000;

/** Lib.dom does not know the member yet. */
export type Encoding = RTCRtpEncodingParameters & { scalabilityMode?: string };

/** One size, with all that the server allows. */
export function singleEncoding(maxBitrate: number): Encoding[] {
  return [{ maxBitrate }];
}

/** Three spatial layers in one stream that depend on each other in key pictures only, each at three frame rates. */
const SCALABLE_MODE = "L3T3_KEY";

/** A camera in three sizes inside one stream, or in one. */
export function scalableEncodings(maxBitrate: number): Encoding[] {
  const [only] = singleEncoding(maxBitrate);
  return maxBitrate < SIMULCAST_FROM ? [{ ...only }] : [{ ...only, scalabilityMode: SCALABLE_MODE }];
}

/** How one stream is sent of which the lowest `count` of `all` spatial layers are taken. */
export function scalableMode(count: number, all: number): { scalabilityMode: string; scaleResolutionDownBy: number } {
  // Each layer has twice the size of the one below: without the upper ones the picture itself is smaller.
  const scalabilityMode = count >= all ? SCALABLE_MODE : count > 1 ? `L${count}T3_KEY` : "L1T3";
  return { scalabilityMode, scaleResolutionDownBy: 2 ** Math.max(0, all - count) };
}

/** Whether a sender has one stream with spatial layers, or had before it was told to send less. */
export function isScalable(encodings: readonly Encoding[]): boolean {
  return encodings.length === 1 && encodings[0]?.rid === undefined && encodings[0]?.scalabilityMode !== undefined;
}

/** A camera in three sizes that together keep to the server's bound, or in one. */
export function cameraEncodings(maxBitrate: number, simulcast: boolean): Encoding[] {
  if (!simulcast || maxBitrate < SIMULCAST_FROM) return singleEncoding(maxBitrate);
  const bitrates = [LOW_BITRATE, MIDDLE_BITRATE, maxBitrate - LOW_BITRATE - MIDDLE_BITRATE];
  return LAYERS.map((layer, index) => ({
    ...layer,
    active: true,
    maxBitrate: bitrates[index] ?? maxBitrate,
    // Three frame rates in each size. Said aloud because libwebrtc takes several encodings without
    // it for the spatial layers of one VP9 stream, which is not what the rids promise.
    scalabilityMode: "L1T3",
  }));
}

/**
 * A screen as it is, and in half its size with few pictures: for who sees it small, and for a path on which the text
 * would never come. Between them frame rates give way first, so that what is read stays sharp.
 */
export function screenEncodings(maxBitrate: number, simulcast: boolean): Encoding[] {
  if (!simulcast || maxBitrate < SIMULCAST_FROM) return singleEncoding(maxBitrate);
  const [low, , high] = LAYERS;
  return [
    { ...low, scaleResolutionDownBy: 2, maxBitrate: SMALL_SCREEN_BITRATE, maxFramerate: SMALL_SCREEN_FPS },
    { ...high, maxBitrate: maxBitrate - SMALL_SCREEN_BITRATE },
  ].map((layer) => ({ ...layer, active: true, scalabilityMode: "L1T3" }));
}
