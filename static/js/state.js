/**
 * The address bar is the page's memory: one flat record of strings, named as the API names its parameters.
 * Whatever is not in the address did not happen, so back, forward and a sent link restore the page.
 *
 * @typedef {Readonly<Record<string, string>>} State
 */

/**
 * What the service tells the page of its parameters and limits; they are listed there once.
 *
 * @typedef {{
 *   search: readonly string[], ranking: readonly string[], page: readonly string[],
 *   countries: Readonly<Record<string, string>>, two_letters: Readonly<Record<string, string>>,
 *   limits: {
 *     k: number, default_k: number, text_characters: number, terms_characters: number, weight: number,
 *     distance_km: number, export_rows: number, upload_bytes: number, picture_types: readonly string[], embed: boolean,
 *   },
 * }} Contract search: what /search takes; ranking: what of it makes a question, where the others only narrow the
 *   answer; page: what only the page understands (camera, selected tile, projection, heat layer, second question)
 */

/** @type {Contract} */
let contract;

/** Take over what the service tells, before anything is read or written. @param {Contract} told */
export function learn(told) {
  contract = told;
}

/** What narrows or shapes an answer without asking for anything. */
export const narrowing = () => contract.search.filter((key) => !contract.ranking.includes(key));

/** Names of countries by the codes that the service takes. */
export const countryNames = () => contract.countries;

/** Shorter codes of countries, which browsers know names for, by the codes that the service takes. */
export const twoLetters = () => contract.two_letters;

/** Limits of the service. */
export const limits = () => contract.limits;

/** @param {string} search location.search @returns {State} without empty and unknown parameters */
export function parseState(search) {
  const parameters = new URLSearchParams(search);
  const state = {};
  for (const key of [...contract.search, ...contract.page]) {
    const value = parameters.get(key)?.trim();
    if (value) state[key] = value;
  }
  return Object.freeze(state);
}

/** The whole state as an address. @param {State} state @returns {string} "?q=..." or "" */
export const formatState = (state) => format(state, [...contract.search, ...contract.page]);

/** What of the state the service is asked. @param {State} state @returns {string} "?q=..." or "" */
export const formatSearch = (state) => format(state, contract.search);

/** @param {State} state @param {readonly string[]} keys */
function format(state, keys) {
  const parameters = new URLSearchParams();
  for (const key of keys) if (state[key]) parameters.set(key, state[key]);
  const text = parameters.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

/**
 * A new state; empty, null and undefined values take a key away.
 *
 * @param {State} state
 * @param {Record<string, unknown>} patch
 * @returns {State}
 */
export function patchState(state, patch) {
  const merged = { ...state };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined || value === "" || value === false) delete merged[key];
    else merged[key] = value === true ? "1" : String(value);
  }
  return Object.freeze(merged);
}

/** A patch that takes keys away. @param {readonly string[]} keys @returns {Record<string, null>} */
export const without = (keys) => Object.fromEntries(keys.map((key) => [key, null]));

/**
 * What a new question changes, wherever it comes from: the words and everything else that was asked goes, thumbs too,
 * with the selected tile. Where, when and how the answer is narrowed and shown stays.
 *
 * @param {Record<string, unknown>} wanted the new question
 * @returns {Record<string, unknown>} a patch
 */
export const newQuestion = (wanted) => ({ ...without([...contract.ranking, "undo", "offset", "tile"]), ...wanted });

/** What makes of a search the question what changed; its address has names of its own for them. */
const OF_CHANGES = ["changes", "before", "after"];

/** What the service is asked of places on two days. @param {State} state @returns {string} "?q=..." */
export function formatChanges(state) {
  const { changes, before, after } = state;
  const times = new URLSearchParams(Object.entries({ direction: changes, before, after }).filter(([, value]) => value));
  return `${formatSearch(state)}&${times}`;
}

/** What is asked, without anything that narrows it. @param {State} state */
export const questionAlone = (state) =>
  patchState(state, without(narrowing().filter((key) => !["collection", "blend", "understand", "undo"].includes(key))));

/** What it takes to ask exactly an earlier search again. @param {State} earlier @returns {Record<string, unknown>} */
export const sameAgain = (earlier) => ({ ...without([...contract.search, ...OF_CHANGES, "tile"]), ...earlier });

/** What belongs to the tiles of one collection, and means nothing in another. */
export const OF_ONE_COLLECTION = without(["like", "up", "down", "tiles", "tile", "offset"]);

/** Whether anything is asked for, not only narrowed. @param {State} state */
export function hasTerms(state) {
  return contract.ranking.some((key) => state[key]);
}

/** Whether two states ask for the same, however the answer is narrowed. @param {State} a @param {State} b */
export function sameQuestion(a, b) {
  return format(a, [...contract.ranking, "collection"]) === format(b, [...contract.ranking, "collection"]);
}

/** Whether two states ask the service the same question. @param {State} a @param {State} b */
export function sameSearch(a, b) {
  return formatSearch(a) === formatSearch(b) && OF_CHANGES.every((key) => a[key] === b[key]);
}

/** @param {string | undefined} text "a,b" @returns {string[]} */
export function readList(text) {
  return text ? text.split(",").filter(Boolean) : [];
}

/** @param {string | undefined} text "lon,lat,zoom" @returns {{center: [number, number], zoom: number} | null} */
export function readView(text) {
  const parts = (text ?? "").split(",").map((part) => (part === "" ? NaN : Number(part)));
  if (parts.length !== 3 || !parts.every(Number.isFinite)) return null;
  const [lon, lat, zoom] = parts;
  if (Math.abs(lon) > 180 || Math.abs(lat) > 90 || zoom < 0 || zoom > 24) return null;
  return { center: [lon, lat], zoom };
}

/** @param {[number, number]} center longitude first @param {number} zoom */
export function formatView([lon, lat], zoom) {
  const digits = Math.max(2, Math.ceil(0.301 * zoom + 0.16)); // about a pixel
  return `${lon.toFixed(digits)},${lat.toFixed(digits)},${zoom.toFixed(1)}`;
}
