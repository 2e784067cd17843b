/** Keys of the whole page: / to the box, arrows through the hits, Escape to stop or let go. */

import { byId } from "./dom.js";

/**
 * @param {object} options
 * @param {HTMLInputElement} options.input
 * @param {{step: (step: 1 | -1) => boolean}} options.results
 * @param {() => boolean} options.isBusy
 * @param {() => void} options.stop
 * @param {() => void} options.letGo
 */
export function installKeys({ input, results, isBusy, stop, letGo }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const here = document.activeElement;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(here?.tagName ?? "");
    if (event.key === "/" && !typing) {
      input.focus();
      input.select();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const inList = here === input || here === document.body || byId("hits").contains(here);
      if (!inList || !results.step(event.key === "ArrowDown" ? 1 : -1)) return;
    } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      if (isBusy()) stop();
      else letGo();
      return;
    } else return;
    event.preventDefault();
  });
}
