/** The same cell of a convolution in two other ways: as naked loops, and as a product of matrices (im2col). */

import { html, nothing } from '../../vendor/lit-html.js';
import { number, paint, scaleOf, whole } from '../../maps.js';
import { fresh, picture } from './cells.js';
import { rowsOf } from './explain.js';
import { flat } from './grid.js';
import { code } from './source.js';
import { cellName } from './tensor.js';

const ORDER = ['n', 'f', 'i', 'j', 'u', 'v', 'c']; // of the loops in loops.py, from outside in

/** The terms of a cell in the order in which the loops come to them, with the indices as the loops call them. */
function loopTerms({ which, cell, parts }) {
  const part = parts.find(({ of, argument }) => (which === 'dbias' ? argument === 'dy' : of));
  if (!part) return [];
  const [places, ats] = [rowsOf(part.place), part.of ? rowsOf(part.at) : []];
  const named = {
    y: (place, [, c, u, v]) => [...cell, u, v, c, place[2], place[3]],
    dx: (place, [, c, u, v]) => [...place, u, v, c, cell[2], cell[3]],
    dweight: (place, [, , row, column]) => [...place, cell[2], cell[3], cell[1], row, column],
    dbias: (place) => place,
  }[which];
  const terms = places.map((place, i) => {
    const indices = named(place, ats[i]);
    return {
      variables: [...ORDER, 'row', 'column'].slice(0, indices.length).map((name, axis) => [name, indices[axis]]),
      value: part.value.data[i], coefficient: part.coefficient.data[i], product: part.product.data[i],
      place, at: ats[i], argument: part.argument, of: part.of, indices,
    };
  });
  return terms.sort((a, b) => ORDER.reduce((found, _, axis) => found || (a.indices[axis] ?? 0) - (b.indices[axis] ?? 0), 0));
}

/** The cells that meet in a term of the loops: {argument: flat indices}; null before the first. */
export function litByTerm(explanation, step, shapeOf) {
  const term = loopTerms(explanation)[step - 1];
  if (!term) return null;
  const lit = { [term.argument]: [flat(shapeOf(term.argument), term.place)] };
  if (term.of) lit[term.of] = [flat(shapeOf(term.of), term.at)];
  return lit;
}

/**
 * The loops of loops.py, stopped after `step` of the terms of this cell: their variables, and the sum so far.
 * @param {(step: number) => void} go
 */
export function loopsPanel(explanation, { source, step, go }) {
  const { which, cell, total, parts } = explanation;
  const terms = loopTerms(explanation);
  const begin = parts.filter(({ argument }) => argument === 'bias').reduce((sum, { product }) => sum + product.data[0], 0);
  const at = Math.max(0, Math.min(step ?? terms.length, terms.length));
  const sum = terms.slice(0, at).reduce((all, { product }) => all + product, begin);
  const now = terms[at - 1];
  const line = source.lines.findIndex((parts_) => parts_.map(([, text]) => text).join('').trim().startsWith(`${which}[`)
    && parts_.some(([, text]) => text.includes('+=')));
  const first = which === 'y' && begin ? ' It begins with the bias.' : '';
  return html`
    <p class="why">Nothing clever: one multiplication after another, in this order.${first}</p>
    <label class="stepper">After <input type="range" min="0" max=${terms.length} .value=${String(at)} aria-label="Terms added"
      @input=${(event) => go(Number(event.target.value))}> <b>${whole(at)}</b> of ${whole(terms.length)}</label>
    <dl class="variables">${(now?.variables ?? []).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${now ? html`<p class="term"><code>${cellName(now.argument, now.place)}</code> ${number(now.value, 4)}
      ${now.of ? html`× <code>${cellName(now.of, now.at)}</code> ${number(now.coefficient, 4)} = <b>${number(now.product, 4)}</b>` : nothing}</p>` : nothing}
    <table class="ledger"><tbody>
      <tr class="total"><th scope="row">${cellName(which, cell)}${at < terms.length ? ' so far' : ''}</th><td>${number(sum, 5)}</td></tr>
      ${at < terms.length ? html`<tr><th scope="row">at the end</th><td>${number(total, 5)}</td></tr>` : nothing}
    </tbody></table>
    ${code(source, { now: line < 0 ? [] : [source.line + line], title: 'the same, as loops' })}`;
}

/** (K x P) columns of image n, group g: every window of x as a column. Padding is 0. */
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
const transposed = ({ shape: [rows, columns], data }) => ({
  shape: [columns, rows], data: Float32Array.from({ length: rows * columns }, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]),
});

