/**
 * Places on the sphere, pure. Longitude first everywhere; boxes are [west, south, east, north] in degrees,
 * and west greater than east means that the box crosses the antimeridian.
 *
 * @typedef {[number, number]} LonLat
 * @typedef {[number, number, number, number]} BBox
 */

const EARTH_RADIUS_KM = 6371.0088;
const radians = (degrees) => (degrees * Math.PI) / 180;

/** Bring a longitude into [-180, 180). @param {number} lon */
export function wrapLon(lon) {
  return ((((lon + 180) % 360) + 360) % 360) - 180;
}

/** @param {number} lon @param {number} lat @param {number} [digits] @returns {string} "3.2° S, 60.1° W" */
export function formatLonLat(lon, lat, digits = 1) {
  const part = (value, above, below) => `${Math.abs(value).toFixed(digits)}° ${value >= 0 ? above : below}`;
  return `${part(lat, "N", "S")}, ${part(lon, "E", "W")}`;
}

/** Height of a box in degrees. @param {BBox | undefined} bbox @param {number} otherwise */
const heightOf = (bbox, otherwise) => (bbox && bbox[3] > bbox[1] ? bbox[3] - bbox[1] : otherwise);

/** Decimals of degrees that tell a tile from its neighbours. @param {BBox} [bbox] @returns {number} 1 to 4 */
export function digitsOf(bbox) {
  const height = heightOf(bbox, 1);
  return height >= 0.1 ? 1 : height >= 0.01 ? 2 : height >= 0.001 ? 3 : 4;
}

/** The zoom at which a tile fills a good part of another site's map. @param {BBox} [bbox] @returns {number} 3 to 17 */
export function zoomOf(bbox) {
  return Math.max(3, Math.min(17, Math.round(Math.log2(360 / heightOf(bbox, 1.8)) + 1.4)));
}

/** Great-circle distance. @param {LonLat} a @param {LonLat} b */
export function distanceKm([lonA, latA], [lonB, latB]) {
  const dLat = radians(latB - latA) / 2;
  const dLon = radians(lonB - lonA) / 2;
  const h = Math.sin(dLat) ** 2 + Math.cos(radians(latA)) * Math.cos(radians(latB)) * Math.sin(dLon) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** @param {string | null} text "w,s,e,n" @returns {BBox | null} null when it is not a box */
export function parseBbox(text) {
  const parts = (text ?? "").split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  if (parts.length !== 4 || !parts.every(Number.isFinite)) return null;
  const [west, south, east, north] = parts;
  const valid = Math.abs(west) <= 180 && Math.abs(east) <= 180 && -90 <= south && south <= north && north <= 90;
  return valid ? [west, south, east, north] : null;
}

/** @param {BBox} bbox @returns {string} to a hundredth of its height, so that a link stays short, at least to 0.01 */
export function formatBbox(bbox) {
  const digits = Math.max(2, Math.min(6, 2 - Math.floor(Math.log10(bbox[3] - bbox[1] || 1))));
  return bbox.map((value) => String(Number(value.toFixed(digits)))).join(",");
}

/** @param {LonLat} point @param {BBox} bbox */
export function isInBbox([lon, lat], [west, south, east, north]) {
  const inLon = west <= east ? west <= lon && lon <= east : lon >= west || lon <= east;
  return inLon && south <= lat && lat <= north;
}

/** @param {BBox} bbox @returns {number} eastward extent in degrees */
export function bboxWidth([west, , east]) {
  return west <= east ? east - west : east - west + 360;
}

/**
 * The smallest box around points seen from above `centreLon`: offsets are taken east and west of it.
 *
 * @param {LonLat[]} points
 * @param {number} centreLon
 * @param {boolean} [seesPole] whether a pole is in sight; every longitude is, then
 * @returns {BBox | null} null without points
 */
export function bboxAround(points, centreLon, seesPole = false) {
  if (points.length === 0) return null;
  const offsets = points.map(([lon]) => wrapLon(lon - centreLon));
  const lats = points.map(([, lat]) => lat);
  const [low, high] = [Math.min(...offsets), Math.max(...offsets)];
  let [south, north] = [Math.max(-90, Math.min(...lats)), Math.min(90, Math.max(...lats))];
  if (seesPole) [south, north] = Math.abs(south) > Math.abs(north) ? [-90, north] : [south, 90];
  if (seesPole || high - low > 340) return [-180, south, 180, north];
  return [wrapLon(centreLon + low), south, wrapLon(centreLon + high), north];
}

/**
 * Corners of a box as one polygon, eastward from west even across the antimeridian.
 *
 * @param {BBox} bbox
 * @returns {import("geojson").Polygon}
 */
export function bboxPolygon([west, south, east, north]) {
  const right = west <= east ? east : east + 360;
  const steps = Math.max(1, Math.ceil((right - west) / 5)); // enough points to follow a parallel on the globe
  const along = Array.from({ length: steps + 1 }, (_, i) => west + ((right - west) * i) / steps);
  const ring = [...along.map((lon) => [lon, south]), ...along.reverse().map((lon) => [lon, north]), [west, south]];
  return { type: "Polygon", coordinates: [ring] };
}

/**
 * A circle on the sphere as a polygon; it goes on past 180 degrees.
 *
 * @param {number} lon
 * @param {number} lat
 * @param {number} km
 * @param {number} [corners]
 * @returns {import("geojson").Polygon}
 */
export function circlePolygon(lon, lat, km, corners = 72) {
  const angle = km / EARTH_RADIUS_KM;
  const phi = radians(lat);
  const ring = Array.from({ length: corners + 1 }, (_, i) => {
    const bearing = (-2 * Math.PI * i) / corners; // anticlockwise, as RFC 7946 wants outer rings
    const toLat = Math.asin(Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(bearing));
    const east = Math.atan2(
      Math.sin(bearing) * Math.sin(angle) * Math.cos(phi),
      Math.cos(angle) - Math.sin(phi) * Math.sin(toLat),
    );
    return [lon + (east * 180) / Math.PI, (toLat * 180) / Math.PI];
  });
  return { type: "Polygon", coordinates: [ring] };
}
