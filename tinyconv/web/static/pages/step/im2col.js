/** The same cell of a convolution as a cell of a product of matrices: im2col, as conv.py computes it. */

import { html } from '../../vendor/lit-html.js';
import { number, paint, scaleOf, whole } from '../../maps.js';
import { fresh, markColour, picture, signOf } from './cells.js';
import { cellName } from './tensor.js';

const GAP = 26; // pixels between two matrices, with the name of one
const LEAST = 116; // pixels of a matrix, for its name

/** (K, P) columns of image n, group g: every window of x as a column. Padding is 0. */
export function im2col({ shape: [, channels, height, width], data }, weight, geometry, out, n, g) {
  const [[, each, kh, kw], [oh, ow]] = [weight.shape, out];
  const { stride, padding, dilation } = geometry;
  const [k, p] = [each * kh * kw, oh * ow];
  const columns = new Float32Array(k * p);
  for (let c = 0, row = 0; c < each; c += 1) {
    const map = (n * channels + g * each + c) * height * width;
    for (let u = 0; u < kh; u += 1) {
      for (let v = 0; v < kw; v += 1, row += 1) {
        for (let i = 0, at = row * p; i < oh; i += 1) {
          const y = i * stride[0] + u * dilation[0] - padding[0];
          for (let j = 0; j < ow; j += 1, at += 1) {
            const x = j * stride[1] + v * dilation[1] - padding[1];
            if (y >= 0 && y < height && x >= 0 && x < width) columns[at] = data[map + y * width + x];
          }
        }
      }
    }
  }
  return { shape: [k, p], data: columns };
}

const rowOf = ({ shape: [, columns], data }, row) => data.subarray(row * columns, (row + 1) * columns);
const columnOf = ({ shape: [rows, columns], data }, column) => (
  Float32Array.from({ length: rows }, (_, row) => data[row * columns + column]));
const transposed = ({ shape: [rows, columns], data }) => {
  const place = (i) => (i % rows) * columns + Math.floor(i / rows);
  const turned = Float32Array.from({ length: rows * columns }, (_, i) => data[place(i)]);
  return { shape: [columns, rows], data: turned };
};

function product({ shape: [rows, inner], data: a }, { shape: [, columns], data: b }) {
  const made = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    for (let k = 0; k < inner; k += 1) {
      const factor = a[row * inner + k];
      for (let column = 0; column < columns; column += 1) {
        made[row * columns + column] += factor * b[k * columns + column];
      }
    }
  }
  return { shape: [rows, columns], data: made };
}

/** The matrices of the group that a cell is in: weight (F / G, K), cols (K, P), y and dy (F / G, P). */
function matrices({ which, cell, array }, forward, gradient, arrays) {
  const [x, weight, bias] = forward.inputs.map((operand) => arrays[operand.array] ?? null);
  const [filters, each, kh, kw] = weight.shape;
  const y = arrays[forward.outputs[0].array];
  const out = y.shape.slice(2);
  const [perGroup, k, p] = [filters / forward.geometry.groups, each * kh * kw, out[0] * out[1]];
  const ofImage = which === 'y' || which === 'dx';
  const n = ofImage ? cell[0] : 0;
  const f = which === 'y' ? cell[1] : cell[0];
  const g = which === 'dx' ? Math.floor(cell[1] / each) : Math.floor(f / perGroup);
  const part = (of, from, columns) => ({
    shape: [perGroup, columns], data: of.data.subarray(from, from + perGroup * columns),
  });
  const byMap = (of) => part(of, (n * filters + g * perGroup) * p, p);
  const byFilter = (of) => part(of, g * perGroup * k, k);
  return {
    weight: byFilter(weight),
    cols: im2col(x, weight, forward.geometry, out, n, g),
    y: byMap(y),
    dy: gradient && byMap(gradient),
    dweight: which === 'dweight' ? byFilter(arrays[array]) : null,
    bias: bias && [[`bias[${f}]`, bias.data[f]]],
    row: f - g * perGroup,
    first: g * each,
    kernel: [kh, kw],
    out,
  };
}

