/** Every picture of a tile on the page (img.tile-picture): stretched for the eye, pixels seen where it is magnified. */

import { cssFilter, stretchOf } from "./stretch.js";

const SAMPLE_PX = 48;
const pen = Object.assign(document.createElement("canvas"), { width: SAMPLE_PX, height: SAMPLE_PX }).getContext("2d", {
  willReadFrequently: true,
});
/** @type {Map<string, string>} address of a picture to its filter */
const filters = new Map();

/** The CSS filter that stretches a picture. @param {HTMLImageElement | HTMLCanvasElement} picture a loaded one */
export function filterOf(picture) {
  const address = picture instanceof HTMLImageElement ? picture.currentSrc : "";
  const known = filters.get(address);
  if (known || !pen) return known ?? "none";
  pen.clearRect(0, 0, SAMPLE_PX, SAMPLE_PX);
  pen.drawImage(picture, 0, 0, SAMPLE_PX, SAMPLE_PX);
  const found = cssFilter(stretchOf(pen.getImageData(0, 0, SAMPLE_PX, SAMPLE_PX).data));
  if (address) filters.set(address, found);
  return found;
}

/** @param {HTMLImageElement} picture */
function adapt(picture) {
  if (!picture.complete || !picture.naturalWidth) return; // its size is known before there is anything to see
  picture.style.setProperty("--stretch", filterOf(picture));
  const shownPx = Math.max(picture.clientWidth, picture.clientHeight) * devicePixelRatio;
  picture.classList.toggle("is-magnified", shownPx > picture.naturalWidth);
}

const isPicture = (node) => node instanceof HTMLImageElement && node.classList.contains("tile-picture");

/** Those that are there, and each that comes: load events don't bubble, but can be caught on their way down. */
export function installPictures() {
  document.addEventListener("load", ({ target }) => isPicture(target) && adapt(/** @type {any} */ (target)), true);
  adaptAll();
}

/** After the size of pictures has changed. */
export function adaptAll() {
  for (const picture of document.querySelectorAll("img.tile-picture")) adapt(/** @type {any} */ (picture));
}
