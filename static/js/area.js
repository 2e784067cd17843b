/** Areas that a visitor draws or uploads; pure. Positions are [lon, lat]. */

const AREA_LIMIT = 5000; // characters: with the rest of the address below what servers and proxies take

/**
 * Polygons of any GeoJSON as one geometry, rounded to about 100 m and simplified until it fits into a link.
 *
 * @param {string} text
 * @returns {{geometry: import("geojson").Polygon | import("geojson").MultiPolygon, simplified: boolean}}
 * @throws {Error} with a sentence for the visitor
 */
export function readArea(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error("This file is not GeoJSON: it can't be read as JSON.");
  }
  const polygons = collect(document).map((rings) => rings.map(roundRing));
  if (polygons.length === 0) throw new Error("This file has no polygon in it; draw at least one.");
  for (const ring of polygons.flat()) checkRing(ring);
  return fit(polygons);
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
  return { geometry: toGeometry(parts), simplified: parts !== polygons };
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

/** @param {number[][]} corners at least three, as clicked @returns {import("geojson").Polygon} closed */
export function polygonOf(corners) {
  const ring = roundRing(corners);
  return { type: "Polygon", coordinates: [[...ring, ring[0]]] };
}
