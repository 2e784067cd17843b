/** A picture stretched for the eye: nearly all of its lightness brought to the full range, colours kept. Pure. */

/** @typedef {{gain: number, shift: number}} Stretch lightness from 0 to 1 becomes gain * lightness + shift */

const CUT = 0.02; // share of pixels that may become black, and white
const [DARKEST, LIGHTEST] = [0.04, 0.96];
const MOST_GAIN = 4; // open water has nothing to show: more would paint its noise
const FLAT_AT = 0.45; // where the middle of such a picture goes

/**
 * @param {Uint8ClampedArray} pixels red, green, blue, alpha of each
 * @returns {Stretch}
 */
export function stretchOf(pixels) {
  const counts = new Uint32Array(256);
  let seen = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i + 3] < 128) continue; // no data
    counts[Math.round(0.2126 * pixels[i] + 0.7152 * pixels[i + 1] + 0.0722 * pixels[i + 2])] += 1;
    seen += 1;
  }
  if (!seen) return { gain: 1, shift: 0 };
  const [low, high] = [quantile(counts, seen * CUT), quantile(counts, seen * (1 - CUT))];
  const gain = Math.max(1, (LIGHTEST - DARKEST) / Math.max(high - low, 1 / 255)); // what is bright enough stays
  if (gain === 1) return { gain, shift: 0 };
  if (gain <= MOST_GAIN) return { gain, shift: DARKEST - low * gain };
  return { gain: MOST_GAIN, shift: FLAT_AT - (MOST_GAIN * (low + high)) / 2 };
}

/** @param {Uint32Array} counts @param {number} wanted how many pixels are darker @returns {number} 0 to 1 */
function quantile(counts, wanted) {
  let sum = 0;
  const found = counts.findIndex((count) => (sum += count) > wanted);
  return (found < 0 ? 255 : found) / 255;
}

/**
 * The same as CSS writes it: two filters together are any line. Differences between colours grow as those of lightness
 * do, which paints woods as neon signs: part of that is taken back.
 *
 * @param {Stretch} stretch
 */
export function cssFilter({ gain, shift }) {
  const contrast = 1 - 2 * shift;
  const amounts = { brightness: gain / contrast, contrast, saturate: gain ** -0.6 };
  return Object.entries(amounts)
    .map(([name, amount]) => `${name}(${amount.toFixed(3)})`)
    .join(" ");
}
