/** The only file that knows MapLibre. It shows what it is given and reports what the visitor does on the map. */

import {
  AttributionControl,
  Map as MapLibreMap,
  NavigationControl,
  Popup,
  ScaleControl,
  setWorkerUrl,
} from "../vendor/maplibre-gl/dist/maplibre-gl.mjs";
import { flatBounds, globeView, viewOfExtent, zoomOfTile } from "./camera.js";
import { createDrapes } from "./drape.js";
import { drawPolygon } from "./draw.js";
import { bboxAround, distanceKm, formatBbox, wrapLon } from "./geo.js";
import { ABOVE_HEAT, fadeOfDots, mapStyle, tileSize } from "./style.js";

setWorkerUrl(new URL("../vendor/maplibre-gl/dist/maplibre-gl-worker.mjs", import.meta.url).href);

/**
 * @typedef {{center: [number, number], zoom: number}} View
 * @typedef {import("./api.js").Tile} Tile
 * @typedef {import("maplibre-gl").GeoJSONSource} GeoJSONSource
 * @typedef {import("maplibre-gl").RasterTileSource} RasterTileSource
 * @typedef {ReturnType<typeof controls>} MapControls
 */

const HIT_LAYERS = ["dots", "hits-fill"];
const MOST_ZOOM = 17;
const MARGIN_PX = 44; // round the hits that the map goes to
const DOT_PX = 26; // a footprint whose side is longer needs no dot
const DOUBLE_CLICK_MS = 280;
const BESIDE_PX = 6; // further than this from the globe a pixel shows the sky
/** @type {import("geojson").FeatureCollection} */
const EMPTY = { type: "FeatureCollection", features: [] };

/**
 * @param {HTMLElement} container
 * @param {object} options
 * @param {View | null} options.view
 * @param {import("./geo.js").BBox | null} options.extent of the collection
 * @param {string | null} options.imagery
 * @param {[number, number, number, number] | null} options.imageryBounds
 * @param {number} options.imageryMinZoom
 * @param {number} options.imageryMaxZoom
 * @param {number} options.imageryTilePx
 * @param {string} options.attribution
 * @param {boolean} options.flat
 * @param {(path: string) => string} options.url address of a path of the service
 * @param {(tileId: string | null) => void} options.onHover
 * @param {(tileId: string) => void} options.onSelect
 * @param {(center: [number, number], zoom: number) => void} options.onMove
 * @param {(lonLat: [number, number]) => void} options.onPlace a click beside every hit
 * @param {(tileIds: string[], lonLat: [number, number]) => void} options.onBox hits in a box dragged with Shift
 * @returns {Promise<MapControls>}
 */
