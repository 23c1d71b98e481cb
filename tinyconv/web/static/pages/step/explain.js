/** Why a cell is the number that it is: the window it comes from, the products, and the sum. */

import { html, nothing } from '../../vendor/lit-html.js';
import { number, scaleOf, whole } from '../../maps.js';
import { picture, powerOf, powerText, signOf } from './cells.js';
import { flat } from './grid.js';
import { cellName } from './tensor.js';
import { why } from './words.js';

const LARGEST = 5; // terms that are listed
const GROUPS = 8; // channels that are listed

/**
 * What `step.explain` returns, see step.py. A part has its terms as arrays: `place`, `at`, `value`,
 * `coefficient`, `product`.
 * @typedef {{frame: number, which: string, cell: number[], total: number, count: number, sum: number,
 *   remainder: number, linear: boolean, windows: object, parts: object[]}} Explanation
 */

/** The rows of an array with two axes, as lists. */
export function rowsOf({ shape: [count, axes], data }) {
  return Array.from({ length: count }, (_, i) => [...data.subarray(i * axes, (i + 1) * axes)]);
}

/** The cells that a number comes from, to be lit: {argument: flat indices}. `shapeOf` knows the shapes. */
export function litBy(explanation, shapeOf) {
  const lit = {};
  const add = (argument, cells) => {
    const shape = shapeOf(argument);
    if (!shape) return;
    lit[argument] ??= new Set();
    for (const cell of cells) lit[argument].add(flat(shape, cell));
  };
  for (const part of explanation.parts) {
    add(part.argument, rowsOf(part.place));
    if (part.of) add(part.of, rowsOf(part.at));
  }
  for (const [argument, window] of Object.entries(explanation.windows)) add(argument, cellsIn(window));
  return Object.fromEntries(Object.entries(lit).map(([argument, cells]) => [argument, [...cells]]));
}

/** Every cell of a box, (first, past the last) for each axis. */
export function cellsIn(box) {
  return box.reduce((cells, [first, past]) => cells.flatMap((cell) => (
    Array.from({ length: past - first }, (_, i) => [...cell, first + i]))), [[]]);
}

/** The panel of an explanation. `group` is the channel that is shown, `choose(group)` shows another. */
export function explanationPanel(explanation, { frame, forward, arrays, width, group, choose }) {
  const { parts } = explanation;
  const main = parts.find((part) => part.value.data.length > 1 || part.of) ?? null;
  const window = forward.op === 'max_pool2d' && frame.direction === 'forward';
  return html`
    <p class="why">${why({ ...explanation, turned: isTurned(main) }, frame, forward, arrays)}</p>
    ${window ? windowPicture(explanation, arrays[forward.inputs[0].array], width) : nothing}
    ${forward.op === 'CrossEntropy' ? classes(explanation, forward, arrays) : nothing}
    ${main ? products(main, { width, group, choose, sum: ledger(explanation) }) : ledger(explanation)}
    ${main && main.value.data.length > 2 ? largest(main) : nothing}`;
}

/** The window of a maximum with its numbers, the largest framed. */
function windowPicture({ windows, parts }, x, width) {
  const cells = cellsIn(windows.x);
  const values = Float32Array.from(cells, (cell) => x.data[flat(x.shape, cell)]);
  const [rows, columns] = windows.x.slice(-2).map(([first, past]) => past - first);
  const won = parts[0] ? cells.findIndex((cell) => cell.join() === rowsOf(parts[0].place)[0].join()) : -1;
  const label = `The window of x: ${Array.from(values, (value) => number(value)).join(', ')}`;
  const how = { rows, columns, width: Math.min(width, 46 * columns), marked: won, label };
  return html`<div class="figure">${picture(values, how)}<p class="about">its window of x</p></div>`;
}