/** The panel of a cell. `gradient` is dy, backwards; `explanation.array` the place of the cell's array. */
export function im2colPanel(explanation, { forward, gradient, arrays, width }) {
  const found = matrices(explanation, forward, gradient, arrays);
  return { y: ofOutput, dx: ofInput, dweight: ofWeight, dbias: ofBias }[explanation.which](
    explanation, found, width, forward.geometry);
}

function ofOutput(explanation, { weight, cols, y, bias, row, out }, width) {
  const column = explanation.cell[2] * out[1] + explanation.cell[3];
  return html`
    <p class="why">Every window of x becomes a column of a matrix. Then the whole convolution is one product,
      <code>weight @ cols</code>, and this cell is row ${row} of weight times column ${column} of cols${
        bias ? ', and the bias' : ''}.</p>
    ${picturedProduct(['weight', weight], ['cols', cols], ['y', y], { row, column }, width)}
    ${rowTimesColumn(rowOf(weight, row), columnOf(cols, column),
    [`row ${row} of weight`, `column ${column} of cols`], width)}
    ${sum(explanation, bias ?? [])}`;
}

function ofWeight(explanation, { cols, dy, dweight, row, kernel }, width) {
  const [, c, u, v] = explanation.cell;
  const column = (c * kernel[0] + u) * kernel[1] + v;
  return html`
    <p class="why"><code>dweight = dy @ cols^T</code>: this cell is row ${row} of dy times row ${column} of
      cols, which holds what this weight met at each of the ${whole(dy.shape[1])} places.</p>
    ${picturedProduct(['dy', dy], ['cols^T', transposed(cols)], ['dweight', dweight], { row, column }, width)}
    ${rowTimesColumn(rowOf(dy, row), rowOf(cols, column),
    [`row ${row} of dy`, `row ${column} of cols`], width)}
    ${sum(explanation)}`;
}

function ofBias(explanation, { dy, row }) {
  return html`
    <p class="why"><code>dbias</code> is the sum of row ${row} of dy, a number for each of the ${
      whole(dy.shape[1])} windows.</p>
    ${sum(explanation)}`;
}

/** dx: the gradient of the columns, and the cells of it that col2im adds up. */
function ofInput(explanation, { weight, dy, first, kernel, out }, width, { stride, padding, dilation }) {
  const dcols = product(transposed(weight), dy);
  const [, channel, ...place] = explanation.cell;
  const cells = [];
  for (let u = 0; u < kernel[0]; u += 1) {
    for (let v = 0; v < kernel[1]; v += 1) {
      const [i, j] = [u, v].map((tap, axis) => (
        (place[axis] + padding[axis] - tap * dilation[axis]) / stride[axis]));
      const isThere = [i, j].every((at, axis) => Number.isInteger(at) && at >= 0 && at < out[axis]);
      if (isThere) cells.push([((channel - first) * kernel[0] + u) * kernel[1] + v, i * out[1] + j]);
    }
  }
  const met = cells.map(([row, column]) => [row, column, dcols.data[row * dcols.shape[1] + column]]);
  return html`
    <p class="why"><code>dcols = weight^T @ dy</code> is the gradient of every column. The cell of x stood in
      ${cells.length} of them, and <code>col2im</code> adds their gradients back where it came from.</p>
    ${picturedProduct(['weight^T', transposed(weight)], ['dy', dy], ['dcols', dcols], { cells }, width)}
    <h3>The ${cells.length} cells that meet here</h3>
    <ul class="meeting">${met.map(([row, column, value]) => html`<li><code>dcols[${row}, ${column}]</code>
      <b class=${signOf(value)}>${number(value)}</b></li>`)}</ul>
    ${sum(explanation, [], `sum of ${cells.length} cells of dcols`)}`;
}

/**
 * left @ right = made as pictures that lie as on paper: right above made, left beside it. What is used is
 * framed: a row and a column, or cells of what is made.
 */
