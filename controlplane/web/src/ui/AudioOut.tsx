// The sound of one slot.

import { createEffect, onCleanup, type JSX } from "solid-js";

export function AudioOut(props: {
  stream: MediaStream | undefined;
  speaker: string | undefined;
  onBlocked: () => void;
  /** Called again once the person has clicked, which browsers ask for before sound. */
  retries: Set<() => void>;
}): JSX.Element {
  let element: HTMLAudioElement | undefined;
  const play = (): void => {
    element?.play().catch((error: unknown) => {
      if (error instanceof Error && error.name === "NotAllowedError") props.onBlocked();
    });
  };
  createEffect(() => {
    const stream = props.stream ?? null;
    if (!element || element.srcObject === stream) return;
    element.srcObject = stream;
    if (stream) play();
  });
  createEffect(() => {
    const { speaker } = props;
    // A device that is gone: the browser stays with the one it has.
    if (speaker !== undefined && element && "setSinkId" in element) element.setSinkId(speaker).catch(() => undefined);
  });
  props.retries.add(play);
  onCleanup(() => props.retries.delete(play));
  return <audio ref={(created) => (element = created)} autoplay />;
}
