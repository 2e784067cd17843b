/** One hit in full: its picture, where and when, why it ranks where it does, what it looks like, and its neighbours. */

import { isAbort } from "./api.js";
import { areaPatch } from "./area.js";
import { compareDays, visitStrip, visitsOf } from "./dates.js";
import { byId, element, icon, unseen } from "./dom.js";
import { digitsOf, formatLonLat, zoomOf } from "./geo.js";
import { createLatest } from "./latest.js";
import { placeName } from "./names.js";
import { hasTerms, newQuestion, patchState } from "./state.js";
import { keepNote, noteOf } from "./store.js";
import { FIT_WORDS, changeWords, fitWords, formatDay, formatLength, formatMonth, pictureAlt } from "./words.js";

/**
 * @param {object} options
 * @param {import("./api.js").Api} options.api
 * @param {(patch: Record<string, unknown>) => void} options.go
 * @param {() => void} options.onClose
 * @param {any} options.collection as the page tells it
 * @param {ReturnType<typeof import("./around.js").createAround>} options.around
 * @param {(tileId: string, verdict: "up" | "down") => void} options.onJudge
 */
export function createDetail({ api, go, onClose, collection, around, onJudge }) {
  const box = byId("detail");
  const latest = createLatest();
  /** @type {string | null} */
  let shown = null;

  function draw(feature, query) {
    const p = feature.properties;
    const place = placeName(p);
    const close = element(
      "button",
      { type: "button", class: "tool detail-close", title: "Close", onclick: onClose },
      icon("close"),
      unseen("Close"),
    );
    box.replaceChildren(
      close,
      element("img", {
        class: "detail-picture tile-picture",
        src: api.url(p.thumbnail),
        alt: pictureAlt(p, place),
        width: 320,
        height: 220,
      }),
      element("h2", { id: "detail-title", text: place }),
      element("p", { class: "detail-where", text: formatLonLat(p.lon, p.lat, digitsOf(feature.bbox) + 1) }),
      facts(p),
      ...(p.before ? [whyChanged(p)] : p.percentile === undefined ? [] : [why(p)]),
      element("div", { id: "detail-visits" }),
      element("div", { id: "detail-habitats" }),
      element("div", { id: "detail-neighbours" }),
      around.figure(feature),
      element("div", { class: "actions" }, ...actions(feature, query)),
      noteField(collection?.name ?? "", feature.id),
    );
    box.setAttribute("aria-labelledby", "detail-title");
    box.hidden = false;
  }

  function actions(feature, query) {
    const p = feature.properties;
    const circle = `${p.lon.toFixed(3)},${p.lat.toFixed(3)},500`;
    const online = `https://www.openstreetmap.org/#map=${zoomOf(feature.bbox)}/${p.lat.toFixed(4)}/${p.lon.toFixed(4)}`;
    return [
      element("button", {
        type: "button",
        class: "quiet",
        text: "More like this",
        onclick: () => go(newQuestion({ like: p.tile_id })),
      }),
      ...(query
        ? [
            ...[
              ["up", "Good match"],
              ["down", "Poor match"],
            ].map(([verdict, text]) =>
              element(
                "button",
                { type: "button", class: "quiet", onclick: () => onJudge(p.tile_id, /** @type {any} */ (verdict)) },
                icon(verdict),
                text,
              ),
            ),
            element("button", {
              type: "button",
              class: "quiet",
              text: "Only within 500 km",
              onclick: () => go(areaPatch({ circle })),
            }),
          ]
        : []),
      element("a", {
        class: "quiet",
        href: online,
        target: "_blank",
        rel: "noopener noreferrer",
        text: "Open in OpenStreetMap",
      }),
    ];
  }

  async function fill(feature, state) {
    const id = encodeURIComponent(feature.properties.tile_id);
    const where = state.collection ? `collection=${encodeURIComponent(state.collection)}` : "";
    const { rank } = feature.properties;
    await latest.run(async (signal) => {
      const ask = (path) => api.get(path, signal).catch((error) => (isAbort(error) ? Promise.reject(error) : null));
      const [habitats, similar, visits, explained] = await Promise.all([
        ask(`/tiles/${id}/habitats?${where}`),
        ask(`/tiles/${id}/similar?k=6&${where}`),
        visitsOf(api, collection?.name ?? "", feature, signal).catch(() => []),
        rank && hasTerms(state) && !feature.properties.before
          ? api.search(patchState(state, { k: 1, offset: rank - 1 }), { explain: true, signal }).catch(() => null)
          : null,
      ]);
      if (signal.aborted) return;
      const shares = explained?.features.find((one) => one.id === feature.id)?.properties.shares;
      if (shares?.length) showShares(shares);
      if (visits.length > 1) showVisits(visits, feature.id, go, () => compareDays(api, state, visits));
      if (habitats) showHabitats(habitats);
      if (similar) showNeighbours(similar.features.filter((other) => other.id !== feature.id).slice(0, 5), api, go);
    });
  }

  return {
    /**
     * @param {import("./api.js").Tile} feature
     * @param {import("./state.js").State} state
     */
    show(feature, state) {
      if (shown === feature.id && !box.hidden) return;
      shown = feature.id;
      draw(feature, hasTerms(state));
      fill(feature, state);
    },
    hide() {
      latest.stop();
      shown = null;
      box.hidden = true;
      box.replaceChildren();
    },
  };
}

