/** The land around a tile, from the collection's own imagery or from the pictures of the tiles beside it. */

import { element } from "./dom.js";
import { formatBbox, wrapLon } from "./geo.js";
import { filterOf } from "./pictures.js";
import { chosen } from "./choices.js";

const SIDE_PX = 240;
const TIMES = 5; // how many tiles wide the area is
const MOST_TILES = 60;
const MOST_LAT = 85.05;
const WAIT_MS = 350;

/** @typedef {import("./api.js").Tile} Tile */
/** @typedef {{west: number, north: number, span: number}} Window in the unit square of Web Mercator */

/** @param {number} lat */
const mercatorY = (lat) => {
  const sine = Math.sin((Math.max(-MOST_LAT, Math.min(MOST_LAT, lat)) * Math.PI) / 180);
  return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
};
const mercatorX = (lon) => (lon + 180) / 360;

/** @param {import("./geo.js").BBox} bbox @returns {[number, number, number, number]} left, top, right, bottom */
function square([west, south, east, north]) {
  const right = west <= east ? east : east + 360;
  return [mercatorX(west), mercatorY(north), mercatorX(right), mercatorY(south)];
}

/** @param {import("./geo.js").BBox} bbox @returns {Window} */
function windowAround(bbox) {
  const [left, top, right, bottom] = square(bbox);
  const span = Math.min(Math.max(right - left, bottom - top) * TIMES, 1);
  return { west: (left + right - span) / 2, north: (top + bottom - span) / 2, span };
}

/** @param {string} address @returns {Promise<HTMLImageElement | null>} null where there is no picture */
function load(address) {
  return new Promise((resolve) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => resolve(null);
    picture.src = address;
  });
}

/**
 * @param {import("./api.js").Api} api
 * @param {any} collection as the page tells it
 */
export function createAround(api, collection) {
  const base = `/collections/${encodeURIComponent(collection?.name ?? "")}`;

  /** Pictures with their left, top, right and bottom. @param {Window} view */
  function mapTiles({ west, north, span }) {
    const { minzoom, maxzoom } = collection.wildsat.imagery;
    const zoom = Math.max(minzoom, Math.min(maxzoom, Math.ceil(Math.log2(SIDE_PX / (span * 256)))));
    const count = 2 ** zoom;
    const found = [];
    for (let x = Math.floor(west * count); x < (west + span) * count; x += 1) {
      for (let y = Math.max(0, Math.floor(north * count)); y < Math.min(count, (north + span) * count); y += 1) {
        const column = ((x % count) + count) % count;
        const address = api.url(`${base}/imagery/${zoom}/${column}/${y}`);
        found.push({ address, box: [x / count, y / count, (x + 1) / count, (y + 1) / count] });
      }
    }
    return found;
  }

  /** @param {Tile} tile */
  async function neighbours({ bbox: [west, south, east, north] = [0, 0, 0, 0] }) {
    const [width, height] = [(west <= east ? east - west : east - west + 360) * 2, (north - south) * 2];
    const box = formatBbox([
      wrapLon(west - width),
      Math.max(-90, south - height),
      wrapLon(east + width),
      Math.min(90, north + height),
    ]);
    const { features } = await api.get(`${base}/items?bbox=${box}&limit=${MOST_TILES}`);
    return features.map(({ id, bbox }) => ({
      address: api.url(`/tiles/${encodeURIComponent(id)}/thumbnail.webp?collection=${collection.name}`),
      box: square(bbox),
    }));
  }

  /** @param {Tile} tile @param {HTMLCanvasElement} canvas */
  async function draw(tile, canvas) {
    const pen = canvas.getContext("2d");
    if (!tile.bbox || !pen) return;
    const view = windowAround(tile.bbox);
    const px = (value, from) => ((value - from) / view.span) * SIDE_PX;
    const parts = collection.wildsat.imagery ? mapTiles(view) : await neighbours(tile);
    const pictures = await Promise.all(parts.map(({ address }) => load(address)));
    pictures.forEach((picture, i) => {
      if (!picture) return;
      const [left, top, right, bottom] = parts[i].box;
      const [x, y] = [px(left, view.west), px(top, view.north)];
      pen.drawImage(picture, x, y, px(right, view.west) - x + 0.5, px(bottom, view.north) - y + 0.5);
    });
    stretchWhole(canvas, pen);
    const [left, top, right, bottom] = square(tile.bbox);
    const frame = [px(left, view.west), px(top, view.north), px(right - left, 0), px(bottom - top, 0)];
    for (const [colour, width] of /** @type {const} */ ([
      ["#2b1a00", 4],
      ["#ffb020", 2],
    ])) {
      Object.assign(pen, { strokeStyle: colour, lineWidth: width });
      pen.strokeRect(frame[0], frame[1], frame[2], frame[3]);
    }
  }

  /** A figure that fills itself. @param {Tile} tile */
  function figure(tile) {
    const canvas = element("canvas", {
      width: SIDE_PX,
      height: SIDE_PX,
      role: "img",
      "aria-label": "The land around the tile, which has a frame",
    });
    draw(tile, canvas).catch(() => canvas.remove()); // a help, not an answer
    return element("figure", { class: "around" }, canvas, element("figcaption", { text: wide(tile) }));
  }

  return { figure };
}

/** @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2D} pen */
function stretchWhole(canvas, pen) {
  if (chosen("colours") === "true") return;
  pen.filter = filterOf(canvas);
  pen.drawImage(canvas, 0, 0);
  pen.filter = "none";
}

/** How wide the area is, in words. @param {Tile} tile */
function wide({ bbox, properties: { lat } }) {
  if (!bbox) return "";
  const km = windowAround(bbox).span * 40075 * Math.cos((lat * Math.PI) / 180);
  const rounded = km >= 10 ? Number(km.toPrecision(2)) : Number(km.toFixed(1));
  return `Around it: ${rounded.toLocaleString("en")} km across`;
}

/**
 * Shows the area around a hit beside its picture, as long as the pointer rests there.
 *
 * @param {ReturnType<typeof createAround>} around
 * @param {(tileId: string) => Tile | null} featureOf
 */
export function installAround(around, featureOf) {
  const card = element("div", { class: "around-card", hidden: true, "aria-hidden": "true" });
  document.body.append(card);
  let waiting = 0;
  const hide = () => {
    clearTimeout(waiting);
    card.hidden = true;
  };
  const show = (picture) => {
    const tile = featureOf(picture.closest(".hit")?.dataset.tile ?? "");
    if (!tile?.bbox || !picture.isConnected) return;
    card.replaceChildren(around.figure(tile));
    card.hidden = false;
    const [hit, own] = [picture.closest(".hit").getBoundingClientRect(), card.getBoundingClientRect()];
    const top = hit.top + hit.height / 2 - own.height / 2;
    card.style.left = `${Math.min(hit.right + 10, innerWidth - own.width - 10)}px`;
    card.style.top = `${Math.max(10, Math.min(top, innerHeight - own.height - 10))}px`;
  };
  document.addEventListener("pointerover", ({ target, pointerType }) => {
    const picture = /** @type {Element} */ (target).closest?.(".hit-picture");
    hide();
    if (picture && pointerType === "mouse") waiting = setTimeout(show, WAIT_MS, picture);
  });
  addEventListener("scroll", hide, true);
  document.addEventListener("click", hide, true);
}
