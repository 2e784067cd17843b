/** How the map looks: sources and layers as MapLibre wants them. Pure data, no library. */

/** @type {import("geojson").FeatureCollection} */
const EMPTY = { type: "FeatureCollection", features: [] };
/** @typedef {import("maplibre-gl").LayerSpecification} Layer */

const RANK = { ink: "#2b1a00", halo: "#ffb020" };
const MOST_RANK = 99; // three digits do not fit on a dot
const HOVERED = ["boolean", ["feature-state", "hovered"], false];
const SELECTED = ["boolean", ["feature-state", "selected"], false];
/** @returns {any} an expression of one of the three values */
const when = (selected, hovered, otherwise) => ["case", SELECTED, selected, HOVERED, hovered, otherwise];

/**
 * How large a picture is on the map, in lengths of 1 px: one of its pixels for each of the screen's.
 * @param {number} pixels side of the picture
 * @param {number} ratio pixels of the screen for a length of 1 px
 */
export function tileSize(pixels, ratio) {
  return ratio > 1 ? pixels / 2 : pixels;
}

/**
 * @param {object} options
 * @param {string | null} options.imagery tile address with {z}/{x}/{y}, or null for the plain land map
 * @param {[number, number, number, number] | null} options.imageryBounds beyond which nothing is asked for, if known
 * @param {number} options.imageryMinZoom coarsest zoom that has pictures
 * @param {number} options.imageryMaxZoom deepest zoom that has pictures; deeper views stretch them
 * @param {number} options.imageryTileSize side of a picture on the map, see tileSize
 * @param {boolean} options.flat
 * @returns {import("maplibre-gl").StyleSpecification}
 */
export function mapStyle({ imagery, imageryBounds, imageryMinZoom, imageryMaxZoom, imageryTileSize, flat }) {
  return {
    version: 8,
    projection: { type: flat ? "mercator" : "globe" },
    light: { anchor: "viewport", position: [1.5, 0, 0] }, // from behind the viewer: no side of the globe is dark
    sky: { "atmosphere-blend": ["interpolate", ["linear"], ["zoom"], 0, 0.8, 4, 0.5, 7, 0] },
    sources: {
      land: { type: "geojson", data: EMPTY },
      borders: { type: "geojson", data: EMPTY },
      coast: { type: "geojson", data: EMPTY },
      area: { type: "geojson", data: EMPTY },
      hits: { type: "geojson", data: EMPTY, promoteId: "tile_id" },
      dots: { type: "geojson", data: EMPTY, promoteId: "tile_id" },
      others: { type: "geojson", data: EMPTY },
      chosen: { type: "geojson", data: EMPTY },
      ...(imagery && {
        imagery: {
          type: "raster",
          tiles: [imagery],
          tileSize: imageryTileSize,
          minzoom: imageryMinZoom,
          ...(imageryBounds && { bounds: imageryBounds }),
          maxzoom: imageryMaxZoom,
        },
      }),
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": "#16324a" } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": "#4d6350", "fill-antialias": false } },
      ...(imagery ? [IMAGERY] : []),
      {
        id: "coast",
        type: "line",
        source: "coast",
        paint: { "line-color": "#ffffff", "line-opacity": 0.35, "line-width": 0.7 },
      },
      {
        id: "borders",
        type: "line",
        source: "borders",
        paint: { "line-color": "#ffffff", "line-opacity": 0.4, "line-width": 0.8, "line-dasharray": [3, 2] },
      },
      { id: "area-fill", type: "fill", source: "area", paint: { "fill-color": "#6fd6ab", "fill-opacity": 0.1 } },
      {
        id: "area-line",
        type: "line",
        source: "area",
        paint: { "line-color": "#6fd6ab", "line-width": 2, "line-dasharray": [2, 1.5] },
      },
      {
        id: "others",
        type: "circle",
        source: "others",
        paint: {
          "circle-color": "rgba(0, 0, 0, 0)",
          "circle-radius": ["interpolate", ["linear"], ["zoom"], 0, 5.5, 4, 8],
          "circle-stroke-color": "#5cd6ff",
          "circle-stroke-width": 3,
        },
      },
      ...hitLayers(),
      ...CHOSEN,
    ],
  };
}