/** The same cell as one cell of a product of matrices. */
export function im2colPanel(explanation, { forward, gradient, arrays, width }) {
  const { which, cell } = explanation;
  const [x, weight, bias] = forward.inputs.map(({ array }) => (array === null ? null : arrays[array]));
  const [[filters, each, kh, kw], out] = [weight.shape, forward.outputs[0].shape.slice(2)];
  const perGroup = filters / forward.geometry.groups;
  const [k, p] = [each * kh * kw, out[0] * out[1]];
  const n = which === 'y' || which === 'dx' ? cell[0] : 0;
  const f = which === 'y' ? cell[1] : which === 'dx' ? 0 : cell[0];
  const g = which === 'dx' ? Math.floor(cell[1] / each) : Math.floor(f / perGroup);
  const cols = im2col(x, weight, forward.geometry, out, n, g);
  const part = (of, from, rows, columns) => ({
    shape: [rows, columns], data: of.data.subarray(from, from + rows * columns),
  });
  const weights = part(weight, g * perGroup * k, perGroup, k);
  const dy = gradient && part(gradient, (n * filters + g * perGroup) * p, perGroup, p);
  if (which === 'y') {
    const [row, column] = [f - g * perGroup, cell[2] * out[1] + cell[3]];
    const y = part(arrays[forward.outputs[0].array], (n * filters + g * perGroup) * p, perGroup, p);
    return html`
      <p class="why">Every window of x becomes a column of a matrix. Then the whole convolution is one product,
        <code>weight @ cols</code>, and this cell is row ${row} of weight times column ${column} of cols${bias ? ', and the bias' : ''}.</p>
      ${product({ left: ['weight', weights], right: ['cols', cols], made: ['y', y], row, column, width })}
      ${rowTimesColumn(rowOf(weights, row), columnOf(cols, column), [`row ${row} of weight`, `column ${column} of cols`], width)}
      ${sumLine(bias ? [[`bias[${f}]`, bias.data[f]]] : [], explanation)}`;
  }
  if (which === 'dweight') {
    const [row, column] = [f - g * perGroup, (cell[1] * kh + cell[2]) * kw + cell[3]];
    const made = part(arrays[explanation.array], g * perGroup * k, perGroup, k);
    return html`
      <p class="why"><code>dweight = dy @ cols^T</code>: this cell is row ${row} of dy times row ${column} of cols, which
        holds what this weight met at each of the ${whole(p)} places.</p>
      ${product({ left: ['dy', dy], right: ['cols^T', transposed(cols)], made: ['dweight', made], row, column, width })}
      ${rowTimesColumn(rowOf(dy, row), rowOf(cols, column), [`row ${row} of dy`, `row ${column} of cols`], width)}
      ${sumLine([], explanation)}`;
  }
  if (which === 'dbias') {
    return html`<p class="why"><code>dbias</code> is the sum of row ${f - g * perGroup} of dy, whose columns are the ${whole(p)} windows.</p>
      ${sumLine([], explanation)}`;
  }
  return backToImage({ explanation, forward, dy, weights, cell, g, each, kh, kw, out, k, p, perGroup, width });
}

/** dx: the columns of the gradient, and the cells of them that col2im adds up at one cell of dx. */
function backToImage({ explanation, forward, dy, weights, cell, g, each, kh, kw, out, k, p, perGroup, width }) {
  const dcols = { shape: [k, p], data: new Float32Array(k * p) };
  for (let row = 0; row < k; row += 1) {
    for (let f = 0; f < perGroup; f += 1) {
      const w = weights.data[f * k + row];
      for (let at = 0; at < p; at += 1) dcols.data[row * p + at] += w * dy.data[f * p + at];
    }
  }
  const { stride, padding, dilation } = forward.geometry;
  const cells = [];
  for (let u = 0; u < kh; u += 1) {
    for (let v = 0; v < kw; v += 1) {
      const [i, j] = [(cell[2] + padding[0] - u * dilation[0]) / stride[0], (cell[3] + padding[1] - v * dilation[1]) / stride[1]];
      if (Number.isInteger(i) && Number.isInteger(j) && i >= 0 && i < out[0] && j >= 0 && j < out[1]) {
        cells.push([((cell[1] - g * each) * kh + u) * kw + v, i * out[1] + j]);
      }
    }
  }
  const values = cells.map(([row, column]) => dcols.data[row * p + column]);
  return html`
    <p class="why"><code>dcols = weight^T @ dy</code> is the gradient of every column. The cell of x stood in ${cells.length}
      of them, and <code>col2im</code> adds their gradients back where it came from.</p>
    ${product({ left: ['weight^T', transposed(weights)], right: ['dy', dy], made: ['dcols', dcols], cells, width })}
    <h3>The ${cells.length} cells that meet here</h3>
    <ul class="meeting">${cells.map(([row, column], i) => html`<li><code>dcols[${row}, ${column}]</code> <b class=${
      values[i] < 0 ? 'minus' : 'plus'}>${number(values[i])}</b></li>`)}</ul>
    ${sumLine([], explanation, `sum of ${cells.length} cells of dcols`)}`;
}

