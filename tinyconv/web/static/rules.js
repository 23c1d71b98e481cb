/**
 * Why a cell of a recording is the number that it is, from the products that make the cells of each op. The
 * studio finds that with the op itself and no word about any one op (explain.py); a file has no ops, only the
 * arrays that they made. The answers are the same.
 */

const MOST = 4096; // the most terms that an explanation lists; its sums are of all
const FLOAT32 = 2 ** -23;

/** A file cannot explain this cell: there is no rule for its op, or not for this use of it. */
export class NoRule extends Error {}

/**
 * What the job `step.explain` answers, see step.py.
 * @param {Object} recording  See Recording.to_dict.
 * @param {{frame: number, which: string, cell: number[]}} asked
 */
export function explain(recording, { frame: number, which, cell }) {
  const frame = recording.frames[number];
  const back = frame.direction === 'backward';
  const op = opened(recording, back ? recording.frames[frame.partner] : frame);
  const output = frame.outputs.findIndex(({ argument }) => argument === which);
  const { data, shape } = recording.arrays[frame.outputs[output].array];
  const rule = RULES[op.name]?.(op);
  if (!rule || (output && !back)) throw new NoRule(op.name);
  const own = numbered(cell, shape);
  const parts = back
    ? [gradient(rule, op, op.inputs[output], own, recording.arrays[frame.inputs[0].array])]
    : rule.of.filter((name) => name in op.named).map((name) => value(rule, op, op.named[name], own));
  const total = data[own];
  const sum = added(parts.map((part) => part.sum));
  let room = MOST;
  const listed = parts.map((part) => {
    const terms = part.terms.slice(0, room);
    room -= terms.length;
    return { ...part, terms };
  });
  return {
    frame: number,
    which,
    cell: [...cell],
    total,
    parts: listed.filter(({ terms }) => terms.length).map((part) => told(op, part)),
    count: added(parts.map((part) => part.terms.length)),
    sum,
    remainder: back ? 0 : rule.linear ? rule.constant?.(own) ?? 0 : rest(total, sum, parts),
    linear: back || Boolean(rule.linear),
    windows: windows(op, parts, back ? null : cell),
  };
}

/** A forward frame with its arrays: `inputs`, those that are arrays by name, `y`, and what is beside it. */
function opened({ arrays }, { op, geometry, window, inputs, outputs }) {
  const held = inputs.map((operand) => ({ ...operand, ...arrays[operand.array] }));
  const named = Object.fromEntries(held.filter(({ data }) => data).map((input) => [input.argument, input]));
  const [y, place] = outputs.map(({ array }) => arrays[array]);
  return { name: op, geometry, window, inputs: held, named, y, place };
}

/** The terms of a cell of the output that are cells of this input. */
function value(rule, op, input, own) {
  const terms = [];
  rule.products(own, (argument, cell, coefficient, of, at) => {
    if (argument === input.argument) terms.push({ cell, coefficient, of, at });
  });
  return part(input.argument, input, terms, rule.byCell && same(input.shape, op.y.shape));
}

/** The terms of a cell of an input's gradient: cells of the gradient that arrived, where it had a part. */
function gradient(rule, op, input, own, dy) {
  const alone = rule.byCell && same(input.shape, op.y.shape);
  const terms = [];
  for (const y of alone ? [own] : cellsIn(op.y.shape, rule.reach?.(input.argument, own) ?? [])) {
    rule.products(y, (argument, cell, coefficient, of, at) => {
      if (cell === own && argument === input.argument) terms.push({ cell: y, coefficient, of, at });
    });
  }
  return part('dy', dy, terms, alone);
}

/** Terms in the order of their cells, without those of coefficient 0, and their sum. */
function part(argument, { data, shape }, found, all) {
  const terms = found.filter(({ coefficient }) => all || coefficient !== 0).sort((a, b) => a.cell - b.cell);
  const sum = added(terms.map(({ cell, coefficient }) => data[cell] * coefficient));
  return { argument, data, shape, terms, sum };
}

