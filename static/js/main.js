/** Connects the parts: address bar, search service, list and map. Everything that happens is a change of state. */

import { createApi, isAnswerError } from "./api.js";
import { createAround, installAround } from "./around.js";
import { createChanges } from "./changes.js";
import { installChoice } from "./choices.js";
import { createCompare } from "./compare.js";
import { createDetail } from "./detail.js";
import { byId, byIdIfThere } from "./dom.js";
import { createFilters } from "./filters.js";
import { installKeys } from "./keys.js";
import { createJudge } from "./judge.js";
import { createLabels } from "./labels.js";
import { createLatest } from "./latest.js";
import { createMessages } from "./messages.js";
import { createPicture } from "./picture.js";
import { adaptAll, installPictures } from "./pictures.js";
import { titleOf } from "./queries.js";
import { createResults } from "./results.js";
import { installSheet } from "./sheet.js";
import { createStage } from "./stage.js";
import {
  OF_ONE_COLLECTION,
  formatState,
  hasTerms,
  learn,
  limits,
  newQuestion,
  parseState,
  patchState,
  readList,
  sameAgain,
  sameQuestion,
  sameSearch,
} from "./state.js";
import { createSuggestions, remember } from "./suggest.js";
import { printPage } from "./print.js";
import { createSaved } from "./saved.js";
import { createTakeaway } from "./takeaway.js";
import { createUnderstood } from "./understood.js";
import { placeName } from "./names.js";

const TITLE = "WildSAT habitat search";
const SPREAD_KM = 500;

/** @typedef {import("./api.js").Tile} Tile */

const page = JSON.parse(byId("page-data").textContent ?? "");
learn(page.contract);
const root = document.documentElement.dataset.root ?? "";
const api = createApi(root);
const searches = createLatest();
const input = byId("q", HTMLInputElement);
const blend = byIdIfThere("blend", HTMLInputElement);
const about = byId("about", HTMLDialogElement);
const now = () => state;
/** What is asked, with a picture as the term that the service made of it: map tiles and files are asked for by URL. */
const asked = () => (picture.file() && answer?.query.terms ? patchState(state, { terms: answer.query.terms }) : state);

let state = parseState(location.search);
/** @type {import("./api.js").Answer | null} */
let answer = null;
/** What the hits that were shown last were found for. @type {import("./state.js").State | null} */
let shown = null;
let restored = true; // a link, or the way back, brings its own view along

const messages = createMessages({ onRetry: () => search(), onPatch: (patch) => go(patch) });
/** @param {Tile} feature */
const likeUrl = (feature) =>
  `${root}/${formatState(patchState({}, { like: feature.properties.tile_id, collection: state.collection }))}`;
/** @param {Tile} feature */
const tileUrl = (feature) => `${root}/${formatState(patchState(state, { tile: feature.id }))}`;
const onSelect = (id) => go({ tile: id === state.tile ? null : id });
const results = createResults({
  list: byId("hits"),
  root,
  likeUrl,
  tileUrl,
  onHover: highlight,
  onSelect,
  onJudge: judge,
});
const stage = createStage({
  root,
  api,
  collection: page.collection,
  state: now,
  asked,
  go,
  onMove: keepView,
  onHover: highlight,
  onJudge: judgeAll,
});
const around = createAround(api, page.collection);
const detail = createDetail({
  api,
  go,
  onClose: () => go({ tile: null }),
  collection: page.collection,
  around,
  onJudge: judge,
});
const picture = createPicture({ onPicture: usePicture, say: messages.say });
const filters = createFilters({
  api,
  go,
  state: now,
  collection: page.collection,
  moreTerms: picture.chips,
  drawArea: stage.drawArea,
  viewArea: stage.viewArea,
  say: messages.say,
});
const understood = createUnderstood({ state: now, go });
const saved = createSaved({
  onOpen: (found) => ask(sameAgain(parseState(found))),
  current: () => ({ title: titleOf(state), search: formatState(patchState(state, { view: null, tile: null })) }),
  say: messages.say,
});
const takeaway = createTakeaway({
  api,
  state: asked,
  collection: page.collection,
  onSave: saved.save,
  onSaved: saved.open,
  onLoadLabels: () => byId("labels-file").click(),
  onPrint: () => printPage(titleOf(state), stage.picture),
  say: messages.say,
});
const labels = createLabels({
  api,
  state: now,
  collection: page.collection?.name ?? "",
  go,
  onJudge: judge,
  say: messages.say,
});
const compare = createCompare({
  api,
  root,
  go,
  state: now,
  likeUrl,
  tileUrl,
  onSelect,
  onFeatures: (others) => stage.showHits(results.features(), others),
});
const changes = createChanges({ go, state: now, hasPicture: () => Boolean(picture.file()) });
const asker = createJudge({ api, onJudge: judge, onSelect });
const suggestions = createSuggestions({
  api,
  onHistory: (found) => ask(sameAgain(parseState(found))),
  onSpecies: (name) => ask(newQuestion({ species: name })),
});

