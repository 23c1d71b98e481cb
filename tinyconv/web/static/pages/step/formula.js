/** The docstring of an op as a page shows it: formulas with signs and indices, and the rest as text. */

import { html } from '../../vendor/lit-html.js';

const FORMULA = /^\s*[A-Za-z]\w*(\[[^\]]*\])? = /;
const WORDS = new Set(('where else at the of place to all and or in is with over kink maximum window inputs '
  + 'end along each its own shape another dtype').split(' '));

/** Paragraphs of text and of formulas. Those of gradients, d..., are marked where `back`. */
export function formula(docstring, back) {
  return docstring.split(/\n\s*\n/).map((paragraph) => {
    const text = paragraph.trim().replace(/\s*\n\s*/g, '\n');
    if (!FORMULA.test(text)) return html`<p class="formula-text">${prose(text.replaceAll('\n', ' '))}</p>`;
    const pieces = text.split(/[;,]\s{2,}|;\n|,\n/);
    const name = (piece) => (/^d[a-z]+\b/.test(piece) === back ? 'formula-line now' : 'formula-line');
    return html`<div class="formula-lines">${
      pieces.map((piece) => html`<p class=${name(piece)}>${typeset(piece)}</p>`)}</div>`;
  });
}

function prose(text) {
  return text.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}

/** One formula: sums with their indices below, indices as subscripts, powers as superscripts. */
function typeset(text) {
  const rules = [
    [/^(sum|max|min)_([a-z]+)/, ([, name, over]) => html`<span>${name === 'sum' ? 'Σ' : name}</span><sub>${
      [...over].join(' ')}</sub>`],
    [/^([A-Za-z]\w*)\[([^\]]*)\]/, ([, name, index]) => html`${variable(name)}<sub>${
      typeset(tight(index))}</sub>`],
    [/^([A-Za-z]+)_([a-z])\b/, ([, name, index]) => html`${variable(name)}<sub><i>${index}</i></sub>`],
    [/^([a-z])\^(?=[\s).,;]|$)/, ([, name]) => html`<i>${name}\u0302</i>`],
    [/^\^(\(([^)]*)\)|-?\w+)/, ([, whole, inner]) => html`<sup>${typeset(inner ?? whole)}</sup>`],
    [/^[A-Za-z]\w*/, ([name]) => variable(name)],
    [/^ \* /, () => ' · '], [/^\*/, () => '·'], [/^ @ /, () => ' @ '],
    [/^<=/, () => '≤'], [/^>=/, () => '≥'], [/^-/, () => '−'],
  ];
  const made = [];
  for (let rest = text; rest;) {
    const rule = rules.map(([pattern, make]) => [rest.match(pattern), make]).find(([found]) => found);
    made.push(rule ? rule[1](rule[0]) : rest[0] === '\n' ? ' ' : rest[0]);
    rest = rest.slice(rule ? rule[0][0].length : 1);
  }
  return made;
}

const tight = (index) => index.replace(/ ?\* ?/g, '·').replace(/,\s*/g, ', ');

function variable(name) {
  if (WORDS.has(name)) return html`<span class="word">${name}</span>`;
  return name.length === 1 || /^d[a-z]$/.test(name) ? html`<i>${name}</i>` : html`<span>${name}</span>`;
}
