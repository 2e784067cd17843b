/**
 * Drawing a polygon on the map: press the corners; the first one, Enter, a double click or a button finish, Escape or a
 * button give up.
 */

import { byId } from "./dom.js";

const CLOSE_PX = 14;

/**
 * @param {import("maplibre-gl").Map} map only its events, projection and one GeoJSON source are used
 * @param {string} source id of the source that shows the outline
 * @returns {Promise<number[][] | null>} corners [lon, lat], or null when given up
 */
export function drawPolygon(map, source) {
  /** @type {[number, number][]} */
  const corners = [];
  const canvas = map.getCanvas();
  const cursor = canvas.style.cursor;
  canvas.style.cursor = "crosshair";
  map.doubleClickZoom.disable();

  const outline = /** @type {import("maplibre-gl").GeoJSONSource} */ (map.getSource(source));

  /** @param {[number, number]} [moving] where the pointer is */
  const show = (moving) => {
    const points = moving ? [...corners, moving] : corners;
    /** @type {import("geojson").Geometry} */
    const geometry =
      points.length > 2
        ? { type: "Polygon", coordinates: [[...points, points[0]]] }
        : { type: "LineString", coordinates: points };
    outline.setData(points.length > 1 ? geometry : { type: "FeatureCollection", features: [] });
  };
  const [bar, finishButton, cancelButton] = ["draw-bar", "draw-finish", "draw-cancel"].map((id) => byId(id));
  bar.hidden = false;
  const isFirst = (point) => {
    if (corners.length < 3) return false;
    const first = map.project(corners[0]);
    return Math.hypot(first.x - point.x, first.y - point.y) < CLOSE_PX;
  };

  return new Promise((resolve) => {
    const finish = (result) => {
      for (const subscription of subscriptions) subscription.unsubscribe();
      bar.hidden = true;
      finishButton.onclick = cancelButton.onclick = null;
      removeEventListener("keydown", onKey, true);
      setTimeout(() => map.doubleClickZoom.enable(), 300); // the closing double click must not zoom
      canvas.style.cursor = cursor;
      resolve(result);
    };
    const onClick = ({ point, lngLat }) => {
      if (isFirst(point)) return finish(corners);
      corners.push([lngLat.lng, lngLat.lat]);
      finishButton.toggleAttribute("disabled", corners.length < 3);
      return show();
    };
    const onMove = ({ lngLat }) => show([lngLat.lng, lngLat.lat]);
    const onDouble = () => corners.length > 3 && finish(corners.slice(0, -1));
    const onKey = (event) => {
      if (event.key === "Enter" && corners.length >= 3) finish(corners);
      else if (event.key === "Escape") finish(null);
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    const subscriptions = [map.on("click", onClick), map.on("mousemove", onMove), map.on("dblclick", onDouble)];
    addEventListener("keydown", onKey, true);
    finishButton.toggleAttribute("disabled", true);
    finishButton.onclick = () => finish(corners);
    cancelButton.onclick = () => finish(null);
  });
}