/** Whether the cells of `of` run against those they multiply, in rows and in columns: turned by 180°. */
function isTurned(part) {
  if (!part?.of || part.place.shape[1] < 3) return false;
  const [places, ats] = [part.place, part.at].map(rowsOf);
  const runs = [-2, -1].flatMap((axis) => places.map((place, i) => (
    (place.at(axis) - places[0].at(axis)) * (ats[i].at(axis) - ats[0].at(axis)))));
  return runs.every((run) => run <= 0) && runs.some((run) => run < 0);
}

/** The terms of a part by channel, as grids that lie as the window does. */
function groupsOf(part) {
  const places = rowsOf(part.place);
  const spatial = part.place.shape[1] > 2 ? 2 : 1;
  const groups = new Map();
  places.forEach((place, i) => {
    const key = place.slice(0, -spatial).join(', ');
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(i);
  });
  return [...groups].map(([key, terms]) => {
    const sum = terms.reduce((all, i) => all + part.product.data[i], 0);
    const axis = (number) => [...new Set(terms.map((i) => places[i].at(number)))].sort((a, b) => a - b);
    const [rows, columns] = [spatial === 2 ? axis(-2) : [0], axis(-1)];
    const grid = (of) => {
      const filled = new Float64Array(rows.length * columns.length).fill(Number.NaN);
      for (const i of terms) {
        const row = spatial === 2 ? rows.indexOf(places[i].at(-2)) : 0;
        filled[row * columns.length + columns.indexOf(places[i].at(-1))] = of[i];
      }
      return filled;
    };
    const other = part.of ? rowsOf(part.at)[terms[0]].slice(0, -spatial).join(', ') : '';
    return { key, other, sum, terms, spatial, rows: rows.length, columns: columns.length, grid };
  });
}

/** Values x coefficients = products, of one channel. */
function products(part, { width, group, choose, sum }) {
  const groups = groupsOf(part).sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const shown = groups.find(({ key }) => key === group) ?? groups[0];
  const plain = !part.of && part.coefficient.data.every((c) => c === 1);
  const strip = shown.spatial === 1 && shown.columns > 8;
  const perLine = strip ? Math.min(32, shown.columns) : shown.columns;
  const lines = Math.ceil((shown.rows * shown.columns) / perLine);
  const beside = !strip && perLine <= 8;
  const room = beside ? (width - 26) / 2 : strip ? width : (width - 52) / (plain ? 1 : 3);
  const draw = (data, label, how = '') => {
    const filled = new Float64Array(lines * perLine).fill(Number.NaN);
    filled.set(data);
    const scale = scaleOf(filled);
    const power = powerOf(scale);
    const shows = room / perLine >= 28;
    return html`<figure class="factor"><figcaption><span>${label}${
      how ? html`<b>${how}</b>` : nothing}</span>${shows && power ? html`<span class="about">${
      powerText(power)}</span>` : nothing}</figcaption>${picture(filled, {
      rows: lines, columns: perLine, width: Math.min(room, beside ? 46 * perLine : room), scale,
      label: `${[label, how].filter(Boolean).join(', ')}: ${whole(shown.terms.length)} numbers`,
      height: beside ? 27 * lines : strip ? 74 : 170,
    })}</figure>`;
  };
  const inside = shown.key ? `[${shown.key}, …]` : '';
  const weight = part.of ? `${part.of}${shown.other ? `[${shown.other}, …]` : ''}` : 'slope';
  return html`
    <div class=${strip ? 'factors strips' : 'factors'}>
      ${draw(shown.grid(part.value.data), `${part.argument}${inside}`)}
      ${plain ? nothing : html`<span class="sign" aria-hidden="true">×</span>
        ${draw(shown.grid(part.coefficient.data), weight, isTurned(part) && 'turned by 180°')}
        <span class="sign" aria-hidden="true">=</span>
        ${draw(shown.grid(part.product.data), 'products')}`}
      ${sum}
    </div>
    ${groups.length > 1 ? html`<div class="groups" role="group" aria-label=${`Channels of ${part.argument}`}>
      ${groups.slice(0, GROUPS).map(({ key, sum: own }) => html`
        <button class="small" aria-pressed=${key === shown.key} @click=${() => choose(key)}>
          ${part.argument}[${key}] <b class=${signOf(own)}>${number(own)}</b></button>`)}
      ${groups.length > GROUPS ? html`<span class="about">and ${groups.length - GROUPS} more, together ${
        number(groups.slice(GROUPS).reduce((all, group_) => all + group_.sum, 0))}</span>` : nothing}
    </div>` : nothing}`;
}

