/** The filter fields, and the chips that show and remove what is set. */

import { polygonOf, readArea } from "./area.js";
import { byId, element, icon, monthBoxes, unseen } from "./dom.js";
import { COUNTED_KEYS, filterParts, termParts } from "./queries.js";
import { countryNames, hasTerms, patchState, readList } from "./state.js";
import { addTermField, weightedChips } from "./terms.js";
import { formatCount } from "./words.js";

const FIELDS = ["from", "to", "max_cloud", "min_land", "min_percentile", "spacing_km", "k", "not"];

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => import("./state.js").State} options.state
 * @param {() => Promise<number[][] | null>} options.drawArea asks the map for corners
 * @param {() => string | null} options.viewBox
 * @param {() => HTMLElement[]} options.moreTerms chips of terms that are not in the address
 * @param {(sentence: string) => void} options.say
 */
export function createFilters({ api, go, state, drawArea, viewBox, moreTerms, say }) {
  const counts = new Map(); // one filter's parameters to the number of tiles that pass it
  let round = 0;

  byId("country-list").replaceChildren(
    ...Object.values(countryNames()).map((name) => element("option", { value: name })),
  );
  byId("add-term-slot").append(addTermField(state, go));
  for (const key of FIELDS) {
    const field = byId(key, HTMLInputElement);
    field.addEventListener("change", () => field.checkValidity() && go({ [key]: field.value.trim() }));
  }
  for (const box of monthBoxes()) box.addEventListener("change", () => go({ months: checkedMonths() }));
  const country = byId("country", HTMLInputElement);
  const areaFile = byId("area-file", HTMLInputElement);
  country.addEventListener("change", addCountry);
  byId("area-view").addEventListener("click", () => go({ bbox: viewBox(), area: null, circle: null }));
  byId("area-draw").addEventListener("click", draw);
  areaFile.addEventListener("change", upload);

  function addCountry() {
    const wanted = country.value.trim().toLowerCase();
    const code = Object.entries(countryNames()).find(
      ([code_, name]) => name.toLowerCase() === wanted || code_.toLowerCase() === wanted,
    )?.[0];
    if (!code) return wanted && say(`No country is called “${country.value}”; choose one of the list.`);
    country.value = "";
    return go({ countries: [...new Set([...readList(state().countries), code])].join(",") });
  }

  async function draw() {
    const corners = await drawArea();
    if (corners) go({ area: JSON.stringify(polygonOf(corners)), bbox: null, circle: null });
  }

  async function upload() {
    const file = areaFile.files?.[0];
    areaFile.value = "";
    if (!file) return;
    try {
      const { geometry, simplified } = readArea(await file.text());
      go({ area: JSON.stringify(geometry), bbox: null, circle: null });
      if (simplified) say("The outline was simplified so that it fits into a link.");
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
  }

  /** How many tiles each single filter lets through; the service counts, one small request a filter. */
  async function count(parts, mine) {
    for (const { keys } of parts.filter(({ keys: [key] }) => COUNTED_KEYS.includes(key))) {
      const wanted = Object.fromEntries(keys.map((key) => [key, state()[key]]));
      const one = patchState({}, { q: "land", collection: state().collection, k: 1, ...wanted });
      const id = JSON.stringify(one);
      if (!counts.has(id)) {
        const matched = api.search(one).then((found) => found.matched);
        counts.set(id, await matched.catch(() => null)); // a help, not an answer
      }
      if (mine !== round) return;
      const passed = counts.get(id);
      const mark = document.querySelector(`#filters [data-keys="${keys.join()}"] .chip-count`);
      if (mark && passed !== null) mark.textContent = formatCount(passed);
    }
  }

  return {
    /** @param {import("./state.js").State} now */
    draw(now) {
      for (const key of FIELDS) {
        const field = byId(key, HTMLInputElement);
        if (document.activeElement !== field) field.value = now[key] ?? "";
      }
      for (const box of monthBoxes()) box.checked = readList(now.months).includes(box.dataset.month ?? "");
      const parts = filterParts(now, (code) => countryNames()[code] ?? code);
      byId("filters").replaceChildren(...parts.map((part) => chip(part, go, "filter")));
      const termChips = termParts(now).map((part) => chip(part, go, "term", api));
      byId("terms").replaceChildren(...moreTerms(), ...termChips, ...weightedChips(now, go));
      byId("add-term-slot").hidden = !hasTerms(now);
      round += 1;
      if (hasTerms(now)) count(parts, round);
    },
  };
}

function checkedMonths() {
  return [...monthBoxes()]
    .filter((box) => box.checked)
    .map((box) => box.dataset.month)
    .join(",");
}

/**
 * @param {import("./queries.js").Part} part
 * @param {(patch: Record<string, unknown>) => void} go
 * @param {"term" | "filter"} kind
 * @param {import("./api.js").Api} [api] where pictures come from
 */
function chip(part, go, kind, api) {
  const picture =
    part.thumbnail && api
      ? element("img", {
          class: "tile-picture",
          src: api.url(`/tiles/${encodeURIComponent(part.thumbnail)}/thumbnail.webp`),
          alt: "",
          width: 22,
          height: 22,
        })
      : icon(part.icon);
  const remove = element(
    "button",
    { type: "button", class: "chip-remove", title: "Remove", onclick: () => go(part.patch) },
    icon("close"),
  );
  remove.append(unseen(`Remove ${part.label}`));
  return element(
    "span",
    { class: part.minus ? `chip ${kind} is-minus` : `chip ${kind}`, "data-keys": part.keys.join() },
    ...(kind === "term" ? [picture] : []),
    element("span", { class: "chip-label", text: part.label }),
    ...(kind === "filter" ? [element("span", { class: "chip-count", title: "Tiles that pass this filter" })] : []),
    remove,
  );
}
