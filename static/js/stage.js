/** Right of the list: the map, or a still map where there is no WebGL, and the tools that float on it. */

import { areaPatch } from "./area.js";
import { nativeZoom, zoomOfTile } from "./camera.js";
import { byId, element, icon } from "./dom.js";
import { bboxPolygon, circlePolygon, formatLonLat, parseBbox } from "./geo.js";
import { formatSearch, formatView, hasTerms, newQuestion, patchState, readView, without } from "./state.js";
import { formatLength, plural } from "./words.js";

// Loaded when needed, so that the list works even where the third-party assets are not installed.
const loadWorld = async (root, scale) => (await import("./world.js")).loadWorld(root, scale);

const DEFAULT_HEAT = 70; // per cent of opacity
// What decides which hits are listed does not change how well tiles fit; without it map tiles keep their addresses.
const PLAY_NO_PART = ["k", "offset", "explain", "spacing_km", "max_per_country", "min_percentile"];
const FINE_ZOOM = 5; // from here on the coarse outlines of land look it
const MAGNIFIED = 2; // zooms past one pixel of imagery on one of the screen
const DETAIL_PX = 110; // side of a selected tile, at least

/** @typedef {import("./api.js").Tile} Tile */

/**
 * @param {object} options
 * @param {string} options.root
 * @param {import("./api.js").Api} options.api
 * @param {any} options.collection as the page tells it
 * @param {() => import("./state.js").State} options.state
 * @param {() => import("./state.js").State} options.asked the state with an uploaded picture among its terms
 * @param {(patch: Record<string, unknown>, how?: {replace?: boolean}) => void} options.go
 * @param {(view: string) => void} options.onMove
 * @param {(tileId: string | null) => void} options.onHover
 * @param {(tileIds: string[], verdict: "up" | "down") => void} options.onJudge
 */
