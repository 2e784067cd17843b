/** How the page looks on this device: light or dark, list or grid, stretched or true pictures. Kept in storage. */

/** @typedef {"theme" | "density" | "colours"} Choice attributes of the root; early.js sets them first */

const root = document.documentElement;
const DEFAULTS = { density: "list", colours: "stretched" };

/** @param {Choice} name @returns {string} */
export function chosen(name) {
  if (name === "theme") {
    return root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }
  return root.dataset[name] ?? DEFAULTS[name];
}

/** @param {Choice} name @param {string} value */
function choose(name, value) {
  root.dataset[name] = value;
  try {
    localStorage.setItem(`wildsat-${name}`, value);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}

/**
 * A button that goes from one of two values to the other.
 *
 * @param {HTMLElement} button
 * @param {Choice} name
 * @param {readonly [string, string]} values the second one presses a toggle button
 * @param {() => void} [then]
 */
export function installChoice(button, name, values, then = () => {}) {
  const isToggle = button.hasAttribute("aria-pressed");
  const show = () => isToggle && button.setAttribute("aria-pressed", String(chosen(name) === values[1]));
  button.addEventListener("click", () => {
    choose(name, chosen(name) === values[1] ? values[0] : values[1]);
    show();
    then();
  });
  show();
}
