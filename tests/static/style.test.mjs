import assert from "node:assert/strict";
import { test } from "node:test";

import { mapStyle, tileSize } from "../../static/js/style.js";

test("imagery is laid out in its own size, so that no picture is asked for without need", () => {
  const asked = { imagery: "/{z}/{x}/{y}", imageryMaxZoom: 3, imageryTileSize: 512, flat: true };
  const { imagery } = mapStyle(asked).sources;
  assert.deepEqual(imagery, { type: "raster", tiles: ["/{z}/{x}/{y}"], tileSize: 512, maxzoom: 3 });
  assert.equal(mapStyle({ ...asked, imagery: null }).sources.imagery, undefined);
});

test("on a fine screen a picture is half as large and as sharp as the screen", () => {
  assert.deepEqual(
    [1, 1.5, 2, 3].map((ratio) => tileSize(512, ratio)),
    [512, 256, 256, 256],
  );
});
