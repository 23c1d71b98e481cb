/** Cells with numbers in them: colours by sign, and digits that are legible on them. */

import { isDark, number, paint, scaleOf } from '../../maps.js';

const LEGIBLE = 28; // pixels of a cell that holds a number

/** The power of ten that numbers in cells are given in, so that they stay short; 0 for those near 1. */
export function powerOf(scale) {
  const power = Math.floor(Math.log10(scale));
  return power < -1 || power > 3 ? power : 0;
}

/** "×10⁻⁵", to stand beside a picture whose cells are given in that power. */
export function powerText(power) {
  const digits = '⁰¹²³⁴⁵⁶⁷⁸⁹';
  const raised = [...String(Math.abs(power))].map((digit) => digits[digit]).join('');
  return `×10${power < 0 ? '⁻' : ''}${raised}`;
}

/** The class of a number in a list, which colours it: 0 has no sign. */
export const signOf = (value) => (value < 0 ? 'minus' : value > 0 ? 'plus' : '');

/** The colour of the frame around the cell in question. */
export function markColour() {
  return getComputedStyle(document.querySelector('.page.step')).getPropertyValue('--mark');
}

/** Ink that is legible on the colour of a number from -1 to 1. */
function inkOn(share) {
  const strong = Math.abs(share) ** 0.7 > 0.62;
  return isDark() ? (strong ? '#0b0e14' : '#e6e9f0') : strong ? '#ffffff' : '#1b2130';
}

/** Whether cells so wide hold numbers. */
export const holdsNumbers = (width) => width >= LEGIBLE;

/** Write the number of a cell into its box: the same digits after the point in all cells. */
export function write(context, data, index, scale, { x, y, width, height }) {
  const value = data[index];
  const power = data.length > 1 ? powerOf(scale) : 0;
  const size = scale / 10 ** power;
  const digits = !/^Float/.test(data.constructor.name) || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const plain = value === 0 || !Number.isFinite(value) || data.length === 1;
  const short = (value / 10 ** power).toFixed(digits);
  const text = plain ? number(value) : short.replace(/^-(?=[0.]+$)/, '').replace('-', '−');
  context.font = `${Math.min(12.5, width / 3.5)}px ${getComputedStyle(document.body).fontFamily}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillStyle = inkOn(value / scale);
  context.fillText(text, x + width / 2, y + height / 2 + 0.5);
}

/** The context of a canvas that is made (width x height) CSS pixels large, in pixels of the screen. */
export function fresh(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * density));
  canvas.height = Math.max(1, Math.round(height * density));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.scale(density, density);
  context.imageSmoothingEnabled = false;
  return context;
}

/**
 * A picture of (rows x columns) numbers that fits `width`: a new canvas. NaN is a cell that is not there.
 * @param {{rows: number, columns: number, width: number, label: string, scale?: number, marked?: number,
 *   height?: number}} how  `marked` is a cell to frame.
 */
export function picture(data, how) {
  const { rows, columns, width, height = 190, label, scale = scaleOf(data), marked = -1 } = how;
  const canvas = document.createElement('canvas');
  canvas.className = 'picture';
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  const cellWidth = Math.min(46, width / columns);
  const cellHeight = Math.min(holdsNumbers(cellWidth) ? 27 : cellWidth, height / rows);
  const context = fresh(canvas, columns * cellWidth, rows * cellHeight);
  const dots = document.createElement('canvas');
  paint(dots, data, { rows, columns, scale });
  context.drawImage(dots, 0, 0, columns, rows, 0, 0, columns * cellWidth, rows * cellHeight);
  for (let i = 0; i < rows * columns; i += 1) {
    const [x, y] = [(i % columns) * cellWidth, Math.floor(i / columns) * cellHeight];
    const box = { x, y, width: cellWidth, height: cellHeight };
    if (Number.isNaN(data[i])) context.clearRect(box.x, box.y, box.width, box.height);
    else if (holdsNumbers(cellWidth) && cellHeight > 14) write(context, data, i, scale, box);
    if (i === marked) {
      context.lineWidth = 2.5;
      context.strokeStyle = markColour();
      context.strokeRect(box.x + 1, box.y + 1, box.width - 2, box.height - 2);
    }
  }
  return canvas;
}
