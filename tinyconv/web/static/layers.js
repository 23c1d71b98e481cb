/** The maps of layers as rows of canvases, with one cell that is looked at: by pointer, or by keys. */

import { number, paint, scaleOf } from './maps.js';

const WIDEST = 64; // cells in a row of a vector's strip

/**
 * A cell of a map. In a vector, `map` is the place of the number, and row and column are 0.
 * @typedef {{map: number, row: number, column: number}} Cell
 */

/**
 * The pixels that a cell sees along one axis, [first, past the last], as Field.span in Python has them.
 * @param {{size: number, jump: number, start: number}} field
 */
export function span(field, cell, pixels) {
  const first = field.start + cell * field.jump;
  return [Math.max(first, 0), Math.max(Math.min(first + field.size, pixels), first, 0)];
}

/** The rows and columns of the image that a cell of this layer sees; null where it sees none of it. */
export function seenBy(layer, cell, shape) {
  if (!layer.field) return null;
  const [, height, width] = shape;
  return { rows: span(layer.field[0], cell.row, height), columns: span(layer.field[1], cell.column, width) };
}

/** What a cell sees, in words; `found` as `seenBy` gives it. */
export function sightOf(found, [, height, width]) {
  if (!found) return 'It does not depend on the image.';
  const { rows: [top, bottom], columns: [left, right] } = found;
  if (top === 0 && left === 0 && bottom === height && right === width) return 'It sees the whole image.';
  return `It sees rows ${top} to ${bottom - 1} and columns ${left} to ${right - 1} of the image.`;
}

/** Put a frame, an element over a picture of the image, around what a cell sees; null takes it away. */
export function showFrame(frame, found, [, height, width]) {
  frame.hidden = !found;
  if (!found) return;
  const { rows: [top, bottom], columns: [left, right] } = found;
  frame.style.setProperty('--top', top / height);
  frame.style.setProperty('--high', (bottom - top) / height);
  frame.style.setProperty('--left', left / width);
  frame.style.setProperty('--wide', (right - left) / width);
}

/** The size of a layer in words: `6 maps of 24×24`, `120 numbers`. */
export function sizeOf(shape) {
  if (shape.length !== 3) return `${shape.join('×')} numbers`;
  return `${shape[0]} ${shape[0] === 1 ? 'map' : 'maps'} of ${shape[1]}×${shape[2]}`;
}

/** A layer in words: `Conv2d: 16 maps of 8×8; a cell sees 14×14 pixels`. The image has this `shape`. */
export function describe({ name, kind, shape, maps, field }, [, height, width]) {
  const [shown] = maps.shape;
  const less = shown < shape[0] ? `, the first ${shown} are shown` : '';
  const [rows, columns] = field ? [Math.min(field[0].size, height), Math.min(field[1].size, width)] : [0, 0];
  const all = rows === height && columns === width;
  const reach = all ? '; each sees the whole image' : `; a cell sees ${rows}×${columns} pixels`;
  return `${kind === name ? '' : `${kind}: `}${sizeOf(shape)}${less}${field ? reach : ''}`;
}

/** `row 3, column 5` and its like for a cell of maps with this shape. */
export function placeOf(shape, { map, row, column }) {
  return shape.length === 3 ? `map ${map}, row ${row}, column ${column}` : `number ${map}`;
}

/** The cell with the largest value, of all maps or of one. */
export function strongest({ shape, data }, map = null) {
  const size = shape.length === 3 ? shape[1] * shape[2] : 1;
  const columns = shape.length === 3 ? shape[2] : 1;
  let best = map === null ? 0 : map * size;
  const end = map === null ? data.length : best + size;
  for (let i = best; i < end; i += 1) if (data[i] > data[best] || Number.isNaN(data[best])) best = i;
  const cell = best % size;
  return { map: Math.floor(best / size), row: Math.floor(cell / columns), column: cell % columns };
}

/** Paint an image, (C, H, W) bytes: grey, or red, green and blue. */
export function paintImage(canvas, { shape: [channels, rows, columns], data }, offset = 0) {
  const picture = new ImageData(columns, rows);
  const cells = rows * columns;
  const apart = channels === 3 ? cells : 0; // from one colour to the next; of grey, all three are the same
  for (let i = 0; i < cells; i += 1) {
    for (let c = 0; c < 3; c += 1) picture.data[4 * i + c] = data[offset + c * apart + i];
    picture.data[4 * i + 3] = 255;
  }
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext('2d').putImageData(picture, 0, 0);
}

/**
 * One array as a row of maps, or as a strip if it is a vector. `element` is what goes into the page: a group
 * that takes the focus, in which the arrows move from cell to cell and Page Up and Page Down from map to map.
 */
