/** A picture as the question: chosen or dropped, kept in this tab only, sent to the service and not stored there. */

import { byId, element, icon, unseen } from "./dom.js";
import { limits } from "./state.js";

const megabytes = (bytes) => (bytes / 1048576).toFixed(1).replace(/\.0$/, "");

/**
 * @param {object} options
 * @param {(file: File | null) => void} options.onPicture
 * @param {(sentence: string) => void} options.say
 */
export function createPicture({ onPicture, say }) {
  /** @type {File | null} */
  let current = null;
  /** @type {string | null} */
  let address = null;
  const field = byId("picture-file", HTMLInputElement);

  /** @param {File | null} file */
  function use(file) {
    if (file && !limits().picture_types.includes(file.type))
      return say(`${file.name} is not a PNG, JPEG, WebP or GeoTIFF picture.`);
    if (file && file.size > limits().upload_bytes) {
      return say(
        `${file.name} has ${megabytes(file.size)} MB; at most ${megabytes(limits().upload_bytes)} MB are taken.`,
      );
    }
    if (address) URL.revokeObjectURL(address);
    current = file;
    address = file ? URL.createObjectURL(file) : null;
    return onPicture(file);
  }

  field.addEventListener("change", () => {
    const file = field.files?.[0];
    field.value = "";
    if (file) use(file);
  });
  addEventListener("dragover", (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("is-dropping");
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("is-dropping");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("is-dropping");
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    use(file);
  });

  return {
    file: () => current,
    clear: () => {
      if (current) use(null);
    },
    /** @returns {HTMLElement[]} one chip, or none */
    chips() {
      if (!current) return [];
      const remove = element(
        "button",
        { type: "button", class: "chip-remove", title: "Remove", onclick: () => use(null) },
        icon("close"),
        unseen("Remove the picture"),
      );
      return [
        element(
          "span",
          { class: "chip term", "data-keys": "picture" },
          element("img", { src: address, alt: "", width: 22, height: 22 }),
          element("span", { class: "chip-label", text: `Like ${current.name}` }),
          remove,
        ),
      ];
    },
  };
}