export async function createMap(container, options) {
  const start = options.view ?? firstView(container, options.extent);
  const map = new MapLibreMap({
    container,
    style: mapStyle({ ...options, imageryTileSize: tileSize(options.imageryTilePx, devicePixelRatio) }),
    ...start,
    minZoom: 0.4,
    maxZoom: MOST_ZOOM,
    attributionControl: false,
    maplibreLogo: false,
    renderWorldCopies: true,
    dragRotate: false,
    boxZoom: { boxZoomEnd: (self, from, to) => reportBox(self, from, to, options) },
    pitchWithRotate: false,
    reduceMotion: matchMedia("(prefers-reduced-motion: reduce)").matches,
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new ScaleControl({ maxWidth: 110 }), "bottom-left");
  map.addControl(new AttributionControl({ compact: false, customAttribution: options.attribution }), "bottom-right");
  map.getCanvas().setAttribute("aria-label", "Map; every hit on it is also in the list");
  await new Promise((resolve) => map.once("style.load", resolve));
  report(map, options);
  tellWhenDrawn(map);
  return controls(map, options);
}

/** A camera that shows where the collection lies, or the globe. @param {HTMLElement} container @param {any} extent */
function firstView(container, extent) {
  const free = Math.max(Math.min(container.clientWidth, container.clientHeight) - 2 * MARGIN_PX, 80);
  return (extent && viewOfExtent(extent, free)) ?? wholeGlobe(container);
}

/**
 * A camera that shows the globe as large as the container allows.
 *
 * @param {HTMLElement} container
 * @returns {View}
 */
function wholeGlobe({ clientWidth: width, clientHeight: height }) {
  const diameter = 0.84 * Math.min(width, height);
  return { center: [12, 14], zoom: Math.log2((diameter * Math.PI) / 512) };
}

/** Tells the page when everything is drawn, for screenshots and for styles. @param {MapLibreMap} map */
function tellWhenDrawn(map) {
  const { dataset } = map.getContainer();
  map.on("idle", () => {
    dataset.drawn = "true";
  });
  const begun = () => {
    dataset.drawn = "";
  };
  map.on("dataloading", begun);
  map.on("movestart", begun);
}

/** @param {MapLibreMap} map @param {Parameters<typeof createMap>[1]} options */
function report(map, { onHover, onSelect, onMove, onPlace }) {
  const hitAt = (point) => map.queryRenderedFeatures(point, { layers: HIT_LAYERS })[0]?.properties.tile_id ?? null;
  let hovered = null;
  let waiting = 0;
  map.on("mousemove", ({ point }) => {
    const id = hitAt(point);
    map.getCanvas().style.cursor = id ? "pointer" : "";
    if (id !== hovered) onHover((hovered = id));
  });
  map.on("mouseout", () => onHover((hovered = null)));
  map.on("click", ({ point, lngLat }) => {
    if (map.getContainer().dataset.drawing) return;
    const id = hitAt(point);
    clearTimeout(waiting);
    if (id) onSelect(id);
    else waiting = setTimeout(() => onPlace([wrapLon(lngLat.lng), lngLat.lat]), DOUBLE_CLICK_MS);
  });
  map.on("dblclick", () => clearTimeout(waiting)); // it zooms, and says nothing about the place or the selected tile
  map.on("moveend", () => {
    const { lng, lat } = map.getCenter();
    onMove([wrapLon(lng), lat], map.getZoom());
  });
}

/**
 * @param {MapLibreMap} map
 * @param {import("maplibre-gl").Point} from
 * @param {import("maplibre-gl").Point} to
 * @param {Parameters<typeof createMap>[1]} options
 */
function reportBox(map, from, to, { onBox }) {
  const found = map.queryRenderedFeatures([from, to], { layers: HIT_LAYERS });
  const { lng, lat } = map.unproject([(from.x + to.x) / 2, (from.y + to.y) / 2]);
  onBox([...new Set(found.map(({ properties }) => properties.tile_id))], [wrapLon(lng), lat]);
}

/** @param {MapLibreMap} map @param {Parameters<typeof createMap>[1]} options */
function controls(map, { url, extent }) {
  const popup = new Popup({
    closeButton: false,
    closeOnClick: false,
    focusAfterOpen: false,
    offset: 12,
    maxWidth: "260px",
    locationOccludedOpacity: 0, // behind the globe
  });
  const place = new Popup({
    closeButton: false,
    closeOnClick: true,
    className: "place-card",
    focusAfterOpen: true,
    maxWidth: "280px",
    locationOccludedOpacity: 0,
  });
  /** @type {{hovered: string | null, selected: string | null}} */
  const marked = { hovered: null, selected: null };
  /** @type {Set<string>} */
  let ids = new Set();
  /** @type {Tile | null} */
  let chosen = null;
  let touched = 0; // when the visitor last moved the map by hand, in ms; 0 since it went to the hits
  const drapes = createDrapes(map, url);
  map.on("movestart", ({ originalEvent }) => {
    if (originalEvent) touched = performance.now();
  });
  keepWhileZooming(map, () => (chosen ? [chosen.properties.lon, chosen.properties.lat] : null));
  /** @param {string} name */
  const source = (name) => /** @type {GeoJSONSource} */ (map.getSource(name));

  /** @param {"hovered" | "selected"} state @param {string | null} tileId */
  function mark(state, tileId) {
    for (const name of ["hits", "dots"]) {
      const before = marked[state];
      if (before) map.setFeatureState({ source: name, id: before }, { [state]: false });
      if (tileId && ids.has(tileId)) map.setFeatureState({ source: name, id: tileId }, { [state]: true });
    }
    marked[state] = tileId;
    map.getContainer().dataset[state] = tileId && ids.has(tileId) ? tileId : "";
  }

  return {
    /** @param {Tile[]} features hits as GeoJSON */
    showHits(features) {
      ids = new Set(features.map(({ properties }) => properties.tile_id));
      const slim = (feature) => ({ tile_id: feature.properties.tile_id, rank: feature.properties.rank });
      source("hits").setData({
        type: "FeatureCollection",
        features: features.map((feature) => ({
          type: "Feature",
          geometry: feature.geometry,
          properties: slim(feature),
        })),
      });
      source("dots").setData({
        type: "FeatureCollection",
        features: features.map((feature) => ({
          type: "Feature",
          geometry: { type: "Point", coordinates: [feature.properties.lon, feature.properties.lat] },
          properties: slim(feature),
        })),
      });
      drapes.show(features);
      const until = features.length ? zoomOfTile(features[0], DOT_PX) : MOST_ZOOM;
      for (const [layer, property, value] of fadeOfDots(until)) map.setPaintProperty(layer, property, value);
      map.setLayerZoomRange("dots", 0, until);
      mark("hovered", null);
      mark("selected", marked.selected);
      popup.remove();
      map.getContainer().dataset.hits = String(features.length); // lets a test, or a style, know what the canvas shows
    },
    /** Hits of the query that this one is compared with. @param {Tile[]} features */
    showOthers(features) {
      /** @returns {import("geojson").Feature} */
      const point = ({ properties: { lon, lat } }) => ({
        type: "Feature",
        properties: {},
        geometry: { type: "Point", coordinates: [lon, lat] },
      });
      source("others").setData({ type: "FeatureCollection", features: features.map(point) });
      map.getContainer().dataset.others = String(features.length);
    },
    /** @param {string | null} tiles address of the heat map's tiles, null for none @param {number} opacity 0 to 1 */
    setHeat(tiles, opacity) {
      const heat = /** @type {RasterTileSource | undefined} */ (map.getSource("heat"));
      if (tiles && !heat) {
        map.addSource("heat", { type: "raster", tiles: [tiles], tileSize: 256, maxzoom: 8 });
        map.addLayer(
          {
            id: "heat",
            type: "raster",
            source: "heat",
            paint: { "raster-opacity": opacity, "raster-fade-duration": 150 },
          },
          ABOVE_HEAT,
        );
      } else if (tiles && heat && heat.tiles[0] !== tiles) heat.setTiles([tiles]);
      if (tiles) map.setPaintProperty("heat", "raster-opacity", opacity);
      else if (heat) map.removeLayer("heat").removeSource("heat");
      map.getContainer().dataset.heat = tiles ? String(opacity) : "";
    },
    /** A card with things to do, fixed to a place. @param {[number, number]} lonLat @param {HTMLElement} card */
    showCard(lonLat, card) {
      place.setLngLat(lonLat).setDOMContent(card).addTo(map);
    },
    redrape: drapes.again,
    resized: () => map.resize(),
    /** @returns {Promise<string>} address of a picture: WebGL keeps its canvas only while it draws */
    picture: () =>
      new Promise((resolve) => {
        map.once("render", () => resolve(map.getCanvas().toDataURL("image/jpeg", 0.9)));
        map.triggerRepaint();
      }),
    hideCard: () => place.remove(),
    drawArea() {
      map.getContainer().dataset.drawing = "true";
      return drawPolygon(map, "area").finally(() => {
        map.getContainer().dataset.drawing = "";
      });
    },
    /** @param {Tile | null} feature @param {string} [label] */
    highlight(feature, label) {
      mark("hovered", feature?.properties.tile_id ?? null);
      if (!feature || !isInSight(map, [feature.properties.lon, feature.properties.lat])) return popup.remove();
      return popup
        .setLngLat([feature.properties.lon, feature.properties.lat])
        .setText(label ?? "")
        .addTo(map);
    },
    /** A tile that is no hit gets a mark of its own. @param {Tile | null} feature */
    select(feature) {
      chosen = feature;
      mark("selected", feature?.properties.tile_id ?? null);
      const stranger = feature && !ids.has(feature.properties.tile_id) ? feature : null;
      source("chosen").setData(stranger ? withMiddle(stranger) : EMPTY);
      map.getContainer().dataset.chosen = stranger?.properties.tile_id ?? "";
    },
    /**
     * Go to the smallest view that holds the first hits; on a globe, of the densest group if they lie all around it.
     *
     * @param {Tile[]} hits at least one
     * @param {{animate?: boolean}} [how]
     */
    fit(hits, { animate = true } = {}) {
      touched = 0;
      const { clientWidth: width, clientHeight: height } = map.getContainer();
      const free = Math.max(Math.min(width, height) - 2 * MARGIN_PX, 80);
      const isFlat = map.getProjection()?.type === "mercator";
      const padding = Math.min(MARGIN_PX, (Math.min(width, height) - 80) / 2);
      const view = isFlat
        ? map.cameraForBounds(flatBounds(hits), { padding, maxZoom: MOST_ZOOM })
        : globeView(hits, free);
      if (view) map[animate ? "flyTo" : "jumpTo"]({ ...view, ...(animate && { duration: 1400 }) });
    },
    /** When the visitor last moved the map by hand since it went to the hits; 0 for not at all. */
    touched: () => touched,
    /** Bring a hit into sight without losing the scale. @param {Tile} feature */
    flyTo(feature, { zoom = map.getZoom(), offset = [0, 0] } = {}) {
      map.flyTo({ center: [feature.properties.lon, feature.properties.lat], zoom, offset, duration: 1100 });
    },
    /** @param {View | null} view */
    setView: (view) => map.jumpTo(view ?? firstView(map.getContainer(), extent)),
    /** @param {[number, number]} lonLat */
    sees: (lonLat) => isInSight(map, lonLat),
    viewArea: () => viewArea(map),
    zoom: () => map.getZoom(),
    /** @param {boolean} flat */
    setFlat: (flat) => map.setProjection({ type: flat ? "mercator" : "globe" }),
    /** @param {import("./world.js").World} world */
    setWorld(world) {
      for (const name of /** @type {const} */ (["land", "borders", "coast"])) source(name).setData(world[name]);
    },
    /** @param {import("geojson").Geometry | null} geometry outline of the area that narrows the search */
    setArea: (geometry) => source("area").setData(geometry ?? EMPTY),
    /** @param {number} zoom @param {() => void} task done once */
    onZoomPast(zoom, task) {
      const check = () => {
        if (map.getZoom() < zoom) return;
        map.off("zoomend", check);
        task();
      };
      map.on("zoomend", check);
      check();
    },
  };
}

/**
 * A grid of places that the canvas shows; pixels beside the globe give the nearest place of its rim.
 *
 * @param {MapLibreMap} map
 * @param {number} [steps]
 */
function sampleView(map, steps = 12) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const isFlat = map.getProjection()?.type === "mercator";
  /** @type {{lonLat: [number, number], beside: boolean}[]} */
  const samples = [];
  for (let i = 0; i <= steps; i += 1) {
    for (let j = 0; j <= steps; j += 1) {
      const [x, y] = [(width * i) / steps, (height * j) / steps];
      const { lng, lat } = map.unproject([x, y]);
      const back = map.project([lng, lat]);
      samples.push({ lonLat: [lng, lat], beside: !isFlat && Math.hypot(back.x - x, back.y - y) > BESIDE_PX });
    }
  }
  return samples;
}

