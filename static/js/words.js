/** Numbers and properties as people read them; pure. */

import { formatLonLat } from "./geo.js";

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** @param {number} n */
export function formatCount(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = `${one}s`) {
  return `${formatCount(n)} ${n === 1 ? one : many}`;
}

/** "2004-07-01" to "July 2004": tiles are told apart by season, not by day. @param {string | null} date */
export function formatMonth(date) {
  const found = /^(\d{4})-(\d{2})/.exec(date ?? "");
  return found ? `${MONTHS[Number(found[2]) - 1]} ${found[1]}` : "";
}

/** "2004-07-01" to "1 Jul 2004". @param {string} date */
export function formatDay(date) {
  const [year, month, day] = date.split("-");
  return `${Number(day)} ${monthName(month)} ${year}`;
}

/** @param {number} metres @returns {string} "7.4 km", "10 m" */
export function formatLength(metres) {
  return metres >= 1000 ? `${Number((metres / 1000).toFixed(1))} km` : `${Math.round(metres)} m`;
}

/** @param {string} month "7" @returns {string} "Jul" */
export function monthName(month) {
  return (MONTHS[Number(month) - 1] ?? month).slice(0, 3);
}

/**
 * Never "100 %": the best tile is better than all others, which the words say.
 *
 * @param {number | null | undefined} percentile share of tiles that score lower, 0 to 100
 */
export function fitWords(percentile) {
  if (percentile === null || percentile === undefined) return "";
  const above = 100 - percentile;
  if (above <= 0.015) return "top 0.01 % of tiles";
  if (above < 1) return `top ${above.toFixed(2)} % of tiles`;
  return above < 50 ? `top ${Math.round(above)} % of tiles` : `better than ${Math.floor(percentile)} % of tiles`;
}

/** The service's word for how well a hit fits, as people say it. @type {Readonly<Record<string, string>>} */
export const FIT_WORDS = { strong: "Strong match", fair: "Fair match", weak: "Weak match", none: "Hardly a match" };

/** How a place changed, in the eyes of a question. @param {number} difference of its scores */
export function changeWords(difference) {
  const signed = `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(2)}`;
  return `Fits ${difference < 0 ? "less" : "better"} than before (${signed})`;
}

/** Alt text tells place and date. @param {import("./api.js").TileProperties} properties @param {string} place */
export function pictureAlt(properties, place) {
  const date = formatMonth(properties.captured_on);
  return `Satellite picture of ${place} at ${formatLonLat(properties.lon, properties.lat)}${date ? `, ${date}` : ""}`;
}
