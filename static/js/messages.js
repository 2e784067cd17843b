/** What the page says: one status line that screen readers hear, and one box for what needs doing. */

import { ServiceProblem } from "./api.js";
import { byId, element } from "./dom.js";
import { formatCount, plural } from "./words.js";

/** Filters as a visitor knows them, for "what would help". @type {Record<string, string>} */
const FILTERS = {
  bbox: "the area",
  area: "the area",
  circle: "the area",
  countries: "the countries",
  from: "the dates",
  to: "the dates",
  tiles: "the chosen tiles",
  months: "the months",
  max_cloud: "the cloud limit",
  min_land: "the least land",
  min_percentile: "the minimum fit",
};

const SAID_MS = 12_000;

const NO_MATCH =
  "These are the closest tiles, but the words are about nothing that the model knows of places. " +
  "Try describing what the land looks like from above: plants, water, rock, climate.";

/**
 * @param {object} options
 * @param {() => void} options.onRetry
 * @param {(patch: Record<string, unknown>) => void} options.onPatch
 */
export function createMessages({ onRetry, onPatch }) {
  const status = byId("status");
  const said = byId("said");
  const box = byId("message");
  let leaving = 0;

  function say(title, sentences, ...actions) {
    box.replaceChildren(element("h2", { text: title }), ...sentences.map((text) => element("p", { text })));
    if (actions.length) box.append(element("div", { class: "actions" }, ...actions));
    box.hidden = false;
  }
  const action = (text, onclick) => element("button", { type: "button", class: "quiet", text, onclick });
  const widen = (state) => {
    const set = Object.keys(FILTERS).filter((key) => state[key]);
    return set.length
      ? [action("Search without filters", () => onPatch(Object.fromEntries(set.map((key) => [key, null]))))]
      : [];
  };

  return {
    waiting(state) {
      status.setAttribute("aria-busy", "true"); // shown and not read out: the answer is
      status.textContent = state.q ? `Comparing “${state.q}” with every tile…` : "Comparing every tile…";
    },
    /** @param {import("./api.js").Answer | null} found @param {import("./state.js").State} state */
    answer(found, state) {
      box.hidden = true;
      status.removeAttribute("aria-busy");
      const line = state.changes ? placesLine : statusLine;
      status.textContent = found ? line(found) : "";
      if (!found) return;
      if (found.matched === 0 && state.changes) {
        const anyTime = action("At any time", () => onPatch({ before: null, after: null }));
        const sentence = "A place needs a picture in each of the two times, and both must pass the filters.";
        const helps = state.before || state.after ? [anyTime] : [];
        say("No place was visited twice", [sentence], ...helps, ...widen(state));
      } else if (found.matched === 0) {
        const set = new Set(Object.keys(FILTERS).flatMap((key) => (state[key] ? [FILTERS[key]] : [])));
        const loosen = `Loosen ${either([...set]) || "the filters"} to search more of the collection.`;
        say("No tile passes the filters", [loosen], ...widen(state));
      } else if (found.no_match) {
        say("Nothing here really matches", [found.understood?.message ?? NO_MATCH], ...widen(state));
      }
    },
    /** @param {unknown} error an Error, or problem+json as the service wrote it into the page */
    error(error) {
      const problem = error instanceof Error ? error : new ServiceProblem(/** @type {object} */ (error));
      status.removeAttribute("aria-busy");
      status.textContent = "The search did not work.";
      const sentences = [problem.message];
      const { status: code, requestId } = problem instanceof ServiceProblem ? problem : { status: 0, requestId: null };
      if (requestId) sentences.push(`If you report this, name the request ${requestId}.`);
      const wrongInput = code >= 400 && code < 500 && code !== 429;
      say(
        wrongInput ? "The service could not take that" : "That did not work",
        sentences,
        ...(wrongInput ? [] : [action("Try again", onRetry)]),
      );
    },
    /** One sentence about something small, for a while in a line of its own. @param {string} sentence */
    say(sentence) {
      clearTimeout(leaving);
      said.textContent = sentence;
      said.hidden = !sentence;
      if (sentence) leaving = setTimeout(() => (said.hidden = true), SAID_MS);
    },
  };
}

/** @param {import("./api.js").Answer} found */
function statusLine({ returned, matched, total }) {
  if (matched === 0) return `No hit among ${formatCount(total)} tiles`;
  const among =
    matched === total ? `all ${formatCount(total)} tiles` : `${formatCount(matched)} of ${formatCount(total)} tiles`;
  return `Best ${plural(returned, "hit")} among ${among}`;
}

/** @param {string[]} things @returns {string} "a, b or c" */
function either(things) {
  return [things.slice(0, -1).join(", "), things.at(-1)].filter(Boolean).join(" or ");
}

/** @param {import("./api.js").Answer} found */
function placesLine({ returned, matched }) {
  const most = returned < matched ? `${formatCount(returned)} of ` : "";
  return `${most}${plural(matched, "place")} with pictures of two days`;
}