function facts(p) {
  const rows = [
    ["Taken", formatMonth(p.captured_on)],
    ["Cloud", p.cloud_cover === null || p.cloud_cover === undefined ? "" : `${Math.round(p.cloud_cover * 100)} %`],
    ["Pixel", p.gsd_m ? formatLength(p.gsd_m) : ""],
    ["Tile", p.tile_id],
  ];
  return element(
    "dl",
    { class: "facts" },
    ...rows
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]),
  );
}

/** Percentile and score in words, and what each term gave. */
function why(p) {
  const share = Math.floor(p.percentile * 100) / 100; // never rounded up to all
  const raw = `The raw score is ${p.score.toFixed(3)}; it only ranks, and means nothing by itself.`;
  const fit = FIT_WORDS[p.fit]?.toLowerCase() ?? fitWords(p.percentile);
  return element(
    "section",
    { class: "detail-why" },
    element("h3", { text: `Why rank ${p.rank}: ${fit}` }),
    element("p", { text: `It fits better than ${share} % of all tiles. ${raw}` }),
    element("div", { id: "detail-shares" }),
  );
}

/** What a place scored on its two days. */
function whyChanged({ rank, difference, score, captured_on: day, before }) {
  const days = [before, { score, captured_on: day }];
  const scores = days.map((one) => `${one.score.toFixed(2).replace("-", "−")} on ${formatDay(one.captured_on)}`);
  return element(
    "section",
    { class: "detail-why" },
    element("h3", { text: `Why rank ${rank}: ${changeWords(difference).toLowerCase()}` }),
    element("p", { text: `It scored ${scores.join(" and ")}. A score only compares; season and haze change it, too.` }),
  );
}

function showShares(shares) {
  const most = Math.max(...shares.map(({ value }) => Math.abs(value)), 1e-9);
  byId("detail-shares").replaceChildren(
    element(
      "ul",
      { class: "shares", "aria-label": "What each part gave to the score" },
      ...shares.map((share) => shareBar(share, most)),
    ),
  );
}

const SPACE_WORDS = { text: "looks like it", place: "lives there", image: "looks alike", location: "similar nature" };

function shareBar({ term, space, value }, most) {
  const signed = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return element(
    "li",
    {},
    element("span", { class: "share-term", text: `${SPACE_WORDS[space] ?? space} · ${term}` }),
    element("meter", {
      min: 0,
      max: most,
      value: Math.abs(value),
      class: value < 0 ? "is-minus" : "",
      "aria-label": `${term}: ${signed}`,
    }),
    element("span", { class: "share-value", text: signed }),
  );
}

function showHabitats(answer) {
  const habitats = (answer.habitats ?? []).slice(0, 5);
  if (habitats.length === 0) return;
  byId("detail-habitats").replaceChildren(
    element("h3", { text: "Looks most like" }),
    element("ul", { class: "habitats" }, ...habitats.map((habitat) => element("li", { text: habitat.phrase }))),
  );
}

/** @param {string} collection @param {string} tile */
function noteField(collection, tile) {
  const field = element("textarea", {
    id: "detail-note",
    rows: 2,
    maxlength: 2000,
    placeholder: "What you know of this place",
  });
  field.value = noteOf(collection, tile);
  field.addEventListener("change", () => keepNote({ collection, tile, text: field.value.trim() }));
  const label = element("label", { for: "detail-note", text: "Your note, kept on this device" });
  return element("div", { class: "note" }, label, field);
}

function showVisits(visits, current, go, compare) {
  byId("detail-visits").replaceChildren(
    element("h3", { text: `This place on ${visits.length} days` }),
    visitStrip(visits, current, (tile) => go({ tile })),
    element("button", { type: "button", class: "quiet", text: "Compare two days", onclick: compare }),
  );
}

function showNeighbours(features, api, go) {
  if (features.length === 0) return;
  const picture = (feature) =>
    element(
      "button",
      {
        type: "button",
        class: "neighbour",
        title: placeName(feature.properties),
        onclick: () => go({ tile: feature.id }),
      },
      element("img", {
        class: "tile-picture",
        src: api.url(feature.properties.thumbnail),
        alt: pictureAlt(feature.properties, placeName(feature.properties)),
        width: 56,
        height: 56,
      }),
    );
  byId("detail-neighbours").replaceChildren(
    element("h3", { text: "Tiles most like this one" }),
    element("div", { class: "neighbours" }, ...features.map(picture)),
  );
}
