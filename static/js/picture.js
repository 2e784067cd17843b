/** A picture as the question: chosen or dropped, kept in this tab only, sent to the service and not stored there. */

import { byId, element, icon } from "./dom.js";

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/tiff"];
const MOST_BYTES = 10 * 1024 * 1024;

/**
 * @param {object} options
 * @param {(file: File | null) => void} options.onPicture
 * @param {(sentence: string) => void} options.say
 */
export function createPicture({ onPicture, say }) {
  let current = null;
  let address = null;

  function use(file) {
    if (file && !KINDS.includes(file.type)) return say(`${file.name} is not a PNG, JPEG, WebP or GeoTIFF picture.`);
    if (file && file.size > MOST_BYTES) return say(`${file.name} has ${(file.size / 1048576).toFixed(1)} MB; at most ${MOST_BYTES / 1048576} MB are taken.`);
    if (address) URL.revokeObjectURL(address);
    current = file;
    address = file ? URL.createObjectURL(file) : null;
    return onPicture(file);
  }

  byId("picture-file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) use(file);
  });
  addEventListener("dragover", (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("is-dropping");
  });
  addEventListener("dragleave", ({ relatedTarget }) => { if (!relatedTarget) document.body.classList.remove("is-dropping"); });
  addEventListener("drop", (event) => {
    document.body.classList.remove("is-dropping");
    const [file] = event.dataTransfer?.files ?? [];
    if (!file) return;
    event.preventDefault();
    use(file);
  });

  return {
    file: () => current,
    clear: () => { if (current) use(null); },
    /** @returns {HTMLElement[]} one chip, or none */
    chips() {
      if (!current) return [];
      const remove = element("button", { type: "button", class: "chip-remove", title: "Remove", onclick: () => use(null) }, icon("close"), element("span", { class: "visually-hidden", text: "Remove the picture" }));
      return [element("span", { class: "chip term", "data-keys": "picture" }, element("img", { src: address, alt: "", width: 22, height: 22 }), element("span", { class: "chip-label", text: `Like ${current.name}` }), remove)];
    },
  };
}
