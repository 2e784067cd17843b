/** The same place on other days: its pictures side by side, where a collection has been there more than once. */

import { element } from "./dom.js";
import { distanceKm } from "./geo.js";
import { formatDay } from "./words.js";

const MOST = 12;

/** @typedef {import("./api.js").Tile} Tile */
/** @typedef {{id: string, day: string, picture: string}} Visit */

/**
 * Every day on which there is a picture of a tile's place, the tile's own among them, oldest first.
 *
 * @param {import("./api.js").Api} api
 * @param {string} collection
 * @param {Tile} tile
 * @param {AbortSignal} signal
 * @returns {Promise<Visit[]>}
 */
export async function visitsOf(api, collection, tile, signal) {
  const { lon, lat, captured_on: day } = tile.properties;
  if (!day) return [];
  const near = [lon - 1e-4, lat - 1e-4, lon + 1e-4, lat + 1e-4].map((edge) => edge.toFixed(5)).join();
  const path = `/collections/${encodeURIComponent(collection)}/items?bbox=${near}&limit=${MOST}`;
  const { features } = await api.get(path, signal);
  const side = tile.bbox ? distanceKm([lon, tile.bbox[1]], [lon, tile.bbox[3]]) : 0;
  return features
    .filter(({ bbox, properties }) => properties.datetime && isSamePlace(bbox, [lon, lat], side))
    .map(({ id, properties }) => ({
      id,
      day: properties.datetime.slice(0, 10),
      picture: api.url(`/tiles/${encodeURIComponent(id)}/thumbnail.webp?collection=${encodeURIComponent(collection)}`),
    }))
    .sort((a, b) => a.day.localeCompare(b.day));
}

/** Tiles of a grid may overlap; the same place has nearly the same middle. */
function isSamePlace([west, south, east, north], lonLat, side) {
  const middle = /** @type {[number, number]} */ ([
    (west + (west <= east ? east : east + 360)) / 2,
    (south + north) / 2,
  ]);
  return distanceKm(middle, lonLat) <= side / 4;
}

/**
 * @param {Visit[]} visits at least two
 * @param {string} current id of the tile that is shown
 * @param {(tileId: string) => void} onChoose
 */
export function visitStrip(visits, current, onChoose) {
  const one = ({ id, day, picture }) =>
    element(
      "button",
      {
        type: "button",
        class: "visit",
        "aria-current": id === current ? "date" : null,
        onclick: () => id !== current && onChoose(id),
      },
      element("img", { class: "tile-picture", src: picture, alt: `The same place on ${formatDay(day)}` }),
      element("span", { text: formatDay(day) }),
    );
  return element("div", { class: "visits" }, ...visits.map(one));
}
