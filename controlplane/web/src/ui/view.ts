// Tells how large an element shows its video, in device pixels of the picture, and when nobody sees it.

import type { View } from "../room/subscriptions";
import { containedPicture, coveringPicture } from "./layout";

export type PictureSize = Pick<View, "width" | "height">;

/** Cameras are this wide until a picture says otherwise. */
const USUAL_ASPECT = 16 / 9;

/**
 * Follows an element's size, its picture's shape, and whether it is scrolled into sight; reports
 * undefined when it is not. `whole`: the picture is shown whole and does not cover the element. Gives what the watching ends with.
 */
export function watchView(
  element: Element,
  whole: boolean,
  report: (picture: PictureSize | undefined) => void,
): () => void {
  const video = element.querySelector("video");
  let inSight = true;
  const tell = (): void => {
    const { width, height } = element.getBoundingClientRect();
    const visible = inSight && width > 0 && height > 0;
    const picture = whole ? containedPicture : coveringPicture;
    report(visible ? picture({ width, height }, aspectOf(video), window.devicePixelRatio || 1) : undefined);
  };
  const sizes = new ResizeObserver(tell);
  const sight = new IntersectionObserver(([entry]) => {
    if (!entry || entry.isIntersecting === inSight) return;
    inSight = entry.isIntersecting;
    tell();
  });
  sizes.observe(element);
  sight.observe(element);
  video?.addEventListener("resize", tell);
  return () => {
    sizes.disconnect();
    sight.disconnect();
    video?.removeEventListener("resize", tell);
  };
}

function aspectOf(video: HTMLVideoElement | null): number {
  return video && video.videoWidth > 0 && video.videoHeight > 0 ? video.videoWidth / video.videoHeight : USUAL_ASPECT;
}
