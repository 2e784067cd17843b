import assert from "node:assert/strict";
import { test } from "node:test";

import "./contract.mjs";
import { countryName, placeName } from "../../static/js/names.js";

test("countries are called as the browser's language calls them", () => {
  assert.equal(countryName("BIH", "en-GB"), "Bosnia and Herzegovina");
  assert.equal(countryName("DEU", "de"), "Deutschland");
  assert.equal(countryName("BRA", "pt-BR"), "Brasil");
  assert.equal(countryName("BRA", "no such tongue"), "Brazil");
  assert.equal(countryName("ZZZ", "de"), "ZZZ");
});

test("places keep their own names, and parts give way to a local country", () => {
  const peru = { place: "Northern Peru", country: "PER", country_name: "Peru" };
  assert.equal(placeName(peru, "en"), "Northern Peru");
  assert.equal(placeName(peru, "es"), "Perú");
  const island = { place: "Nicobar Islands, India", country: "IND", country_name: "India" };
  assert.equal(placeName(island, "de"), "Nicobar Islands, Indien");
  assert.equal(placeName({ place: "Gulf of Guinea", country: null, country_name: null }, "de"), "Gulf of Guinea");
});
