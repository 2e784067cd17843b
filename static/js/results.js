/** The list of hits: the interface of which the map is the mirror. Draws, and reports what the visitor does. */

import { byId, element, slot } from "./dom.js";
import { digitsOf, formatLonLat } from "./geo.js";
import { placeName } from "./names.js";
import { FIT_WORDS, changeWords, fitWords, formatDay, formatMonth, pictureAlt } from "./words.js";

/** @typedef {import("./api.js").Tile} Tile */

/**
 * @param {object} options
 * @param {HTMLElement} options.list
 * @param {string} options.root
 * @param {(feature: Tile) => string} options.likeUrl address of "more like this"
 * @param {(feature: Tile) => string} options.tileUrl address of the page with this hit selected
 * @param {(tileId: string | null) => void} options.onHover
 * @param {(tileId: string) => void} options.onSelect
 * @param {(tileId: string, verdict: "up" | "down") => void} options.onJudge
 */
export function createResults({ list, root, likeUrl, tileUrl, onHover, onSelect, onJudge }) {
  const template = byId("hit-template", HTMLTemplateElement);
  /** @type {Map<string, {item: HTMLElement, feature: Tile}>} */
  const items = new Map();

  /** @param {Tile} feature @param {{up: string[], down: string[]}} verdicts */
  function draw(feature, verdicts) {
    const item = /** @type {HTMLElement} */ (template.content.querySelector("li")?.cloneNode(true));
    const { tile_id: id, rank, lon, lat } = feature.properties;
    item.id = `${list.id === "hits" ? "hit" : `${list.id}-hit`}-${rank}`;
    item.dataset.tile = id;
    const picture = slot(item, "thumbnail", HTMLImageElement);
    picture.src = `${root}${feature.properties.thumbnail}`;
    picture.addEventListener("error", () => picture.removeAttribute("src"), { once: true });
    slot(item, "rank").textContent = String(rank);
    slot(item, "where").textContent = formatLonLat(lon, lat, digitsOf(feature.bbox));
    slot(item, "date").textContent = formatMonth(feature.properties.captured_on);
    const fit = slot(item, "fit");
    fit.textContent = FIT_WORDS[feature.properties.fit ?? ""] ?? fitWords(feature.properties.percentile);
    fit.dataset.fit = feature.properties.fit ?? "";
    fit.title = fitWords(feature.properties.percentile);
    slot(item, "open", HTMLAnchorElement).href = tileUrl(feature);
    slot(item, "like", HTMLAnchorElement).href = likeUrl(feature);
    const place = placeName(feature.properties);
    slot(item, "place").textContent = place;
    picture.alt = pictureAlt(feature.properties, place);
    if (feature.properties.before) drawChange(item, feature.properties, root, place);
    wire(item, id, verdicts);
    return item;
  }

  function wire(item, id, verdicts) {
    item.addEventListener("pointerenter", () => onHover(id));
    item.addEventListener("pointerleave", () => onHover(null));
    item.addEventListener("focusin", () => onHover(id));
    slot(item, "open").addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab or window
      event.preventDefault();
      onSelect(id);
    });
    for (const verdict of /** @type {const} */ (["up", "down"])) {
      const button = slot(item, verdict);
      button.setAttribute("aria-pressed", String(verdicts[verdict].includes(id)));
      button.addEventListener("click", () => onJudge(id, verdict));
    }
  }

  return {
    /** @param {Tile[]} features @param {{up: string[], down: string[]}} verdicts @param {boolean} [append] */
    show(features, verdicts, append = false) {
      if (!append) {
        items.clear();
        list.replaceChildren();
      }
      for (const feature of features) {
        const item = draw(feature, verdicts);
        items.set(feature.properties.tile_id, { item, feature });
        list.append(item);
      }
    },
    /** @param {string} tileId */
    remove(tileId) {
      items.get(tileId)?.item.remove();
      items.delete(tileId);
    },
    showSkeleton(count) {
      items.clear();
      list.replaceChildren(
        ...Array.from({ length: count }, () => element("li", { class: "skeleton", "aria-hidden": "true" })),
      );
    },
    /** @param {string | null} tileId */
    highlight(tileId) {
      for (const [id, { item }] of items) item.classList.toggle("is-hovered", id === tileId);
    },
    /** @param {string | null} tileId @param {{scroll?: boolean}} [options] */
    select(tileId, { scroll = false } = {}) {
      for (const [id, { item }] of items) {
        item.classList.toggle("is-selected", id === tileId);
        const open = slot(item, "open");
        if (id === tileId) open.setAttribute("aria-current", "true");
        else open.removeAttribute("aria-current");
      }
      if (scroll && tileId) items.get(tileId)?.item.scrollIntoView({ block: "nearest", behavior: "smooth" });
    },
    /** Moves the focus by one hit. @param {1 | -1} step @returns {boolean} whether there was one to go to */
    step(step) {
      const buttons = [...items.values()].map(({ item }) => slot(item, "open"));
      const here = buttons.findIndex((button) => button.closest(".hit")?.contains(document.activeElement));
      const next = buttons[here < 0 ? (step > 0 ? 0 : -1) : here + step];
      next?.focus();
      return Boolean(next);
    },
    /** @param {string} tileId */
    feature: (tileId) => items.get(tileId)?.feature ?? null,
    features: () => [...items.values()].map(({ feature }) => feature),
  };
}

/**
 * A place on two days: the earlier picture before the later one.
 *
 * @param {HTMLElement} item
 * @param {any} properties of a place on two days
 * @param {string} root
 * @param {string} place
 */
function drawChange(item, { before, captured_on: day, difference }, root, place) {
  const later = slot(item, "thumbnail", HTMLImageElement);
  const earlier = element("img", {
    class: "tile-picture",
    src: `${root}${before.thumbnail}`,
    alt: pictureAlt(before, place),
    width: 132,
    height: 132,
    loading: "lazy",
  });
  const caption = (text) => element("span", { class: "hit-day", text: formatDay(text) });
  const box = /** @type {HTMLElement} */ (later.parentElement);
  const rank = slot(item, "rank");
  box.before(element("span", { class: "hit-picture is-before" }, earlier, rank, caption(before.captured_on)));
  box.append(caption(day));
  item.classList.add("is-change");
  slot(item, "date").textContent = "";
  const fit = slot(item, "fit");
  fit.textContent = changeWords(difference);
  fit.dataset.fit = difference < 0 ? "loss" : "gain";
  fit.title = "";
}
