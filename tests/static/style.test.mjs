import assert from "node:assert/strict";
import { test } from "node:test";

import { mapStyle, tileSize } from "../../static/js/style.js";

test("imagery is laid out in its own size, so that no picture is asked for without need", () => {
  const zooms = { imageryMinZoom: 1, imageryMaxZoom: 3 };
  const asked = { imagery: "/{z}/{x}/{y}", imageryBounds: [1, 2, 3, 4], ...zooms, imageryTileSize: 512, flat: true };
  const { imagery } = mapStyle(asked).sources;
  const [tiles, bounds] = [["/{z}/{x}/{y}"], [1, 2, 3, 4]];
  assert.deepEqual(imagery, { type: "raster", tiles, tileSize: 512, minzoom: 1, bounds, maxzoom: 3 });
  assert.equal("bounds" in mapStyle({ ...asked, imageryBounds: null }).sources.imagery, false);
  assert.equal(mapStyle({ ...asked, imagery: null }).sources.imagery, undefined);
});

test("on a fine screen a picture is half as large and as sharp as the screen", () => {
  assert.deepEqual(
    [1, 1.5, 2, 3].map((ratio) => tileSize(512, ratio)),
    [512, 256, 256, 256],
  );
});
