/** The arrays of a frame: values in one row, gradients below them, each under what it is the gradient of. */

import { flat } from './grid.js';
import { TensorView } from './tensor.js';
import { origin } from './words.js';

const NARROW = 620; // pixels, below which the arrays stand under each other

/** What goes in and out of one op, as views that know each other. */
export class FrameView {
  /** `calls`: `hover(map, cell or null)`, `pick(map, cell)`, `enlarge(map)`, `follow(map, cell)`. */
  constructor(element, calls) {
    this.element = element;
    this.calls = calls;
    this.views = new Map();
  }

  /** Show a frame of a recording. */
  show(recording, frame) {
    this.frame = frame;
    this.views.clear();
    const { frames, arrays } = recording;
    const back = frame.direction === 'backward';
    const forward = back ? frames[frame.partner] : frame;
    const view = (operand, gradient, about) => operand && operand.array !== null && this.#view({
      argument: operand.argument, array: arrays[operand.array], about: about ?? origin(operand, frames, gradient),
    });
    const columns = forward.inputs.map((operand, i) => [view(operand, false), back && view(frame.outputs[i], true, '')]);
    const outputs = back ? [[view(forward.outputs[0], false, ''), view(frame.inputs[0], true)]]
      : forward.outputs.map((operand) => [view(operand, false, '')]);
    const isShown = (pair) => pair.some(Boolean);
    this.columns = [...columns.filter(isShown), null, ...outputs.filter(isShown)];
    this.element.className = `flow ${frame.direction}`;
    this.element.replaceChildren(...this.columns.map((pair) => (pair ? column(pair) : arrow(back))));
    this.resize();
  }

  /** Lay out anew, for the width that there is. `zoomed` names the array whose chosen map is shown large. */
  resize(zoomed = this.zoomed) {
    this.zoomed = zoomed;
    const width = this.element.clientWidth;
    const back = this.frame.direction === 'backward';
    const narrow = width < NARROW;
    const tall = Math.max(260, Math.min(window.innerHeight - 440, 460));
    const height = narrow ? 240 : back ? Math.max(170, tall * 0.56) : tall;
    const pairs = this.columns.filter(Boolean);
    const least = 84;
    const wants = pairs.map(([value, gradient]) => Math.sqrt((value || gradient).array.data.length) + 4);
    const sum = wants.reduce((all, want) => all + want, 0);
    const room = width - 34 * (pairs.length - 1) - 60;
    const spare = room - least * pairs.length;
    this.element.classList.toggle('narrow', narrow);
    for (const [i, pair] of pairs.entries()) {
      for (const view of pair.filter(Boolean)) {
        const single = view.argument === zoomed;
        const own = narrow || single ? width - 4 : least + (spare * wants[i]) / sum;
        view.resize(own, single ? Math.max(height, 520) : height, { single });
        view.element.classList.toggle('zoomed', single);
      }
    }
  }

  /** Mark the chosen cell of the array `map`, and light what it comes from: {argument: flat indices}. */
  mark(map, cell, lit = {}) {
    for (const [argument, view] of this.views) {
      const own = argument === map;
      view.lit = lit[argument] ?? [];
      if (own) view.choose(cell);
      else if (view.shown) view.choose(view.cell, false);
      else view.light(view.lit);
      view.readout(own ? cell : null);
    }
  }

  /** Paint anew: the theme has changed. */
  draw() {
    for (const view of this.views.values()) view.draw();
  }

  #view(options) {
    const { argument } = options;
    const view = new TensorView({
      ...options,
      hover: (cell) => this.calls.hover(argument, cell),
      pick: (cell) => this.calls.pick(argument, cell),
      enlarge: () => this.calls.enlarge(argument),
      follow: (cell) => this.calls.follow(argument, cell),
    });
    this.views.set(argument, view);
    return view;
  }
}

/** The cell of an array that is shown first: the one that is farthest from 0. */
export function mostOf({ shape, data }) {
  let best = 0;
  for (let i = 1; i < data.length; i += 1) if (Math.abs(data[i]) > Math.abs(data[best])) best = i;
  return shape.map((size, axis) => Math.floor(best / shape.slice(axis + 1).reduce((all, n) => all * n, 1)) % size);
}

/** Whether `cell` is a cell of an array of `shape`. */
export function isCell(cell, shape) {
  return cell.length === shape.length && cell.every((n, axis) => Number.isInteger(n) && n >= 0 && n < shape[axis])
    && Number.isFinite(flat(shape, cell));
}

function column([value, gradient]) {
  const element = document.createElement('div');
  element.className = 'flow-column';
  for (const [view, name] of [[value, 'flow-value'], [gradient, 'flow-gradient']]) {
    const place = document.createElement('div');
    place.className = name;
    if (view) place.append(view.element);
    element.append(place);
  }
  return element;
}

function arrow(back) {
  const element = document.createElement('div');
  element.className = 'flow-arrow';
  element.setAttribute('aria-hidden', 'true');
  element.append(...[['flow-value', '→'], ['flow-gradient', back ? '←' : '']].map(([name, sign]) => {
    const place = document.createElement('span');
    place.className = name;
    place.textContent = sign;
    return place;
  }));
  return element;
}
