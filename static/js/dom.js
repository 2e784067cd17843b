/** Building the page out of text and elements only: a string from the server can never become markup. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes] "text" sets the text, "on..." a listener; false and null leave one out
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "text") node.textContent = String(value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children);
  return node;
}

/** An icon of the sprite in the page. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Text that is read out and not shown. @param {string} text */
export const unseen = (text) => element("span", { class: "visually-hidden", text });

/**
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind] what it must be, such as HTMLInputElement
 * @returns {Kind}
 */
export function byId(id, kind) {
  return checked(document.getElementById(id), `the id ${id}`, kind);
}

/**
 * The same, where a page may do without.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 */
export function byIdIfThere(id, kind) {
  return document.getElementById(id) ? byId(id, kind) : null;
}

/**
 * The part of a cloned template marked data-slot="name".
 *
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {Element} node
 * @param {string} name
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 */
export function slot(node, name, kind) {
  return checked(node.querySelector(`[data-slot="${name}"]`), `data-slot="${name}"`, kind);
}

/** @template {HTMLElement} Kind @param {Element | null} found @param {string} name @param {new () => Kind} [kind] */
function checked(found, name, kind) {
  const wanted = kind ?? HTMLElement;
  if (!(found instanceof wanted)) throw new Error(`the page has no ${wanted.name} with ${name}`);
  return /** @type {Kind} */ (found);
}

/** The fields of the page that hold one month each. @returns {NodeListOf<HTMLInputElement>} */
export const monthBoxes = () => document.querySelectorAll("input[data-month]");
