/** A second question beside the first: two lists, and both sets of hits on one map (dots and rings). */

import { isAnswerError } from "./api.js";
import { byId } from "./dom.js";
import { createLatest } from "./latest.js";
import { titleOf } from "./queries.js";
import { createResults } from "./results.js";
import { hasTerms, newQuestion, patchState } from "./state.js";

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
  let opened = false;

  byId("compare").addEventListener("click", () => {
    opened = true;
    draw();
    words.focus();
  });
  byId("compare-end").addEventListener("click", () => {
    opened = false;
    go({ vs: null });
  });
  byId("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ vs: words.value.trim() });
  });

  /** The same filters, other words. */
  const question = () => patchState(state(), newQuestion({ q: state().vs }));

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
      byId("others-title").textContent = state().vs;
    } catch (error) {
      if (!isAnswerError(error)) throw error;
      results.show([], { up: [], down: [] });
      byId("others-title").textContent = /** @type {Error} */ (error).message;
    }
    return onFeatures(results.features());
  }

  function draw() {
    const [asked, comparing] = [hasTerms(state()), Boolean(state().vs)];
    byId("compare").hidden = !asked || opened || comparing;
    byId("compare-form").hidden = !asked || !(opened || comparing);
    byId("others-results").hidden = !comparing;
    byId("hits-title").hidden = !comparing;
    byId("hits-title").textContent = titleOf(state());
    if (document.activeElement !== words) words.value = state().vs ?? "";
    document.body.classList.toggle("is-comparing", comparing);
  }

  return { search, draw, features: results.features, feature: results.feature };
}
