// The grid's arithmetic: the largest equal tiles that fit.

export interface TileSize {
  readonly width: number;
  readonly height: number;
}

/** Tiles are never wider than a camera picture ... */
const WIDEST = 16 / 9;
/** ... and never narrower than this, or too little of the picture is seen. */
const NARROWEST = 4 / 3;
/** On an upright phone a portrait is worth the loss at the sides: it uses the height. */
const NARROWEST_UPRIGHT = 3 / 4;
/** Below this width in pixels a face says nothing: the grid scrolls instead. */
const SMALLEST_WIDTH = 148;

/** A face is as large as the shorter side lets it be; the area decides between equals. */
function worth({ width, height }: TileSize): number {
  return Math.min(width, height) + (width * height) / 1e7;
}

/** The largest tile for `count` of them in a box of the given size, all in pixels. */
export function tileSize(count: number, width: number, height: number, gap: number): TileSize {
  const narrowest = height > width ? NARROWEST_UPRIGHT : NARROWEST;
  let best: TileSize = { width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - gap * (columns - 1)) / columns;
    const cellHeight = (height - gap * (rows - 1)) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const tileWidth = Math.min(cellWidth, cellHeight * WIDEST);
    const tileHeight = Math.min(cellHeight, tileWidth / narrowest);
    if (worth({ width: tileWidth, height: tileHeight }) > worth(best)) best = { width: tileWidth, height: tileHeight };
  }
  if (best.width < SMALLEST_WIDTH) {
    const columns = Math.max(1, Math.floor((width + gap) / (SMALLEST_WIDTH + gap)));
    const tileWidth = (width - gap * (columns - 1)) / columns;
    best = { width: tileWidth, height: tileWidth / NARROWEST };
  }
  return { width: Math.floor(best.width), height: Math.floor(best.height) };
}
