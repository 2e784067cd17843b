// The library's own types stand beside its module under a name that goes with another module.
export * from "maplibre-gl";
