// Where tiles go. Pure: numbers in, rectangles out.

export interface Rectangle {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Width of a tile for its height. */
const SHAPE = 16 / 9;
/** Tiles of phones held upright are as high as they are wide. */
const UPRIGHT_SHAPE = 1;
/** Below this height a tile shows nothing; then the room scrolls. */
const LEAST_HEIGHT = 110;

/** How many columns make tiles the largest. */
export function columnsFor(count: number, width: number, height: number, gap: number): number {
  let [best, area] = [1, 0];
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const wide = (width - gap * (columns - 1)) / columns;
    const high = (height - gap * (rows - 1)) / rows;
    const shown = Math.min(wide, high * shapeFor(width, height)) ** 2;
    if (shown > area) {
      [best, area] = [columns, shown];
    }
  }
  return best;
}

function shapeFor(width: number, height: number): number {
  return width < height ? UPRIGHT_SHAPE : SHAPE;
}

/** Tiles of one size in the middle of an area; rows that are not full are centred. */
export function grid(count: number, width: number, height: number, gap: number): Rectangle[] {
  if (count === 0) {
    return [];
  }
  const columns = columnsFor(count, width, height, gap);
  const rows = Math.ceil(count / columns);
  const room = Math.max(LEAST_HEIGHT, (height - gap * (rows - 1)) / rows);
  // A tile may be somewhat higher than its shape, so that less of the area is empty; never wider, which cuts heads off.
  const wide = Math.max(0, Math.min((width - gap * (columns - 1)) / columns, room * SHAPE));
  const high = Math.min(room, wide * (width < height ? 1.25 : 0.72));
  const top = Math.max(0, (height - rows * high - (rows - 1) * gap) / 2);
  return Array.from({ length: count }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    const inRow = Math.min(columns, count - row * columns);
    const left = (width - inRow * wide - (inRow - 1) * gap) / 2;
    return { left: left + column * (wide + gap), top: top + row * (high + gap), width: wide, height: high };
  });
}

/** One tile large, the others in a strip: at the right where it is wide, at the bottom otherwise. */
export function focused(focus: number, count: number, width: number, height: number, gap: number): Rectangle[] {
  if (count < 2) {
    return grid(count, width, height, gap);
  }
  const upright = width < height;
  const strip = upright ? Math.min(160, height * 0.25) : Math.min(240, width * 0.22);
  const others = count - 1;
  const along = upright ? Math.min(strip * 1.25, (width - gap * (others - 1)) / others) : strip / SHAPE;
  const small = upright ? { width: Math.max(96, along), height: strip } : { width: strip, height: along };
  const large = upright
    ? { left: 0, top: 0, width, height: height - strip - gap }
    : { left: 0, top: 0, width: width - strip - gap, height };
  let place = 0;
  return Array.from({ length: count }, (_, index) => {
    if (index === focus) {
      return large;
    }
    const offset = place * ((upright ? small.width : small.height) + gap);
    place += 1;
    return upright
      ? { left: offset, top: height - strip, ...small }
      : { left: width - strip, top: offset, ...small };
  });
}

/**
 * The smallest spatial layer that fills a tile of this height, in pixels of the screen. Each layer has twice the height
 * of the one below; `current` is the layer in which a picture of `frameHeight` came.
 */
export function fittingLayer(tileHeight: number, frameHeight: number, current: number, layers: number): number {
  if (frameHeight <= 0) {
    return layers - 1;
  }
  const lowest = frameHeight / 2 ** current;
  // A little blur is not seen: a layer will do until the tile is a third higher.
  const wanted = Math.ceil(Math.log2(tileHeight / (lowest * 1.34)));
  return Math.min(layers - 1, Math.max(0, wanted));
}
