/** The arrays of a frame: values in one row, gradients below them, each under what it is the gradient of. */

import { unflat } from './grid.js';
import { TensorView } from './tensor.js';
import { about } from './words.js';

const NARROW = 620; // pixels, below which the arrays stand under each other
const GAP = 20;

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
    const isMade = (operand) => frame.outputs.includes(operand) || forward.outputs.includes(operand);
    const view = (operand) => operand && operand.array !== null && this.#view({
      argument: operand.argument,
      array: arrays[operand.array],
      about: about(operand, frames, isMade(operand) ? forward : null),
    });
    const columns = forward.inputs.map((operand, i) => [view(operand), back && view(frame.outputs[i])]);
    const made = forward.outputs.filter((operand) => !isPassedOn(operand, forward, arrays));
    const outputs = back ? [[view(made[0]), view(frame.inputs[0])]]
      : made.map((operand) => [view(operand), false]);
    const isShown = (pair) => pair.some(Boolean);
    this.columns = [...columns.filter(isShown), null, ...outputs.filter(isShown)];
    this.element.className = `flow ${frame.direction}`;
    const cells = this.columns.flatMap((pair, i) => (pair ? column(pair, i) : arrows(back, i)));
    this.element.replaceChildren(...cells);
    this.resize();
  }

  /** Show the chosen map of the array named `zoomed` alone and large; all maps where it is undefined. */
  enlarge(zoomed) {
    this.zoomed = zoomed;
    this.resize();
  }

  /** Lay out anew, for the room that there is. */
  resize() {
    const { zoomed } = this;
    const width = this.element.clientWidth;
    const back = this.frame.direction === 'backward';
    const narrow = width < NARROW;
    const tall = Math.max(300, window.innerHeight - 390);
    const height = narrow ? 190 : back ? Math.min((tall - 84) / 2, 320) : Math.min(tall, 500);
    this.element.classList.toggle('narrow', narrow);
    this.element.classList.toggle('has-zoom', this.views.has(zoomed));
    const pairs = this.columns.filter(Boolean).map((pair) => pair.filter(Boolean));
    const room = narrow ? Infinity : width - GAP * (pairs.length + 1) - 24;
    const widths = shared(pairs.map(([view]) => view), room, height);
    for (const [i, pair] of pairs.entries()) {
      for (const view of pair) {
        const single = view.argument === zoomed;
        view.resize(single ? width - 4 : narrow ? (width - GAP) / 2 : widths[i], height, single);
        view.element.classList.toggle('zoomed', single);
        view.element.style.gridColumn = single ? `1 / span ${this.columns.length}` : view.column;
        view.element.style.minWidth = narrow ? '' : `${least(view)}px`;
      }
    }
  }

  /** Mark a cell, `under` the mouse or not, and light what it comes from: {argument: flat indices}. */
  mark(map, cell, lit = {}, under = false) {
    for (const [argument, view] of this.views) {
      const own = argument === map;
      view.lit = lit[argument] ?? [];
      if (own) view.choose(cell);
      else if (view.shown) view.choose(view.cell, false);
      else view.light(view.lit);
      view.tell(own && under);
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
  return unflat(shape, best);
}

/** Whether `cell` is a cell of an array of `shape`. */
export function isCell(cell, shape) {
  const isIn = (n, axis) => Number.isInteger(n) && n >= 0 && n < shape[axis];
  return cell.length === shape.length && cell.every(isIn);
}

/** Pixels that the caption of a view needs. */
function least({ argument, array }) {
  return Math.max(84, 9 * argument.length + 7 * array.shape.join(', ').length + 26);
}

/**
 * How many of `room` pixels each view gets. Pixels go where they make cells most larger, from the least on.
 * @param {TensorView[]} views
 */
function shared(views, room, height) {
  const widths = views.map((view) => Math.max(least(view), view.planned(least(view), height).width));
  if (room === Infinity) return widths;
  const size = (view, width) => Math.log(Math.min(view.planned(width, height).cellWidth, 32));
  for (;;) {
    const spare = room - widths.reduce((all, width) => all + width, 0);
    let best = null;
    for (const [i, view] of views.entries()) {
      const now = size(view, widths[i]);
      for (let more = 8; more <= spare; more += 8) {
        const gain = (size(view, widths[i] + more) - now) / more;
        if (gain > (best?.gain ?? 0)) best = { i, more, gain };
      }
    }
    if (!best) return widths;
    widths[best.i] += best.more;
  }
}

/** Whether an output is an input again, as the statistics of a batch norm are in evaluation. */
function isPassedOn({ array }, { inputs }, arrays) {
  const { data } = arrays[array];
  return inputs.slice(1).some((operand) => {
    const given = operand.array === null ? [] : arrays[operand.array].data;
    return given.length === data.length && given.every((n, i) => n === data[i]);
  });
}

function column([value, gradient], i) {
  return [[value, 'value'], [gradient, 'gradient']].filter(([view]) => view).map(([view, row]) => {
    view.element.classList.add(row);
    view.column = i + 1;
    return view.element;
  });
}

function arrows(back, i) {
  return [['value', '→'], ['gradient', '←']].slice(0, back ? 2 : 1).map(([row, sign]) => {
    const element = document.createElement('span');
    element.className = `flow-arrow ${row}`;
    element.setAttribute('aria-hidden', 'true');
    element.textContent = sign;
    element.style.gridColumn = i + 1;
    return element;
  });
}
