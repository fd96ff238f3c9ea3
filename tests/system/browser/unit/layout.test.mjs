import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './page.mjs';

const { duo, grid, spotlight, tileSize } = await page('layout.js');
const BOXES = [{ width: 1252, height: 658 }, { width: 374, height: 700 }, { width: 820, height: 300 }, { width: 120, height: 120 }];
const GAP = 8;

function assertInside(rectangles, box) {
  for (const { left, top, width, height } of rectangles) {
    assert.ok(width > 0 && height > 0, 'has an area');
    assert.ok(left >= -0.01 && top >= -0.01, 'begins inside');
    assert.ok(left + width <= box.width + 0.01 && top + height <= box.height + 0.01, 'ends inside');
  }
}

function assertApart(rectangles) {
  rectangles.forEach((a, index) => {
    for (const b of rectangles.slice(index + 1)) {
      const apart =
        a.left + a.width <= b.left + 0.01 || b.left + b.width <= a.left + 0.01 || a.top + a.height <= b.top + 0.01 || b.top + b.height <= a.top + 0.01;
      assert.ok(apart, 'no two tiles overlap');
    }
  });
}

test('a grid of 1 to 16 tiles stays inside, overlaps nowhere and has equal tiles', () => {
  for (const box of BOXES) {
    for (let count = 1; count <= 16; count += 1) {
      const rectangles = grid(count, box, GAP);
      assert.equal(rectangles.length, count);
      assertInside(rectangles, box);
      assertApart(rectangles);
      assert.equal(new Set(rectangles.map(({ width }) => width.toFixed(3))).size, 1);
    }
  }
});

test('four tiles are two by two on a desktop', () => {
  const rectangles = grid(4, BOXES[0], GAP);
  assert.equal(new Set(rectangles.map(({ top }) => top)).size, 2);
});

test('a spotlight gives the first tile most of the box', () => {
  for (const box of BOXES.slice(0, 3)) {
    for (let count = 2; count <= 16; count += 1) {
      const rectangles = spotlight(count, box, GAP);
      assertInside(rectangles, box);
      assertApart(rectangles);
      const area = ({ width, height }) => width * height;
      assert.ok(rectangles.slice(1).every((tile) => area(tile) < area(rectangles[0])));
    }
  }
});

test('two people: one fills the box, the other floats inside it', () => {
  const [main, own] = duo(BOXES[1], GAP);
  assert.deepEqual(main, { left: 0, top: 0, ...BOXES[1] });
  assertInside([own], BOXES[1]);
});

test('no tiles need no room', () => {
  assert.deepEqual(grid(0, BOXES[0], GAP), []);
  assert.deepEqual(spotlight(0, BOXES[0], GAP), []);
});

test('the server is told sizes in device pixels, in steps', () => {
  assert.deepEqual(tileSize({ width: 320, height: 180 }, 1), { width: 320, height: 192 });
  assert.deepEqual(tileSize({ width: 320.4, height: 180 }, 2), { width: 656, height: 368 });
  assert.deepEqual(tileSize({ width: 0, height: 0 }, 1), { width: 16, height: 16 }, 'a tile without an area would be hidden');
});