/** A part as the page reads it. */
function told({ named }, { argument, data, shape, terms }) {
  const { of = null } = terms[0];
  const places = (numbers, inside) => ({
    shape: [terms.length, inside.length],
    data: Int32Array.from(numbers.flatMap((number) => indexed(number, inside))),
  });
  const numbers = (of) => ({ shape: [terms.length], data: Float64Array.from(terms, of) });
  return {
    argument,
    of,
    place: places(terms.map((term) => term.cell), shape),
    at: of && places(terms.map((term) => term.at), named[of].shape),
    value: numbers((term) => data[term.cell]),
    coefficient: numbers((term) => term.coefficient),
    product: numbers((term) => data[term.cell] * term.coefficient),
  };
}

/** What slopes leave of the total: 0 where that is no more than rounding. */
function rest(total, sum, parts) {
  const products = parts.flatMap(({ data, terms }) => terms.map((t) => data[t.cell] * t.coefficient));
  const size = added(products.map(Math.abs));
  return Object.is(total, sum) || Math.abs(total - sum) <= 8 * FLOAT32 * size ? 0 : total - sum;
}

/** For each argument and axis where its terms lie; of the first input all that the window covers. */
function windows({ window, inputs: [first] }, parts, cell) {
  const found = {};
  for (const { argument, shape, terms } of parts.filter((part) => part.terms.length)) {
    const places = terms.map((term) => indexed(term.cell, shape));
    found[argument] = shape.map((_, axis) => [least(places, axis), most(places, axis) + 1]);
  }
  if (cell && window && found[first.argument]) {
    found[first.argument].splice(2, 2, ...window.map(({ size, jump, start }, axis) => {
      const from = start + cell[axis + 2] * jump;
      return [Math.max(from, 0), Math.min(from + size, first.shape[axis + 2])];
    }));
  }
  return found;
}

const added = (numbers) => numbers.reduce((sum, n) => sum + n, 0);
const least = (places, axis) => places.reduce((found, place) => Math.min(found, place[axis]), Infinity);
const most = (places, axis) => places.reduce((found, place) => Math.max(found, place[axis]), 0);
const same = (a, b) => a.length === b.length && a.every((n, axis) => n === b[axis]);

/** The number of a cell, row by row, and back. */
const numbered = (place, shape) => shape.reduce((number, size, axis) => number * size + place[axis], 0);
function indexed(number, shape) {
  const place = new Array(shape.length);
  for (let axis = shape.length - 1, left = number; axis >= 0; axis -= 1) {
    place[axis] = left % shape[axis];
    left = Math.floor(left / shape[axis]);
  }
  return place;
}

/** The numbers of the cells between bounds, for each axis [first, past the last] or undefined for all. */
function cellsIn(shape, bounds) {
  return shape.reduce((cells, size, axis) => {
    const [first, past] = bounds[axis] ?? [0, size];
    return cells.flatMap((cell) => Array.from({ length: past - first }, (_, i) => cell * size + first + i));
  }, [0]);
}

/**
 * The rules. A rule is
 * - products(cell, product): calls product(argument, its cell, coefficient) for everything that makes this
 *   cell of the output, or product(argument, its cell, coefficient, of, at) where that is a cell of an input;
 * - of: the inputs that explain a cell of the output; the products of others are there for their gradients;
 * - linear: whether the op is, in these at once, but for constant(cell). If not, coefficients are slopes;
 * - reach(argument, cell): bounds of the cells of the output that a cell of an input has a part in;
 * - byCell: whether a cell of the output is made of one cell of each input, shown even if its slope is 0.
 */
