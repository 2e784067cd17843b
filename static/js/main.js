/** Connects the parts: address bar, search service, list and map. Everything that happens is a change of state. */

import { createApi, isAnswerError } from "./api.js";
import { byId, element, icon } from "./dom.js";
import { bboxPolygon, formatBbox, parseBbox } from "./geo.js";
import { createLatest } from "./latest.js";
import { createMessages } from "./messages.js";
import { createResults } from "./results.js";
import { formatState, formatView, hasTerms, parseState, patchState, readList, readView, sameSearch } from "./state.js";
import { installTheme } from "./theme.js";
import { placeName } from "./words.js";

const page = JSON.parse(byId("page-data").textContent);
const root = document.documentElement.dataset.root;
const api = createApi(root);
const searches = createLatest();
const messages = createMessages({ onRetry: () => search(), onPatch: (patch) => go(patch) });
const input = /** @type {HTMLInputElement} */ (byId("q"));

const TITLE = "WildSAT habitat search";

let state = parseState(location.search);
let map = null;
let world = null;
let answer = null;

const results = createResults({
  root,
  likeUrl: (feature) => `${root}/${formatState(patchState({}, { like: feature.properties.tile_id, collection: state.collection }))}`,
  onHover: (id) => highlight(id),
  onSelect: (id) => go({ tile: id === state.tile ? null : id }),
  onJudge: judge,
});

/** Change the state; a change of the question searches again. @param {Record<string, unknown>} patch @param {{replace?: boolean}} [options] */
function go(patch, { replace = false } = {}) {
  const before = state;
  state = patchState(state, patch);
  const address = `${root}/${formatState(state)}`;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  apply(before);
}

/** Make the page agree with the state, doing only what changed. */
function apply(before) {
  if (!sameSearch(before, state)) {
    input.value = state.q ?? "";
    if (state.tile === before.tile) state = patchState(state, { tile: null });
    search();
  }
  if (before.flat !== state.flat) map?.setFlat(Boolean(state.flat));
  if (before.tile !== state.tile) select(state.tile ?? null);
  drawTools();
}

async function search() {
  showArea();
  byId("welcome").hidden = hasTerms(state);
  if (!hasTerms(state)) return show(null);
  const waiting = setTimeout(startWaiting, 120);
  try {
    const found = await searches.run((signal) => api.search(state, { signal }));
    if (found) show(found);
  } catch (error) {
    if (!isAnswerError(error)) throw error; // our own mistake belongs in the console, not in a sentence
    show(null);
    messages.error(error);
  } finally {
    clearTimeout(waiting);
    if (!searches.busy()) byId("results").setAttribute("aria-busy", "false");
  }
  return undefined;
}

function startWaiting() {
  byId("results").setAttribute("aria-busy", "true");
  messages.waiting(state);
  if (results.features().length === 0) results.showSkeleton(6);
}

/** @param {object | null} found a FeatureCollection of hits, or null for none */
function show(found) {
  answer = found;
  document.title = state.q ? `${state.q} – ${TITLE}` : TITLE;
  const features = found?.features ?? [];
  const verdicts = { up: readList(state.up), down: readList(state.down) };
  byId("welcome").hidden = hasTerms(state);
  results.show(features, verdicts);
  messages.answer(found, state);
  byId("more").hidden = !found || found.returned < Number(state.k ?? 20) || features.length >= found.matched;
  map?.showHits(features);
  select(state.tile ?? null, { move: false });
  if (map && features.length && !features.some(({ properties: p }) => map.sees([p.lon, p.lat]))) map.flyTo(features[0]);
}

async function showMore() {
  const shown = results.features();
  const found = await searches.run((signal) => api.search(state, { offset: shown.length, signal })).catch((error) => messages.error(error));
  if (!found) return;
  results.show(found.features, { up: readList(state.up), down: readList(state.down) }, true);
  byId("more").hidden = found.features.length === 0;
  messages.answer({ ...answer, returned: results.features().length }, state);
  map?.showHits(results.features());
  select(state.tile ?? null, { move: false });
}

function highlight(tileId) {
  const feature = tileId ? results.feature(tileId) : null;
  results.highlight(tileId);
  map?.highlight(feature, feature ? `${feature.properties.rank} · ${placeName(feature.properties, world?.boxes)}` : undefined);
}

