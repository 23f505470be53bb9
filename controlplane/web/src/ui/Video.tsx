// A <video> without controls that follows a stream. Always silent: sound has its own elements.

import { createEffect, type JSX } from "solid-js";

export function Video(props: { stream: MediaStream | undefined; mirrored?: boolean; label: string }): JSX.Element {
  let element: HTMLVideoElement | undefined;
  createEffect(() => {
    const stream = props.stream ?? null;
    if (!element || element.srcObject === stream) return;
    element.srcObject = stream;
    // Refused only if the element is removed meanwhile: muted video may always play.
    if (stream) element.play().catch(() => undefined);
  });
  return (
    <video
      ref={(created) => {
        created.muted = true;
        element = created;
      }}
      classList={{ mirrored: props.mirrored === true }}
      autoplay
      playsinline
      disablepictureinpicture
      aria-label={props.label}
    />
  );
}
