/** Where to look so that hits are in sight; pure. Positions are [lon, lat], angles on the sphere in degrees. */

import { bboxWidth, distanceKm, wrapLon } from "./geo.js";

/**
 * @typedef {import("./geo.js").LonLat} LonLat
 * @typedef {import("./api.js").Tile} Tile
 * @typedef {{center: LonLat, radius: number}} Cap all places within an angle of a centre
 * @typedef {{center: LonLat, zoom: number}} View
 */

const KM_PER_DEGREE = 111.19;
const WORLD_PX = 512; // the equator at zoom 0
const WIDEST_CAP = 62; // of a cap any wider the rim is too near the horizon of the globe to be made out
const GROUP_RADIUS = 35;
const HALF_GLOBE = 55; // a look that shows where on Earth a group lies, since other hits lie elsewhere
const SURROUNDINGS = 2.5; // how far round a tile the view goes, in its own half diagonal
const WIDEST_REGION = 20; // half a diagonal of an extent; anything larger is begun with on the whole globe
const HITS_IN_SIGHT = 10;
const MOST_ZOOM = 17;
const radians = (degrees) => (degrees * Math.PI) / 180;

/** @param {LonLat} a @param {LonLat} b */
const angle = (a, b) => distanceKm(a, b) / KM_PER_DEGREE;

/** @param {Tile} tile @returns {LonLat} */
const placeOf = ({ properties: { lon, lat } }) => [lon, lat];

/** From the middle of a tile to its corner, in degrees. @param {{bbox?: any, properties: {lat: number}}} tile */
export function reach({ bbox, properties }) {
  if (!bbox) return 0;
  const width = bboxWidth(bbox) * Math.cos(radians(properties.lat));
  return Math.hypot(width, bbox[3] - bbox[1]) / 2;
}

/**
 * The middle of places on the sphere, and how far the furthest lies from it. Opposite places have a middle too.
 *
 * @param {LonLat[]} places at least one
 * @returns {Cap}
 */
export function capAround(places) {
  let [x, y, z] = [0, 0, 0];
  for (const [lon, lat] of places) {
    x += Math.cos(radians(lat)) * Math.cos(radians(lon));
    y += Math.cos(radians(lat)) * Math.sin(radians(lon));
    z += Math.sin(radians(lat));
  }
  const length = Math.hypot(x, y, z);
  /** @type {LonLat} */
  const mean = [(Math.atan2(y, x) * 180) / Math.PI, (Math.asin(z / (length || 1)) * 180) / Math.PI];
  const center = length < 1e-6 * places.length ? places[0] : mean;
  return { center, radius: Math.max(...places.map((place) => angle(center, place))) };
}

/**
 * The part of the globe to turn to: all places if one look can hold them, else the side with the densest group, the
 * earliest if several are as dense.
 *
 * @param {LonLat[]} places in order of rank, at least one
 */
export function capToShow(places) {
  const whole = capAround(places);
  if (whole.radius <= WIDEST_CAP) return whole;
  const groups = places.map((middle) => places.filter((place) => angle(middle, place) <= GROUP_RADIUS));
  const { center, radius } = capAround(groups.reduce((best, group) => (group.length > best.length ? group : best)));
  return { center, radius: Math.max(radius, HALF_GLOBE) };
}

/**
 * The zoom at which a cap fills a square.
 *
 * @param {number} radius of the cap
 * @param {number} lat of its centre: towards the poles a zoom shows less
 * @param {number} px side of the square
 */
export function zoomOf(radius, lat, px) {
  const sine = Math.sin(radians(Math.min(Math.max(radius, 1e-4), 90)));
  const zoom = Math.log2((px * Math.PI * Math.max(Math.cos(radians(lat)), 0.05)) / (WORLD_PX * sine));
  return Math.min(zoom, MOST_ZOOM);
}

/** The zoom at which a pixel of the ground takes one of the screen. @param {number} gsdM @param {number} lat */
export function nativeZoom(gsdM, lat) {
  return Math.log2((KM_PER_DEGREE * 360_000 * Math.max(Math.cos(radians(lat)), 0.05)) / (WORLD_PX * gsdM));
}

/** The zoom at which a tile's side is so many pixels long. @param {Tile} tile @param {number} px */
export function zoomOfTile(tile, px) {
  return zoomOf(reach(tile) / Math.SQRT2, tile.properties.lat, px);
}

/**
 * The view that a collection of one region fills; null for one that lies all over the globe, or has no tiles.
 *
 * @param {import("./geo.js").BBox} bbox
 * @param {number} px how much of the map is free, its shorter side
 * @returns {View | null}
 */
export function viewOfExtent(bbox, px) {
  const [west, south, , north] = bbox;
  const center = /** @type {LonLat} */ ([wrapLon(west + bboxWidth(bbox) / 2), (south + north) / 2]);
  const radius = reach({ bbox, properties: { lat: center[1] } });
  return radius > 0 && radius <= WIDEST_REGION ? { center, zoom: zoomOf(radius, center[1], px) } : null;
}

/**
 * The smallest view of the globe that holds the first hits with something around them.
 *
 * @param {Tile[]} hits at least one
 * @param {number} px how much of the map is free, its shorter side
 * @returns {View}
 */
export function globeView(hits, px) {
  const first = hits.slice(0, HITS_IN_SIGHT);
  const { center, radius } = capToShow(first.map(placeOf));
  const around = Math.max(...first.map(reach));
  return { center, zoom: zoomOf(Math.max(radius + around, SURROUNDINGS * around), center[1], px) };
}

/**
 * The smallest box of a flat map that holds the first hits; it goes on past 180 degrees where that is shorter.
 *
 * @param {Tile[]} hits at least one
 * @returns {[[number, number], [number, number]]} south-west and north-east
 */
export function flatBounds(hits) {
  const first = hits.slice(0, HITS_IN_SIGHT);
  const around = Math.max(...first.map(reach));
  const lons = first.map(({ properties: { lon } }) => lon).sort((a, b) => a - b);
  const gaps = lons.map((lon, i) => (i ? lon - lons[i - 1] : lon + 360 - lons[lons.length - 1]));
  const start = gaps.indexOf(Math.max(...gaps)); // the box begins after the widest gap
  const [west, last] = [lons[start], lons[(start + lons.length - 1) % lons.length]];
  const east = last < west ? last + 360 : last;
  const lats = first.map(({ properties: { lat } }) => lat);
  const margin = around / Math.max(Math.cos(radians(Math.max(...lats.map(Math.abs)))), 0.05);
  const span = east - west + 2 * margin < 360 ? [west - margin, east + margin] : [-180, 180];
  return [
    [span[0], Math.max(-85, Math.min(...lats) - around)],
    [span[1], Math.min(85, Math.max(...lats) + around)],
  ];
}

/** A longitude next to another, past 180 degrees if need be. @param {number} lon @param {number} beside */
export const lonBeside = (lon, beside) => beside + wrapLon(lon - beside);
