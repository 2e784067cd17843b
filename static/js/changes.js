/** What changed: instead of tiles, places on two days, ranked by how much better or worse they fit the question. */

import { byIdIfThere } from "./dom.js";
import { hasTerms, without } from "./state.js";

/** What of the state belongs to it, and what of a search means nothing there. */
const KEYS = ["changes", "before", "after"];
const OF_SINGLE_HITS = ["min_percentile", "spacing_km", "max_per_country", "heat", "vs", "vs_collection"];

/**
 * @param {object} options
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => import("./state.js").State} options.state
 * @param {() => boolean} options.hasPicture whether a picture is asked for, which has no address
 */
export function createChanges({ go, state, hasPicture }) {
  const open = byIdIfThere("changes-open", HTMLButtonElement);
  const form = byIdIfThere("changes-form", HTMLFormElement);
  if (!open || !form) return { draw() {} }; // the collection has no days, or all of one month
  const fields = /** @type {HTMLSelectElement[]} */ ([...form.querySelectorAll("select")]);

  const end = () => {
    go(without(KEYS));
    open.focus();
  };
  open.addEventListener("click", () => {
    if (state().changes) return end();
    go({ ...without([...OF_SINGLE_HITS, "offset"]), changes: "any" });
    return fields[0].focus();
  });
  form.querySelector("button")?.addEventListener("click", end);
  for (const field of fields) field.addEventListener("change", () => go({ [field.name]: field.value, offset: null }));

  return {
    draw() {
      const now = state();
      const asked = hasTerms(now) && !hasPicture();
      open.hidden = !asked;
      open.setAttribute("aria-pressed", String(Boolean(now.changes)));
      form.hidden = !asked || !now.changes;
      document.body.classList.toggle("is-changes", Boolean(now.changes));
      for (const field of fields) choose(field, now[field.name] ?? "");
    },
  };
}

/** A time of a link that the list lacks is added to it. @param {HTMLSelectElement} field @param {string} value */
function choose(field, value) {
  if (![...field.options].some((option) => option.value === value)) field.append(new Option(value, value));
  field.value = value;
}
