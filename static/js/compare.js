/** A second question beside the first: two lists, and both sets of hits on one map (dots and rings). */

import { isAnswerError } from "./api.js";
import { byId, byIdIfThere } from "./dom.js";
import { createLatest } from "./latest.js";
import { titleOf } from "./queries.js";
import { createResults } from "./results.js";
import { OF_ONE_COLLECTION, hasTerms, newQuestion, patchState } from "./state.js";

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {string} options.root
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => import("./state.js").State} options.state
 * @param {(feature: import("./api.js").Tile) => string} options.likeUrl
 * @param {(feature: import("./api.js").Tile) => string} options.tileUrl
 * @param {(tileId: string) => void} options.onSelect
 * @param {(features: import("./api.js").Tile[]) => void} options.onFeatures
 */
export function createCompare({ api, root, go, state, likeUrl, tileUrl, onSelect, onFeatures }) {
  const latest = createLatest();
  const results = createResults({
    list: byId("others"),
    root,
    likeUrl,
    tileUrl,
    onHover: (id) => results.highlight(id),
    onSelect,
    onJudge: () => {},
  });
  const words = byId("vs", HTMLInputElement);
  const collection = byIdIfThere("vs_collection", HTMLSelectElement);
  const home = collection?.value; // the collection of the page itself
  let opened = false;

  /** The second question, and where it was asked if elsewhere. */
  const title = () => {
    const chosen = [...(collection?.options ?? [])].find(({ value }) => value === state().vs_collection);
    return [state().vs, chosen?.text].filter(Boolean).join(" · ");
  };

  byId("compare").addEventListener("click", () => {
    opened = true;
    draw();
    words.focus();
  });
  byId("compare-end").addEventListener("click", () => {
    opened = false;
    go({ vs: null, vs_collection: null });
  });
  byId("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const other = collection?.value ?? null;
    const elsewhere = other && other !== state().collection && other !== home ? other : null;
    go({ vs: words.value.trim() || (elsewhere ? (state().q ?? null) : null), vs_collection: elsewhere });
  });

  /** The same filters, other words. */
  const question = () => {
    const { vs, vs_collection: other } = state();
    const asked = patchState(state(), newQuestion({ q: vs }));
    return other ? patchState(asked, { ...OF_ONE_COLLECTION, collection: other }) : asked;
  };

  async function search() {
    draw();
    if (!state().vs || !hasTerms(state())) {
      latest.stop();
      results.show([], { up: [], down: [] });
      return onFeatures([]);
    }
    try {
      const found = await latest.run((signal) => api.search(question(), { signal }));
      if (!found) return undefined;
      results.show(found.features, { up: [], down: [] });
      byId("others-title").textContent = title();
    } catch (error) {
      if (!isAnswerError(error)) throw error;
      results.show([], { up: [], down: [] });
      byId("others-title").textContent = /** @type {Error} */ (error).message;
    }
    return onFeatures(results.features());
  }

  function draw() {
    const [asked, comparing] = [hasTerms(state()), Boolean(state().vs)];
    byId("compare").hidden = !asked || opened || comparing || Boolean(state().changes);
    byId("compare-form").hidden = !asked || !(opened || comparing);
    byId("others-results").hidden = !comparing;
    byId("hits-title").hidden = !comparing;
    byId("hits-title").textContent = titleOf(state());
    if (collection && document.activeElement !== collection) collection.value = state().vs_collection ?? home ?? "";
    if (document.activeElement !== words) words.value = state().vs ?? "";
    document.body.classList.toggle("is-comparing", comparing);
  }

  return { search, draw, features: results.features, feature: results.feature };
}
