/** Arrays as pictures: cells in two hues by sign, or grey for images, with the largest magnitude as the scale. */

/** [r, g, b] of a number from -1 to 1 in the colours of the theme: blue below 0, orange above, paper at 0. */
function signed(t, dark) {
  const paper = dark ? [24, 27, 33] : [255, 255, 255];
  const ink = t < 0 ? (dark ? [96, 150, 255] : [26, 82, 190]) : (dark ? [255, 158, 74] : [196, 84, 8]);
  const share = Math.min(Math.abs(t), 1) ** 0.7; // small numbers are to be seen too
  return paper.map((p, i) => p + (ink[i] - p) * share);
}

/** Whether the page is dark now. */
export const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;

/** The largest magnitude among finite numbers; 1 if all are 0, so that it can divide. */
export function scaleOf(data) {
  let most = 0;
  for (const value of data) {
    const size = Math.abs(value);
    if (size > most && size < Infinity) most = size;
  }
  return most || 1;
}

/**
 * Paint one map, (rows x columns) numbers from `offset` on, one pixel a cell; CSS makes the canvas larger.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} data
 * @param {{rows: number, columns: number, offset?: number, scale?: number, grey?: boolean}} how  `grey`: from 0 to
 *   `scale` as black to white; else by sign. NaN and infinity are magenta.
 */
export function paint(canvas, data, { rows, columns, offset = 0, scale = scaleOf(data), grey = false }) {
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext('2d', { willReadFrequently: true }); // many and small: a GPU would not help
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = palette(grey, isDark());
  const cells = Math.min(rows * columns, data.length - offset); // a vector may end within the last row
  for (let i = 0; i < cells; i += 1) {
    const share = data[offset + i] / scale;
    pixels[i] = colours[Number.isFinite(share) ? Math.round(LEVELS * Math.max(-1, Math.min(share, 1))) + LEVELS : AMISS];
  }
  context.putImageData(image, 0, 0);
}

const LEVELS = 500; // colours of each sign
const AMISS = 2 * LEVELS + 1; // the place of the colour of what is not finite
const palettes = {};

/** The colours from -1 to 1 as pixels (red is the lowest byte), and the one of what is not finite. */
function palette(grey, dark) {
  const pixel = ([red, green, blue]) => 0xff000000 + (Math.round(blue) << 16) + (Math.round(green) << 8) + Math.round(red);
  const colour = (t) => (grey ? Array(3).fill(255 * Math.max(t, 0)) : signed(t, dark));
  palettes[[grey, dark]] ??= Uint32Array.from({ length: AMISS + 1 }, (_, i) => (
    pixel(i === AMISS ? [255, 0, 200] : colour((i - LEVELS) / LEVELS))));
  return palettes[[grey, dark]];
}

/** A number for people: `0.0123`, `-1.5`, `3.2e-7`. The minus is a minus sign. */
export function number(value, digits = 3) {
  if (value === 0) return '0';
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value < 0 ? '−∞' : '∞';
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(digits - 1) : Number(value.toPrecision(digits)).toString();
  return text.replace(/-/g, '−');
}

/** A whole number with its thousands apart: 61,706. */
export const whole = (value) => Math.round(value).toLocaleString('en');

/** A share in percent: `98.31 %`; a dash where there is none. */
export const percent = (share, digits = 2) => (
  Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : '–');
