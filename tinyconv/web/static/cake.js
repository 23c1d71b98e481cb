/** Pictures of a cake: the descent from the image to the logits, and what one cell of a slice sees of the image. */

import { svg } from './vendor/lit-html.js';

/** A shape as it is written: 6×24×24. */
export const by = (shape) => shape.join('×');

/** What came before slice `i`: the shape that goes into it. */
export const shapeInto = (baked, i) => (i > 0 ? baked.slices[i - 1].output : baked.image);

/** The pixels of one axis, [first, past the last), that cell `cell` sees; `Field.span` in field.py. */
function span([size, jump, start], cell, pixels) {
  const first = start + cell * jump;
  const from = Math.max(first, 0);
  return [from, Math.max(Math.min(first + size, pixels), from)];
}

/**
 * What a cell of a slice sees of the image: [first, past the last) of rows and of columns, and how many rows and columns
 * of its field lie in the padding.
 */
export function seen({ fields }, [row, column], [, height, width]) {
  const rows = span(fields[0], row, height);
  const columns = span(fields[1], column, width);
  return { rows, columns, padding: [fields[0][0] - rows[1] + rows[0], fields[1][0] - columns[1] + columns[0]] };
}

/** Rows and columns of cells in an output; features in a row have one cell. */
export const cellsOf = (output) => (output.length === 3 ? output.slice(1) : [1, 1]);

/** The cell in the middle: of an even number, the one after the middle. */
export const centre = (output) => cellsOf(output).map((n) => Math.floor(n / 2));

/** Columns of an earlier layer that cell `column` of a later one depends on: [first, past the last). */
function reach(later, earlier, column, cells) {
  const [size, jump, start] = earlier;
  if (!jump) return [0, cells];
  const first = (later[2] + column * later[1] - start) / jump;
  return [Math.max(first, 0), Math.min(first + (later[0] - size) / jump + 1, cells)];
}

const WIDEST = 168; // of the drawing's 400 units
const AXIS = 100; // where the middle of each slice is
const LABELS = 208;
const TALLEST = 460;
const LINE = 17;
const DEPTH = 0.16; // how far the side leans back, of the width

/** Where each tier of the descent lies. The first is the image. What keeps the shape and has no filters is a thin sheet. */
function tiers(baked) {
  const layers = [{ name: 'image', output: baked.image, fields: [[1, 1, 0], [1, 1, 0]] },
    ...baked.slices.filter(({ output }) => output)];
  const side = Math.max(...layers.map(({ output }) => (output.length === 3 ? output[2] : 1)));
  const found = layers.map((layer, i) => {
    const { output } = layer;
    const cells = output.length === 3 ? output[2] : 1;
    const sheet = i > 0 && by(output) === by(layers[i - 1].output) && !['conv', 'fc'].includes(layer.kind);
    const width = Math.max(output.length === 3 ? (WIDEST * cells) / side : 0, 7);
    return { ...layer, cells, sheet, width, tall: sheet ? 0 : Math.log2(1 + output[0]) };
  });
  const sheets = found.filter(({ sheet }) => sheet).length;
  const solid = found.length - sheets;
  const room = Math.max(TALLEST - sheets * 5 - solid * LINE, 60);
  const most = Math.max(...found.map(({ tall }) => tall), 1);
  const scale = Math.min(room / found.reduce((sum, { tall }) => sum + tall, 0), 52 / most);
  let y = 14;
  for (const tier of found) {
    tier.height = tier.sheet ? 4 : Math.max(tier.tall * scale, 6);
    tier.room = tier.sheet ? 5 : Math.max(tier.height + 3, LINE);
    tier.y = y + (tier.room - tier.height) / 2;
    tier.x = AXIS - tier.width / 2;
    y += tier.room;
  }
  return { found, height: y + 8 };
}

/** The column of light from the cell back up to the image: what it depends on in each slice above it. */
function cone(found, focus, column) {
  const last = found[focus + 1];
  if (!last?.fields) return '';
  const left = [];
  const right = [];
  for (const tier of found.slice(0, focus + 2)) {
    const [from, past] = tier === last ? [column, column + 1]
      : reach(last.fields[1], tier.fields[1], column, tier.cells);
    const unit = tier.width / tier.cells;
    for (const y of [tier.y, tier.y + tier.height]) {
      left.push(`${tier.x + from * unit},${y}`);
      right.unshift(`${tier.x + past * unit},${y}`);
    }
  }
  return svg`<polygon class="cone" points=${[...left, ...right].join(' ')}></polygon>`;
}

