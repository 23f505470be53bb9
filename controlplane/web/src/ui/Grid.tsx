// Equal tiles, as large as the place allows, or one large beside or above a strip of the others. The sizes are
// set as custom properties through the CSSOM, which a strict content security policy permits.

import { createEffect, createSignal, onCleanup, onMount, type JSX } from "solid-js";
import { featuredSizes, tileSize, type TileSize } from "./layout";

/** Must match the `gap` of `.grid` in meeting.css. */
const GAP = 12;

export function Grid(props: {
  count: number;
  /** What the large tile shows, if there is one. */
  featured: "camera" | "screen" | undefined;
  children: JSX.Element;
}): JSX.Element {
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
  const [side, setSide] = createSignal(false);
  const set = (what: string, { width, height }: TileSize): void => {
    element?.style.setProperty(`--${what}-width`, `${width}px`);
    element?.style.setProperty(`--${what}-height`, `${height}px`);
  };
  createEffect(() => {
    const { width, height } = box();
    if (props.featured) {
      const sizes = featuredSizes(width, height, GAP, props.featured === "screen");
      set("pinned", sizes.large);
      set("tile", sizes.strip);
      element?.style.setProperty("--pinned-left", `${sizes.left}px`);
      element?.style.setProperty("--pinned-top", `${sizes.top}px`);
      setSide(sizes.side);
    } else {
      setSide(false);
      set("tile", tileSize(props.count, width, height, GAP));
    }
  });
  return (
    <div class="grid" classList={{ "grid-pinned": props.featured !== undefined, "grid-side": side() }} ref={(created) => (element = created)}>
      {props.children}
    </div>
  );
}