const RULES = {
  conv2d({ named: { x, weight, bias }, y, geometry: { stride, padding, dilation, groups } }) {
    const [[, channels, h, w], [, , oh, ow]] = [x.shape, y.shape];
    const [filters, each, kh, kw] = weight.shape;
    /** The windows over a row (axis 0) or a column. */
    const over = (axis, place, kernel, size) => [
      Math.max(Math.ceil((place + padding[axis] - dilation[axis] * (kernel - 1)) / stride[axis]), 0),
      Math.min(Math.floor((place + padding[axis]) / stride[axis]) + 1, size),
    ];
    return {
      linear: true,
      of: ['x', 'bias'],
      reach(argument, cell) {
        const own = (number) => [number, number + 1];
        if (argument === 'bias') return [undefined, own(cell)];
        if (argument === 'weight') return [undefined, own(indexed(cell, weight.shape)[0])];
        const [n, , row, column] = indexed(cell, x.shape);
        return [own(n), undefined, over(0, row, kh, oh), over(1, column, kw, ow)];
      },
      products(cell, product) {
        const [n, f, i, j] = indexed(cell, y.shape);
        const first = Math.floor(f / (filters / groups)) * each; // channel of its group
        for (let c = 0; c < each; c += 1) {
          for (let u = 0; u < kh; u += 1) {
            const row = i * stride[0] + u * dilation[0] - padding[0];
            if (row < 0 || row >= h) continue;
            for (let v = 0; v < kw; v += 1) {
              const column = j * stride[1] + v * dilation[1] - padding[1];
              if (column < 0 || column >= w) continue;
              const from = ((n * channels + first + c) * h + row) * w + column;
              const at = ((f * each + c) * kh + u) * kw + v;
              product('x', from, weight.data[at], 'weight', at);
              product('weight', at, x.data[from], 'x', from);
            }
          }
        }
        if (bias) product('bias', f, 1);
      },
    };
  },

  linear({ named: { x, weight, bias } }) {
    const [features, inputs] = weight.shape;
    return {
      linear: true,
      of: ['x', 'bias'],
      products(cell, product) {
        const [row, f] = [Math.floor(cell / features), cell % features];
        for (let k = 0; k < inputs; k += 1) {
          const [from, at] = [row * inputs + k, f * inputs + k];
          product('x', from, weight.data[at], 'weight', at);
          product('weight', at, x.data[from], 'x', from);
        }
        if (bias) product('bias', f, 1);
      },
    };
  },

  max_pool2d({ named: { x }, y, place, geometry: { kernel, stride, padding, dilation } }) {
    return {
      of: ['x'],
      products(cell, product) {
        const [n, c, i, j] = indexed(cell, y.shape);
        const [u, v] = [Math.floor(place.data[cell] / kernel[1]), place.data[cell] % kernel[1]];
        const row = i * stride[0] + u * dilation[0] - padding[0];
        const column = j * stride[1] + v * dilation[1] - padding[1];
        product('x', numbered([n, c, row, column], x.shape), 1);
      },
    };
  },

  AvgPool2d({ named: { x }, y, geometry }) {
    const { kernel, stride, padding, count_include_pad: padded, divisor } = geometry;
    const ends = (axis, k) => {
      const first = k * stride[axis] - padding[axis];
      const [size, pad] = [x.shape[axis + 2], padded ? padding[axis] : 0];
      const inside = [Math.max(first, 0), Math.min(first + kernel[axis], size)];
      return [...inside, Math.min(first + kernel[axis], size + pad) - Math.max(first, -pad)];
    };
    return averages(x, y, (i, j) => {
      const [[top, bottom, rows], [left, right, columns]] = [ends(0, i), ends(1, j)];
      return [top, bottom, left, right, divisor ?? rows * columns];
    });
  },

  AdaptiveAvgPool2d({ named: { x }, y }) {
    const ends = (axis, k) => {
      const [size, out] = [x.shape[axis + 2], y.shape[axis + 2]];
      return [Math.floor((k * size) / out), Math.ceil(((k + 1) * size) / out)];
    };
    return averages(x, y, (i, j) => {
      const [[top, bottom], [left, right]] = [ends(0, i), ends(1, j)];
      return [top, bottom, left, right, (bottom - top) * (right - left)];
    });
  },

  AdaptiveMaxPool2d({ named: { x }, y, place }) {
    const [pixels, cells] = [x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]];
    return {
      of: ['x'],
      products: (cell, product) => product('x', Math.floor(cell / cells) * pixels + place.data[cell], 1),
    };
  },

  BatchNorm({ named: { x, weight, bias, mean, var: variance }, geometry: { eps } }) {
    if (!mean) throw new NoRule('BatchNorm in training'); // each cell depends on the mean of all
    const channels = x.shape[1];
    const inner = x.data.length / (x.shape[0] * channels);
    const of = (cell) => Math.floor(cell / inner) % channels;
    const scale = (c) => 1 / Math.sqrt(variance.data[c] + eps);
    const slope = (c) => scale(c) * (weight ? weight.data[c] : 1);
    return {
      linear: true,
      byCell: true,
      of: ['x', 'bias'],
      constant: (cell) => -mean.data[of(cell)] * slope(of(cell)),
      products(cell, product) {
        const c = of(cell);
        product('x', cell, slope(c));
        if (weight) product('weight', c, (x.data[cell] - mean.data[c]) * scale(c));
        if (bias) product('bias', c, 1);
      },
    };
  },

  Reshape: () => ({ linear: true, of: ['x'], products: (cell, product) => product('x', cell, 1) }),

  Relu: ({ y }) => slopes((cell) => (y.data[cell] <= 0 ? 0 : 1)),
  LeakyRelu: ({ named: { x }, geometry: { slope } }) => slopes((cell) => (x.data[cell] > 0 ? 1 : slope)),
  Sigmoid: ({ y }) => slopes((cell) => y.data[cell] * (1 - y.data[cell])),
  Tanh: ({ y }) => slopes((cell) => 1 - y.data[cell] ** 2),
  Neg: () => ({ ...slopes(() => -1), linear: true }),
  Add: (op) => pairwise(op, 1, 1),
  Sub: (op) => pairwise(op, 1, -1),

  CrossEntropy({ named: { x, target, weight }, geometry }) {
    const { ignore_index: ignored, reduction, label_smoothing: smoothing } = geometry;
    const classes = x.shape[1];
    const isPlain = !weight && x.shape.length === 2 && reduction !== 'none';
    if (!isPlain) throw new NoRule('CrossEntropy with weights or of maps');
    const kept = target.data.reduce((count, label) => count + (label !== ignored), 0);
    return {
      of: ['x'],
      products(_, product) {
        target.data.forEach((label, n) => {
          if (label === ignored) return;
          const scores = [...x.data.subarray(n * classes, (n + 1) * classes)];
          const largest = Math.max(...scores);
          const powers = scores.map((score) => Math.exp(score - largest));
          const whole = added(powers);
          powers.forEach((power, c) => {
            const q = (c === label ? 1 - smoothing : 0) + smoothing / classes;
            product('x', n * classes + c, (power / whole - q) / (reduction === 'mean' ? kept : 1));
          });
        });
      },
    };
  },
};

