/** What the service read from the typed words, as chips that can be taken back, and words that may have been meant. */

import { byId, element, icon, unseen } from "./dom.js";
import { newQuestion } from "./state.js";

const BETWEEN = "|"; // separates ids in the parameter undo

/**
 * @param {object} options
 * @param {() => import("./state.js").State} options.state
 * @param {(patch: Record<string, unknown>) => void} options.go
 */
export function createUnderstood({ state, go }) {
  const box = byId("understood");

  /** @param {import("./api.js").Found} found */
  function chip({ id, words, say }) {
    const label = say.replace(/\.$/, "");
    const others = (state().undo ?? "").split(BETWEEN).filter(Boolean);
    const takeBack = () => go({ undo: [...others, id].join(BETWEEN), offset: null });
    return element(
      "span",
      { class: "chip read", title: `Read from “${words}”` },
      element("span", { class: "chip-label", text: label }),
      element(
        "button",
        { type: "button", class: "chip-remove", title: "Take back", onclick: takeBack },
        icon("close"),
        unseen(`Take back: ${label}`),
      ),
    );
  }

  /** @param {string} suggestion */
  function question(suggestion) {
    const ask = () => go(newQuestion({ q: suggestion, not: state().not }));
    return element(
      "p",
      { class: "suggestion" },
      "Did you mean ",
      element("button", { type: "button", class: "link", text: suggestion, onclick: ask }),
      "?",
    );
  }

  return {
    /** @param {import("./api.js").Answer | null} answer */
    draw(answer) {
      const { found = [], suggestion = null, message = null } = answer?.understood ?? {};
      box.replaceChildren(
        ...found.map(chip),
        ...(suggestion ? [question(suggestion)] : []),
        // With no match at all the message box says it.
        ...(message && !answer?.no_match ? [element("p", { text: message })] : []),
      );
      box.hidden = box.childElementCount === 0;
    },
  };
}
