/** Areas from the files that people have: GeoJSON, KML, and a shapefile in a zip. All as GeoJSON; nothing is sent. */

const NOT_ZIPPED = "A shapefile is several files; put them into one zip and choose that.";

/** @typedef {number[][][]} Rings of one polygon, the outer one first */

/**
 * @param {File} file
 * @returns {Promise<any>} GeoJSON, as text was or made of what was read
 * @throws {Error} with a sentence for the visitor
 */
export async function readAreaFile(file) {
  const name = file.name.toLowerCase();
  if (name.endsWith(".kml")) return multiPolygon(readKml(await file.text()));
  if (name.endsWith(".zip")) return multiPolygon(await readZip(await file.arrayBuffer()));
  if (/\.(shp|shx|dbf|prj)$/.test(name)) throw new Error(NOT_ZIPPED);
  try {
    return JSON.parse(await file.text());
  } catch {
    throw new Error(`${file.name} is neither GeoJSON nor KML nor a zipped shapefile.`);
  }
}

/** @param {Rings[]} polygons */
const multiPolygon = (polygons) => ({ type: "MultiPolygon", coordinates: polygons });

/** @param {string} text @returns {Rings[]} */
function readKml(text) {
  const page = new DOMParser().parseFromString(text, "application/xml");
  if (page.querySelector("parsererror")) throw new Error("This KML file can't be read: it is no well-formed XML.");
  const ring = (node) =>
    (node.textContent ?? "")
      .trim()
      .split(/\s+/)
      .map((place) => place.split(",").slice(0, 2).map(Number));
  return [...page.getElementsByTagName("Polygon")].map((polygon) =>
    ["outerBoundaryIs", "innerBoundaryIs"].flatMap((edge) =>
      [...polygon.getElementsByTagName(edge)].map((found) => ring(found.getElementsByTagName("coordinates")[0])),
    ),
  );
}

/** @param {ArrayBuffer} bytes @returns {Promise<Rings[]>} */
async function readZip(bytes) {
  const parts = listZip(bytes);
  const shape = parts.find(({ name }) => /\.shp$/i.test(name));
  if (!shape) throw new Error("This zip has no shapefile (.shp) in it.");
  const projection = parts.find(({ name }) => /\.prj$/i.test(name));
  if (projection && !/^\s*GEOG/i.test(new TextDecoder().decode(await unpack(bytes, projection)))) {
    throw new Error("This shapefile is in a projected system; save it in longitude and latitude (WGS 84).");
  }
  return readShapefile(await unpack(bytes, shape));
}

/** The entries of a zip's directory. @param {ArrayBuffer} bytes */
function listZip(bytes) {
  const view = new DataView(bytes);
  let end = bytes.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("This is no zip file.");
  const entries = [];
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [letters, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    entries.push({
      name: new TextDecoder().decode(new Uint8Array(bytes, at + 46, letters)),
      packed: view.getUint16(at + 10, true) !== 0,
      size: view.getUint32(at + 20, true),
      start: view.getUint32(at + 42, true),
    });
    at += 46 + letters + extra + comment;
  }
  return entries;
}

/**
 * @param {ArrayBuffer} bytes
 * @param {{packed: boolean, size: number, start: number}} entry
 * @returns {Promise<ArrayBuffer>}
 */
async function unpack(bytes, { packed, size, start }) {
  const view = new DataView(bytes);
  const from = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
  const data = new Blob([new Uint8Array(bytes, from, size)]);
  return packed
    ? new Response(data.stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer()
    : data.arrayBuffer();
}

/**
 * Polygons of the format that Esri describes in "ESRI Shapefile Technical Description" (1998).
 *
 * @param {ArrayBuffer} bytes
 * @returns {Rings[]} outer rings run clockwise there, and holes follow the ring that they are in
 */
export function readShapefile(bytes) {
  const view = new DataView(bytes);
  const polygons = [];
  for (let at = 100; at + 8 < bytes.byteLength; ) {
    const length = view.getInt32(at + 4) * 2;
    const kind = view.getInt32(at + 8, true);
    if (![0, 5, 15, 25].includes(kind)) throw new Error("This shapefile holds points or lines; polygons are needed.");
    if (kind) polygons.push(...readRecord(view, at + 8));
    at += 8 + length;
  }
  return polygons;
}

/** @param {DataView} view @param {number} at @returns {Rings[]} */
function readRecord(view, at) {
  const [parts, points] = [view.getInt32(at + 36, true), view.getInt32(at + 40, true)];
  const starts = Array.from({ length: parts }, (_, i) => view.getInt32(at + 44 + 4 * i, true));
  const first = at + 44 + 4 * parts;
  const place = (i) => [view.getFloat64(first + 16 * i, true), view.getFloat64(first + 16 * i + 8, true)];
  /** @type {Rings[]} */
  const polygons = [];
  starts.forEach((start, i) => {
    const end = starts[i + 1] ?? points;
    const ring = Array.from({ length: end - start }, (_, j) => place(start + j));
    if (isClockwise(ring) || polygons.length === 0) polygons.push([ring]);
    else polygons[polygons.length - 1].push(ring);
  });
  return polygons;
}

/** @param {number[][]} ring closed */
function isClockwise(ring) {
  const sum = ring.slice(1).reduce((total, [x, y], i) => total + (x - ring[i][0]) * (y + ring[i][1]), 0);
  return sum > 0;
}
