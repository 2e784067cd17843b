import assert from "node:assert/strict";
import { test } from "node:test";

import { contract } from "./contract.mjs";
import { polygonOf, readArea, simplify, splitRing } from "../../static/js/area.js";
import { circlePolygon, distanceKm } from "../../static/js/geo.js";
import {
  filterParts,
  parseTerm,
  pythonCall,
  readTerms,
  stepWeight,
  termLabel,
  termParts,
  titleOf,
  writeTerms,
} from "../../static/js/queries.js";

test("every term beside the words is a part that can be taken away", () => {
  const parts = termParts({ q: "fen", not: "farm", near: "-60,3", species: "jaguar", up: "a,b", down: "c" });
  assert.deepEqual(
    parts.map(({ label }) => label),
    ["farm", "Like the nature at 3.0° N, 60.0° W", "Habitat of jaguar", "2 good matches, 1 poor match"],
  );
  assert.deepEqual(parts.at(-1).patch, { up: null, down: null });
});

test("filters that belong together are one part", () => {
  const parts = filterParts(
    {
      from: "2020-01-01",
      to: "2020-12-31",
      months: "6,7",
      countries: "BRA,PER",
      max_cloud: "0.2",
      min_percentile: "99.5",
      circle: "10,20,500",
    },
    (code) => (code === "BRA" ? "Brazil" : code),
  );
  assert.deepEqual(
    parts.map(({ label }) => label),
    [
      "Within 500 km of 20.0° N, 10.0° E",
      "Brazil, PER",
      "2020-01-01 to 2020-12-31",
      "Jun, Jul",
      "At most 20 % cloud",
      "Only the top 0.5 %",
    ],
  );
  assert.deepEqual(parts[2].patch, { from: null, to: null });
  assert.deepEqual(filterParts({ q: "x" }), []);
});

test("every parameter that narrows has a chip to remove it", () => {
  const inFields = ["k", "blend", "collection"];
  for (const key of contract.search.filter((name) => ![...contract.ranking, ...inFields].includes(name))) {
    const [part] = filterParts({ [key]: "1" });
    assert.ok(part.label, key);
    assert.equal(part.patch[key], null);
  }
  assert.equal(filterParts({ max_per_country: "2" })[0].label, "At most 2 of a country");
});

test("a link with a broken box still has a chip to remove it", () => {
  assert.equal(filterParts({ bbox: "x" })[0].label, "Area");
});

test("terms are read and written as the service takes them", () => {
  assert.deepEqual(readTerms('[{"text":"river"},{"species":"jaguar","weight":2}]'), [
    { text: "river", weight: 1 },
    { species: "jaguar", weight: 2 },
  ]);
  assert.deepEqual(readTerms("{broken"), []);
  assert.deepEqual(readTerms(undefined), []);
  assert.equal(writeTerms([]), null);
  assert.equal(termLabel({ place: [-60, 3] }), "nature at 3.0° N, 60.0° W");
});

test("a weight steps over zero and stops at its limits", () => {
  assert.equal(stepWeight(0.5, -1), -0.5);
  assert.equal(stepWeight(-0.5, 1), 0.5);
  assert.equal(stepWeight(contract.limits.weight, 1), contract.limits.weight);
  assert.equal(stepWeight(1, 1), 1.5);
});

test("a leading minus leaves out", () => {
  assert.deepEqual(parseTerm(" - farm land "), { text: "farm land", weight: -1 });
  assert.deepEqual(parseTerm("lake"), { text: "lake", weight: 1 });
  assert.equal(parseTerm(" - "), null);
});

test("the title tells the whole question", () => {
  const state = { q: "fen", not: "farm", terms: '[{"text":"lake","weight":-2}]' };
  assert.equal(titleOf(state), "fen · − lake · − farm");
  assert.equal(titleOf({}), "");
});

test("the Python line quotes what a visitor typed", () => {
  const call = pythonCall({ q: 'a "quoted" fen' }, "https://x");
  assert.ok(call.endsWith('hits = Client("https://x").search(**{"q": "a \\"quoted\\" fen"}).hits'), call);
});

const square = [
  [0, 0],
  [30, 0],
  [30, 20],
  [0, 20],
  [0, 0],
];

test("any GeoJSON with polygons is an area", () => {
  const polygon = { type: "Polygon", coordinates: [square] };
  assert.deepEqual(readArea(polygon), { geometry: polygon, notes: [] });
  const collection = {
    type: "FeatureCollection",
    features: [
      { type: "Feature", geometry: polygon },
      { type: "Feature", geometry: null },
    ],
  };
  assert.deepEqual(readArea(collection).geometry, polygon);
  const two = {
    type: "GeometryCollection",
    geometries: [polygon, { type: "MultiPolygon", coordinates: [[square]] }, { type: "Point", coordinates: [0, 0] }],
  };
  assert.equal(readArea(two).geometry.coordinates.length, 2);
});

test("what is no area is refused with a sentence", () => {
  assert.throws(() => readArea({ type: "Point", coordinates: [0, 0] }), /no polygon/);
  assert.throws(
    () =>
      readArea({
        type: "Polygon",
        coordinates: [
          [
            [500000, 4e6],
            [1, 1],
            [2, 2],
            [500000, 4e6],
          ],
        ],
      }),
    /WGS 84/,
  );
  assert.throws(
    () =>
      readArea({
        type: "Polygon",
        coordinates: [
          [
            [0, 0],
            [1, 1],
            [0, 0],
          ],
        ],
      }),
    /four positions/,
  );
});

test("an outline that crosses itself is split where it does", () => {
  const eight = [
    [0, 0],
    [10, 10],
    [10, 0],
    [0, 10],
    [0, 0],
  ];
  const parts = splitRing(eight);
  assert.equal(parts.length, 2);
  for (const ring of parts) assert.deepEqual(ring[0], ring.at(-1));
  assert.ok(parts.every((ring) => ring.some(([x, y]) => x === 5 && y === 5)));
  assert.deepEqual(splitRing(square), [square]);
});

test("a detailed outline is simplified until it fits a link, and stays closed", () => {
  const ring = Array.from({ length: 5000 }, (_, i) => [
    20 * Math.cos((2 * Math.PI * i) / 4999),
    20 * Math.sin((2 * Math.PI * i) / 4999),
  ]);
  ring[4999] = ring[0];
  const { geometry, notes } = readArea({ type: "Polygon", coordinates: [ring] });
  assert.match(notes.join(), /simplified/);
  assert.ok(JSON.stringify(geometry).length <= 5000);
  assert.deepEqual(geometry.coordinates[0][0], geometry.coordinates[0].at(-1));
  assert.ok(geometry.coordinates[0].length > 20);
});

test("a straight line keeps its ends only", () => {
  assert.deepEqual(
    simplify(
      [
        [0, 0],
        [1, 0.001],
        [2, 0],
      ],
      0.01,
    ),
    [
      [0, 0],
      [2, 0],
    ],
  );
  assert.deepEqual(
    polygonOf([
      [0, 0],
      [1, 0],
      [0, 1],
    ]).coordinates[0].length,
    4,
  );
});

test("a circle's rim is everywhere as far from its centre, at the antimeridian and near a pole too", () => {
  for (const centre of [
    [0, 0],
    [179.9, -17],
    [30, 88],
  ]) {
    for (const [lon, lat] of circlePolygon(...centre, 500).coordinates[0])
      assert.ok(Math.abs(distanceKm(centre, [lon, lat]) - 500) < 0.01);
  }
});
