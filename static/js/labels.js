/** The tiles that were judged, as a set: listed, changed, named, saved as GeoJSON, loaded again, and mapped. */

import { byId, element, icon, unseen } from "./dom.js";
import { fileWords, saveFile } from "./files.js";
import { placeName } from "./names.js";
import { readList } from "./state.js";
import { noteOf } from "./store.js";
import { pictureAlt, plural } from "./words.js";

const ENOUGH = 5; // judged tiles from which on the service fits a classifier

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {() => import("./state.js").State} options.state
 * @param {string} options.collection name
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {(tileId: string, verdict: "up" | "down") => void} options.onJudge
 * @param {(sentence: string) => void} options.say
 */
export function createLabels({ api, state, collection, go, onJudge, say }) {
  const box = byId("labels", HTMLDetailsElement);
  const list = byId("labels-list");
  const name = byId("labels-name", HTMLInputElement);
  const file = byId("labels-file", HTMLInputElement);
  /** @type {Map<string, Promise<import("./api.js").Tile | null>>} */
  const tiles = new Map();
  let round = 0;

  /** @param {string} id */
  function tileOf(id) {
    const address = `/tiles/${encodeURIComponent(id)}?collection=${encodeURIComponent(collection)}`;
    if (!tiles.has(id)) {
      tiles.set(
        id,
        api.get(address).catch(() => null),
      );
    }
    return /** @type {Promise<import("./api.js").Tile | null>} */ (tiles.get(id));
  }

  /** Judged tiles with their verdicts, in the order in which they were judged. */
  async function judged() {
    const now = state();
    const marks = /** @type {const} */ (["up", "down"]).flatMap((verdict) =>
      readList(now[verdict]).map((id) => ({ id, verdict })),
    );
    const found = await Promise.all(marks.map(({ id }) => tileOf(id)));
    return marks.flatMap(({ verdict }, i) => (found[i] ? [{ verdict, tile: found[i] }] : []));
  }

  /** @param {{verdict: "up" | "down", tile: import("./api.js").Tile}} label */
  function card({ verdict, tile: { id, properties } }) {
    const place = placeName(properties);
    const turn = verdict === "up" ? "down" : "up";
    const button = (iconName, title, onclick) =>
      element(
        "button",
        { type: "button", class: "tool", title, onclick },
        icon(iconName),
        unseen(`${title}: ${place}`),
      );
    return element(
      "li",
      { class: verdict === "down" ? "is-poor" : "" },
      element("img", {
        class: "tile-picture",
        src: api.url(properties.thumbnail),
        alt: `${verdict === "up" ? "Good" : "Poor"} match: ${pictureAlt(properties, place)}`,
        width: 56,
        height: 56,
      }),
      element("span", { text: place }),
      button(turn, turn === "up" ? "Make it a good match" : "Make it a poor match", () => onJudge(id, turn)),
      button("close", "Take the judgement back", () => onJudge(id, verdict)),
    );
  }

  async function save() {
    const features = (await judged()).map(({ verdict, tile }) => ({
      type: "Feature",
      id: tile.id,
      geometry: tile.geometry,
      properties: {
        tile_id: tile.id,
        label: verdict === "up" ? "good" : "poor",
        place: tile.properties.place,
        captured_on: tile.properties.captured_on,
        note: noteOf(collection, tile.id) || null,
      },
    }));
    const title = name.value.trim() || "labels";
    const document = { type: "FeatureCollection", name: title, collection, question: state().q ?? null, features };
    saveFile(`${fileWords(title)}.geojson`, JSON.stringify(document, null, 1), "application/geo+json");
  }

  async function load() {
    const chosen = file.files?.[0];
    file.value = "";
    if (!chosen) return;
    const document = await chosen.text().then(JSON.parse, () => null);
    const labelled = (document?.features ?? []).filter(({ properties }) => properties?.tile_id && properties?.label);
    const ids = (label) =>
      labelled.filter((one) => one.properties.label === label).map((one) => one.properties.tile_id);
    if (!labelled.length) return say(`${chosen.name} holds no labels that this page saved.`);
    if (document.collection !== collection) {
      return say(`These labels belong to the collection ${document.collection}, not to ${collection}.`);
    }
    name.value = document.name ?? "";
    return go({ up: ids("good").join(), down: ids("poor").join() });
  }

  byId("labels-save").addEventListener("click", save);
  byId("labels-map").addEventListener("click", () => go({ heat: 80 }));
  file.addEventListener("change", load);

  return {
    /** @param {import("./state.js").State} now */
    async draw(now) {
      const [up, down] = [readList(now.up).length, readList(now.down).length];
      box.hidden = up + down === 0;
      if (box.hidden) return;
      byId("labels-count").textContent = `${plural(up, "good match", "good matches")}, ${down} poor`;
      byId("labels-map").hidden = up + down < ENOUGH || !up || !down;
      const mine = (round += 1);
      const found = await judged();
      if (mine === round) list.replaceChildren(...found.map(card));
    },
  };
}
