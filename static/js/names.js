/** Places in words, as the service says them; countries in the language of the browser, where that is not English. */

import { countryNames, twoLetters } from "./state.js";

const language = () => globalThis.navigator?.languages?.[0] ?? "en";

/** @param {string} code ISO 3166-1 alpha-3 @param {string} [tongue] @returns {string} */
export function countryName(code, tongue = language()) {
  const english = countryNames()[code] ?? code;
  const letters = twoLetters()[code];
  if (!letters || /^en\b/.test(tongue)) return english;
  try {
    return new Intl.DisplayNames([tongue], { type: "region" }).of(letters) ?? english;
  } catch {
    return english; // a tongue that the browser does not know
  }
}

/**
 * @param {{place: string, country: string | null, country_name?: string | null}} properties
 * @param {string} [tongue]
 */
export function placeName({ place, country, country_name: english }, tongue = language()) {
  if (!country || !english || /^en\b/.test(tongue)) return place;
  const local = countryName(country, tongue);
  if (place.endsWith(`, ${english}`)) return `${place.slice(0, -english.length)}${local}`; // an island of its
  return place.endsWith(english) ? local : place; // parts have English names, which would not go with a local one
}
