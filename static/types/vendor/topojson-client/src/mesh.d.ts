import type { MultiLineString } from "geojson";

/** The lines of an object's geometries that pass the filter; a and b are the geometries on either side. */
export default function mesh(
  topology: object,
  object: object,
  filter?: (a: object, b: object) => boolean,
): MultiLineString;
