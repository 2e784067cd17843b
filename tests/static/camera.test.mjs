import assert from "node:assert/strict";
import { test } from "node:test";

import {
  capAround,
  capToShow,
  flatBounds,
  globeView,
  reach,
  viewOfExtent,
  zoomOf,
  zoomOfTile,
} from "../../static/js/camera.js";
import { distanceKm } from "../../static/js/geo.js";

const tile = (lon, lat, half = 1) => ({
  bbox: [lon - half, lat - half, lon + half, lat + half],
  properties: { lon, lat },
});

test("the middle of places crosses 180 degrees and the pole", () => {
  const fiji = capAround([
    [179, -18],
    [-179, -18],
  ]);
  assert.ok(Math.abs(Math.abs(fiji.center[0]) - 180) < 1e-6);
  const arctic = capAround([0, 90, 180, -90].map((lon) => [lon, 80]));
  assert.ok(arctic.center[1] > 89.9 && Math.abs(arctic.radius - 10) < 0.1);
  const opposite = capAround([
    [0, 0],
    [180, 0],
  ]);
  assert.ok(Number.isFinite(opposite.center[0]) && opposite.radius > 89);
});

test("places all over the globe turn it to the densest group", () => {
  const peru = [-75, -78, -72, -76].map((lon) => [lon, -10]);
  const { center, radius } = capToShow([[100, 60], ...peru, [20, 0], [140, -30]]);
  assert.ok(distanceKm(center, [-75, -10]) < 300);
  assert.equal(radius, 55);
});

test("of groups as dense the one with the best hit is shown", () => {
  const { center } = capToShow([
    [100, 0],
    [-80, 0],
    [-81, 0],
    [101, 0],
  ]);
  assert.ok(distanceKm(center, [100.5, 0]) < 100);
});

test("a cap as wide as its square has the diameter of the square", () => {
  // At zoom z and latitude 0 a degree is 512 * 2^z / 360 pixels.
  const zoom = zoomOf(1, 0, 400);
  assert.ok(Math.abs(((512 * 2 ** zoom) / 360) * 2 - 400) < 1);
  assert.ok(zoomOf(1, 60, 400) < zoom - 0.9, "towards the poles the same zoom shows less");
});

test("tiles of 640 m are zoomed to as tiles of 200 km are", () => {
  const [small, large] = [tile(10, 0, 0.00288), tile(10, 0, 0.9)];
  assert.ok(Math.abs(reach(large) - 1.27) < 0.01);
  for (const one of [small, large]) {
    const { center, zoom } = globeView([one], 600);
    assert.deepEqual(center.map(Math.round), [10, 0]);
    const side = ((512 * 2 ** zoom) / 360) * (one.bbox[2] - one.bbox[0]);
    assert.ok(side > 120 && side < 600, `${side} px`);
  }
  assert.ok(zoomOfTile(small, 110) > 12);
});

test("a flat map takes the short way round", () => {
  const [[west], [east]] = flatBounds([tile(179, -18), tile(-175, -17), tile(178, 0)]);
  assert.ok(west > 170 && east > 180 && east < 190);
  const [[whole], [end]] = flatBounds(Array.from({ length: 10 }, (_, i) => tile(-180 + 36 * i, 70, 20)));
  assert.deepEqual([whole, end], [-180, 180]);
});

test("a collection of one region is begun with there, also over the antimeridian; one of the globe is not", () => {
  const { center, zoom } = viewOfExtent([22.6, -19.29, 22.78, -19.21], 600);
  assert.deepEqual(
    center.map((degrees) => Number(degrees.toFixed(3))),
    [22.69, -19.25],
  );
  assert.ok(zoom > 10 && zoom < 13, `${zoom}`);
  const fiji = viewOfExtent([177, -19, -178, -16], 600);
  assert.deepEqual(fiji.center, [179.5, -17.5]);
  assert.equal(viewOfExtent([-180, -90, 180, 90], 600), null);
  assert.equal(viewOfExtent([5, 5, 5, 5], 600), null);
});