/**
 * Change the state; a change of the question searches again.
 *
 * @param {Record<string, unknown>} patch
 * @param {{replace?: boolean}} [how]
 */
function go(patch, { replace = false } = {}) {
  const before = state;
  state = patchState(state, patch);
  if (!sameSearch(before, state) && state.tile === before.tile) state = patchState(state, { tile: null });
  document.getElementById("ignored")?.remove(); // the address no longer has what it told of
  const address = `${root}/${formatState(state)}`;
  if (replace) history.replaceState(null, "", address);
  else if (formatState(before) !== formatState(state)) history.pushState(null, "", address);
  apply({ ...before, view: state.view }); // the map itself moved, or will: it needs no telling
}

/** The camera is kept in the address, and is nothing to go back to. @param {string} view */
function keepView(view) {
  state = patchState(state, { view });
  history.replaceState(null, "", `${root}/${formatState(state)}`);
}

/** Ask something else; a picture goes with the question that it belonged to. @param {Record<string, unknown>} patch */
function ask(patch) {
  picture.clear();
  go(patch);
}

/** Make the page agree with the state, doing only what changed. */
function apply(before) {
  if (before.collection !== state.collection) return location.reload(); // another model, notice and imagery
  stage.follow(before);
  if (!sameSearch(before, state)) {
    input.value = state.q ?? "";
    search();
  } else if (before.tile !== state.tile) select(state.tile ?? null);
  if (
    before.vs !== state.vs ||
    before.vs_collection !== state.vs_collection ||
    (state.vs && !sameSearch(before, state))
  )
    compare.search();
  drawControls();
  return undefined;
}

function drawControls() {
  filters.draw(state);
  takeaway.draw(asked());
  compare.draw();
  changes.draw();
  byId("list-tools").hidden = !asks();
  byId("spread").hidden = Boolean(state.changes);
  byId("spread").setAttribute("aria-pressed", String(Boolean(state.spacing_km)));
  if (blend && document.activeElement !== blend) blend.value = state.blend ?? blend.dataset.default ?? "";
}

/** Whether there is anything to rank by. */
const asks = () => hasTerms(state) || Boolean(picture.file());

/** @param {{offset?: number, signal: AbortSignal}} options */
function request(options) {
  const file = picture.file();
  if (file) return api.searchPicture(state, file, options);
  return state.changes ? api.changes(state, options) : api.search(state, options);
}

function usePicture(file) {
  if (file) go(newQuestion({}));
  drawControls();
  search();
}

