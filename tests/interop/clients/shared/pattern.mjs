// The number of a frame, in its pixels: see pattern.py, of which this is the same in JavaScript.

export const WIDTH = 320;
export const HEIGHT = 240;
const SQUARE = 32;
const COLUMNS = 8;
const BITS = 16;
const [BLACK, GREY, WHITE] = [32, 128, 224];

/** Frame `number` as I420: Y, U and V planes without padding. */
export function i420(number) {
  const frame = new Uint8ClampedArray(WIDTH * HEIGHT * 3 / 2).fill(GREY);
  for (let cell = 0; cell < 2 * BITS; cell++) {
    const bit = number >> (BITS - 1 - cell % BITS) & 1;
    const value = (cell < BITS ? bit : 1 - bit) ? WHITE : BLACK;
    const left = cell % COLUMNS * SQUARE;
    const top = Math.floor(cell / COLUMNS) * SQUARE;
    for (let y = top; y < top + SQUARE; y++) frame.fill(value, y * WIDTH + left, y * WIDTH + left + SQUARE);
  }
  const bar = number * 4 % (WIDTH - 16);
  for (let y = 4 * SQUARE; y < HEIGHT; y++) frame.fill(WHITE, y * WIDTH + bar, y * WIDTH + bar + 16);
  return frame;
}

/** The number in a Y plane of any size; null where there is none. */
export function number(plane, width, height) {
  const cells = [];
  for (let cell = 0; cell < 2 * BITS; cell++) {
    const x = Math.floor((cell % COLUMNS + 0.5) * SQUARE * width / WIDTH);
    const y = Math.floor((Math.floor(cell / COLUMNS) + 0.5) * SQUARE * height / HEIGHT);
    let sum = 0;
    for (const dy of [-2, 0, 2]) for (const dx of [-2, 0, 2]) sum += plane[(y + dy) * width + x + dx];
    cells.push(sum > GREY * 9 ? 1 : 0);
  }
  let value = 0;
  for (let bit = 0; bit < BITS; bit++) {
    if (cells[bit] === cells[bit + BITS]) return null;
    value = value << 1 | cells[bit];
  }
  return value;
}
