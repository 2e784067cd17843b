/** On a phone the list lies on a sheet over the map: pulled up, pushed down, or pressed to change its height. */

import { byId } from "./dom.js";

const HEIGHTS = ["low", "half", "full"];
const DRAGGED_PX = 8; // less is a press

/** @param {() => void} onChange after the map's part of the screen has changed */
export function installSheet(onChange) {
  const sheet = byId("sheet");
  const handle = byId("sheet-handle");
  /** @type {{y: number, height: number, moved: boolean} | null} */
  let drag = null;

  /** @param {string} height */
  function rest(height) {
    sheet.style.removeProperty("height");
    document.body.dataset.sheet = height;
    handle.setAttribute("aria-expanded", String(height === "full"));
    onChange();
  }

  /** The resting height that is nearest to where the sheet was let go. */
  function nearest() {
    const share = sheet.getBoundingClientRect().height / innerHeight;
    return share < 0.3 ? "low" : share < 0.68 ? "half" : "full";
  }

  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    drag = { y: event.clientY, height: sheet.getBoundingClientRect().height, moved: false };
  });
  handle.addEventListener("pointermove", ({ clientY }) => {
    if (!drag) return;
    drag.moved ||= Math.abs(clientY - drag.y) > DRAGGED_PX;
    if (drag.moved) sheet.style.height = `${drag.height + drag.y - clientY}px`;
  });
  handle.addEventListener("pointercancel", () => (drag = null));
  handle.addEventListener("click", () => {
    const dragged = drag?.moved;
    drag = null;
    if (dragged) return rest(nearest());
    return rest(HEIGHTS[(HEIGHTS.indexOf(document.body.dataset.sheet ?? "half") + 1) % HEIGHTS.length]);
  });
  document.body.dataset.sheet = "half";
}