/** Means over the rectangles that `bounds(i, j)` gives as [top, bottom, left, right, what is divided by]. */
function averages(x, y, bounds) {
  return {
    linear: true,
    of: ['x'],
    products(cell, product) {
      const [n, c, i, j] = indexed(cell, y.shape);
      const [top, bottom, left, right, divisor] = bounds(i, j);
      for (let row = top; row < bottom; row += 1) {
        for (let column = left; column < right; column += 1) {
          product('x', numbered([n, c, row, column], x.shape), 1 / divisor);
        }
      }
    },
  };
}

/** One input and one output of the same shape. */
function slopes(slope) {
  return { of: ['x'], byCell: true, products: (cell, product) => product('x', cell, slope(cell)) };
}

/** Two inputs, either of them a number, or perhaps stretched along axes in which it has one cell. */
function pairwise({ named: { a, b }, inputs, y }, ofA, ofB) {
  const under = (operand, cell) => {
    const place = indexed(cell, y.shape).slice(y.shape.length - operand.shape.length);
    return numbered(place.map((n, axis) => (operand.shape[axis] === 1 ? 0 : n)), operand.shape);
  };
  return {
    linear: true,
    byCell: true,
    of: ['a', 'b'],
    constant: () => ofA * (inputs[0].value ?? 0) + ofB * (inputs[1].value ?? 0),
    products(cell, product) {
      if (a) product('a', under(a, cell), ofA);
      if (b) product('b', under(b, cell), ofB);
    },
  };
}
