/** What can be carried away: files, the link, the API call, a line of Python, a printed list. */

import { byId, element } from "./dom.js";
import { citation, embedCode, pythonCall } from "./queries.js";
import { formatSearch, hasTerms, limits, patchState, without } from "./state.js";

const FORMATS = [
  ["geojson", "GeoJSON"],
  ["csv", "CSV"],
  ["geoparquet", "GeoParquet"],
  ["stac", "STAC items"],
];
// What an export of the hits says by its limit, and what an export of every tile has no use for.
const OF_THE_LIST = ["k", "offset", "explain"];
const OF_THE_HITS = [...OF_THE_LIST, "spacing_km", "max_per_country"];

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {() => import("./state.js").State} options.state
 * @param {any} options.collection as the page tells it
 * @param {() => void} options.onSave
 * @param {() => void} options.onSaved
 * @param {() => void} options.onLoadLabels
 * @param {() => void} options.onPrint
 * @param {(sentence: string) => void} options.say
 */
export function createTakeaway({ api, state, collection, onSave, onSaved, onLoadLabels, onPrint, say }) {
  const menu = byId("takeaway", HTMLDetailsElement);
  const origin = () => new URL(api.url(""), location.origin).href.replace(/\/$/, "");

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      say(`${what} copied.`);
    } catch {
      prompt(`Copy the ${what.toLowerCase()}:`, text); // no permission, or not a secure page
    }
    menu.open = false;
  }
  const close = (then) => {
    menu.open = false;
    then();
  };
  const button = (text, onclick) => element("li", {}, element("button", { type: "button", text, onclick }));

  byId("takeaway-body").append(
    element("h3", { text: "Download the hits" }),
    element("ul", { id: "export-hits" }),
    element("h3", { id: "export-all-title", text: "Download every tile's score" }),
    element("ul", { id: "export-all" }),
    element("h3", { text: "Share" }),
    element(
      "ul",
      {},
      button("Save this search", () => close(onSave)),
      button("Saved searches…", () => close(onSaved)),
      button("Copy link to this page", () => copy(location.href, "Link")),
      button("Copy the API call", () => copy(new URL(api.askedUrl(state()), location.origin).href, "API call")),
      button("Copy as Python", () => copy(pythonCall(state(), origin()), "Python")),
      button("Load judged tiles…", () => close(onLoadLabels)),
      button("Copy a citation", () => copy(citation(state(), collection, location.href), "Citation")),
      ...(limits().embed ? [button("Copy the code to embed", () => copy(embedCode(location.href), "Code"))] : []),
      button("Print the list", () => close(onPrint)),
    ),
  );
  document.addEventListener("click", ({ target }) => {
    if (!menu.contains(/** @type {Node} */ (target))) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
    event.stopPropagation();
  });

  return {
    /** @param {import("./state.js").State} now */
    draw(now) {
      menu.hidden = !hasTerms(now);
      byId("export-all").hidden = byId("export-all-title").hidden = Boolean(now.changes);
      if (now.changes) {
        const link = element("a", { href: api.askedUrl(now), download: "changes.geojson", text: "GeoJSON" });
        return byId("export-hits").replaceChildren(element("li", {}, link));
      }
      const links = (limit, left) =>
        FORMATS.map(([format, name]) => {
          const query = formatSearch(patchState(now, without(left)));
          const address = api.url(`/export${query}&limit=${limit}&format=${format}`);
          return element("li", {}, element("a", { href: address, download: "", text: name }));
        });
      const shown = Number(now.k ?? limits().default_k) + Number(now.offset ?? 0);
      byId("export-hits").replaceChildren(...links(shown, OF_THE_LIST));
      return byId("export-all").replaceChildren(...links(limits().export_rows, OF_THE_HITS));
    },
  };
}
