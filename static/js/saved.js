/** The dialog of saved searches: open one, forget one, carry all to another device as a file. */

import { byId, element, icon, unseen } from "./dom.js";
import { saveFile } from "./files.js";
import { exportKept, forgetSearch, importKept, saveSearch, savedSearches } from "./store.js";

/**
 * @param {object} options
 * @param {(search: string) => void} options.onOpen
 * @param {() => {title: string, search: string}} options.current what would be saved
 * @param {(sentence: string) => void} options.say
 */
export function createSaved({ onOpen, current, say }) {
  const dialog = byId("saved", HTMLDialogElement);
  const list = byId("saved-list");
  const file = byId("saved-file", HTMLInputElement);

  /** @param {import("./store.js").Saved} one */
  function row({ title, search, saved }) {
    const open = () => {
      dialog.close();
      onOpen(search);
    };
    const forget = () => {
      forgetSearch(search);
      draw();
    };
    return element(
      "li",
      {},
      element("button", { type: "button", class: "link", text: title, onclick: open }),
      element("small", { text: saved }),
      element(
        "button",
        { type: "button", class: "tool", title: "Forget", onclick: forget },
        icon("close"),
        unseen(`Forget ${title}`),
      ),
    );
  }

  function draw() {
    const entries = savedSearches();
    const none = element("li", { class: "none", text: "Nothing is saved yet." });
    list.replaceChildren(...(entries.length ? entries.map(row) : [none]));
  }

  file.addEventListener("change", async () => {
    const chosen = file.files?.[0];
    file.value = "";
    if (!chosen) return;
    try {
      say(`${importKept(await chosen.text())} searches and notes were read.`);
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
    draw();
  });
  byId("saved-export").addEventListener("click", () =>
    saveFile("wildsat-searches.json", exportKept(), "application/json"),
  );

  return {
    /** Save what is asked now. */
    save() {
      const { title, search } = current();
      const kept = saveSearch({ title, search, saved: new Date().toISOString().slice(0, 10) });
      say(kept ? "Saved on this device." : "This browser keeps nothing: its storage is switched off.");
    },
    open() {
      draw();
      dialog.showModal();
    },
  };
}