function picturedProduct([leftName, left], [rightName, right], [madeName, made], used, width) {
  const { row, column, cells } = used;
  const [inner, [rows, columns]] = [left.shape[1], made.shape];
  const unit = Math.min(4, (width - GAP - 4) / (inner + columns));
  const w = Math.max(Math.min(inner * unit, width - GAP - LEAST), LEAST);
  const box = { x: w + GAP, width: Math.min(width - GAP - w, columns * 8) };
  const above = { y: 16, height: Math.min(Math.max(inner * unit, 40), 150) };
  const below = { y: above.y + above.height + GAP, height: Math.min(Math.max(rows * unit, 30), 150) };
  const canvas = document.createElement('canvas');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', [
    `${leftName} ${left.shape.join('×')} times ${rightName} ${right.shape.join('×')}`,
    `is ${madeName} ${made.shape.join('×')}${cells ? '' : `; row ${row} and column ${column} are framed`}`,
  ].join(' '));
  const context = fresh(canvas, box.x + box.width, below.y + below.height);
  drawMatrix(context, leftName, left, { x: 0, width: w, ...below });
  drawMatrix(context, rightName, right, { ...box, ...above });
  drawMatrix(context, madeName, made, { ...box, ...below });
  const across = part(box.x, box.width, columns);
  const down = part(below.y, below.height, rows);
  if (!cells) {
    frame(context, [0, w], down(row));
    frame(context, across(column), [above.y, above.height]);
  }
  for (const [r, c] of cells ?? [[row, column]]) frame(context, across(c), down(r), markColour());
  return html`<div class="figure">${canvas}</div>`;
}

/** Where number i of `count` equal parts is, [start, size], at least 3 pixels large. */
const part = (start, size, count) => (i) => {
  const own = size / count;
  return [start + i * own - Math.max(0, 3 - own) / 2, Math.max(own, 3)];
};

function drawMatrix(context, name, { shape: [rows, columns], data }, { x, y, width, height }) {
  const dots = document.createElement('canvas');
  paint(dots, data, { rows, columns, scale: scaleOf(data) });
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue('--line');
  context.fillRect(x - 1, y - 1, width + 2, height + 2);
  context.drawImage(dots, 0, 0, columns, rows, x, y, width, height);
  context.fillStyle = style.getPropertyValue('--soft');
  context.font = `12px ${style.fontFamily}`;
  context.fillText(`${name} ${rows}×${columns}`, x, y - 5);
}

function frame(context, [x, width], [y, height], colour) {
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  for (const [line, ink] of [[4, token('--sheet')], [2, colour ?? token('--ink')]]) {
    context.lineWidth = line;
    context.strokeStyle = ink;
    context.strokeRect(x, y, width, height);
  }
}

/** Two vectors and their products as strips. */
function rowTimesColumn(a, b, [aName, bName], width) {
  const columns = a.length <= 25 ? a.length : 32;
  const rows = Math.ceil(a.length / columns);
  const strip = (data, label) => {
    const filled = new Float64Array(rows * columns).fill(Number.NaN);
    filled.set(data);
    const how = { rows, columns, width, height: Math.min(60, rows * 12) };
    return html`<figure class="factor"><figcaption>${label}</figcaption>${
      picture(filled, { ...how, label: `${label}, ${whole(data.length)} numbers` })}</figure>`;
  };
  return html`<div class="factors strips">
    ${strip(a, aName)}<span class="sign" aria-hidden="true">×</span>
    ${strip(b, bName)}<span class="sign" aria-hidden="true">=</span>
    ${strip(a.map((value, i) => value * b[i]), 'products')}</div>`;
}

/** What the products make, and with `others` the cell. */
function sum({ which, cell, total, sum: all }, others = [], name = 'sum of the products') {
  const lines = [[name, others.reduce((rest, [, value]) => rest - value, all)], ...others];
  return html`<table class="ledger"><tbody>
    ${lines.map(([label, value]) => html`<tr><th scope="row">${label}</th><td>${number(value, 5)}</td></tr>`)}
    <tr class="total"><th scope="row">${cellName(which, cell)}</th><td>${number(total, 5)}</td></tr>
  </tbody></table>`;
}