export class Maps {
  /**
   * @param {{label: string, grey?: boolean, names?: (map: number) => string,
   *   onCell?: (cell: Cell | null) => void, onPick?: (cell: Cell) => void}} how  `label`: what the maps are,
   *   in words. `grey`: they are an image of bytes. `onCell` hears of every cell that is pointed at, and of
   *   null when the pointer leaves; `onPick` of one that was clicked, or moved to by keys.
   */
  constructor({ label, grey = false, names = String, onCell = () => {}, onPick = () => {} }) {
    Object.assign(this, { label, grey, names, onCell, onPick });
    this.element = Object.assign(document.createElement('div'), { className: 'maps', tabIndex: 0 });
    this.element.setAttribute('role', 'group');
    this.cursor = Object.assign(document.createElement('span'), { className: 'cursor', hidden: true });
    this.canvases = [];
    this.picked = null;
    this.#listen();
  }

  /** Show an array, (M, H, W) or (M,). `scale`: the magnitude of the deepest colour. */
  show({ shape, data }, scale = this.grey ? 255 : scaleOf(data)) {
    if (String(shape) !== String(this.shape)) this.#build(shape);
    Object.assign(this, { data, scale });
    const { rows, columns, cells, grey } = this;
    this.canvases.forEach((canvas, i) => {
      const offset = i * cells;
      if (grey && shape[0] === 3) paintImage(canvas, { shape, data });
      else paint(canvas, data, { rows, columns, offset, scale, grey });
    });
    clearTimeout(this.naming);
    this.naming = setTimeout(() => this.#name(), 300); // a reader is not to be told sixty times a second
  }

  /** The number in a cell; in a colour image, that of its first channel. */
  value({ map, row, column }) {
    return this.data[map * (this.shape.length === 3 ? this.cells : 1) + row * this.columns + column];
  }

  /** Whether there is such a cell. */
  has({ map, row, column }) {
    if (!this.shape || !(map >= 0 && row >= 0 && column >= 0)) return false;
    if (this.shape.length !== 3) return map < this.shape[0] && !row && !column;
    return map < this.canvases.length && row < this.rows && column < this.columns;
  }

  /** Put the cursor on a cell, or take it away. */
  pick(cell) {
    this.picked = cell && this.has(cell) ? cell : null;
    this.#mark(this.picked);
  }

  /** Mark one of the maps as the one that is spoken of. */
  choose(map) {
    this.canvases.forEach((canvas, i) => canvas.closest('.map').classList.toggle('chosen', i === map));
  }

  #build(shape) {
    this.shape = shape;
    const flat = shape.length !== 3;
    this.columns = flat ? Math.ceil(shape[0] / Math.ceil(shape[0] / WIDEST)) : shape[2];
    this.rows = flat ? Math.ceil(shape[0] / this.columns) : shape[1];
    this.cells = this.rows * this.columns;
    const count = flat || (this.grey && shape[0] === 3) ? 1 : shape[0];
    this.element.classList.toggle('strip', flat);
    this.element.style.setProperty('--columns', this.columns);
    this.element.style.setProperty('--rows', this.rows);
    this.canvases = Array.from({ length: count }, () => document.createElement('canvas'));
    this.element.replaceChildren(...this.canvases.map((canvas, i) => {
      canvas.setAttribute('role', 'img');
      const box = Object.assign(document.createElement('span'), { className: 'map' });
      box.append(Object.assign(document.createElement('span'), { className: 'cells' }));
      box.firstChild.append(canvas);
      if (count > 1) {
        const name = Object.assign(document.createElement('span'), { className: 'index' });
        name.textContent = this.names(i);
        name.setAttribute('aria-hidden', 'true');
        box.append(name);
      }
      return box;
    }));
    this.pick(this.picked);
    this.#name();
  }

