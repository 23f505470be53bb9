// Equal tiles, as large as the place allows, or one large above a strip of the others. The sizes are
// set as custom properties through the CSSOM, which a strict content security policy permits.

import { createEffect, createSignal, onCleanup, onMount, type JSX } from "solid-js";
import { pinnedSizes, tileSize, type TileSize } from "./layout";

/** Must match the `gap` of `.grid` in meeting.css. */
const GAP = 12;

export function Grid(props: { count: number; pinned: boolean; children: JSX.Element }): JSX.Element {
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
  const set = (what: string, { width, height }: TileSize): void => {
    element?.style.setProperty(`--${what}-width`, `${width}px`);
    element?.style.setProperty(`--${what}-height`, `${height}px`);
  };
  createEffect(() => {
    const { width, height } = box();
    if (props.pinned) {
      const { pinned, strip } = pinnedSizes(width, height, GAP);
      set("pinned", pinned);
      set("tile", strip);
    } else {
      set("tile", tileSize(props.count, width, height, GAP));
    }
  });
  return (
    <div class="grid" classList={{ "grid-pinned": props.pinned }} ref={(created) => (element = created)}>
      {props.children}
    </div>
  );
}
