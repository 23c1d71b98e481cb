/** The panel beside the arrays: what makes the number of a cell, in one of three ways, or its origin. */

import { html, nothing } from '../../vendor/lit-html.js';
import { number } from '../../maps.js';
import { explanationPanel } from './explain.js';
import { im2colPanel } from './im2col.js';
import { loopsPanel } from './loops.js';
import { cellName } from './tensor.js';

const WAYS = { sum: 'The sum', loops: 'As loops', im2col: 'As im2col' };
const GIVEN = {
  x: 'A number of the image, after normalisation.',
  target: 'The number of the target class.',
  loss: 'The walk begins with 1: how the loss changes with itself.',
};

/**
 * The panel of `looked`: {map, cell, value, explanation, error}.
 *
 * `about` holds the `frame`, its `forward` frame, the `arrays` of the recording, the `operand` of the map,
 * where it was `made` if it only goes in ({frame, map} or null), `sources` and `loops` of `step.record`, `width`.
 * `view` holds the `way`, the channel `group`, the `step` of the loops and whether it is `open`; `calls` what changes them:
 * `turn(way)`, `choose(group)`, `stepTo(step)`; `follow()`, and `toggle()`, which opens or shrinks the panel
 * where it is a sheet over the maps, see `open`.
 */
export function whyPanel(looked, about, view, calls) {
  const { map, cell, value, explanation, error } = looked;
  const hasWays = explanation && about.forward.op === 'conv2d' && about.loops.conv2d;
  const way = hasWays ? view.way : 'sum';
  return html`
    <div class="why-head">
      <h2 class="cell-name"><code>${cellName(map, cell)}</code> <b>${number(value, 5)}</b></h2>
      <button class="small" aria-controls="why" aria-expanded=${view.open} @click=${calls.toggle}>${
        view.open ? 'Shrink ▾' : 'Why? ▴'}</button>
    </div>
    ${hasWays ? html`<div class="row" role="group" aria-label="How it is computed">${
      Object.entries(WAYS).map(([name, title]) => html`<button class="small" aria-pressed=${name === way}
        @click=${() => calls.turn(name)}>${title}</button>`)}</div>` : nothing}
    ${error ? html`<p class="error">${error.message}</p>` : nothing}
    ${explanation ? shown(way, explanation, about, view, calls) : nothing}
    ${explanation || error ? nothing : origin(about, calls)}`;
}

function shown(way, explanation, about, { group, step }, { choose, stepTo }) {
  const { frame, forward, arrays, operand, sources, loops, width } = about;
  if (way === 'loops') {
    return loopsPanel(explanation, { source: sources[loops.conv2d[frame.direction]], step, go: stepTo });
  }
  if (way === 'im2col') {
    const gradient = frame.direction === 'backward' && arrays[frame.inputs[0].array];
    return im2colPanel({ ...explanation, array: operand.array }, { forward, gradient, arrays, width });
  }
  return explanationPanel(explanation, { frame, forward, arrays, width, group, choose });
}

/** Where an array that only goes in was made. */
function origin({ operand, made }, { follow }) {
  if (!made) return html`<p class="why">${GIVEN[operand.name] ?? `A number of ${operand.name}.`}</p>`;
  const { op, layer } = made.frame;
  return html`<p class="why">Made in another frame, by ${op}${layer ? ` in ${layer}` : ''}.</p>
    <p><button @click=${follow}>See how</button></p>`;
}
