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
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const dark = isDark();
  const cells = Math.min(rows * columns, data.length - offset); // a vector may end within the last row
  for (let i = 0; i < cells; i += 1) {
    const value = data[offset + i];
    const level = (255 * value) / scale;
    const colour = !Number.isFinite(value) ? [255, 0, 200] : grey ? [level, level, level] : signed(value / scale, dark);
    image.data.set(colour, 4 * i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
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