export function createStage({ root, api, collection, state, asked, go, onMove, onHover, onJudge }) {
  /** @type {import("./map.js").MapControls | null} */
  let map = null;
  /** @type {ReturnType<typeof import("./stillmap.js").createStillMap> | null} */
  let still = null;
  /** @type {{features: Tile[], others: Tile[]}} */
  let shown = { features: [], others: [] };
  /** Hits that came before the map. @type {Tile[] | null} */
  let unseen = null;
  let askedAt = 0; // when the search that is under way began, in ms
  const opacity = byId("heat-opacity", HTMLInputElement);

  async function start() {
    const { createMap } = await import("./map.js");
    map = await createMap(byId("map"), {
      view: readView(state().view),
      extent: collection?.extent?.spatial?.bbox?.[0] ?? null,
      imagery: collection?.imagery
        ? tileAddress(`/collections/${encodeURIComponent(collection.name)}/imagery/{z}/{x}/{y}`)
        : null,
      imageryBounds: collection?.wildsat?.imagery?.bounds ?? null,
      imageryMinZoom: collection?.wildsat?.imagery?.minzoom ?? 0,
      imageryMaxZoom: collection?.imagery_max_zoom ?? 5,
      imageryTilePx: collection?.wildsat?.imagery?.tile_px ?? 256,
      attribution: [collection?.attribution, "Natural Earth"].filter(Boolean).join(" | "),
      flat: Boolean(state().flat),
      onHover,
      onSelect: (id) => go({ tile: id }),
      url: api.url,
      onMove: (center, zoom) => {
        onMove(formatView(center, zoom));
        tellEnd(center[1], zoom);
        drawTools();
      },
      onPlace: offerPlace,
      onBox: offerBox,
    });
    map.showHits(shown.features);
    map.showOthers(shown.others);
    if (unseen) map.fit(unseen, { animate: false });
    unseen = null;
    refresh();
    useWorld(await loadWorld(root, "110m"));
    byId("map").dataset.ready = "true";
    map.onZoomPast(FINE_ZOOM, async () => map?.setWorld(await loadWorld(root, "50m")));
  }

  /** The list goes on without the map, and so does a still one. */
  async function startStill(error) {
    map = null;
    byId("map").hidden = true;
    const { createStillMap } = await import("./stillmap.js");
    still = createStillMap(byId("map-fallback"));
    still.showHits(shown.features);
    note(`A still map: the live one could not start here (${error.message || "no WebGL"}).`);
    drawTools();
    await loadWorld(root, "110m").then(useWorld, () => {}); // hits without land under them are still hits
  }
  /** Without any map, as when the connection is lost while one loads, there is still the list. */
  function startWithout() {
    note("The map could not be loaded; the list works without it. Load the page again to have it.");
  }

  /** Where a pixel of the imagery is several of the screen, there is nothing more to see. */
  function tellEnd(lat, zoom) {
    const [gsd] = collection?.wildsat?.gsd_m ?? [];
    const ended = Boolean(gsd) && zoom > nativeZoom(gsd, lat) + MAGNIFIED;
    byId("imagery-end").hidden = !ended;
    if (ended) byId("imagery-end").textContent = `Imagery ends here: one of its pixels is ${formatLength(gsd)} wide`;
  }

  function note(sentence) {
    byId("map-note").textContent = sentence;
    byId("map-note").hidden = false;
  }

  /** @param {import("./world.js").World} world */
  function useWorld(world) {
    (map ?? still)?.setWorld(world);
  }

  const tileAddress = (path) => `${location.origin}${root}${path}`;

  /** A click beside every hit lets go of the selected one, or offers what can be done with the place. */
  function offerPlace(lonLat) {
    if (state().tile) return go({ tile: null });
    const [lon, lat] = lonLat.map((value) => value.toFixed(2));
    const act = (text, patch) =>
      element("button", {
        type: "button",
        class: "quiet",
        text,
        onclick: () => {
          map?.hideCard();
          go(patch);
        },
      });
    const card = element("div", { class: "place" }, element("p", { text: formatLonLat(lonLat[0], lonLat[1]) }));
    if (collection?.wildsat?.spaces?.location) {
      card.append(act("Places with nature like here", newQuestion({ near: `${lon},${lat}` })));
    }
    card.append(act("Only within 500 km", areaPatch({ circle: `${lon},${lat},500` })));
    return map?.showCard(lonLat, card);
  }

  /** Hits in a box that was dragged with Shift: judged together. */
  function offerBox(tileIds, lonLat) {
    if (tileIds.length === 0) return;
    const act = (verdict, text) =>
      element(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => {
            map?.hideCard();
            onJudge(tileIds, verdict);
          },
        },
        icon(verdict),
        text,
      );
    const count = element("p", { text: `${plural(tileIds.length, "hit")} in the box` });
    map?.showCard(
      lonLat,
      element("div", { class: "place" }, count, act("up", "Good matches"), act("down", "Poor matches")),
    );
  }

  function refresh() {
    showArea();
    showHeat();
    drawTools();
  }

  function showArea() {
    const { bbox, area, circle } = state();
    const box = parseBbox(bbox ?? null);
    if (area) map?.setArea(parseArea(area));
    else if (circle) map?.setArea(parseCircle(circle));
    else map?.setArea(box ? bboxPolygon(box) : null);
  }

  function showHeat() {
    const { heat } = state();
    const painted = patchState(asked(), without(PLAY_NO_PART));
    map?.setHeat(
      heat && hasTerms(painted) ? tileAddress(`/heatmap/{z}/{x}/{y}.png${formatSearch(painted)}`) : null,
      Number(heat ?? 0) / 100,
    );
    byId("legend").hidden = !heat || !map;
    opacity.value = heat ?? String(DEFAULT_HEAT);
  }

  function drawTools() {
    const now = state();
    const tool = (name, label, pressed, onclick) =>
      element(
        "button",
        { type: "button", class: "quiet", "aria-pressed": pressed, title: label, onclick },
        icon(name),
        element("span", { text: label }),
      );
    const tools = map
      ? [
          tool("view", "Search this view", null, () => go(areaPatch(viewArea()))),
          ...(now.bbox || now.area || now.circle
            ? [tool("everywhere", "Search everywhere", null, () => go(areaPatch({})))]
            : []),
          ...(hasTerms(asked())
            ? [tool("heat", "Heat map", String(Boolean(now.heat)), () => go({ heat: now.heat ? null : DEFAULT_HEAT }))]
            : []),
          ...fitTool(tool),
          tool(now.flat ? "globe" : "flat", now.flat ? "Globe" : "Flat map", null, () => go({ flat: !now.flat })),
        ]
      : [];
    const focused = [...byId("map-tools").children].indexOf(/** @type {Element} */ (document.activeElement));
    byId("map-tools").replaceChildren(...tools);
    if (focused >= 0) tools[focused]?.focus();
  }

  /** Goes to the hits; where some are out of sight it says so. */
  function fitTool(tool) {
    const { features } = shown;
    if (features.length === 0) return [];
    const hidden = features.filter((hit) => !isInSight(hit)).length;
    const label = hidden ? `${plural(hidden, "hit is", "hits are")} elsewhere` : "Go to the hits";
    const button = tool("fit", label, null, () => map?.fit(features));
    button.classList.toggle("is-told", hidden > 0); // a phone shows no other button's words
    return [button];
  }

  /** @param {Tile} hit */
  const isInSight = ({ properties: { lon, lat } }) => Boolean(map?.sees([lon, lat]));

  /** Where the middle of the free part of the map is, as an offset from its centre in pixels. */
  function besideDetail() {
    const [card, stage] = [byId("detail").getBoundingClientRect(), byId("map").getBoundingClientRect()];
    const covers =
      card.width > 0.8 * stage.width ? [0, -Math.max(0, stage.bottom - card.top) / 2] : [-card.width / 2, 0];
    return card.width ? covers : [0, 0];
  }

  /** @returns {Record<string, string>} the filter for what the map shows */
  const viewArea = () => ({ ...map?.viewArea() });

  opacity.addEventListener("input", () => go({ heat: opacity.value }, { replace: true }));

  return {
    start: () => start().catch(startStill).catch(startWithout),
    refresh,
    viewArea,
    async drawArea() {
      if (!map) return null;
      byId("narrow", HTMLDetailsElement).open = false;
      const corners = await map.drawArea();
      showArea();
      return corners;
    },
    /** @param {Tile[]} features @param {Tile[]} [others] hits of the query compared with */
    showHits(features, others = []) {
      shown = { features, others };
      (map ?? still)?.showHits(features);
      map?.showOthers(others);
    },
    /** A search begins: who moves the map from now on until its hits come, means it. */
    begin() {
      askedAt = performance.now();
    },
    /**
     * Bring the hits into sight, unless the visitor has just turned to something else.
     *
     * @param {Tile[]} features
     * @param {boolean} anew whether something else was asked; a filter or a thumb leaves a map that was moved by hand,
     *   and one that shows the best hits already, where it is
     */
    reveal(features, anew) {
      if (!map) unseen = anew && features.length ? features : null;
      if (!map || features.length === 0) return;
      const touched = map.touched();
      const stays = touched > askedAt || (!anew && (touched > 0 || features.slice(0, 10).every(isInSight)));
      if (!stays) map.fit(features);
    },
    /** What the map shows, as an address; null without a map. */
    picture: async () => (map ? map.picture() : null),
    /** After the space for the map has changed. */
    resized: () => map?.resized(),
    /** After pictures are to be stretched or true. */
    redrape: () => map?.redrape(),
    highlight(feature, label) {
      map?.highlight(feature, label);
      still?.mark("hovered", feature?.properties.tile_id ?? null);
    },
    select(feature, { move = true } = {}) {
      map?.select(feature);
      still?.mark("selected", feature?.properties.tile_id ?? null);
      if (feature && move)
        map?.flyTo(feature, { zoom: Math.max(map.zoom(), zoomOfTile(feature, DETAIL_PX)), offset: besideDetail() });
    },
    /** @param {import("./state.js").State} before */
    follow(before) {
      if (before.flat !== state().flat) map?.setFlat(Boolean(state().flat));
      if (before.view !== state().view) map?.setView(readView(state().view));
      refresh();
    },
  };
}

/** @param {string} text "lon,lat,km" */
function parseCircle(text) {
  const [lon, lat, km] = text.split(",").map(Number);
  return circlePolygon(lon, lat, km);
}

/** @param {string} text GeoJSON */
function parseArea(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // the service says what is wrong with it
  }
}
