/** The same place on other days: its pictures side by side, where a collection has been there more than once. */

import { byId, element } from "./dom.js";
import { distanceKm } from "./geo.js";
import { createLatest } from "./latest.js";
import { hasTerms, patchState, questionAlone } from "./state.js";
import { changeWords, formatDay } from "./words.js";

const MOST = 12;

/** @typedef {import("./api.js").Tile} Tile */
/** @typedef {{id: string, day: string, picture: string}} Visit */

/**
 * Every day on which there is a picture of a tile's place, the tile's own among them, oldest first.
 *
 * @param {import("./api.js").Api} api
 * @param {string} collection
 * @param {Tile} tile
 * @param {AbortSignal} signal
 * @returns {Promise<Visit[]>}
 */
export async function visitsOf(api, collection, tile, signal) {
  const { lon, lat, captured_on: day } = tile.properties;
  if (!day) return [];
  const near = [lon - 1e-4, lat - 1e-4, lon + 1e-4, lat + 1e-4].map((edge) => edge.toFixed(5)).join();
  const path = `/collections/${encodeURIComponent(collection)}/items?bbox=${near}&limit=${MOST}`;
  const { features } = await api.get(path, signal);
  const side = tile.bbox ? distanceKm([lon, tile.bbox[1]], [lon, tile.bbox[3]]) : 0;
  return features
    .filter(({ bbox, properties }) => properties.datetime && isSamePlace(bbox, [lon, lat], side))
    .map(({ id, properties }) => ({
      id,
      day: properties.datetime.slice(0, 10),
      picture: api.url(`/tiles/${encodeURIComponent(id)}/thumbnail.webp?collection=${encodeURIComponent(collection)}`),
    }))
    .sort((a, b) => a.day.localeCompare(b.day));
}

/** Tiles of a grid may overlap; the same place has nearly the same middle. */
function isSamePlace([west, south, east, north], lonLat, side) {
  const middle = /** @type {[number, number]} */ ([
    (west + (west <= east ? east : east + 360)) / 2,
    (south + north) / 2,
  ]);
  return distanceKm(middle, lonLat) <= side / 4;
}

/**
 * @param {Visit[]} visits at least two
 * @param {string} current id of the tile that is shown
 * @param {(tileId: string) => void} onChoose
 */
export function visitStrip(visits, current, onChoose) {
  const one = ({ id, day, picture }) =>
    element(
      "button",
      {
        type: "button",
        class: "visit",
        "aria-current": id === current ? "date" : null,
        onclick: () => id !== current && onChoose(id),
      },
      element("img", { class: "tile-picture", src: picture, alt: `The same place on ${formatDay(day)}` }),
      element("span", { text: formatDay(day) }),
    );
  return element("div", { class: "visits" }, ...visits.map(one));
}

/**
 * Two of these days side by side, large, and how well each fits what is asked.
 *
 * @param {import("./api.js").Api} api
 * @param {import("./state.js").State} state
 * @param {Visit[]} visits at least two
 */
export function compareDays(api, state, visits) {
  const dialog = byId("days", HTMLDialogElement);
  const said = byId("days-said");
  const latest = createLatest();
  const shown = [visits[0], visits[visits.length - 1]];

  const side = (at) => {
    const name = at === 0 ? "Earlier day" : "Later day";
    const picture = element("img", { class: "tile-picture", width: 320, height: 320 });
    const options = visits.map(({ id, day }) => element("option", { value: id, text: formatDay(day) }));
    const choice = element("select", { "aria-label": name }, ...options);
    const show = () => {
      picture.src = shown[at].picture;
      picture.alt = `The place on ${formatDay(shown[at].day)}`;
      choice.value = shown[at].id;
    };
    choice.addEventListener("change", () => {
      shown[at] = visits.find(({ id }) => id === choice.value) ?? shown[at];
      show();
      tell();
    });
    show();
    return element("figure", {}, picture, element("figcaption", {}, choice));
  };

  async function tell() {
    said.textContent = "";
    const ids = shown.map(({ id }) => id);
    if (!hasTerms(state) || ids[0] === ids[1]) return;
    const both = patchState(questionAlone(state), { tiles: ids.join(), k: 2, min_land: 0, overlapping: "true" });
    const found = await latest.run((signal) => api.search(both, { signal })).catch(() => null); // a help, no more
    const scores = ids.map((id) => found?.features.find((one) => one.id === id)?.properties.score);
    if (scores[0] === undefined || scores[1] === undefined) return;
    said.textContent = `For your question: ${changeWords(scores[1] - scores[0]).toLowerCase()}.`;
  }

  byId("days-pair").replaceChildren(side(0), side(1));
  tell();
  dialog.showModal();
}
