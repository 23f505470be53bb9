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

/** The strip below a pinned picture: this share of the height, within these bounds in pixels. */
const STRIP_SHARE = 0.2;
const STRIP_LOWEST = 84;
const STRIP_HIGHEST = 150;

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

/** The strip beside a large picture: this share of the width, within these bounds in pixels. */
const SIDE_SHARE = 0.18;
const SIDE_NARROWEST = 150;
const SIDE_WIDEST = 250;

/** Where the large tile is and how large, and the small ones of the strip; all in pixels. */
export interface Featured {
  readonly large: TileSize;
  readonly left: number;
  readonly top: number;
  readonly strip: TileSize;
  /** Whether the strip is beside it, at the right. */
  readonly side: boolean;
}

/** One large tile and a strip of small ones, beside it or below, whichever leaves it more. */
export function featuredSizes(width: number, height: number, gap: number, screen: boolean): Featured {
  const { pinned, strip } = pinnedSizes(width, height, gap);
  const narrow = Math.floor(Math.min(SIDE_WIDEST, Math.max(SIDE_NARROWEST, width * SIDE_SHARE), width));
  const fit = (placeWidth: number, placeHeight: number): TileSize => {
    const wide = Math.max(0, Math.min(placeWidth, placeHeight * WIDEST));
    return { width: Math.floor(wide), height: Math.floor(wide / WIDEST) };
  };
  const beside = fit(width - narrow - gap, height);
  // A face may be cut to fill an upright place, a screen may not.
  const placeBelow = height - strip.height - gap;
  const below = screen ? fit(width, placeBelow) : pinned;
  if (beside.width * beside.height <= below.width * below.height) {
    return {
      large: below,
      left: Math.floor((width - below.width) / 2),
      top: screen ? Math.max(0, Math.floor((placeBelow - below.height) / 2)) : 0,
      strip,
      side: false,
    };
  }
  return {
    large: beside,
    left: Math.floor((width - narrow - gap - beside.width) / 2),
    top: Math.floor((height - beside.height) / 2),
    strip: { width: narrow, height: Math.floor(narrow / WIDEST) },
    side: true,
  };
}

/** One large tile above a strip of small ones, all in pixels. */
export function pinnedSizes(width: number, height: number, gap: number): { pinned: TileSize; strip: TileSize } {
  const low = Math.floor(Math.min(STRIP_HIGHEST, Math.max(STRIP_LOWEST, height * STRIP_SHARE), height));
  const place = Math.max(0, height - low - gap);
  const narrowest = height > width ? NARROWEST_UPRIGHT : NARROWEST;
  const wide = Math.min(width, place * WIDEST);
  return {
    pinned: { width: Math.floor(wide), height: Math.floor(Math.min(place, wide / narrowest)) },
    strip: { width: Math.floor(low * WIDEST), height: low },
  };
}

/** The picture that a tile shows whole, in device pixels. */
export function containedPicture(tile: TileSize, aspect: number, pixelRatio: number): TileSize {
  const width = Math.min(tile.width, tile.height * aspect);
  return { width: Math.ceil(width * pixelRatio), height: Math.ceil((width / aspect) * pixelRatio) };
}

/**
 * The picture that a tile can show at most, in device pixels: it covers the tile, so the side that is
 * cut off counts too. `aspect` is the picture's width by its height.
 */
export function coveringPicture(tile: TileSize, aspect: number, pixelRatio: number): TileSize {
  const width = Math.max(tile.width, tile.height * aspect);
  return { width: Math.ceil(width * pixelRatio), height: Math.ceil((width / aspect) * pixelRatio) };
}
