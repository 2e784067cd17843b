import assert from "node:assert/strict";
import { test } from "node:test";

import { unroll, unrollLine, unrollRing } from "../../static/js/outline.js";
import { fitWords, formatCount, formatMonth, monthName, pictureAlt, plural } from "../../static/js/words.js";

test("numbers are grouped and counted", () => {
  assert.equal(formatCount(9123), "9\u202f123");
  assert.equal(formatCount(999), "999");
  assert.equal(plural(1, "hit"), "1 hit");
  assert.equal(plural(0, "country", "countries"), "0 countries");
});

test("the fit is never a hundred per cent", () => {
  assert.equal(fitWords(100), "top 0.01 % of tiles");
  assert.equal(fitWords(99.98), "top 0.02 % of tiles");
  assert.equal(fitWords(97.2), "top 3 % of tiles");
  assert.equal(fitWords(12.9), "better than 12 % of tiles");
  assert.equal(fitWords(undefined), "");
});

test("dates become months", () => {
  assert.equal(formatMonth("2004-07-01"), "July 2004");
  assert.equal(formatMonth(null), "");
  assert.equal(monthName("12"), "Dec");
});

test("alt text tells place and date", () => {
  const alt = pictureAlt({ lon: -60, lat: -1, captured_on: "2004-07-01" }, "Northern Brazil");
  assert.equal(alt, "Satellite picture of Northern Brazil at 1.0° S, 60.0° W, July 2004");
});

test("a line over the antimeridian goes on past 180", () => {
  assert.deepEqual(
    unrollLine([
      [179, 0],
      [-179, 1],
      [179, 2],
    ]),
    [
      [179, 0],
      [181, 1],
      [179, 2],
    ],
  );
});

test("a ring around the pole is closed over it", () => {
  const ring = unrollRing([
    [-180, -70],
    [-60, -75],
    [60, -72],
    [180, -70],
    [-180, -70],
  ]);
  assert.deepEqual(ring.at(-1), ring[0]);
  assert.ok(ring.some(([, lat]) => lat === -90));
  assert.deepEqual(
    unrollRing([
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 0],
    ]),
    [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 0],
    ],
  );
});

test("every kind of outline unrolls", () => {
  const ring = [
    [179, 0],
    [-179, 0],
    [-179, 1],
    [179, 0],
  ];
  assert.equal(unroll({ type: "Polygon", coordinates: [ring] }).coordinates[0][1][0], 181);
  assert.equal(unroll({ type: "MultiPolygon", coordinates: [[ring]] }).coordinates[0][0][1][0], 181);
  assert.equal(unroll({ type: "MultiLineString", coordinates: [ring] }).coordinates[0][1][0], 181);
});
