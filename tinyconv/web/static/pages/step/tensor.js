/** An array on the page: its maps on a canvas, a scale, and a cell that the mouse or the keys choose. */

import { number, paint, scaleOf } from '../../maps.js';
import { fresh, holdsNumbers, powerOf, powerText, signOf, write } from './cells.js';
import { Grid, flat, unflat } from './grid.js';

const KEYS = 'Arrows move the cell, Page Up and Page Down the map; Enter goes to its origin, z enlarges';
const ROOMY = 34; // pixels of a cell whose number is easy to read
const MOST_WITH_NUMBERS = 64; // columns of a map that is made as wide as its numbers ask for

/** What is written of a cell: `dx[0, 2, 5, 7]`. */
export function cellName(argument, cell) {
  return cell.length ? `${argument}[${cell.join(', ')}]` : argument;
}


/**
 * The view of one array.
 *
 * Options: `argument` ("dx"), `array` (see NDArray), `about` (a line on what it is), and what to call:
 * `hover(cell or null)`, `pick(cell)`, `enlarge()`, and `follow(cell)` on Enter.
 */
export class TensorView {
  constructor(options) {
    Object.assign(this, options);
    this.cell = this.array.shape.map(() => 0);
    this.lit = [];
    this.scale = scaleOf(this.array.data);
    [this.low, this.high] = range(this.array.data);
    this.element = make('figure', 'tensor');
    const head = make('figcaption', 'tensor-head');
    this.caption = make('span', '', this.about);
    const { shape } = this.array;
    const sizes = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
    head.append(make('b', '', this.argument), make('code', '', sizes), this.caption);
    this.frame = make('div', 'tensor-maps');
    this.frame.tabIndex = 0;
    this.frame.setAttribute('role', 'application');
    this.frame.dataset.map = this.argument;
    this.base = make('canvas', 'tensor-base');
    this.base.setAttribute('role', 'img');
    this.over = make('canvas', 'tensor-over');
    this.over.setAttribute('aria-hidden', 'true');
    this.frame.append(this.base, this.over);
    this.legend = make('div', 'tensor-legend');
    this.note = make('span', 'tensor-note');
    this.note.hidden = true;
    this.frame.append(this.note);
    const body = make('div', 'tensor-body');
    body.append(this.frame, this.legend);
    this.element.append(head, body);
    this.#describe();
    this.#listen();
  }

  /** The layout that it would have in (width x height) pixels; a single map takes more to show numbers. */
  planned(width, height, single = false) {
    const { shape } = this.array;
    const columns = shape.at(-1) <= MOST_WITH_NUMBERS ? shape.at(-1) : 0;
    const room = single ? [Math.max(width, columns * ROOMY), Infinity] : [width, height];
    return new Grid(shape, this.cell, ...room, { single, most: single ? 46 : 30 });
  }

  /** Lay it out anew. `single` shows the map of the chosen cell alone. */
  resize(width, height, single = false) {
    this.room = [width, height, single];
    this.grid = this.planned(width, height, single);
    this.#size();
    this.#tellMap();
    this.draw();
  }

  /** Choose a cell; `shown` is false where another array has the chosen cell. */
  choose(cell, shown = true) {
    this.cell = cell;
    this.shown = shown;
    if (!this.grid.has(flat(this.array.shape, cell))) this.resize(...this.room);
    else this.#drawOver();
    this.#describe();
  }

  /** Light cells, flat indices. */
  light(cells) {
    this.lit = cells;
    if (cells.length && !cells.some((index) => this.grid.has(index)) && !this.shown) {
      this.cell = unflat(this.array.shape, cells[0]);
      this.resize(...this.room);
    } else {
      this.#drawOver();
    }
  }

  value(cell) {
    return this.array.data[flat(this.array.shape, cell)];
  }