/**
 * A place behind the globe projects onto another one in front of it, so there and back must lead to the same place.
 *
 * @param {MapLibreMap} map
 * @param {[number, number]} lonLat
 */
function isInSight(map, lonLat) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const { x, y } = map.project(lonLat);
  if (x < 20 || y < 20 || x > width - 20 || y > height - 20) return false;
  const { lng, lat } = map.unproject([x, y]);
  return distanceKm(lonLat, [lng, lat]) < 300;
}

/**
 * What the map shows, as a filter: a circle where the rim of the globe is in sight, since a box around half the globe
 * holds nearly all of it; else a box.
 *
 * @param {MapLibreMap} map
 * @returns {{circle: string} | {bbox: string} | null}
 */
function viewArea(map) {
  const { lng, lat } = map.getCenter();
  const [center, samples] = [/** @type {[number, number]} */ ([wrapLon(lng), lat]), sampleView(map)];
  if (samples.some(({ beside }) => beside)) {
    const seen = samples.filter(({ beside }) => !beside).map(({ lonLat }) => distanceKm(center, lonLat));
    return { circle: [center[0].toFixed(2), lat.toFixed(2), Math.ceil(Math.max(...seen))].join() };
  }
  const seesPole = [90, -90].some((pole) => isInSight(map, [lng, pole * 0.9999]));
  const points = samples.map(({ lonLat }) => lonLat);
  const bbox = bboxAround(points, lng, seesPole);
  return bbox && { bbox: formatBbox(bbox) };
}

/** A footprint and its middle, since one of them is always too small to see. @param {Tile} tile */
function withMiddle({ geometry, properties: { lon, lat } }) {
  const feature = (geometry) => ({ type: /** @type {const} */ ("Feature"), properties: {}, geometry });
  return {
    type: /** @type {const} */ ("FeatureCollection"),
    features: [feature(geometry), feature({ type: "Point", coordinates: [lon, lat] })],
  };
}

/**
 * The zoom buttons and keys keep to the middle of the map, and would push a selected tile beside it out of sight.
 *
 * @param {MapLibreMap} map
 * @param {() => [number, number] | null} chosen place of the selected tile
 */
function keepWhileZooming(map, chosen) {
  let kept = null;
  map.on("zoomstart", ({ originalEvent }) => {
    const place = ["click", "keydown"].includes(originalEvent?.type ?? "") ? chosen() : null;
    kept = place && isInSight(map, place) ? place : null;
  });
  map.on("zoomend", () => {
    if (kept && !isInSight(map, kept)) map.easeTo({ center: kept });
    kept = null;
  });
}
