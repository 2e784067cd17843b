/**
 * The address bar is the page's memory: one flat record of strings, named as the API names its parameters.
 * Whatever is not in the address did not happen, so back, forward and a sent link restore the page.
 *
 * @typedef {Readonly<Record<string, string>>} State
 */

/** What /search understands. */
export const SEARCH_KEYS = Object.freeze([
  "q",
  "not",
  "terms",
  "like",
  "near",
  "species",
  "up",
  "down",
  "blend",
  "bbox",
  "area",
  "circle",
  "countries",
  "from",
  "to",
  "months",
  "max_cloud",
  "min_percentile",
  "spacing_km",
  "k",
  "collection",
]);

/** Any of these makes a search; the others only narrow it. */
export const TERM_KEYS = Object.freeze(["q", "terms", "like", "near", "species", "up"]);

/** What only the page understands: camera, selected tile, projection, heat layer, second query. */
export const PAGE_KEYS = Object.freeze(["view", "tile", "flat", "heat", "vs"]);

/** @param {string} search location.search @returns {State} without empty and unknown parameters */
export function parseState(search) {
  const parameters = new URLSearchParams(search);
  const state = {};
  for (const key of [...SEARCH_KEYS, ...PAGE_KEYS]) {
    const value = parameters.getAll(key).join(",").trim();
    if (value) state[key] = value;
  }
  return Object.freeze(state);
}

/** @param {State} state @param {readonly string[]} keys @returns {string} "?q=..." or "" */
export function formatState(state, keys = [...SEARCH_KEYS, ...PAGE_KEYS]) {
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

/** @param {State} state */
export function hasTerms(state) {
  return TERM_KEYS.some((key) => state[key]);
}

/** Whether two states ask the service the same question. @param {State} a @param {State} b */
export function sameSearch(a, b) {
  return formatState(a, SEARCH_KEYS) === formatState(b, SEARCH_KEYS);
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
  return `${lon.toFixed(2)},${lat.toFixed(2)},${zoom.toFixed(1)}`;
}