async function search() {
  if (!asks()) {
    searches.stop();
    return show(null);
  }
  const waiting = setTimeout(startWaiting, 120);
  stage.begin();
  try {
    const found = await searches.run((signal) => request({ signal }));
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
  byId("welcome").hidden = true;
  byId("results").setAttribute("aria-busy", "true");
  messages.waiting(state);
  if (results.features().length === 0) results.showSkeleton(6);
}

const verdicts = () => ({ up: readList(state.up), down: readList(state.down) });

/** @param {import("./api.js").Answer | null} found null for none */
function show(found) {
  const anew = restored ? !state.view : !shown || !sameQuestion(shown, state) || Boolean(picture.file());
  [restored, shown] = [false, found ? state : null];
  answer = found;
  const features = found?.features ?? [];
  document.title = [titleOf(state), TITLE].filter(Boolean).join(" – ");
  byId("welcome").hidden = asks();
  results.show(features, verdicts());
  byId("results").classList.toggle("is-no-match", Boolean(found?.no_match));
  messages.answer(found, state);
  understood.draw(found);
  byId("more").hidden =
    !found || found.returned < Number(state.k ?? limits().default_k) || features.length >= found.matched;
  stage.showHits(features, compare.features());
  stage.refresh();
  takeaway.draw(asked());
  asker.draw(state);
  labels.draw(state);
  select(state.tile ?? null, { move: false });
  if (!state.tile) stage.reveal(features, anew);
  if (found) remember(titleOf(state), formatState(patchState(state, { view: null, tile: null })));
}

async function showMore() {
  const found = await searches
    .run((signal) => request({ offset: results.features().length, signal }))
    .catch((error) => messages.error(error));
  if (!found) return;
  results.show(found.features, verdicts(), true);
  byId("more").hidden = found.features.length === 0;
  messages.answer({ ...found, returned: results.features().length }, state);
  stage.showHits(results.features(), compare.features());
}

/** Several tiles at once. @param {string[]} tileIds @param {"up" | "down"} verdict */
function judgeAll(tileIds, verdict) {
  const other = verdict === "up" ? "down" : "up";
  const rest = readList(state[other]).filter((id) => !tileIds.includes(id));
  go({ [verdict]: [...new Set([...readList(state[verdict]), ...tileIds])].join(), [other]: rest.join() });
}

/** @param {string | null} tileId @returns {Tile | null} */
const featureOf = (tileId) => (tileId ? (results.feature(tileId) ?? compare.feature(tileId)) : null);

/** @param {string | null} tileId */
function highlight(tileId) {
  const feature = featureOf(tileId);
  results.highlight(tileId);
  stage.highlight(feature, feature ? `${feature.properties.rank} · ${placeName(feature.properties)}` : undefined);
}

/** A tile may come from a link or from another tile's neighbours and be no hit; it is shown all the same. */
async function select(tileId, { move = true } = {}) {
  results.select(tileId, { scroll: true });
  if (!tileId) {
    detail.hide();
    return stage.select(null);
  }
  const where = state.collection ? `?collection=${encodeURIComponent(state.collection)}` : "";
  const feature =
    featureOf(tileId) ?? (await api.get(`/tiles/${encodeURIComponent(tileId)}${where}`).catch(() => null));
  if (state.tile !== tileId) return undefined;
  if (!feature) return messages.say(`The tile ${tileId} is not in this collection.`);
  detail.show(feature, state);
  return stage.select(feature, { move });
}

/** A thumb pressed twice is taken back; a tile is never both. */
function judge(tileId, verdict) {
  const toggled = (key) => {
    const others = readList(state[key]).filter((id) => id !== tileId);
    return key === verdict && others.length === readList(state[key]).length ? [...others, tileId] : others;
  };
  const patch = { up: toggled("up").join(","), down: toggled("down").join(",") };
  if (readList(patch.down).includes(tileId)) results.remove(tileId); // at once, before the answer comes
  go(patch);
}

function listen() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    suggestions.close();
    if (input.value.trim()) picture.clear();
    // The form is one question: its words, and those in it that are to be left out.
    go(newQuestion({ q: input.value.trim(), not: byId("not", HTMLInputElement).value.trim() }));
  });
  byId("more").addEventListener("click", showMore);
  byId("spread").addEventListener("click", () => go({ spacing_km: state.spacing_km ? null : SPREAD_KM }));
  blend?.addEventListener("change", () => go({ blend: blend.value === blend.dataset.default ? null : blend.value }));
  const collection = byIdIfThere("collection", HTMLSelectElement);
  collection?.addEventListener("change", () => go({ ...OF_ONE_COLLECTION, collection: collection.value }));
  addEventListener("popstate", () => {
    const before = state;
    state = parseState(location.search);
    restored = true;
    apply(before);
  });
  document.addEventListener("click", followLink);
  byId("about-open").addEventListener("click", (event) => {
    event.preventDefault();
    about.showModal();
  });
  installKeys({
    input,
    results,
    isBusy: searches.busy,
    stop: searches.stop,
    letGo: () => state.tile && go({ tile: null }),
  });
}

/** Examples and "more like this" are plain links that work without a script; with one, the page stays. */
function followLink(event) {
  const link = event.target.closest?.("a.example, a[data-slot=like]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  ask(newQuestion(parseState(new URL(link.href).search)));
}

installChoice(byId("theme"), "theme", ["light", "dark"]);
installChoice(byId("density"), "density", ["list", "grid"], adaptAll);
installChoice(byId("colours"), "colours", ["stretched", "true"], stage.redrape);
installPictures();
installSheet(stage.resized);
installAround(around, featureOf);
listen();
drawControls();
if (page.problem) messages.error(page.problem);
else if (page.result && !state.changes) show(page.result);
else if (hasTerms(state)) search();
else if (state.tile) select(state.tile, { move: !state.view });
if (state.vs) compare.search();
stage.start().then(() => {
  if (state.tile) select(state.tile, { move: !state.view });
});
document.documentElement.dataset.ready = "true";
