/** Areas that a visitor draws or uploads; pure. Positions are [lon, lat]. */

import { bboxPolygon } from "./geo.js";

const AREA_LIMIT = 5000; // characters: with the rest of the address below what servers and proxies take

/** @typedef {import("geojson").Polygon | import("geojson").MultiPolygon} Area */

/**
 * Polygons of any GeoJSON as one geometry: rounded to about 100 m, simplified until it fits into a link, and split
 * where an outline crosses itself.
 *
 * @param {any} document GeoJSON
 * @returns {{geometry: Area, notes: string[]}} what was changed, in sentences
 * @throws {Error} with a sentence for the visitor
 */
export function readArea(document) {
  const read = collect(document).map((rings) => rings.map(roundRing));
  if (read.length === 0) throw new Error("This file has no polygon in it; draw at least one.");
  for (const ring of read.flat()) checkRing(ring);
  const { parts, simplified } = fit(read);
  const split = parts.flatMap((rings) => (rings.length === 1 ? splitRing(rings[0]).map((ring) => [ring]) : [rings]));
  const notes = [];
  if (split.length > parts.length) notes.push("The outline crossed itself; it was split where it does.");
  if (simplified) notes.push("The outline was simplified so that it fits into a link.");
  return { geometry: toGeometry(split), notes };
}

/**
 * A ring that crosses itself as rings that don't: a figure of eight becomes two.
 *
 * @param {any[]} ring closed, of positions
 * @returns {number[][][]}
 */
export function splitRing(ring) {
  const last = ring.length - 1;
  for (let i = 0; i < last - 1; i += 1) {
    for (let j = i + 2; j < last; j += 1) {
      const cut = i === 0 && j === last - 1 ? null : crossing(ring[i], ring[i + 1], ring[j], ring[j + 1]);
      if (!cut) continue;
      const outer = [...ring.slice(0, i + 1), cut, ...ring.slice(j + 1)];
      const inner = [cut, ...ring.slice(i + 1, j + 1), cut];
      return [outer, inner].flatMap(splitRing).filter((part) => part.length >= 4);
    }
  }
  return [ring];
}

/** Where two segments cross between their ends, null where they don't. */
function crossing([ax, ay], [bx, by], [cx, cy], [dx, dy]) {
  const turn = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx);
  if (turn === 0) return null;
  const along = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / turn;
  const beside = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / turn;
  if (along <= 0 || along >= 1 || beside <= 0 || beside >= 1) return null;
  return [round(ax + along * (bx - ax)), round(ay + along * (by - ay))];
}

/** What an area sets in the address, in place of every other. @param {Record<string, string | null>} area */
export const areaPatch = (area) => ({ bbox: null, area: null, circle: null, area_name: null, ...area });

/**
 * A place as an area: its box, or its boxes.
 *
 * @param {{name: string, boxes: import("./geo.js").BBox[]}} place
 */
export function placePatch({ name, boxes }) {
  if (boxes.length === 1) return areaPatch({ bbox: boxes[0].join(), area_name: name });
  const coordinates = boxes.map((box) => bboxPolygon(box).coordinates);
  return areaPatch({ area: JSON.stringify({ type: "MultiPolygon", coordinates }), area_name: name });
}

function collect(node) {
  if (node?.type === "FeatureCollection") return (node.features ?? []).flatMap(collect);
  if (node?.type === "Feature") return collect(node.geometry);
  if (node?.type === "GeometryCollection") return (node.geometries ?? []).flatMap(collect);
  if (node?.type === "Polygon") return [node.coordinates];
  return node?.type === "MultiPolygon" ? node.coordinates : [];
}

const roundRing = (ring) => ring.map(([lon, lat]) => [round(lon), round(lat)]);
const round = (value) => Math.round(Number(value) * 1000) / 1000;

function checkRing(ring) {
  const valid = ([lon, lat]) =>
    Number.isFinite(lon) && Number.isFinite(lat) && Math.abs(lon) <= 540 && Math.abs(lat) <= 90;
  if (ring.length < 4 || !ring.every(valid)) {
    throw new Error(
      "The area must be in longitude and latitude (WGS 84), and each ring needs at least four positions.",
    );
  }
}

function fit(polygons) {
  const size = (parts) => JSON.stringify(toGeometry(parts)).length;
  let [parts, tolerance] = [polygons, 0.005];
  while (size(parts) > AREA_LIMIT && tolerance < 20) {
    parts = polygons
      .map((rings) => rings.map((ring) => simplify(ring, tolerance)).filter((ring) => ring.length >= 4))
      .filter((rings) => rings.length);
    tolerance *= 1.6;
  }
  if (parts.length === 0 || size(parts) > AREA_LIMIT) {
    throw new Error("The area has too many separate parts for a link; upload a simpler one.");
  }
  return { parts, simplified: parts !== polygons };
}

/** @param {number[][][][]} polygons @returns {import("geojson").Polygon | import("geojson").MultiPolygon} */
function toGeometry(polygons) {
  return polygons.length === 1
    ? { type: "Polygon", coordinates: polygons[0] }
    : { type: "MultiPolygon", coordinates: polygons };
}

/**
 * Douglas and Peucker's line simplification (Cartographica 10(2), 1973); a ring stays closed.
 *
 * @param {number[][]} line
 * @param {number} tolerance degrees
 * @returns {number[][]}
 */
export function simplify(line, tolerance) {
  if (line.length < 3) return line;
  const [first, last] = [line[0], line[line.length - 1]];
  const closed = first[0] === last[0] && first[1] === last[1];
  let [far, distance] = [0, 0];
  for (let i = 1; i < line.length - 1; i += 1) {
    const away = closed
      ? Math.hypot(line[i][0] - first[0], line[i][1] - first[1])
      : distanceToSegment(line[i], first, last);
    if (away > distance) [far, distance] = [i, away];
  }
  if (distance <= tolerance) return [first, last];
  return [...simplify(line.slice(0, far + 1), tolerance), ...simplify(line.slice(far), tolerance).slice(1)];
}

/** @param {number[]} point @param {number[]} a @param {number[]} b */
function distanceToSegment([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const share = dx || dy ? Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy))) : 0;
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** Closed, perhaps crossing itself. @param {number[][]} corners at least three @returns {import("geojson").Polygon} */
export function polygonOf(corners) {
  const ring = roundRing(corners);
  return { type: "Polygon", coordinates: [[...ring, ring[0]]] };
}