function select(tileId, { move = true } = {}) {
  const feature = tileId ? results.feature(tileId) : null;
  results.select(feature ? tileId : null, { scroll: true });
  map?.select(feature ? tileId : null);
  if (feature && move) map?.flyTo(feature, { zoom: Math.max(map.zoom(), 3.6) });
}

/** A thumb pressed twice is taken back; a tile is never both. */
function judge(tileId, verdict) {
  const toggled = (key) => {
    const others = readList(state[key]).filter((id) => id !== tileId);
    return key === verdict && others.length === readList(state[key]).length ? [...others, tileId] : others;
  };
  go({ up: toggled("up").join(","), down: toggled("down").join(",") });
}

function showArea() {
  const bbox = parseBbox(state.bbox ?? null);
  map?.setArea(bbox ? bboxPolygon(bbox) : null);
}

function drawTools() {
  const tool = (name, label, pressed, onclick) =>
    element("button", { type: "button", class: "quiet", "aria-pressed": pressed, title: label, onclick }, icon(name), element("span", { text: label }));
  byId("map-tools").replaceChildren(
    tool("view", state.bbox ? "Search everywhere" : "Search this view", String(Boolean(state.bbox)), toggleView),
    tool(state.flat ? "globe" : "flat", state.flat ? "Globe" : "Flat map", "false", () => go({ flat: !state.flat })),
  );
}

function toggleView() {
  const bbox = state.bbox ? null : map?.viewBbox();
  go({ bbox: bbox ? formatBbox(bbox) : null });
}

async function startMap() {
  const collection = page.collection ?? {};
  const { createMap } = await import("./map.js");
  const { loadWorld } = await import("./world.js");
  map = await createMap(byId("map"), {
    view: readView(state.view),
    imagery: collection.imagery ? new URL(`${root}/collections/${encodeURIComponent(collection.name)}/imagery/{z}/{x}/{y}`, location.href).href.replaceAll("%7B", "{").replaceAll("%7D", "}") : null,
    imageryMaxZoom: collection.imagery_max_zoom ?? 5,
    attribution: [collection.attribution, "Natural Earth"].filter(Boolean).join(" | "),
    flat: Boolean(state.flat),
    onHover: highlight,
    onSelect: (id) => go({ tile: id }),
    onMove: (center, zoom) => go({ view: formatView(center, zoom) }, { replace: true }),
    onPlace: () => state.tile && go({ tile: null }),
  });
  showArea();
  if (answer) map.showHits(answer.features);
  if (state.tile) select(state.tile, { move: !state.view });
  world = await loadWorld(root, "110m");
  map.setWorld(world);
  byId("map").dataset.ready = "true";
  results.usePlaceNames(world.boxes);
  map.onZoomPast(3.5, async () => map.setWorld(await loadWorld(root, "50m")));
}

function listen() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ q: input.value.trim(), like: null, up: null, down: null, tile: null });
    if (hasTerms(state)) input.blur();
  });
  byId("more").addEventListener("click", showMore);
  addEventListener("popstate", () => {
    const before = state;
    state = parseState(location.search);
    if (state.view !== before.view && map) map.setView(readView(state.view));
    apply(before);
  });
  document.addEventListener("click", followLink);
  document.addEventListener("keydown", onKey);
  byId("about-open").addEventListener("click", (event) => {
    event.preventDefault();
    byId("about").showModal();
  });
}

/** Examples and "more like this" are plain links that work without a script; with one, the page stays. */
function followLink(event) {
  const link = event.target.closest?.("a.example, a[data-slot=like]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const wanted = parseState(new URL(link.href).search);
  const cleared = Object.fromEntries(Object.keys(state).filter((key) => !["view", "flat", "bbox", "collection"].includes(key)).map((key) => [key, null]));
  go({ ...cleared, ...wanted });
}

function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (!typing || document.activeElement === input)) {
    if (byId("hits").contains(document.activeElement) || document.activeElement === input || document.activeElement === document.body) {
      if (results.step(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
    }
  } else if (event.key === "Escape" && !byId("about").open) {
    if (searches.busy()) searches.stop();
    else if (state.tile) go({ tile: null });
  }
}

installTheme(byId("theme"));
listen();
drawTools();
if (page.problem) messages.error(page.problem);
else if (page.result) show(page.result);
else if (hasTerms(state)) search();
startMap().catch((error) => messages.noMap(error));
document.documentElement.dataset.ready = "true";
