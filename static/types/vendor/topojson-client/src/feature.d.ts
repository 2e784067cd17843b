import type { FeatureCollection } from "geojson";

/** An object of a topology as GeoJSON; a collection of geometries becomes a collection of features. */
export default function feature(topology: object, object: object): FeatureCollection;
