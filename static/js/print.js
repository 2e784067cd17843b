/** On paper: the question, a picture of the map, and the list. */

import { byId } from "./dom.js";

/**
 * @param {string} title
 * @param {() => Promise<string | null>} picture of the map, as an address
 */
export async function printPage(title, picture) {
  const [head, image] = [byId("print-head"), byId("print-map", HTMLImageElement)];
  const address = await picture();
  byId("print-title").textContent = title;
  image.hidden = !address;
  if (address) {
    image.src = address;
    await image.decode().catch(() => {});
  }
  head.hidden = false;
  print();
  head.hidden = true;
}
