/** The slider of months: two thumbs set the first and the last day that are searched; its ends set none. */

import { byIdIfThere } from "./dom.js";
import { formatMonth, plural } from "./words.js";

const PAUSE_MS = 300; // a key that is held down asks once

/** Months since the year 0. @param {string} day "2019-05-03" */
export function monthNumber(day) {
  const [year, month] = day.split("-").map(Number);
  return year * 12 + month - 1;
}

/** @param {number} month @returns {string} "2019-05-01" */
export function firstDay(month) {
  const [year, of] = [Math.floor(month / 12), (month % 12) + 1];
  return `${String(year).padStart(4, "0")}-${String(of).padStart(2, "0")}-01`;
}

/** @param {number} month @returns {string} "2019-05-31" */
export function lastDay(month) {
  const next = new Date(`${firstDay(month + 1)}T00:00:00Z`);
  return new Date(next.getTime() - 86_400_000).toISOString().slice(0, 10);
}

/**
 * @param {(patch: Record<string, unknown>) => void} go
 * @param {[string, string] | null} days first and last of the collection
 */
export function createTimeline(go, days) {
  const from = byIdIfThere("time-from", HTMLInputElement);
  const to = byIdIfThere("time-to", HTMLInputElement);
  const said = byIdIfThere("time-said", HTMLOutputElement);
  if (!from || !to || !said || !days) return { draw() {} };
  const [first, last] = days.map(monthNumber);
  let pausing = 0;

  const month = (thumb) => first + Number(thumb.value);
  const tell = () => {
    for (const thumb of [from, to]) thumb.setAttribute("aria-valuetext", formatMonth(firstDay(month(thumb))));
    const [a, b] = [from, to].map((thumb) => formatMonth(firstDay(month(thumb))));
    const all = month(from) === first && month(to) === last;
    said.textContent = all ? `all ${plural(last - first + 1, "month")}` : a === b ? a : `${a} to ${b}`;
    const share = (thumb) => `${(100 * Number(thumb.value)) / (last - first)}%`;
    from.parentElement?.style.setProperty("--from", share(from));
    from.parentElement?.style.setProperty("--to", share(to));
    // Where both stand at the end, the one that can still be moved lies above.
    from.classList.toggle("is-above", Number(from.value) > (last - first) / 2);
  };
  const set = () => {
    const patch = {
      from: month(from) === first ? null : firstDay(month(from)),
      to: month(to) === last ? null : lastDay(month(to)),
    };
    go(patch);
  };
  /** The thumb that is moved pushes the other along. */
  const moved = (thumb, other, passes) => {
    if (passes()) other.value = thumb.value;
    tell();
    clearTimeout(pausing);
    pausing = setTimeout(set, PAUSE_MS);
  };
  const crossed = () => Number(from.value) > Number(to.value);
  from.addEventListener("input", () => moved(from, to, crossed));
  to.addEventListener("input", () => moved(to, from, crossed));

  return {
    /** @param {import("./state.js").State} now */
    draw(now) {
      const place = (day, otherwise) => String((day ? monthNumber(day) : otherwise) - first);
      from.value = place(now.from, first);
      to.value = place(now.to, last);
      tell();
    },
  };
}