/** left @ right = made as pictures that lie as on paper: right above made, left beside it; what is used is lit. */
function product({ left: [leftName, left], right: [rightName, right], made: [madeName, made], row, column, cells, width }) {
  const inner = left.shape[1];
  const [rows, columns] = made.shape;
  const gap = 26;
  const unit = Math.min(4, (width - gap - 4) / (inner + columns));
  const least = 116; // pixels, for the name above it
  const leftWidth = Math.max(Math.min(inner * unit, width - gap - least), least);
  const rightWidth = Math.min(width - gap - leftWidth, columns * 8);
  const rightHeight = Math.min(Math.max(inner * unit, 40), 150);
  const madeHeight = Math.min(Math.max(rows * unit, 30), 150);
  const canvas = document.createElement('canvas');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${leftName} ${left.shape.join('×')} times ${rightName} ${right.shape.join('×')} is `
    + `${madeName} ${made.shape.join('×')}${row === undefined ? '' : `; row ${row} and column ${column} are lit`}`);
  const top = 16;
  const context = fresh(canvas, leftWidth + gap + rightWidth, top + rightHeight + gap + madeHeight);
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, paper] = ['--ink', '--soft', '--sheet'].map((name) => style.getPropertyValue(name));
  const mark = getComputedStyle(document.querySelector('.page.step')).getPropertyValue('--mark');
  const place = (name, { shape, data }, x, y, w, h) => {
    const dots = document.createElement('canvas');
    paint(dots, data, { rows: shape[0], columns: shape[1], scale: scaleOf(data) });
    context.drawImage(dots, 0, 0, shape[1], shape[0], x, y, w, h);
    context.fillStyle = soft;
    context.font = `12px ${style.fontFamily || 'sans-serif'}`;
    context.fillText(`${name} ${shape.join('×')}`, x, y - 5);
  };
  const [x1, y1] = [leftWidth + gap, top + rightHeight + gap];
  place(leftName, left, 0, y1, leftWidth, madeHeight);
  place(rightName, right, x1, top, rightWidth, rightHeight);
  place(madeName, made, x1, y1, rightWidth, madeHeight);
  const frame = (x, y, w, h, colour = ink) => {
    for (const [line, style_] of [[4, paper], [2, colour]]) {
      context.lineWidth = line;
      context.strokeStyle = style_;
      context.strokeRect(x, y, w, h);
    }
  };
  const [cw, rh] = [rightWidth / columns, madeHeight / rows];
  const box = (r, c) => [x1 + c * cw - Math.max(0, 3 - cw) / 2, y1 + r * rh - Math.max(0, 3 - rh) / 2, Math.max(cw, 3), Math.max(rh, 3)];
  if (row !== undefined) {
    frame(0, y1 + row * rh, leftWidth, Math.max(rh, 3));
    frame(x1 + column * cw - Math.max(0, 3 - cw) / 2, top, Math.max(cw, 3), rightHeight);
    frame(...box(row, column), mark);
  }
  for (const [r, c] of cells ?? []) frame(...box(r, c), mark);
  return html`<div class="figure">${canvas}</div>`;
}

/** Two vectors and their products as strips. */
function rowTimesColumn(a, b, names, width) {
  const columns = Math.min(a.length, a.length <= 25 ? 25 : 32);
  const rows = Math.ceil(a.length / columns);
  const products = a.map((value, i) => value * b[i]);
  const strip = (data, label) => {
    const filled = new Float64Array(rows * columns).fill(Number.NaN);
    filled.set(data);
    return html`<figure class="factor"><figcaption>${label}</figcaption>${picture(filled, {
      rows, columns, width, height: Math.min(60, rows * 12), label: `${label}, ${whole(data.length)} numbers`,
    })}</figure>`;
  };
  return html`<div class="factors strips">${strip(a, names[0])}<span class="sign" aria-hidden="true">×</span>
    ${strip(b, names[1])}<span class="sign" aria-hidden="true">=</span>${strip(products, 'products')}</div>`;
}

function sumLine(others, { which, cell, total, parts }, name) {
  const own = parts.filter(({ argument }) => argument !== 'bias');
  const sum = own.reduce((all, { product: { data } }) => all + data.reduce((s, v) => s + v, 0), 0);
  return html`<table class="ledger"><tbody>
    <tr><th scope="row">${name ?? 'sum of the products'}</th><td>${number(sum, 5)}</td></tr>
    ${others.map(([label, value]) => html`<tr><th scope="row">${label}</th><td>${number(value, 5)}</td></tr>`)}
    <tr class="total"><th scope="row">${cellName(which, cell)}</th><td>${number(total, 5)}</td></tr></tbody></table>`;
}