/**
 * The descent: width is the map's, height the logarithm of the number of channels.
 * @param {object} baked  The answer of `build.bake`.
 * @param {number} focus  The slice in the light; -1 for the image.
 * @param {number[]} cell  Its cell whose field is shown.
 * @param {{point: (i: number|null) => void, choose: (i: number) => void}} on
 */
export function descent(baked, focus, cell, { point, choose }) {
  const { found, height } = tiers(baked);
  const label = `The cake from the image down: ${found.filter(({ sheet }) => !sheet)
    .map(({ name, output }) => `${name} ${by(output)}`).join(', ')}.`;
  return svg`<svg class="descent" viewBox=${`0 0 400 ${height}`} role="img" aria-label=${label}>
    ${found.map(({ name, output, sheet, width, height: tall, x, y, kind }, n) => {
    const lean = Math.min(width * DEPTH, 14);
    const lit = n - 1 === focus;
    return svg`<g class=${`tier ${lit ? 'lit' : ''} ${sheet ? 'sheet' : ''} ${colour(kind)}`}
        @pointerenter=${() => point(n - 1)} @pointerleave=${() => point(null)} @click=${() => choose(n - 1)}>
      <rect class="catch" x="0" y=${y - 2} width="400" height=${tall + 4}></rect>
      <polygon class="top" points=${`${x},${y} ${x + lean},${y - lean / 2} ${x + width + lean},${y - lean / 2} ${
        x + width},${y}`}></polygon>
      <polygon class="side" points=${`${x + width},${y} ${x + width + lean},${y - lean / 2} ${
        x + width + lean},${y + tall - lean / 2} ${x + width},${y + tall}`}></polygon>
      <rect class="front" x=${x} y=${y} width=${width} height=${tall}></rect>
      ${sheet && !lit ? '' : svg`
        <line class="leader" x1=${x + width + lean + 3} x2=${LABELS - 5} y1=${y + tall / 2} y2=${y + tall / 2}></line>
        <text class="called" x=${LABELS} y=${y + tall / 2 + 4}>${name}</text>
        <text class="sized" x="392" y=${y + tall / 2 + 4}>${by(output)}</text>`}
    </g>`;
  })}
    ${focus >= 0 ? cone(found, focus, cell[1]) : ''}
  </svg>`;
}

/** The class that colours a kind of slice. */
export function colour(kind) {
  if (!kind) return 'of-image';
  if (kind === 'conv') return 'of-conv';
  if (kind === 'fc') return 'of-fc';
  return /pool|gap|adaptive/.test(kind) ? 'of-pool' : 'of-rest';
}

/** A grid of cells with one part of it lit; beyond 64 cells a side the lines are left out. */
function grid([rows, columns], [from, past], [left, right], pick) {
  const size = Math.max(rows, columns);
  const lines = size <= 64;
  const picked = pick && ((event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = (place, start, length, n) => Math.min(Math.max(Math.floor(((place - start) / length) * n), 0), n - 1);
    pick([at(event.clientY, box.top, box.height, rows), at(event.clientX, box.left, box.width, columns)]);
  });
  const step = size / 100;
  return svg`<svg class=${`grid ${pick ? 'picks' : ''}`} viewBox=${`0 0 ${columns} ${rows}`} aria-hidden="true"
      stroke-width=${step / 3} @pointermove=${picked} @pointerdown=${picked}>
    <rect class="paper" width=${columns} height=${rows}></rect>
    <rect class="seen" x=${left} y=${from} width=${right - left} height=${past - from}></rect>
    ${lines ? svg`<path class="lines" d=${[
    ...Array.from({ length: rows + 1 }, (_, i) => `M0 ${i}H${columns}`),
    ...Array.from({ length: columns + 1 }, (_, i) => `M${i} 0V${rows}`)].join('')}></path>` : ''}
    <rect class="edge" x=${left} y=${from} width=${right - left} height=${past - from} stroke-width=${1.6 * step}></rect>
  </svg>`;
}

/** The map of a slice with one cell lit. `pick` is given the cell that is pointed at. */
export const mapPicture = (output, [row, column], pick) => (
  grid(cellsOf(output), [row, row + 1], [column, column + 1], pick));

/** The image with the field of a cell lit. */
export const imagePicture = ([, rows, columns], sees) => grid([rows, columns], sees.rows, sees.columns, null);
