/** The filter fields, and the chips that show and remove what is set. */

import { areaPatch, polygonOf, readArea } from "./area.js";
import { readAreaFile } from "./areafile.js";
import { byId, element, icon, monthBoxes, unseen } from "./dom.js";
import { createPlaceField } from "./placefield.js";
import { COUNTED_KEYS, filterParts, termParts } from "./queries.js";
import { countryName } from "./names.js";
import { hasTerms, patchState, readList } from "./state.js";
import { addTermField, weightedChips } from "./terms.js";
import { createTimeline } from "./timeline.js";
import { formatCount } from "./words.js";

const FIELDS = ["from", "to", "max_cloud", "min_land", "min_percentile", "spacing_km", "k", "not"];

/** @param {string} key @returns {HTMLInputElement | HTMLSelectElement | null} null where the collection can't tell */
const fieldOf = (key) => /** @type {any} */ (document.getElementById(key));

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => import("./state.js").State} options.state
 * @param {any} options.collection as the page tells it
 * @param {() => Promise<number[][] | null>} options.drawArea asks the map for corners
 * @param {() => Record<string, string>} options.viewArea the filter for what the map shows
 * @param {() => HTMLElement[]} options.moreTerms chips of terms that are not in the address
 * @param {(sentence: string) => void} options.say
 */
export function createFilters({ api, go, state, collection, drawArea, viewArea, moreTerms, say }) {
  const counts = new Map(); // one filter's parameters to the number of tiles that pass it
  let round = 0;

  byId("add-term-slot").append(addTermField(state, go));
  for (const key of FIELDS) {
    const field = fieldOf(key);
    field?.addEventListener("change", () => {
      if (field.checkValidity()) go({ [key]: field.value.trim() });
      else say(`${field.labels?.[0]?.textContent ?? key}: ${field.validationMessage}`);
    });
  }
  for (const box of monthBoxes()) box.addEventListener("change", () => go({ months: checkedMonths() }));
  const areaFile = byId("area-file", HTMLInputElement);
  const timeline = createTimeline(go, collection?.wildsat?.filters?.days ?? null);
  createPlaceField({ api, go, state, collection, say });
  byId("area-view").addEventListener("click", () => go(areaPatch(viewArea())));
  byId("area-draw").addEventListener("click", draw);
  areaFile.addEventListener("change", upload);

  const narrow = byId("narrow", HTMLDetailsElement);
  const close = () => {
    narrow.open = false;
    narrow.querySelector("summary")?.focus();
  };
  byId("narrow-done").addEventListener("click", close);
  narrow.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !narrow.open) return;
    close();
    event.stopPropagation();
  });

  /** @param {any} document GeoJSON @param {string | null} name */
  function useArea(document, name) {
    try {
      const { geometry, notes } = readArea(document);
      go(areaPatch({ area: JSON.stringify(geometry), area_name: name }));
      if (notes.length) say(notes.join(" "));
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
  }

  async function draw() {
    const corners = await drawArea();
    if (corners) useArea(polygonOf(corners), null);
  }

  async function upload() {
    const file = areaFile.files?.[0];
    areaFile.value = "";
    if (!file) return;
    const found = await readAreaFile(file).catch((error) => say(/** @type {Error} */ (error).message));
    if (found) useArea(found, file.name);
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
        const field = fieldOf(key);
        if (field && document.activeElement !== field) setField(field, now[key] ?? "");
      }
      timeline.draw(now);
      for (const box of monthBoxes()) box.checked = readList(now.months).includes(box.dataset.month ?? "");
      const parts = filterParts(now, countryName);
      byId("filters").replaceChildren(...parts.map((part) => chip(part, go, "filter")));
      const termChips = termParts(now).map((part) => chip(part, go, "term", api));
      byId("terms").replaceChildren(...moreTerms(), ...termChips, ...weightedChips(now, go));
      byId("add-term-slot").hidden = !hasTerms(now);
      round += 1;
      if (hasTerms(now)) count(parts, round);
    },
  };
}

/** A value of a link that a list of choices lacks is added to it. */
function setField(field, value) {
  if (field instanceof HTMLSelectElement && ![...field.options].some((option) => option.value === value)) {
    field.append(element("option", { value, text: value }));
  }
  field.value = value;
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