  /** Write the number of the chosen cell beside it while the mouse or the keys are there. */
  tell(under) {
    const byKeys = this.shown && this.frame.matches(':focus-visible');
    this.note.hidden = !under && !byKeys;
    if (this.note.hidden) return;
    const { x, y, width } = this.grid.box(flat(this.array.shape, this.cell));
    this.note.textContent = number(this.value(this.cell), 4);
    this.note.style.left = `${x + width / 2}px`;
    this.note.style.top = `${y - 6}px`;
    if (byKeys && !under) this.note.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** Paint everything in the colours of the theme. */
  draw() {
    const { grid, array, base, scale } = this;
    const { rows, columns, first, count, strip } = grid.parts;
    const context = fresh(base, grid.width + 2, grid.height + 2); // with room for a line around the maps
    context.translate(1, 1);
    context.fillStyle = getComputedStyle(this.element).getPropertyValue('--line');
    const dots = document.createElement('canvas');
    const lines = strip ? [1, columns] : [rows * count, columns];
    paint(dots, array.data, { rows: lines[0], columns: lines[1], offset: first, scale });
    if (strip) {
      for (let start = 0; start < columns; start += grid.line) {
        const many = Math.min(grid.line, columns - start);
        const { y } = grid.box(start);
        const above = start ? 0 : 1; // a later line begins where the one above it ends
        context.fillRect(-1, y - above, many * grid.cellWidth + 2, grid.cellHeight + above + 1);
        context.drawImage(dots, start, 0, many, 1, 0, y, many * grid.cellWidth, grid.cellHeight);
      }
    } else {
      for (let m = 0; m < count; m += 1) {
        const { x, y } = grid.corner(m);
        const [width, height] = [columns * grid.cellWidth, rows * grid.cellHeight];
        context.fillRect(x - 1, y - 1, width + 2, height + 2);
        context.drawImage(dots, 0, m * rows, columns, rows, x, y, width, height);
      }
    }
    if (holdsNumbers(grid.cellWidth)) this.#write(context);
    this.#drawLegend();
    this.#drawOver();
  }

  #write(context) {
    const { rows, columns, first, count } = this.grid.parts;
    for (let index = first; index < first + rows * columns * count; index += 1) {
      write(context, this.array.data, index, this.scale, this.grid.box(index));
    }
  }

