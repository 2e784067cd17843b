import assert from "node:assert/strict";
import { test } from "node:test";

import { cssFilter, stretchOf } from "../../static/js/stretch.js";

/** Pixels of grey from a list of lightness, 0 to 255. */
const grey = (...values) => Uint8ClampedArray.from(values.flatMap((value) => [value, value, value, 255]));
const apply = ({ gain, shift }, value) => gain * (value / 255) + shift;

/** What a browser makes of a lightness by the two filters, each of which ends at 0 and 1. */
function filtered(css, value) {
  const [brightness, contrast] = css.match(/[\d.-]+/g).map(Number);
  const brighter = Math.min(1, Math.max(0, (value / 255) * brightness));
  return (brighter - 0.5) * contrast + 0.5;
}

test("a dark picture uses the whole range, and its order stays", () => {
  const found = stretchOf(grey(...Array.from({ length: 60 }, (_, i) => 10 + 2 * i)));
  assert.ok(Math.abs(apply(found, 12) - 0.04) < 0.02);
  assert.ok(Math.abs(apply(found, 126) - 0.96) < 0.02);
  for (const value of [14, 60, 120]) {
    assert.ok(Math.abs(filtered(cssFilter(found), value) - apply(found, value)) < 0.01);
  }
});

test("a picture that uses the range stays as it is", () => {
  assert.deepEqual(stretchOf(grey(0, 60, 120, 180, 255)), { gain: 1, shift: 0 });
});

test("a picture without data stays as it is", () => {
  assert.deepEqual(stretchOf(new Uint8ClampedArray(64)), { gain: 1, shift: 0 });
});

test("a flat picture is made lighter and no noise is painted", () => {
  const found = stretchOf(grey(...Array.from({ length: 50 }, (_, i) => 12 + (i % 2))));
  assert.equal(found.gain, 4);
  assert.ok(apply(found, 12) > 0.4 && apply(found, 13) < 0.5);
});

test("pixels without data don't count", () => {
  const data = grey(...Array.from({ length: 40 }, (_, i) => 40 + i));
  assert.deepEqual(stretchOf(Uint8ClampedArray.from([...data, ...Array(400).fill(0)])), stretchOf(data));
  assert.ok(Number.isFinite(stretchOf(new Uint8ClampedArray(0)).gain));
});
