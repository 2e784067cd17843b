/** After the first thumb: the tiles whose judgement would move the ranking most, to be marked with one press each. */

import { byId, element, icon, unseen } from "./dom.js";
import { createLatest } from "./latest.js";
import { placeName } from "./names.js";
import { pictureAlt } from "./words.js";

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(tileId: string, verdict: "up" | "down") => void} options.onJudge
 * @param {(tileId: string) => void} options.onSelect
 */
export function createJudge({ api, onJudge, onSelect }) {
  const box = byId("judge");
  const latest = createLatest();

  /** @param {import("./api.js").Tile} tile */
  function card({ id, properties: p }) {
    const place = placeName(p);
    const thumb = (verdict, label) =>
      element(
        "button",
        { type: "button", class: "tool", title: label, onclick: () => onJudge(id, verdict) },
        icon(verdict),
        unseen(`${label}: ${place}`),
      );
    return element(
      "li",
      {},
      element(
        "button",
        { type: "button", class: "neighbour", onclick: () => onSelect(id) },
        element("img", {
          class: "tile-picture",
          src: api.url(p.thumbnail),
          alt: pictureAlt(p, place),
          width: 76,
          height: 64,
        }),
      ),
      element("span", { class: "judge-thumbs" }, thumb("up", "Good match"), thumb("down", "Poor match")),
    );
  }

  return {
    /** @param {import("./state.js").State} state */
    async draw(state) {
      if (!state.up && !state.down) {
        latest.stop();
        box.hidden = true;
        return;
      }
      const found = await latest.run((signal) => api.suggest(state, signal)).catch(() => null); // a help, not an answer
      if (!found?.features.length) return;
      box.replaceChildren(
        element("h2", { id: "judge-title", text: "Judge these next to sharpen the search" }),
        element("ul", {}, ...found.features.map(card)),
      );
      box.hidden = false;
    },
  };
}
