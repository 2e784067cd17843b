/** What a state asks, as the parts that a visitor can see and take away; pure. */

import { formatLonLat, parseBbox } from "./geo.js";
import { formatChanges, formatSearch, limits, narrowing, readList, without } from "./state.js";
import { monthName, plural } from "./words.js";

/**
 * @typedef {{
 *   label: string, icon: string, minus?: boolean, patch: Record<string, unknown>, keys: readonly string[],
 *   thumbnail?: string,
 * }} Part
 * @typedef {{
 *   text?: string, species?: string, tile?: string, place?: [number, number], vector?: number[], weight: number,
 * }} Term
 */

/** Filters in groups: the keys that are set together are taken away together. */
export const FILTER_GROUPS = Object.freeze([
  ["bbox"],
  ["area"],
  ["circle"],
  ["countries"],
  ["from", "to"],
  ["months"],
  ["max_cloud"],
  ["min_land"],
  ["min_percentile"],
  ["tiles"],
  ["spacing_km"],
  ["max_per_country"],
  ["offset"],
  ["filter", "filter-lang", "filter-crs"],
  ["understand"],
  ["undo"],
]);

/** What has a field of its own, always in sight. */
const SHOWN_ELSEWHERE = ["k", "blend", "collection"];

/** Filters that decide which tiles pass; spacing only thins out the hits. */
export const COUNTED_KEYS = Object.freeze([
  "bbox",
  "area",
  "circle",
  "countries",
  "from",
  "to",
  "months",
  "max_cloud",
  "min_land",
  "tiles",
]);

const WEIGHT_STEP = 0.5;

/**
 * Terms beside the words in the search box.
 *
 * @param {import("./state.js").State} state
 * @returns {Part[]}
 */
export function termParts(state) {
  /** @type {Part[]} */
  const parts = [];
  const add = (keys, icon, label, more = {}) => parts.push({ keys, icon, label, patch: without(keys), ...more });
  if (state.not) add(["not"], "minus", state.not, { minus: true });
  if (state.like) add(["like"], "like", "Like this tile", { thumbnail: state.like });
  if (state.near) {
    const [lon, lat] = state.near.split(",").map(Number);
    add(["near"], "pin", `Like the nature at ${formatLonLat(lon, lat)}`);
  }
  if (state.species) add(["species"], "leaf", `Habitat of ${state.species}`);
  const [up, down] = [readList(state.up), readList(state.down)];
  if (up.length + down.length) {
    const words = [
      up.length && plural(up.length, "good match", "good matches"),
      down.length && plural(down.length, "poor match", "poor matches"),
    ];
    add(["up", "down"], "up", words.filter(Boolean).join(", "));
  }
  return parts;
}

/**
 * @param {import("./state.js").State} state
 * @param {(code: string) => string} [countryName]
 * @returns {Part[]}
 */
export function filterParts(state, countryName = (code) => code) {
  const words = {
    bbox: () => state.area_name ?? bboxWords(state.bbox),
    area: () => state.area_name ?? "Drawn area",
    circle: () => circleWords(state.circle),
    countries: () => readList(state.countries).map(countryName).join(", "),
    from: () => dateWords(state.from, state.to),
    months: () => readList(state.months).map(monthName).join(", "),
    max_cloud: () => `At most ${Math.round(Number(state.max_cloud) * 100)} % cloud`,
    min_land: () => `At least ${Math.round(Number(state.min_land) * 100)} % land`,
    min_percentile: () => `Only the top ${trim(100 - Number(state.min_percentile))} %`,
    tiles: () => `Only ${plural(readList(state.tiles).length, "chosen tile")}`,
    spacing_km: () => `${state.spacing_km} km apart`,
    max_per_country: () => `At most ${state.max_per_country} of a country`,
    filter: () => `Where ${state.filter ?? "…"}`,
    understand: () => "Words as they stand, nothing read from them",
    undo: () => `Taken back: ${(state.undo ?? "").replaceAll("|", ", ").replace(/\b[a-z]+:/g, "")}`,
    offset: () => `From hit ${Number(state.offset) + 1} on`,
  };
  const known = new Set([...FILTER_GROUPS.flat(), ...SHOWN_ELSEWHERE]);
  const others = narrowing().filter((key) => !known.has(key)); // what the service has learned since this was written
  const groups = [...FILTER_GROUPS, ...others.map((key) => [key])].filter((keys) => keys.some((key) => state[key]));
  return groups.map((keys) => ({
    keys,
    icon: "close",
    label: words[keys[0]]?.() ?? `${keys[0]}: ${state[keys[0]]}`,
    patch: without(["bbox", "area"].includes(keys[0]) ? [...keys, "area_name"] : keys),
  }));
}