/** The layer that the heat map goes under: everything drawn stays above it. */
export const ABOVE_HEAT = "coast";

/** @type {Layer} */
const IMAGERY = {
  id: "imagery",
  type: "raster",
  source: "imagery",
  paint: { "raster-fade-duration": 150, "raster-brightness-min": 0.05 },
};

/** @returns {Layer[]} */
function hitLayers() {
  return [
    {
      id: "hits-fill",
      type: "fill",
      source: "hits",
      paint: { "fill-color": "#ffb020", "fill-opacity": when(0.35, 0.3, 0.12) },
    },
    {
      id: "hits-case",
      type: "line",
      source: "hits",
      paint: { "line-color": "#2b1a00", "line-opacity": 0.65, "line-width": when(5, 4.5, 3.2) },
    },
    {
      id: "hits-line",
      type: "line",
      source: "hits",
      paint: { "line-color": when("#ffffff", "#ffffff", "#ffb020"), "line-width": when(3, 2.5, 1.6) },
    },
    {
      id: "dots",
      type: "circle",
      source: "dots",
      paint: {
        "circle-color": when("#ffffff", "#ffffff", "#ffb020"),
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 0, when(10, 9, 7.5), 4, when(12, 11, 9.5)],
        "circle-stroke-color": when("#d97a00", "#d97a00", "#2b1a00"),
        "circle-stroke-width": when(4, 3, 1.5),
      },
    },
    {
      id: "ranks",
      type: "symbol",
      source: "dots",
      filter: ["<=", ["get", "rank"], MOST_RANK],
      layout: {
        "text-field": ["to-string", ["get", "rank"]],
        "text-size": ["interpolate", ["linear"], ["zoom"], 0, 9.5, 4, 11.5],
        "text-allow-overlap": true,
        "text-ignore-placement": true,
        "symbol-z-order": "source",
      },
      paint: { "text-color": RANK.ink, "text-halo-color": RANK.halo, "text-halo-width": 1.6 },
    },
  ];
}

/** @typedef {"circle-opacity" | "circle-stroke-opacity" | "fill-opacity" | "text-color" | "text-halo-color"} Faded */

/**
 * How dots give way to footprints, and the tint of footprints to their pictures.
 *
 * @param {number} until the zoom from which on footprints are large enough
 * @returns {[string, Faded, any][]}
 */
export function fadeOfDots(until) {
  const fade = ["interpolate", ["linear"], ["zoom"], until - 1, 1, until, 0];
  return [
    ["dots", "circle-opacity", fade],
    ["dots", "circle-stroke-opacity", fade],
    ["ranks", "text-color", ["step", ["zoom"], RANK.ink, until - 0.5, "#ffffff"]],
    ["ranks", "text-halo-color", ["step", ["zoom"], RANK.halo, until - 0.5, "#0a120f"]],
    ["hits-fill", "fill-opacity", ["interpolate", ["linear"], ["zoom"], until, tint(1), until + 1, tint(0.2)]],
  ];
}

/** @param {number} share */
const tint = (share) => when(0.35 * share, 0.3 * share, 0.12 * share);

/** A selected tile that is no hit. @type {Layer[]} */
const CHOSEN = [
  {
    id: "chosen-line",
    type: "line",
    source: "chosen",
    filter: ["!=", ["geometry-type"], "Point"],
    paint: { "line-color": "#ffffff", "line-width": 3, "line-dasharray": [2, 1] },
  },
  {
    id: "chosen-dot",
    type: "circle",
    source: "chosen",
    filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-color": "rgba(0, 0, 0, 0)",
      "circle-radius": 11,
      "circle-stroke-color": "#ffffff",
      "circle-stroke-width": 3,
    },
  },
];
