import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bboxAround,
  bboxPolygon,
  bboxWidth,
  digitsOf,
  distanceKm,
  formatBbox,
  formatLonLat,
  isInBbox,
  parseBbox,
  wrapLon,
  zoomOf,
} from "../../static/js/geo.js";

test("longitudes wrap into [-180, 180)", () => {
  assert.deepEqual([0, 180, -180, 190, -190, 540].map(wrapLon), [0, -180, -180, -170, 170, -180]);
});

test("positions are longitude first and read latitude first", () => {
  assert.equal(formatLonLat(-98, 33.5), "33.5° N, 98.0° W");
  assert.equal(formatLonLat(178.44, -18.14), "18.1° S, 178.4° E");
});

test("positions and links are as fine as the tile", () => {
  const tile = (height) => [10, 20, 10 + height, 20 + height];
  assert.deepEqual([undefined, tile(1.8), tile(0.023), tile(0.0058), tile(0.0004)].map(digitsOf), [1, 1, 2, 3, 4]);
  assert.deepEqual([undefined, tile(1.8), tile(0.0058), tile(170), tile(1e-6)].map(zoomOf), [9, 9, 17, 3, 17]);
});

test("distance over the antimeridian is the short way", () => {
  assert.ok(Math.abs(distanceKm([179.5, 0], [-179.5, 0]) - 111.2) < 0.1);
  assert.equal(distanceKm([10, 20], [10, 20]), 0);
});

test("a box is four numbers in range, south below north", () => {
  assert.deepEqual(parseBbox("170,-20,-170,-10"), [170, -20, -170, -10]);
  for (const wrong of [null, "", "1,2,3", "1,2,3,", "a,b,c,d", "0,10,1,5", "200,0,210,1", "0,0,1,NaN"])
    assert.equal(parseBbox(wrong), null, String(wrong));
});

test("a box survives being written and read", () => {
  assert.equal(formatBbox([170.123, -20, -170.129, -10.5]), "170.12,-20,-170.13,-10.5");
  assert.equal(formatBbox([10.12341, 46.5, 10.14341, 46.52]), "10.1234,46.5,10.1434,46.52");
});

test("a box across the antimeridian holds both sides and not the middle", () => {
  const fiji = [177, -20, -178, -15];
  assert.ok(isInBbox([179.9, -17], fiji));
  assert.ok(isInBbox([-179, -17], fiji));
  assert.ok(!isInBbox([0, -17], fiji));
  assert.ok(!isInBbox([179, -21], fiji));
  assert.equal(bboxWidth(fiji), 5);
});

test("the view's box is taken around its centre", () => {
  assert.deepEqual(
    bboxAround(
      [
        [170, -10],
        [-170, 5],
      ],
      180,
    ),
    [170, -10, -170, 5],
  );
  assert.deepEqual(
    bboxAround(
      [
        [-20, -10],
        [30, 5],
      ],
      5,
    ),
    [-20, -10, 30, 5],
  );
  assert.equal(bboxAround([], 0), null);
});

test("a view of a pole or of everything takes every longitude", () => {
  assert.deepEqual(
    bboxAround(
      [
        [-20, 60],
        [30, 80],
      ],
      5,
      true,
    ),
    [-180, 60, 180, 90],
  );
  assert.deepEqual(
    bboxAround(
      [
        [-20, -80],
        [30, -50],
      ],
      5,
      true,
    ),
    [-180, -90, 180, -50],
  );
  assert.deepEqual(
    bboxAround(
      [
        [-178, -10],
        [0, 0],
        [178, 5],
      ],
      0,
    ),
    [-180, -10, 180, 5],
  );
});

test("the outline of a box goes east from west", () => {
  const [ring] = bboxPolygon([170, -20, -170, -10]).coordinates;
  assert.deepEqual(ring[0], ring.at(-1));
  assert.equal(Math.max(...ring.map(([lon]) => lon)), 190);
});
