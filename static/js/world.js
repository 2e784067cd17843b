/** Land and countries of the base map, from the installed world-atlas (Natural Earth, public domain). */

import feature from "../vendor/topojson-client/src/feature.js";
import mesh from "../vendor/topojson-client/src/mesh.js";
import { geometryBbox } from "./geo.js";
import { unroll } from "./outline.js";

/**
 * @typedef {import("./geo.js").BBox} BBox
 * @typedef {import("geojson").Feature} Feature
 * @typedef {{
 *   land: import("geojson").FeatureCollection, borders: import("geojson").Geometry, coast: import("geojson").Geometry,
 *   boxes: Map<string, BBox>,
 * }} World
 */

/**
 * @param {string} root path prefix of the service
 * @param {"110m" | "50m"} scale 1:110 million (39 KB compressed) or 1:50 million (236 KB)
 * @returns {Promise<World>}
 */
export async function loadWorld(root, scale) {
  const response = await fetch(`${root}/static/vendor/world-atlas/countries-${scale}.json`);
  if (!response.ok) {
    throw new Error(`the base map's outlines are missing (status ${response.status}); run python -m app.assets`);
  }
  const topology = await response.json();
  const { countries, land } = topology.objects;
  return {
    land: { type: "FeatureCollection", features: flat(feature(topology, land)) },
    borders: unroll(mesh(topology, countries, (a, b) => a !== b)),
    coast: unroll(mesh(topology, countries, (a, b) => a === b)),
    boxes: mainlandBoxes(flat(feature(topology, countries))),
  };
}

/** @param {import("geojson").FeatureCollection} collection @returns {Feature[]} */
const flat = ({ features }) =>
  features.filter(({ geometry }) => geometry).map((one) => ({ ...one, geometry: unroll(one.geometry) }));

/**
 * Box of each country's largest part by name: the east of France is not in French Guiana.
 *
 * @param {any[]} countries GeoJSON features of polygons
 * @returns {Map<string, BBox>}
 */
export function mainlandBoxes(countries) {
  const boxes = new Map();
  for (const { geometry, properties } of countries) {
    const polygons = geometry.type === "MultiPolygon" ? geometry.coordinates : [geometry.coordinates];
    const found = polygons.map((coordinates) => geometryBbox({ type: "Polygon", coordinates }));
    const size = ([west, south, east, north]) => (east - west) * (north - south);
    boxes.set(
      properties.name,
      found.reduce((best, box) => (size(box) > size(best) ? box : best)),
    );
  }
  return boxes;
}