  #name() {
    const { shape, data, cells } = this;
    const flat = shape.length !== 3;
    this.element.setAttribute('aria-label', `${this.label}. Arrow keys move from cell to cell${
      this.canvases.length > 1 ? ', Page Up and Page Down from map to map' : ''}.`);
    this.canvases.forEach((canvas, i) => {
      const own = data?.subarray(flat ? 0 : i * cells, flat ? data.length : (i + 1) * cells) ?? [];
      let [least, most] = [Infinity, -Infinity];
      for (const value of own) {
        if (value < least) least = value;
        if (value > most) most = value;
      }
      const range = least <= most ? `, from ${number(least)} to ${number(most)}` : '';
      const name = this.canvases.length > 1 ? `${this.label}: ${this.names(i)}` : this.label;
      canvas.setAttribute('aria-label', `${name}${range}`);
    });
  }

  #listen() {
    const { element } = this;
    element.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'touch') return;
      const cell = this.#at(event);
      this.#mark(cell ?? this.picked);
      this.onCell(cell);
    });
    element.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'touch') return;
      this.#mark(this.picked);
      this.onCell(null);
    });
    element.addEventListener('click', (event) => {
      const cell = this.#at(event);
      if (cell) this.#choose(cell);
    });
    element.addEventListener('focus', () => {
      if (!this.picked && this.data && element.matches(':focus-visible')) this.#choose(strongest(this));
    });
    element.addEventListener('keydown', (event) => {
      const next = this.#moved(event.key);
      if (!next) return;
      event.preventDefault();
      this.#choose(next);
    });
  }

  #choose(cell) {
    this.pick(cell);
    this.onCell(cell);
    this.onPick(cell);
  }

  /** The cell under the pointer. */
  #at(event) {
    const i = this.canvases.indexOf(event.target);
    if (i < 0) return null;
    const { width, height } = event.target.getBoundingClientRect();
    const column = Math.min(Math.floor((event.offsetX / width) * this.columns), this.columns - 1);
    const row = Math.min(Math.floor((event.offsetY / height) * this.rows), this.rows - 1);
    const flat = this.shape.length !== 3;
    const cell = flat ? { map: row * this.columns + column, row: 0, column: 0 } : { map: i, row, column };
    return this.has(cell) ? cell : null;
  }

  /** The cell that a key leads to, null for a key that leads nowhere. */
  #moved(key) {
    const flat = this.shape?.length !== 3;
    const { map, row, column } = this.picked ?? { map: 0, row: 0, column: 0 };
    const steps = {
      ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
      PageUp: [-1, 0, 0], PageDown: [1, 0, 0], Home: [0, 0, -column], End: [0, 0, this.columns - 1 - column],
    };
    const step = steps[key];
    if (!step) return null;
    if (flat) {
      const moves = { Home: -map, End: this.shape[0] - 1 - map };
      const next = map + (moves[key] ?? step[1] * this.columns + step[2]);
      return { map: Math.max(0, Math.min(next, this.shape[0] - 1)), row: 0, column: 0 };
    }
    const next = { map: map + step[0], row: row + step[1], column: column + step[2] };
    return this.has(next) ? next : { map, row, column };
  }

  #mark(cell) {
    this.cursor.hidden = !cell;
    if (!cell) return;
    const flat = this.shape.length !== 3;
    const row = flat ? Math.floor(cell.map / this.columns) : cell.row;
    const column = flat ? cell.map % this.columns : cell.column;
    const box = this.canvases[flat ? 0 : Math.min(cell.map, this.canvases.length - 1)].parentNode;
    if (this.cursor.parentNode !== box) box.append(this.cursor);
    this.cursor.style.setProperty('--row', row);
    this.cursor.style.setProperty('--column', column);
  }
}

/** All layers of a model, one under the other: for each a heading, and its maps. */
export class Layers {
  /**
   * @param {{shape: number[], onCell?: (layer: object, cell: Cell | null) => void,
   *   onPick?: (layer: object, cell: Cell) => void}} how  `shape`: of the image, (channels, rows, columns).
   */
  constructor({ shape, onCell = () => {}, onPick = () => {} }) {
    Object.assign(this, { shape, onCell, onPick });
    this.element = Object.assign(document.createElement('div'), { className: 'layers' });
    this.rows = new Map();
  }

  /** Show the layers of `layers.seen`. */
  show(layers) {
    const names = layers.map(({ name, shape }) => `${name} ${shape}`).join();
    if (names !== this.names) {
      this.names = names;
      this.#build(layers);
    }
    this.layers = layers;
    for (const layer of layers) this.rows.get(layer.name).show(layer.maps);
  }

  /** The layer of this name. */
  layer(name) {
    return this.layers?.find((layer) => layer.name === name);
  }

  /** Put the cursor on a cell of a layer, and take it from the others. */
  pick(name, cell) {
    for (const [key, maps] of this.rows) maps.pick(key === name ? cell : null);
  }

  #build(layers) {
    this.rows.clear();
    this.element.replaceChildren(...layers.map((layer) => {
      const { name } = layer;
      const maps = new Maps({
        label: `${name}: ${sizeOf(layer.shape)}`,
        names: (i) => `${i}`,
        onCell: (cell) => this.onCell(this.layer(name), cell),
        onPick: (cell) => {
          this.pick(name, cell);
          this.onPick(this.layer(name), cell);
        },
      });
      this.rows.set(name, maps);
      const section = document.createElement('section');
      const head = document.createElement('h3');
      const title = Object.assign(document.createElement('span'), { className: 'name', textContent: name });
      head.append(title, ` ${describe(layer, this.shape)}`);
      section.append(head, maps.element);
      return section;
    }));
  }
}
