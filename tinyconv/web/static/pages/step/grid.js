/** Where the cells of an array lie on a canvas: its maps side by side, or a vector as a strip in lines. */

const GAP = 5; // pixels between maps
const MOST = 640; // maps shown at once; of more, those of one first index are shown

const product = (numbers) => numbers.reduce((all, n) => all * n, 1);

/**
 * An array of `shape` as maps: (rows x columns) cells each, `count` of them from cell `first` on. What has no
 * two axes worth the name is a strip: one map of one row.
 * @param {number[]} shape
 * @param {number[]} at  The cell that must be among them.
 * @param {boolean} single  Show its map alone.
 */
export function split(shape, at, single) {
  const size = product(shape);
  const columns = shape.at(-1) ?? 1;
  const rows = shape.at(-2) ?? 1;
  if (shape.length < 2 || size === columns || rows * columns === 1) {
    return { strip: true, rows: 1, columns: size, first: 0, count: 1, across: 0 };
  }
  const count = size / (rows * columns);
  const place = Math.floor(flat(shape, at) / (rows * columns));
  if (single) return { rows, columns, first: place * rows * columns, count: 1, across: 0 };
  const inner = shape.at(-3) ?? 1; // maps of one first index
  const isTable = shape.length === 4 && shape[0] > 1 && inner > 1;
  if (count <= MOST) return { rows, columns, first: 0, count, across: isTable ? inner : 0 };
  const start = place - (place % inner);
  return { rows, columns, first: start * rows * columns, count: Math.min(inner, MOST), across: 0 };
}

/**
 * The largest cells with which maps fit into (width x height) pixels, and where each map is.
 * `across`, where not 0, asks for a table: maps of one first index in a line, or in a column if cells
 * are then larger.
 */
export function arrange(parts, width, height, most = 34) {
  return parts.strip ? strip(parts.columns, width, height) : maps(parts, width, height, most);
}

const STRIP = [[48, 25], [42, 23], [22, 22], [16, 16], [12, 12], [9, 9], [7, 7], [5, 5], [3, 3], [2, 2]];

function strip(count, width, height) {
  if (count === 1) return { cellWidth: 72, cellHeight: 27, line: 1, perLine: 1, width: 72, height: 27 };
  let best = null;
  for (const [cellWidth, cellHeight] of STRIP) {
    const line = Math.max(1, Math.min(count, Math.floor(width / cellWidth)));
    const lines = Math.ceil(count / line);
    best = { cellWidth, cellHeight, line: Math.ceil(count / lines), lines };
    if (line * cellWidth <= width && lines * cellHeight <= height) break;
  }
  const { cellWidth, cellHeight, line, lines } = best;
  return { cellWidth, cellHeight, line, perLine: 1, width: line * cellWidth, height: lines * cellHeight };
}

function maps({ rows, columns, count, across }, width, height, most) {
  for (let cell = most; cell > 0; cell -= cell > 12 ? 2 : cell > 3 ? 1 : cell > 1 ? 0.5 : 0.25) {
    const gap = count > 1 ? (cell < 3 ? 3 : GAP) : 0;
    const [stepX, stepY] = [columns * cell + gap, rows * cell + gap];
    const room = Math.floor((width + gap) / stepX);
    const choices = across ? [across, count / across] : [Math.min(count, room)];
    for (const [choice, many] of choices.entries()) {
      const lines = Math.ceil(count / Math.max(many, 1));
      if (many < 1 || many > room || (lines * stepY - gap > height && cell > 1.5)) continue;
      const perLine = across ? many : Math.ceil(count / lines);
      const turned = across > 0 && choice === 1 && across !== count / across;
      const size = { width: perLine * stepX - gap, height: lines * stepY - gap };
      return { cellWidth: cell, cellHeight: cell, gap, perLine, turned, ...size };
    }
  }
  if (height < Infinity) return maps({ rows, columns, count, across: 0 }, width, Infinity, 1);
  const cell = width / columns;
  const tall = count * (rows * cell + 1) - 1;
  return { cellWidth: cell, cellHeight: cell, gap: 1, perLine: 1, width, height: tall };
}