const trim = (number) => String(Math.round(number * 100) / 100);

function dateWords(from, to) {
  if (from && to) return `${from} to ${to}`;
  return from ? `Since ${from}` : `Until ${to}`;
}

function bboxWords(text) {
  const bbox = parseBbox(text);
  if (!bbox) return "Area";
  const [west, south, east, north] = bbox;
  return `View ${formatLonLat(west, south, 0)} to ${formatLonLat(east, north, 0)}`;
}

function circleWords(text) {
  const [lon, lat, km] = text.split(",").map(Number);
  return `Within ${trim(km)} km of ${formatLonLat(lon, lat)}`;
}

/**
 * Terms beside the words in the search box, each with a weight, as the service takes them:
 * [{"text":"river","weight":2}].
 *
 * @param {string | undefined} json
 * @returns {Term[]}
 */
export function readTerms(json) {
  try {
    const terms = JSON.parse(json || "[]");
    return Array.isArray(terms) ? terms.map((term) => ({ weight: 1, ...term })) : [];
  } catch {
    return []; // the service says what is wrong with it
  }
}

/** @param {object[]} terms @returns {string | null} null for none */
export function writeTerms(terms) {
  return terms.length ? JSON.stringify(terms) : null;
}

/** @param {Term} term */
export function termLabel(term) {
  if (term.place) return `nature at ${formatLonLat(term.place[0], term.place[1])}`;
  return term.text ?? term.species ?? term.tile ?? "vector";
}

/** The next weight up or down; none is zero. @param {number} weight @param {1 | -1} step */
export function stepWeight(weight, step) {
  const next = weight + step * WEIGHT_STEP || step * WEIGHT_STEP;
  return Math.max(-limits().weight, Math.min(limits().weight, next));
}

/** A line typed as a further term: a leading minus leaves it out. @param {string} line @returns {Term | null} */
export function parseTerm(line) {
  const text = line.trim().replace(/^[-−–]\s*/, "");
  return text ? { text, weight: text === line.trim() ? 1 : -1 } : null;
}

/** The question as one line, for a title, a history entry or a heading. @param {import("./state.js").State} state */
export function titleOf(state) {
  const weighted = readTerms(state.terms).map((term) => `${term.weight < 0 ? "− " : "+ "}${termLabel(term)}`);
  const terms = termParts(state).map(({ label, minus }) => (minus ? `− ${label}` : label));
  return [state.q, ...weighted, ...terms].filter(Boolean).join(" · ");
}

/**
 * The same search in Python, with the project's client.
 *
 * @param {import("./state.js").State} state
 * @param {string} service address of the service
 */
export function pythonCall(state, service) {
  const quote = (text) => JSON.stringify(text);
  const asked = new URLSearchParams(state.changes ? formatChanges(state) : formatSearch(state));
  const options = [...asked].map(([key, value]) => `${quote(key)}: ${quote(value)}`).join(", ");
  const [method, found] = state.changes ? ["changes", "changes"] : ["search", "hits"];
  const call = `Client(${quote(service)}).${method}(**{${options}})`;
  return `from wildsat_core.client import Client\n\n${found} = ${call}.${found}`;
}

/**
 * A sentence for a list of references.
 *
 * @param {import("./state.js").State} state
 * @param {any} collection as the page tells it
 * @param {string} address
 * @param {Date} [today]
 */
export function citation(state, collection, address, today = new Date()) {
  const { generation, model } = collection.wildsat;
  const what = `${collection.title ?? collection.name}, generation ${generation}, model ${model}`;
  const imagery = collection.attribution ? ` Imagery: ${collection.attribution}.` : "";
  const day = today.toISOString().slice(0, 10);
  return `WildSAT habitat search, “${titleOf(state)}”. ${what}.${imagery} ${address} (accessed ${day}).`;
}

/** A frame with this page in it, for another page. @param {string} address */
export const embedCode = (address) =>
  `<iframe src="${address.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}" title="WildSAT habitat search" ` +
  `width="960" height="600" loading="lazy"></iframe>`;
