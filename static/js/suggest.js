/** What the search box offers while it is empty or being typed in: earlier searches and species. An ARIA combobox. */

import { byId, element, icon } from "./dom.js";
import { createLatest } from "./latest.js";

/** @typedef {{iconName: string, title: string, note?: string, choose: () => void}} Choice */

const KEY = "wildsat-history";
const KEPT = 12;
const LEAST_LETTERS = 3;

/** @returns {{title: string, search: string}[]} newest first */
export function readHistory() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(entries)
      ? entries.filter(({ title, search }) => typeof title === "string" && typeof search === "string")
      : [];
  } catch {
    return []; // storage is switched off, or holds what we did not write
  }
}

/** @param {string} title @param {string} search "?q=..." */
export function remember(title, search) {
  if (!title) return;
  const entries = [{ title, search }, ...readHistory().filter((entry) => entry.title !== title)].slice(0, KEPT);
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch {
    // Storage is switched off: there is no history then.
  }
}

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(search: string) => void} options.onHistory
 * @param {(name: string) => void} options.onSpecies
 */
export function createSuggestions({ api, onHistory, onSpecies }) {
  const input = byId("q", HTMLInputElement);
  const list = byId("suggestions");
  const latest = createLatest();
  /** @type {Choice[]} */
  let choices = [];
  let active = -1;

  function close() {
    latest.stop();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** @param {Choice[]} entries */
  function show(entries) {
    choices = entries;
    active = -1;
    const option = (/** @type {Choice} */ { iconName, title, note, choose }, i) =>
      element(
        "li",
        {
          role: "option",
          id: `suggestion-${i}`,
          "aria-selected": "false",
          onpointerdown: (event) => {
            event.preventDefault();
            close();
            choose();
          },
        },
        icon(iconName),
        element("span", { text: title }),
        ...(note ? [element("small", { text: note })] : []),
      );
    list.replaceChildren(...entries.map(option));
    list.hidden = entries.length === 0;
    input.setAttribute("aria-expanded", String(entries.length > 0));
  }

  async function offer() {
    const text = input.value.trim().toLowerCase();
    const earlier = readHistory()
      .filter(({ title }) => title.toLowerCase().includes(text) && title.toLowerCase() !== text)
      .slice(0, text ? 3 : 6)
      .map(({ title, search }) => ({ iconName: "history", title, choose: () => onHistory(search) }));
    show(earlier);
    if (text.length < LEAST_LETTERS) return;
    const found = await latest
      .run((signal) => api.get(`/species?q=${encodeURIComponent(text)}&limit=5`, signal))
      .catch(() => null);
    const species = (found?.species ?? []).map((one) => ({
      iconName: "leaf",
      title: one.common_name,
      note: one.scientific_name,
      choose: () => onSpecies(one.common_name),
    }));
    if (species.length && document.activeElement === input) show([...earlier, ...species]);
  }

  function move(step) {
    const options = [...list.children];
    options[active]?.setAttribute("aria-selected", "false");
    active = (active + step + options.length) % options.length;
    options[active].setAttribute("aria-selected", "true");
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  input.addEventListener("focus", offer);
  input.addEventListener("input", offer);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1);
    else if (event.key === "Enter" && active >= 0) {
      const { choose } = choices[active];
      close();
      choose();
    } else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return { close };
}