/** A laid out array: between cells (indices into the array) and places on the canvas. */
export class Grid {
  constructor(shape, at, width, height, { single = false, most = 34 } = {}) {
    this.shape = shape;
    this.parts = split(shape, at, single);
    Object.assign(this, arrange(this.parts, width, height, most));
  }

  /** Whether the cell, a flat index, is shown. */
  has(index) {
    const { rows, columns, first, count } = this.parts;
    return index >= first && index < first + rows * columns * count;
  }

  /** [line, column] of map number m among those shown. */
  mapAt(m) {
    if (!this.turned) return [Math.floor(m / this.perLine), m % this.perLine];
    return [m % this.parts.across, Math.floor(m / this.parts.across)];
  }

  /** {x, y} of the top left corner of a map. */
  corner(m) {
    const [line, column] = this.mapAt(m);
    const { rows, columns } = this.parts;
    const { gap, cellWidth, cellHeight } = this;
    return { x: column * (columns * cellWidth + gap), y: line * (rows * cellHeight + gap) };
  }

  /** {x, y, width, height} of a cell, a flat index that is shown. */
  box(index) {
    const { rows, columns, first, strip: isStrip } = this.parts;
    const { cellWidth, cellHeight, line } = this;
    const inside = index - first;
    if (isStrip) {
      const [x, y] = [(inside % line) * cellWidth, Math.floor(inside / line) * cellHeight];
      return { x, y, width: cellWidth, height: cellHeight };
    }
    const { x, y } = this.corner(Math.floor(inside / (rows * columns)));
    const cell = inside % (rows * columns);
    return {
      x: x + (cell % columns) * cellWidth, y: y + Math.floor(cell / columns) * cellHeight,
      width: cellWidth, height: cellHeight,
    };
  }

  /** The cell at a place, a flat index; null between the maps. */
  cellAt(x, y) {
    const { rows, columns, first, count, strip: isStrip } = this.parts;
    const { cellWidth, cellHeight, gap, line } = this;
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    if (isStrip) {
      const index = Math.floor(y / cellHeight) * line + Math.floor(x / cellWidth);
      return index < columns ? index : null;
    }
    const [stepX, stepY] = [columns * cellWidth + gap, rows * cellHeight + gap];
    const [mapLine, mapColumn] = [Math.floor(y / stepY), Math.floor(x / stepX)];
    const m = this.turned ? mapColumn * this.parts.across + mapLine : mapLine * this.perLine + mapColumn;
    const [i, j] = [Math.floor((y % stepY) / cellHeight), Math.floor((x % stepX) / cellWidth)];
    return m < count && i < rows && j < columns ? first + (m * rows + i) * columns + j : null;
  }

  /** The cell next to one in the direction of an arrow key, over the edge of a map too; itself at the end. */
  neighbour(index, right, down) {
    const { x, y, width, height } = this.box(index);
    const [middleX, middleY] = [x + width / 2, y + height / 2];
    for (const over of [0, this.gap ?? 0]) {
      const found = this.cellAt(middleX + right * (width + over), middleY + down * (height + over));
      if (found !== null) return found;
    }
    return index;
  }

  /** The same cell of the map `by` maps further; itself where there is none. */
  nextMap(index, by) {
    const { rows, columns } = this.parts;
    const next = index + by * rows * columns;
    return !this.parts.strip && next >= 0 && next < product(this.shape) ? next : index;
  }
}

/** The flat index of a cell. */
export function flat(shape, cell) {
  return shape.reduce((index, size, axis) => index * size + (cell[axis] ?? 0), 0);
}

/** The cell of a flat index. */
export function unflat(shape, index) {
  const cell = [];
  for (let axis = shape.length - 1, rest = index; axis >= 0; axis -= 1) {
    cell[axis] = rest % shape[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return cell;
}
