/** The same cell of a convolution as naked loops: the source of loops.py, its variables, the sum so far. */

import { html, nothing } from '../../vendor/lit-html.js';
import { number, whole } from '../../maps.js';
import { rowsOf, unlisted } from './explain.js';
import { flat } from './grid.js';
import { code } from './source.js';
import { cellName } from './tensor.js';

const ORDER = ['n', 'f', 'i', 'j', 'u', 'v', 'c']; // of the loops, from outside in

/** For the array of the cell the indices of a term as the loops name them: ORDER, then row and column. */
const INDICES = {
  y: (cell, place, [, c, u, v]) => [...cell, u, v, c, place[2], place[3]],
  dx: (cell, place, [, c, u, v]) => [...place, u, v, c, cell[2], cell[3]],
  dweight: (cell, place, [, , row, column]) => [...place, cell[2], cell[3], cell[1], row, column],
  dbias: (cell, place) => place,
};

/** The terms of a cell in the order in which the loops come to them. */
function loopTerms({ which, cell, parts }) {
  const part = parts.find(({ of, argument }) => (which === 'dbias' ? argument === 'dy' : of));
  if (!part) return [];
  const [places, ats] = [rowsOf(part.place), part.of ? rowsOf(part.at) : []];
  const terms = places.map((place, i) => ({
    indices: INDICES[which](cell, place, ats[i]),
    value: part.value.data[i],
    coefficient: part.coefficient.data[i],
    product: part.product.data[i],
    argument: part.argument,
    place,
    of: part.of,
    at: ats[i],
  }));
  const later = (a, b) => ORDER.reduce((found, _, axis) => found || (a[axis] ?? 0) - (b[axis] ?? 0), 0);
  return terms.sort((a, b) => later(a.indices, b.indices));
}

/** The cells that meet in a term: {argument: flat indices}; null before the first. */
export function litByTerm(explanation, step, shapeOf) {
  const term = loopTerms(explanation)[step - 1];
  if (!term) return null;
  const lit = { [term.argument]: [flat(shapeOf(term.argument), term.place)] };
  if (term.of) lit[term.of] = [flat(shapeOf(term.of), term.at)];
  return lit;
}

/** The number of the line that adds a term to an array. */
function addingLine({ line, lines }, which) {
  const found = lines.findIndex((parts) => {
    const text = parts.map(([, part]) => part).join('').trim();
    return text.startsWith(`${which}[`) && text.includes('+=');
  });
  return found < 0 ? [] : [line + found];
}

/**
 * The loops, stopped after `step` of the terms of this cell; after all of them unless given.
 * @param {(step: number) => void} go
 */
export function loopsPanel(explanation, { source, step, go }) {
  const { which, cell, total, parts } = explanation;
  const terms = loopTerms(explanation);
  const at = Math.min(step ?? terms.length, terms.length);
  const bias = parts.find(({ argument }) => argument === 'bias')?.product.data[0] ?? 0;
  const sum = terms.slice(0, at).reduce((all, { product }) => all + product, bias);
  const rest = unlisted(explanation);
  const isAll = at === terms.length && !rest.length;
  return html`
    <p class="why">Nothing clever: one multiplication after another, in this order.${
      bias ? ' It begins with the bias.' : ''}</p>
    <label class="stepper">After
      <input type="range" min="0" max=${terms.length} .value=${String(at)} aria-label="Terms added"
        @input=${(event) => go(Number(event.target.value))}>
      <b>${whole(at)}</b> of ${rest.length ? 'the first ' : ''}${whole(terms.length)}</label>
    ${at ? variables(terms[at - 1]) : nothing}
    <table class="ledger"><tbody>
      <tr class="total"><th scope="row">${cellName(which, cell)}${isAll ? '' : ' so far'}</th>
        <td>${number(sum, 5)}</td></tr>
      ${isAll ? nothing : html`<tr><th scope="row">at the end</th><td>${number(total, 5)}</td></tr>`}
    </tbody></table>
    ${code(source, { now: addingLine(source, which), title: 'the same, as loops' })}`;
}

/** The loop variables at a term, and its product. */
function variables({ indices, argument, place, value, of, at, coefficient, product }) {
  const names = [...ORDER, 'row', 'column'].slice(0, indices.length);
  return html`
    <dl class="variables">${names.map((name, axis) => html`
      <div><dt>${name}</dt><dd>${indices[axis]}</dd></div>`)}</dl>
    <p class="term"><code>${cellName(argument, place)}</code> ${number(value, 4)}
      ${of ? html`× <code>${cellName(of, at)}</code> ${number(coefficient, 4)} = <b>${number(product, 4)}</b>`
        : nothing}</p>`;
}
