/** Chips of the words beside those in the search box: weigh them more or less, turn them round, add one. */

import { element, icon, unseen } from "./dom.js";
import { parseTerm, readTerms, stepWeight, termLabel, writeTerms } from "./queries.js";
import { limits } from "./state.js";

/**
 * @param {import("./state.js").State} state
 * @param {(patch: Record<string, unknown>) => void} go
 * @returns {HTMLElement[]}
 */
export function weightedChips(state, go) {
  const terms = readTerms(state.terms);
  const replace = (i, term) =>
    go({ terms: writeTerms(terms.flatMap((old, j) => (i === j ? (term ? [term] : []) : [old]))) });
  return terms.map((term, i) => {
    const step = (by, sign, name) =>
      element("button", {
        type: "button",
        class: "chip-step",
        text: sign,
        "aria-label": `${name} weight for ${termLabel(term)}`,
        onclick: () => replace(i, { ...term, weight: stepWeight(term.weight, by) }),
      });
    const remove = element(
      "button",
      { type: "button", class: "chip-remove", title: "Remove", onclick: () => replace(i, null) },
      icon("close"),
      element("span", { class: "visually-hidden", text: `Remove ${termLabel(term)}` }),
    );
    return element(
      "span",
      { class: term.weight < 0 ? "chip term is-minus" : "chip term", "data-keys": "terms" },
      element("span", { class: "chip-label", text: termLabel(term) }),
      step(-1, "−", "Less"),
      element("span", { class: "chip-weight", text: `${term.weight > 0 ? "+" : "−"}${Math.abs(term.weight)}` }),
      step(1, "+", "More"),
      remove,
    );
  });
}

/**
 * The field that adds a term.
 *
 * @param {() => import("./state.js").State} state
 * @param {(patch: Record<string, unknown>) => void} go
 */
export function addTermField(state, go) {
  const input = element("input", {
    id: "add-term",
    maxlength: limits().text_characters,
    placeholder: "+ add, or − leave out",
    "aria-label": "Add words; begin with a minus to leave them out",
  });
  const form = element("form", { class: "chip-add" }, input);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const term = parseTerm(input.value);
    input.value = "";
    if (term) go({ terms: writeTerms([...readTerms(state().terms), term]) });
    input.focus();
  });
  return form;
}
