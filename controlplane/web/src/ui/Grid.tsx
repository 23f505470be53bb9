// Equal tiles, as large as the place allows. The sizes are set as custom properties through the
// CSSOM, which a strict content security policy permits.

import { createEffect, createSignal, onCleanup, onMount, type JSX } from "solid-js";
import { tileSize } from "./layout";

/** Must match the `gap` of `.grid` in meeting.css. */
const GAP = 12;

export function Grid(props: { count: number; children: JSX.Element }): JSX.Element {
  let element: HTMLDivElement | undefined;
  const [box, setBox] = createSignal({ width: 0, height: 0 });
  onMount(() => {
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setBox({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element);
    onCleanup(() => observer.disconnect());
  });
  createEffect(() => {
    const { width, height } = tileSize(props.count, box().width, box().height, GAP);
    element?.style.setProperty("--tile-width", `${width}px`);
    element?.style.setProperty("--tile-height", `${height}px`);
  });
  return (
    <div class="grid" ref={(created) => (element = created)}>
      {props.children}
    </div>
  );
}
