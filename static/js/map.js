/** The only file that knows MapLibre. It shows what it is given and reports what the visitor does on the map. */

import { AttributionControl, Map as MapLibreMap, NavigationControl, Popup, ScaleControl, setWorkerUrl } from "../vendor/maplibre-gl/dist/maplibre-gl.mjs";
import { drawPolygon } from "./draw.js";
import { bboxAround, distanceKm, wrapLon } from "./geo.js";
import { ABOVE_HEAT, mapStyle } from "./style.js";

setWorkerUrl(new URL("../vendor/maplibre-gl/dist/maplibre-gl-worker.mjs", import.meta.url).href);

const HIT_LAYERS = ["dots", "hits-fill"];
const EMPTY = { type: "FeatureCollection", features: [] };

/**
 * @param {HTMLElement} container
 * @param {object} options
 * @param {{center: [number, number], zoom: number} | null} options.view
 * @param {string | null} options.imagery
 * @param {number} options.imageryMaxZoom
 * @param {string} options.attribution
 * @param {boolean} options.flat
 * @param {(tileId: string | null) => void} options.onHover
 * @param {(tileId: string) => void} options.onSelect
 * @param {(center: [number, number], zoom: number) => void} options.onMove
 * @param {(lonLat: [number, number]) => void} options.onPlace a click beside every hit
 * @returns {Promise<ReturnType<typeof controls>>}
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

/** A camera that shows the globe as large as the container allows. */
function wholeGlobe({ clientWidth: width, clientHeight: height }) {
  const diameter = 0.84 * Math.min(width, height);
  return { center: [12, 14], zoom: Math.log2((diameter * Math.PI) / 512) };
}

/** Tells the page when everything is drawn, for screenshots and for styles. */
function tellWhenDrawn(map) {
  const { dataset } = map.getContainer();
  map.on("idle", () => { dataset.drawn = "true"; });
  for (const event of ["dataloading", "movestart"]) map.on(event, () => { dataset.drawn = ""; });
}

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

function controls(map) {
  const popup = new Popup({ closeButton: false, closeOnClick: false, focusAfterOpen: false, offset: 12, maxWidth: "260px" });
  const place = new Popup({ closeButton: false, closeOnClick: true, className: "place-card", focusAfterOpen: true, maxWidth: "280px" });
  const marked = { hovered: null, selected: null };
  let ids = new Set();

  function mark(state, tileId) {
    for (const source of ["hits", "dots"]) {
      if (marked[state]) map.setFeatureState({ source, id: marked[state] }, { [state]: false });
      if (tileId && ids.has(tileId)) map.setFeatureState({ source, id: tileId }, { [state]: true });
    }
    marked[state] = tileId;
    map.getContainer().dataset[state] = tileId && ids.has(tileId) ? tileId : "";
  }

  return {
    /** @param {object[]} features hits as GeoJSON */
    showHits(features) {
      ids = new Set(features.map(({ properties }) => properties.tile_id));
      const slim = (feature) => ({ tile_id: feature.properties.tile_id, rank: feature.properties.rank });
      map.getSource("hits").setData({
        type: "FeatureCollection",
        features: features.map((feature) => ({ type: "Feature", geometry: feature.geometry, properties: slim(feature) })),
      });
      map.getSource("dots").setData({
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
    /** Hits of the query that this one is compared with. @param {object[]} features */
    showOthers(features) {
      const point = ({ properties: { lon, lat } }) => ({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: [lon, lat] } });
      map.getSource("others").setData({ type: "FeatureCollection", features: features.map(point) });
      map.getContainer().dataset.others = String(features.length);
    },
    /** @param {string | null} tiles address of the heat map's tiles, null for none @param {number} opacity 0 to 1 */
    setHeat(tiles, opacity) {
      const source = map.getSource("heat");
      if (tiles && !source) {
        map.addSource("heat", { type: "raster", tiles: [tiles], tileSize: 256, maxzoom: 8 });
        map.addLayer({ id: "heat", type: "raster", source: "heat", paint: { "raster-opacity": opacity, "raster-fade-duration": 150 } }, ABOVE_HEAT);
      } else if (tiles && source.tiles[0] !== tiles) source.setTiles([tiles]);
      if (tiles) map.setPaintProperty("heat", "raster-opacity", opacity);
      else if (source) map.removeLayer("heat").removeSource("heat");
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
    /** @param {object | null} feature @param {string} [label] */
    highlight(feature, label) {
      mark("hovered", feature?.properties.tile_id ?? null);
      if (!feature) return popup.remove();
      return popup.setLngLat([feature.properties.lon, feature.properties.lat]).setText(label).addTo(map);
    },
    select: (tileId) => mark("selected", tileId),
    /** Bring a hit into sight without losing the scale. @param {object} feature */
    flyTo(feature, { zoom = map.getZoom(), offset = [0, 0] } = {}) {
      map.flyTo({ center: [feature.properties.lon, feature.properties.lat], zoom, offset, duration: 1100 });
    },
    setView: (view) => map.jumpTo(view ?? wholeGlobe(map.getContainer())),
    sees: (lonLat) => isInSight(map, lonLat),
    viewBbox: () => viewBbox(map),
    zoom: () => map.getZoom(),
    setFlat: (flat) => map.setProjection({ type: flat ? "mercator" : "globe" }),
    /** @param {import("./world.js").World} world */
    setWorld(world) {
      for (const name of ["land", "borders", "coast"]) map.getSource(name).setData(world[name]);
    },
    /** @param {object | null} geometry outline of the area that narrows the search */
    setArea: (geometry) => map.getSource("area").setData(geometry ?? EMPTY),
    onZoomPast(zoom, task) {
      const check = () => {
        if (map.getZoom() < zoom) return;
        map.off("zoomend", check);
        task();
      };
      map.on("zoomend", check);
      check();
    },
    idle: () => new Promise((resolve) => (map.loaded() ? resolve() : map.once("idle", resolve))),
  };
}

/** A grid of places that the canvas shows; on the globe, pixels beside it give the nearest place of its rim. */
function sampleView(map, steps = 12) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const points = [];
  for (let i = 0; i <= steps; i += 1) {
    for (let j = 0; j <= steps; j += 1) {
      const { lng, lat } = map.unproject([(width * i) / steps, (height * j) / steps]);
      points.push([lng, lat]);
    }
  }
  return points;
}

/** A place behind the globe projects onto another one in front of it, so there and back must lead to the same place. */
function isInSight(map, lonLat) {
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const { x, y } = map.project(lonLat);
  if (x < 20 || y < 20 || x > width - 20 || y > height - 20) return false;
  const { lng, lat } = map.unproject([x, y]);
  return distanceKm(lonLat, [lng, lat]) < 300;
}

function viewBbox(map) {
  const { lng } = map.getCenter();
  const seesPole = [90, -90].some((lat) => isInSight(map, [lng, lat * 0.9999]));
  return bboxAround(sampleView(map), lng, seesPole);
}
