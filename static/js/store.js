/** What the visitor keeps on this device: saved searches and notes. Lists of plain objects in the browser's storage. */

/** @typedef {{title: string, search: string, saved: string}} Saved search: "?q=..."; saved: day */
/** @typedef {{collection: string, tile: string, text: string}} Note */

/** @template T @param {string} key @param {(one: any) => boolean} isOne @returns {T[]} */
function read(key, isOne) {
  try {
    const entries = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(entries) ? entries.filter((one) => one && isOne(one)) : [];
  } catch {
    return []; // storage is switched off, or holds what we did not write
  }
}

/** @param {string} key @param {object[]} entries @returns {boolean} whether it could be kept */
function write(key, entries) {
  try {
    localStorage.setItem(key, JSON.stringify(entries));
    return true;
  } catch {
    return false;
  }
}

const areTexts = (one, ...keys) => keys.every((key) => typeof one[key] === "string");
const isSaved = (one) => areTexts(one, "title", "search", "saved") && one.search.startsWith("?");
const isNote = (one) => areTexts(one, "collection", "tile", "text");
const [SAVED, NOTES] = ["wildsat-saved", "wildsat-notes"];

/** @returns {Saved[]} newest first */
export const savedSearches = () => read(SAVED, isSaved);

/** @param {Saved} entry takes the place of one with the same question */
export const saveSearch = (entry) =>
  write(SAVED, [entry, ...savedSearches().filter(({ search }) => search !== entry.search)]);

/** @param {string} search */
export const forgetSearch = (search) =>
  write(
    SAVED,
    savedSearches().filter((one) => one.search !== search),
  );

/** @param {string} collection @param {string} tile */
export const noteOf = (collection, tile) =>
  read(NOTES, isNote).find((one) => one.collection === collection && one.tile === tile)?.text ?? "";

/** @param {Note} note an empty text takes it away */
export function keepNote(note) {
  const others = read(NOTES, isNote).filter((one) => one.collection !== note.collection || one.tile !== note.tile);
  return write(NOTES, note.text ? [note, ...others] : others);
}

/** Everything that is kept, as a file's text. */
export const exportKept = () =>
  JSON.stringify({ "wildsat-kept": 1, searches: savedSearches(), notes: read(NOTES, isNote) }, null, 2);

/**
 * Adds what a file has; what is kept already stays.
 *
 * @param {string} text
 * @returns {number} how many searches and notes the file has
 * @throws {Error} with a sentence for the visitor
 */
export function importKept(text) {
  let kept;
  try {
    kept = JSON.parse(text);
  } catch {
    kept = null;
  }
  if (kept?.["wildsat-kept"] !== 1) throw new Error("This file was not saved by this page.");
  const searches = (kept.searches ?? []).filter((one) => one && isSaved(one));
  const notes = (kept.notes ?? []).filter((one) => one && isNote(one));
  const known = new Set(savedSearches().map(({ search }) => search));
  write(SAVED, [...savedSearches(), ...searches.filter(({ search }) => !known.has(search))]);
  for (const note of notes) if (!noteOf(note.collection, note.tile)) keepNote(note);
  return searches.length + notes.length;
}
