/** A still map for browsers without WebGL: land, hits and the selected one on a plain canvas, longitudes as columns. */

const LAND = "#4d6350";

/** @param {HTMLElement} container */
export function createStillMap(container) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  container.replaceChildren(canvas);
  container.hidden = false;
  /** @type {import("./world.js").World | null} */
  let world = null;
  /** @type {import("./api.js").Tile[]} */
  let features = [];
  /** @type {{selected?: string | null, hovered?: string | null}} */
  let marked = {};

  function draw() {
    const { clientWidth: width, clientHeight: height } = container;
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    const scale = Math.min(width / 360, height / 180);
    /** @param {number[]} lonLat */
    const at = ([lon, lat]) => [width / 2 + lon * scale, height / 2 - lat * scale];
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.fillStyle = "#16324a";
    pen.fillRect(width / 2 - 180 * scale, height / 2 - 90 * scale, 360 * scale, 180 * scale);
    if (world) drawLand(pen, at, world);
    for (const { properties: p } of features)
      drawHit(pen, at([p.lon, p.lat]), p.tile_id === marked.selected || p.tile_id === marked.hovered);
    canvas.setAttribute("aria-label", `Still map with ${features.length} hits; the list tells where each one is`);
  }
  addEventListener("resize", draw);

  return {
    setWorld: (value) => {
      world = value;
      draw();
    },
    showHits: (value) => {
      features = value;
      container.dataset.hits = String(value.length);
      draw();
    },
    mark: (kind, tileId) => {
      marked = { ...marked, [kind]: tileId };
      draw();
    },
  };
}

function drawLand(pen, at, { land }) {
  pen.fillStyle = LAND;
  for (const { geometry } of land.features) {
    const polygons = geometry.type === "MultiPolygon" ? geometry.coordinates : [geometry.coordinates];
    pen.beginPath();
    for (const ring of polygons.flat()) ring.forEach((position, i) => pen[i ? "lineTo" : "moveTo"](...at(position)));
    pen.fill("evenodd");
  }
}

/** @param {CanvasRenderingContext2D} pen @param {number[]} at in pixels @param {boolean} strong */
function drawHit(pen, [x, y], strong) {
  pen.beginPath();
  pen.arc(x, y, strong ? 8 : 5, 0, 2 * Math.PI);
  pen.fillStyle = strong ? "#ffffff" : "#ffb020";
  pen.strokeStyle = strong ? "#d97a00" : "#2b1a00";
  pen.lineWidth = strong ? 3 : 1.5;
  pen.fill();
  pen.stroke();
}
