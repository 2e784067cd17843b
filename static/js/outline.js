/**
 * World-atlas outlines are spherical: rings run over the antimeridian and around the pole without a cut. A flat map
 * wants rings that go on past 180 degrees and close over the pole. Pure.
 */

/** Longitudes without jumps: each step goes the short way round. @param {number[][]} line @returns {number[][]} */
export function unrollLine(line) {
  let turn = 0;
  return line.map(([lon, lat], i) => {
    if (i > 0) {
      const step = lon - line[i - 1][0];
      if (step > 180) turn -= 360;
      else if (step < -180) turn += 360;
    }
    return [lon + turn, lat];
  });
}

/** A closed ring; one that runs around a pole is closed over it. @param {number[][]} ring @returns {number[][]} */
export function unrollRing(ring) {
  const open = unrollLine(ring);
  const [first, last] = [open[0], open[open.length - 1]];
  if (Math.abs(last[0] - first[0]) < 180) return open;
  const pole = open.reduce((sum, [, lat]) => sum + lat, 0) > 0 ? 90 : -90;
  return [...open, [last[0], pole], [first[0], pole], first];
}

/** @param {any} geometry Polygon, MultiPolygon or MultiLineString @returns {any} one of the same type */
export function unroll(geometry) {
  const { type, coordinates } = geometry;
  if (type === "MultiLineString") return { type, coordinates: coordinates.map(unrollLine) };
  if (type === "Polygon") return { type, coordinates: coordinates.map(unrollRing) };
  return { type, coordinates: coordinates.map((rings) => rings.map(unrollRing)) };
}