  #drawLegend() {
    const { low, high, scale } = this;
    const canvas = make('canvas', 'ramp');
    const shades = Float32Array.from({ length: 48 }, (_, i) => low + ((high - low) * i) / 47);
    paint(canvas, shades, { rows: 1, columns: 48, scale });
    canvas.setAttribute('aria-hidden', 'true');
    const power = powerOf(scale);
    const { strip, count } = this.grid.parts;
    const zoom = make('button', 'zoom');
    zoom.append(lens(this.room[2]));
    zoom.title = this.room[2] ? 'Show all maps (z or Escape)' : 'Enlarge (z, or a double click)';
    zoom.setAttribute('aria-label', `${this.room[2] ? 'Show all of' : 'Enlarge'} ${this.argument}`);
    zoom.addEventListener('click', () => this.enlarge());
    const isSmall = strip || (!this.room[2] && count === 1 && holdsNumbers(this.grid.cellWidth));
    const end = (value, name) => make('span', name, number(value / 10 ** power));
    this.legend.replaceChildren(...(low === high ? [make('span', '', `all ${number(low)}`)]
      : [end(low, signOf(low)), canvas, end(high, signOf(high))]),
    ...(power && low !== high ? [make('span', '', powerText(power))] : []), ...(isSmall ? [] : [zoom]));
  }

  #drawOver() {
    const { grid, over, lit, cell } = this;
    const context = fresh(over, grid.width, grid.height);
    const style = getComputedStyle(this.element);
    const [ink, paper] = [style.getPropertyValue('--ink'), style.getPropertyValue('--paper')];
    const shown = lit.filter((index) => grid.has(index));
    if (shown.length) {
      const path = outline(grid, shown);
      stroke(context, path, paper, 3.5);
      stroke(context, path, ink, 1.5);
    }
    const at = flat(this.array.shape, cell);
    if (this.shown && grid.has(at)) {
      const { x, y, width, height } = grid.box(at);
      const path = new Path2D();
      const out = width < 8 ? 2 : 0;
      path.rect(x - out, y - out, width + 2 * out, height + 2 * out);
      stroke(context, path, paper, 5);
      stroke(context, path, style.getPropertyValue('--mark'), 2.5);
    }
  }

  /** Under the name: what the array is, and which of its maps is shown if it is one alone. */
  #tellMap() {
    const isOneOfMany = this.room[2] && this.array.shape.slice(0, -2).some((size) => size > 1);
    const map = cellName(this.argument, this.cell.slice(0, -2));
    this.caption.textContent = isOneOfMany ? `${map} alone, of ${this.about}` : this.about;
  }

  #size() {
    this.frame.style.width = `${this.grid.width}px`;
    this.frame.style.height = `${this.grid.height}px`;
  }

  #describe() {
    const { argument, array, low, high } = this;
    const place = `${cellName(argument, this.cell)} is ${number(this.value(this.cell), 5)}`;
    this.frame.setAttribute('aria-label', `${argument}, ${this.about}. ${place}. ${KEYS}`);
    this.base.setAttribute(
      'aria-label', `${argument} as a picture: numbers from ${number(low)} to ${number(high)}`);
  }

  #listen() {
    const { frame } = this;
    const at = (event) => {
      const { left, top } = frame.getBoundingClientRect();
      const index = this.grid.cellAt(event.clientX - left, event.clientY - top);
      return index === null ? null : unflat(this.array.shape, index);
    };
    let under = null; // a click has whole pixels, and would fall into the next cell now and then
    frame.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'touch') return;
      under = at(event);
      this.hover(under);
    });
    frame.addEventListener('pointerleave', () => {
      under = null;
      this.hover(null);
    });
    frame.addEventListener('click', (event) => {
      const cell = under ?? at(event);
      if (cell) this.pick(cell);
    });
    frame.addEventListener('dblclick', () => this.enlarge());
    frame.addEventListener('focus', () => {
      if (frame.matches(':focus-visible')) this.pick(this.cell);
    });
    frame.addEventListener('keydown', (event) => this.#key(event));
  }

  #key(event) {
    const { grid, array } = this;
    const index = flat(array.shape, this.cell);
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const maps = { PageUp: -1, PageDown: 1 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.pick(unflat(array.shape, grid.neighbour(index, ...moves[event.key])));
    else if (maps[event.key]) this.pick(unflat(array.shape, grid.nextMap(index, maps[event.key])));
    else if (event.key === 'z') this.enlarge();
    else if (event.key === 'Enter') this.follow(this.cell);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function range(data) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 0] : [low, high];
}

/** The path around cells: the edges that they do not share. */
function outline(grid, cells) {
  const known = new Set(cells);
  const path = new Path2D();
  for (const index of cells) {
    const { x, y, width, height } = grid.box(index);
    const [right, bottom] = [x + width, y + height];
    const free = (dx, dy) => {
      const next = grid.cellAt(x + width / 2 + dx * width, y + height / 2 + dy * height);
      return next === null || !known.has(next);
    };
    const edge = (isFree, x0, y0, x1, y1) => {
      if (isFree) {
        path.moveTo(x0, y0);
        path.lineTo(x1, y1);
      }
    };
    edge(free(0, -1), x, y, right, y);
    edge(free(0, 1), x, bottom, right, bottom);
    edge(free(-1, 0), x, y, x, bottom);
    edge(free(1, 0), right, y, right, bottom);
  }
  return path;
}

function stroke(context, path, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = 'square';
  context.stroke(path);
}

/** A magnifying glass with a plus, or with a minus. */
function lens(minus) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const glass = 'M10.5 10.5 15 15M6.5 1.5a5 5 0 1 0 0 10a5 5 0 1 0 0-10M4.2 6.5h4.6';
  path.setAttribute('d', minus ? glass : `${glass}M6.5 4.2v4.6`);
  svg.append(path);
  return svg;
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}
