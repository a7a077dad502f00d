import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fittingLayer, focused, grid, type Rectangle } from '../src/layout';

const GAP = 10;
const SIZES: [number, number][] = [[1280, 700], [390, 700], [800, 800], [2560, 1300], [200, 150]];

/** Nothing overlaps, nothing sticks out to the left, right or top. */
function check(places: Rectangle[], width: number, what: string) {
  for (const [index, one] of places.entries()) {
    assert.ok(one.left >= -0.01 && one.left + one.width <= width + 0.01 && one.top >= -0.01, what);
    assert.ok(one.width > 0 && one.height > 0, what);
    for (const other of places.slice(index + 1)) {
      const apart =
        one.left + one.width <= other.left + 0.01 || other.left + other.width <= one.left + 0.01 ||
        one.top + one.height <= other.top + 0.01 || other.top + other.height <= one.top + 0.01;
      assert.ok(apart, what);
    }
  }
}

test('tiles of a grid are of one size, inside, and do not overlap', () => {
  for (const [width, height] of SIZES) {
    for (let count = 1; count <= 30; count += 1) {
      const places = grid(count, width, height, GAP);
      assert.equal(places.length, count);
      assert.equal(new Set(places.map((place) => `${place.width} ${place.height}`)).size, 1);
      check(places, width, `${count} in ${width} x ${height}`);
    }
  }
  assert.deepEqual(grid(0, 100, 100, GAP), []);
});

test('a few tiles fit without scrolling', () => {
  for (const [width, height] of SIZES.slice(0, 4)) {
    for (let count = 1; count <= 6; count += 1) {
      const lowest = Math.max(...grid(count, width, height, GAP).map(({ top, height }) => top + height));
      assert.ok(lowest <= height + 0.01, `${count} in ${width} x ${height}`);
    }
  }
});

test('two are side by side where it is wide, and above each other where it is high', () => {
  const [left, right] = grid(2, 1280, 600, GAP) as [Rectangle, Rectangle];
  assert.equal(left.top, right.top);
  const [upper, lower] = grid(2, 390, 700, GAP) as [Rectangle, Rectangle];
  assert.equal(upper.left, lower.left);
});

test('the last row is centred', () => {
  const places = grid(3, 1000, 800, GAP);
  const last = places[2] as Rectangle;
  assert.ok(Math.abs(last.left + last.width / 2 - 500) < 0.01);
});

test('one that is large leaves a strip for the others', () => {
  for (const [width, height] of SIZES.slice(0, 4)) {
    for (let count = 2; count <= 3; count += 1) {
      for (let focus = 0; focus < count; focus += 1) {
        const places = focused(focus, count, width, height, GAP);
        assert.equal(places.length, count);
        check(places, width, `${focus} of ${count} in ${width} x ${height}`);
        const area = ({ width, height }: Rectangle) => width * height;
        const largest = Math.max(...places.map(area));
        assert.equal(area(places[focus] as Rectangle), largest);
      }
    }
  }
  assert.equal(focused(0, 1, 800, 600, GAP).length, 1);
});

test('the layer that fills a tile', () => {
  // 720p in three layers, of which the best one comes.
  assert.equal(fittingLayer(150, 720, 2, 3), 0);
  assert.equal(fittingLayer(240, 720, 2, 3), 0);
  assert.equal(fittingLayer(300, 720, 2, 3), 1);
  assert.equal(fittingLayer(700, 720, 2, 3), 2);
  assert.equal(fittingLayer(5000, 720, 2, 3), 2);
  // The lowest one comes: the same answer.
  assert.equal(fittingLayer(700, 180, 0, 3), 2);
  assert.equal(fittingLayer(300, 180, 0, 3), 1);
  // Nothing came yet.
  assert.equal(fittingLayer(300, 0, 0, 3), 2);
});
