/** Land and countries of the base map, from the installed world-atlas (Natural Earth, public domain). */

import feature from "../vendor/topojson-client/src/feature.js";
import mesh from "../vendor/topojson-client/src/mesh.js";
import { unroll } from "./outline.js";

/**
 * @typedef {import("geojson").Feature} Feature
 * @typedef {{
 *   land: import("geojson").FeatureCollection, borders: import("geojson").Geometry, coast: import("geojson").Geometry,
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
  };
}

/** @param {import("geojson").FeatureCollection} collection @returns {Feature[]} */
const flat = ({ features }) =>
  features.filter(({ geometry }) => geometry).map((one) => ({ ...one, geometry: unroll(one.geometry) }));
