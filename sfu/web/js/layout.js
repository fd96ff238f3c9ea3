// Where tiles go: pure geometry, no page.
//
// A box is {width, height}; a rectangle {left, top, width, height}. All in pixels.

const WIDEST = 16 / 9;
/** Faces bear cropping of the sides up to this shape, which fills a phone held upright. */
const TALLEST = 3 / 4;
/** Share of the long side that the strip beside a large tile takes, and its bounds. */
const STRIP_SHARE = 0.2;
const STRIP_LEAST = 92;
const STRIP_MOST = 240;
/** The own picture in a conversation of two. */
const FLOAT_SHARE = 0.22;
const FLOAT_LEAST = 104;
const FLOAT_MOST = 260;

/** `count` equal tiles, as large as they fit, the last row centred. */
export function grid(count, box, gap) {
  if (count === 0) return [];
  let best = { score: -1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tile = fit((box.width - gap * (columns - 1)) / columns, (box.height - gap * (rows - 1)) / rows);
    // Cropping costs picture: count what is seen of a wide picture, softened, since faces are in the middle.
    const score = tile.width * tile.height * Math.sqrt(Math.min(1, tile.width / tile.height / WIDEST));
    if (score > best.score) best = { score, columns, rows, tile };
  }
  return place(count, box, gap, best);
}

function fit(width, height) {
  const shape = Math.max(TALLEST, Math.min(WIDEST, width / height));
  return width / height > shape ? { width: height * shape, height } : { width, height: width / shape };
}

function place(count, box, gap, { columns, rows, tile }) {
  const top = (box.height - rows * tile.height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (box.width - inRow * tile.width - (inRow - 1) * gap) / 2;
    return rectangle(left + (index % columns) * (tile.width + gap), top + row * (tile.height + gap), tile);
  });
}

/** One large tile, the others in a strip at the right (or below, where the box is upright). */
export function spotlight(count, box, gap) {
  if (count <= 1) return count === 1 ? [rectangle(0, 0, box)] : [];
  const upright = box.height > box.width;
  const long = upright ? box.height : box.width;
  const strip = Math.max(STRIP_LEAST, Math.min(STRIP_MOST, long * STRIP_SHARE));
  const main = upright
    ? rectangle(0, 0, { width: box.width, height: box.height - strip - gap })
    : rectangle(0, 0, { width: box.width - strip - gap, height: box.height });
  return [main, ...along(count - 1, box, gap, strip, upright)];
}

/** Tiles in a strip: wide ones where there is room, narrower and lower ones as they become many. */
function along(count, box, gap, strip, upright) {
  const length = upright ? box.width : box.height;
  const natural = upright ? Math.min(strip * WIDEST, length) : strip / WIDEST;
  const size = Math.min(natural, (length - gap * (count - 1)) / count);
  const start = (length - count * size - (count - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const offset = start + index * (size + gap);
    return upright
      ? rectangle(offset, box.height - strip, { width: size, height: strip })
      : rectangle(box.width - strip, offset, { width: strip, height: size });
  });
}

/** Two people: the other fills the box, the own picture floats in the corner. */
export function duo(box, gap) {
  const upright = box.height > box.width;
  const width = Math.max(FLOAT_LEAST, Math.min(FLOAT_MOST, box.width * FLOAT_SHARE));
  const height = upright ? width / TALLEST : width / WIDEST;
  const own = rectangle(box.width - width - gap, box.height - height - gap, { width, height });
  return [rectangle(0, 0, box), own];
}

/** Steps of the sizes that the server is told: layers differ by more, and a window that is resized asks less often. */
const SIZE_STEP = 16;

/** The size of a rectangle in device pixels, as the server is told it. */
export function tileSize({ width, height }, pixelRatio) {
  const side = (length) => Math.max(1, Math.ceil((length * pixelRatio) / SIZE_STEP)) * SIZE_STEP;
  return { width: side(width), height: side(height) };
}

function rectangle(left, top, { width, height }) {
  return { left, top, width, height };
}
