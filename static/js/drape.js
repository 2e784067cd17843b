/** Pictures of the hits on the map itself, once their footprints are large enough on screen to show something. */

import { lonBeside, zoomOfTile } from "./camera.js";
import { chosen } from "./choices.js";
import { filterOf } from "./pictures.js";

const LEAST_PX = 48; // side of a footprint from which on its picture is worth more than an outline
const MOST_PICTURES = 24;
const BELOW = "hits-fill"; // the layer that they go under
const PREFIX = "drape-";

/**
 * @param {import("maplibre-gl").Map} map
 * @param {(path: string) => string} url address of a path of the service
 */
export function createDrapes(map, url) {
  /** @type {import("./api.js").Tile[]} */
  let hits = [];
  /** @type {Map<string, "comes" | "there" | "none">} */
  const pictures = new Map();

  function update() {
    const wanted = hits.filter((hit) => isLarge(map, hit) && isInView(map, hit)).slice(0, MOST_PICTURES);
    const ids = new Set(wanted.map(({ id }) => id));
    for (const [id, state] of pictures) if (state === "there" && !ids.has(id)) remove(id);
    for (const hit of wanted) if (!pictures.has(hit.id)) load(hit);
    map.getContainer().dataset.draped = String([...pictures.values()].filter((state) => state === "there").length);
  }

  /** A tile may have no picture; only one that has come is given to the map. @param {import("./api.js").Tile} hit */
  function load(hit) {
    const picture = new Image();
    picture.onload = () => {
      if (pictures.get(hit.id) !== "comes") return;
      pictures.set(hit.id, "there");
      const id = PREFIX + hit.id;
      map.addSource(id, { type: "canvas", canvas: asShown(picture), animate: false, coordinates: corners(hit) });
      const paint = { "raster-fade-duration": 0, "raster-resampling": /** @type {const} */ ("nearest") };
      map.addLayer({ id, type: "raster", source: id, paint }, BELOW);
      update();
    };
    picture.onerror = () => pictures.set(hit.id, "none");
    pictures.set(hit.id, "comes");
    picture.src = url(hit.properties.thumbnail);
  }

  /** @param {string} id */
  function remove(id) {
    map.removeLayer(PREFIX + id).removeSource(PREFIX + id);
    pictures.delete(id);
  }

  function clear() {
    for (const [id, state] of pictures) if (state === "there") remove(id);
    pictures.clear();
  }

  map.on("moveend", update);
  return {
    /** After it was chosen whether pictures are stretched. */
    again() {
      clear();
      update();
    },
    /** @param {import("./api.js").Tile[]} features */
    show(features) {
      clear();
      hits = features;
      update();
    },
  };
}

/** A picture, stretched for the eye unless true ones were chosen. @param {HTMLImageElement} picture */
function asShown(picture) {
  const { naturalWidth: width, naturalHeight: height } = picture;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true }); // on this side of the graphics card
  if (pen && chosen("colours") !== "true") pen.filter = filterOf(picture);
  pen?.drawImage(picture, 0, 0);
  return canvas;
}

/** @param {import("maplibre-gl").Map} map @param {import("./api.js").Tile} hit */
function isLarge(map, hit) {
  return Boolean(hit.bbox) && map.getZoom() >= zoomOfTile(hit, LEAST_PX);
}

/** @param {import("maplibre-gl").Map} map @param {import("./api.js").Tile} hit */
function isInView(map, hit) {
  const [west, south, east, north] = edges(hit);
  const bounds = map.getBounds();
  const shift = lonBeside((west + east) / 2, map.getCenter().lng) - (west + east) / 2;
  const beside = west + shift > bounds.getEast() || east + shift < bounds.getWest();
  return !beside && south <= bounds.getNorth() && north >= bounds.getSouth();
}

/** The box of a hit, going on past 180 degrees. @param {import("./api.js").Tile} hit */
function edges({ bbox }) {
  const [west, south, east, north] = /** @type {import("./geo.js").BBox} */ (bbox);
  return [west, south, west <= east ? east : east + 360, north];
}

/**
 * @param {import("./api.js").Tile} hit
 * @returns {[[number, number], [number, number], [number, number], [number, number]]} from the north-west clockwise
 */
function corners(hit) {
  const [west, south, east, north] = edges(hit);
  return [
    [west, north],
    [east, north],
    [east, south],
    [west, south],
  ];
}
