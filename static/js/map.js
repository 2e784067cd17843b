/** The only file that knows MapLibre. It shows what it is given and reports what the visitor does on the map. */

import {
  AttributionControl,
  Map as MapLibreMap,
  NavigationControl,
  Popup,
  ScaleControl,
  setWorkerUrl,
} from "../vendor/maplibre-gl/dist/maplibre-gl.mjs";
import { drawPolygon } from "./draw.js";
import { bboxAround, distanceKm, wrapLon } from "./geo.js";
import { ABOVE_HEAT, mapStyle } from "./style.js";

setWorkerUrl(new URL("../vendor/maplibre-gl/dist/maplibre-gl-worker.mjs", import.meta.url).href);

/**
 * @typedef {{center: [number, number], zoom: number}} View
 * @typedef {import("./api.js").Tile} Tile
 * @typedef {import("maplibre-gl").GeoJSONSource} GeoJSONSource
 * @typedef {import("maplibre-gl").RasterTileSource} RasterTileSource
 * @typedef {ReturnType<typeof controls>} MapControls
 */

const HIT_LAYERS = ["dots", "hits-fill"];
/** @type {import("geojson").FeatureCollection} */
const EMPTY = { type: "FeatureCollection", features: [] };

/**
 * @param {HTMLElement} container
 * @param {object} options
 * @param {View | null} options.view
 * @param {string | null} options.imagery
 * @param {number} options.imageryMaxZoom
 * @param {string} options.attribution
 * @param {boolean} options.flat
 * @param {(tileId: string | null) => void} options.onHover
 * @param {(tileId: string) => void} options.onSelect
 * @param {(center: [number, number], zoom: number) => void} options.onMove
 * @param {(lonLat: [number, number]) => void} options.onPlace a click beside every hit
 * @returns {Promise<MapControls>}
 */
export async function createMap(container, options) {
  const start = options.view ?? wholeGlobe(container);
  const map = new MapLibreMap({
    container,
    style: mapStyle(options),
    ...start,
    minZoom: 0.4,
    maxZoom: 13,
    attributionControl: false,
    maplibreLogo: false,
    renderWorldCopies: true,
    dragRotate: false,
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
  return controls(map);
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
  map.on("mousemove", ({ point }) => {
    const id = hitAt(point);
    map.getCanvas().style.cursor = id ? "pointer" : "";
    if (id !== hovered) onHover((hovered = id));
  });
  map.on("mouseout", () => onHover((hovered = null)));
  map.on("click", ({ point, lngLat }) => {
    if (map.getContainer().dataset.drawing) return;
    const id = hitAt(point);
    if (id) onSelect(id);
    else onPlace([wrapLon(lngLat.lng), lngLat.lat]);
  });
  map.on("moveend", () => {
    const { lng, lat } = map.getCenter();
    onMove([wrapLon(lng), lat], map.getZoom());
  });
}

/** @param {MapLibreMap} map */
function controls(map) {
  const popup = new Popup({
    closeButton: false,
    closeOnClick: false,
    focusAfterOpen: false,
    offset: 12,
    maxWidth: "260px",
  });
  const place = new Popup({
    closeButton: false,
    closeOnClick: true,
    className: "place-card",
    focusAfterOpen: true,
    maxWidth: "280px",
  });
  /** @type {{hovered: string | null, selected: string | null}} */
  const marked = { hovered: null, selected: null };
  /** @type {Set<string>} */
  let ids = new Set();
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
      if (!feature) return popup.remove();
      return popup
        .setLngLat([feature.properties.lon, feature.properties.lat])
        .setText(label ?? "")
        .addTo(map);
    },
    /** @param {string | null} tileId */
    select: (tileId) => mark("selected", tileId),
    /** Bring a hit into sight without losing the scale. @param {Tile} feature */
    flyTo(feature, { zoom = map.getZoom(), offset = [0, 0] } = {}) {
      map.flyTo({ center: [feature.properties.lon, feature.properties.lat], zoom, offset, duration: 1100 });
    },
    /** @param {View | null} view */
    setView: (view) => map.jumpTo(view ?? wholeGlobe(map.getContainer())),
    /** @param {[number, number]} lonLat */
    sees: (lonLat) => isInSight(map, lonLat),
    viewBbox: () => viewBbox(map),
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
 * A grid of places that the canvas shows; on the globe, pixels beside it give the nearest place of its rim.
 *
 * @param {MapLibreMap} map
 * @param {number} [steps]
 */
function sampleView(map, steps = 12) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  /** @type {[number, number][]} */
  const points = [];
  for (let i = 0; i <= steps; i += 1) {
    for (let j = 0; j <= steps; j += 1) {
      const { lng, lat } = map.unproject([(width * i) / steps, (height * j) / steps]);
      points.push([lng, lat]);
    }
  }
  return points;
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

/** @param {MapLibreMap} map */
function viewBbox(map) {
  const { lng } = map.getCenter();
  const seesPole = [90, -90].some((lat) => isInSight(map, [lng, lat * 0.9999]));
  return bboxAround(sampleView(map), lng, seesPole);
}
