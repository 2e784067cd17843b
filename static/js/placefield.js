/** The field for countries and places: completes names in many languages, and offers only what the collection has. */

import { placePatch } from "./area.js";
import { byId, element } from "./dom.js";
import { createLatest } from "./latest.js";
import { countryName } from "./names.js";
import { readList } from "./state.js";

/** @typedef {{name: string, called: string, country: string | null, boxes: import("./geo.js").BBox[]}} Place */

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => import("./state.js").State} options.state
 * @param {any} options.collection as the page tells it
 * @param {(sentence: string) => void} options.say
 */
export function createPlaceField({ api, go, state, collection, say }) {
  const field = byId("country", HTMLInputElement);
  const list = byId("country-list");
  const latest = createLatest();
  const held = new Set(collection?.wildsat?.filters?.countries ?? []);

  /** @param {Place} place */
  const labelOf = (place) => (place.country ? countryName(place.country) : place.name);
  /** Whether there are tiles to be found. @param {Place} place */
  const has = ({ country }) => !country || held.size === 0 || held.has(country);

  /** @param {string} words @returns {Promise<Place[]>} */
  async function find(words) {
    if (!words) return [];
    const found = await latest.run((signal) => api.get(`/places?q=${encodeURIComponent(words)}&limit=12`, signal));
    return found?.places ?? [];
  }

  async function complete() {
    const places = (await find(field.value.trim()).catch(() => [])).filter(has);
    const options = places.map((place) => element("option", { value: labelOf(place), label: hint(place) }));
    list.replaceChildren(...options);
  }

  async function choose() {
    const words = field.value.trim();
    if (!words) return undefined;
    const places = await find(words).catch(() => []);
    const place = places.find((one) => labelOf(one).toLowerCase() === words.toLowerCase()) ?? places[0];
    if (!place) return say(`No country or place is called “${words}”.`);
    if (!has(place)) return say(`The collection has no tile in ${labelOf(place)}.`);
    field.value = "";
    if (!place.country) return go(placePatch(place));
    return go({ countries: [...new Set([...readList(state().countries), place.country])].join(",") });
  }

  field.addEventListener("input", complete);
  field.addEventListener("change", choose);
}

/** What was found, where it differs from what is shown. @param {Place} place */
function hint({ name, called, country }) {
  if (!country) return name;
  return called === name.toLowerCase() ? name : `${name} (${called})`;
}