/** What the terms that an explanation does not list add up to, as a line of a sum; none if it lists all. */
export function unlisted({ parts, count, sum }) {
  const listed = parts.flatMap(({ product }) => [...product.data]);
  const rest = count - listed.length;
  return rest ? [[`${whole(rest)} more, not listed`, sum - listed.reduce((all, p) => all + p, 0)]] : [];
}

/** The sum: a line for each part, and the number that it makes. */
function ledger(explanation) {
  const { parts, remainder, linear, total, which, cell } = explanation;
  const lines = parts.map((part) => {
    const count = part.value.data.length;
    const sum = part.product.data.reduce((all, p) => all + p, 0);
    const weighs = part.of || part.coefficient.data.some((c) => c !== 1);
    if (count > 1) return [`sum of ${whole(count)} ${weighs ? 'products' : 'numbers'}`, sum];
    const place = cellName(part.argument, rowsOf(part.place)[0]);
    const coefficient = part.coefficient.data[0];
    const by = part.of ? cellName(part.of, rowsOf(part.at)[0]) : 'slope';
    return [coefficient === 1 && !part.of ? place
      : `${place} × ${by}: ${number(part.value.data[0], 4)} × ${number(coefficient, 4)}`, sum];
  });
  lines.push(...unlisted(explanation));
  if (remainder) lines.push([linear ? 'what is there without them' : 'what the slopes leave', remainder]);
  return html`<table class="ledger"><tbody>
    ${lines.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${number(value, 5)}</td></tr>`)}
    <tr class="total"><th scope="row">${cellName(which, cell)}</th><td>${number(total, 5)}</td></tr>
  </tbody></table>`;
}

/** The products that are farthest from 0. */
function largest(part) {
  const { product, value, coefficient } = part;
  const sizes = product.data.map(Math.abs);
  const order = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a]);
  const [places, ats] = [rowsOf(part.place), part.of ? rowsOf(part.at) : null];
  const name = (argument, place) => html`<code>${argument}[${place.join(',')}]</code>`;
  return html`<h3>Largest terms</h3><table class="terms"><tbody>
    ${order.slice(0, LARGEST).map((i) => html`<tr>
      <td class=${signOf(product.data[i])}>${number(product.data[i])}</td>
      <td>= ${number(value.data[i])} ${name(part.argument, places[i])}</td>
      <td>× ${number(coefficient.data[i])} ${ats ? name(part.of, ats[i]) : ''}</td></tr>`)}
  </tbody></table>`;
}

/** Softmax, and what is taken off for the target: the rows behind a cross-entropy and its gradient. */
function classes({ which, cell }, forward, arrays) {
  const [scores, target] = forward.inputs.slice(0, 2).map(({ array }) => arrays[array]);
  if (scores.shape.length !== 2 || target.shape.length !== 1) return nothing;
  const [n, count] = [which === 'dx' ? cell[0] : 0, scores.shape[1]];
  const row = scores.data.subarray(n * count, (n + 1) * count);
  const most = Math.max(...row);
  const powers = Array.from(row, (x) => Math.exp(x - most));
  const all = powers.reduce((sum, p) => sum + p, 0);
  const hot = target.data[n];
  return html`<table class="classes">
    <thead><tr><th>class</th><th>score x</th><th>softmax p</th><th>target</th><th>p − target</th></tr></thead>
    <tbody>${powers.map((power, c) => html`<tr class=${which === 'dx' && cell[1] === c ? 'now' : ''}>
      <td>${c}</td><td>${number(row[c])}</td><td>${number(power / all)}</td><td>${Number(c === hot)}</td>
      <td>${number(power / all - Number(c === hot))}</td></tr>`)}</tbody></table>`;
}
