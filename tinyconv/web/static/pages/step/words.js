/** What an op does, in plain words: a sentence for each direction. */

const by = (size) => size.join('×');
const shape = ({ shape: sizes }) => by(sizes.length > 1 && sizes[0] === 1 ? sizes.slice(1) : sizes);
const input = (frame, i = 0) => frame.inputs[i];
const count = (n, one, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
const window = (weight) => by(weight.shape.slice(2));
const where = (frame) => frame.outputs[0].shape;

/** For each op [forwards, backwards]: functions of the forward frame. */
const SENTENCES = {
  conv2d: [
    (f) => `slides ${count(input(f, 1).shape[0], 'filter')} of ${window(input(f, 1))} over x. `
      + 'Each number of y is a window times a filter, summed up.',
    () => 'sends dy back to every cell of x that a window saw, and to every weight.',
  ],
  max_pool2d: [
    (f) => `keeps the largest number of each ${by(f.geometry.kernel)} window.`,
    () => 'gives each gradient to the one cell that was the largest of its window; the others get 0.',
  ],
  AvgPool2d: [
    (f) => `takes the mean of each ${by(f.geometry.kernel)} window.`,
    () => 'shares each gradient equally among the cells of its window.',
  ],
  AdaptiveAvgPool2d: [
    (f) => `takes means until each map has ${by(where(f).slice(2))} cells.`,
    () => 'shares each gradient equally among the cells whose mean was taken.',
  ],
  AdaptiveMaxPool2d: [
    (f) => `keeps the largest numbers until each map has ${by(where(f).slice(2))} cells.`,
    () => 'gives each gradient to the cell that was the largest.',
  ],
  Relu: [
    () => 'lets positive numbers pass and makes the others 0.',
    () => 'lets the gradient pass where y was positive and stops it elsewhere.',
  ],
  LeakyRelu: [
    (f) => `lets positive numbers pass and multiplies the others by ${f.geometry.slope}.`,
    (f) => `lets the gradient pass where x was positive and multiplies it by ${f.geometry.slope} elsewhere.`,
  ],
  Sigmoid: [
    () => 'squeezes each number into 0 to 1.',
    () => 'multiplies the gradient by the slope y (1 − y), which is small where y is near 0 or 1.',
  ],
  Tanh: [
    () => 'squeezes each number into −1 to 1.',
    () => 'multiplies the gradient by the slope 1 − y², which is small where y is near −1 or 1.',
  ],
  Reshape: [
    (f) => `lays the same ${count(by1(where(f)), 'number')} out as ${shape(f.outputs[0])}; none changes.`,
    (f) => `lays the gradient out as ${shape(input(f))} again; no number changes.`,
  ],
  linear: [
    (f) => `makes ${count(where(f).at(-1), 'number')}, each a weighted sum of all ${
      input(f).shape.at(-1)} inputs.`,
    () => 'sends dy back along its weights, and gives each weight dy times the x that it met.',
  ],
  Matmul: [
    () => 'multiplies two matrices: rows of a with columns of b.',
    () => 'sends the gradient to each matrix through the other one.',
  ],
  BatchNorm: [
    () => 'shifts and scales each channel by its mean and spread, then by two learned numbers.',
    () => 'scales the gradient of each channel, and adds up those of the two learned numbers.',
  ],
  LayerNorm: [
    () => 'shifts and scales each example to mean 0 and spread 1, then by learned numbers.',
    () => 'scales the gradient of each example, less what its mean and spread took.',
  ],
  CrossEntropy: [
    () => 'turns the scores into probabilities and takes −ln of the one for the target class: the loss.',
    () => 'starts the way back: for each score its probability, less 1 for the target class.',
  ],
  Add: [
    () => 'adds two arrays, cell by cell.',
    () => 'passes the same gradient to both arrays that were added.',
  ],
  Sub: [
    () => 'takes one array from the other, cell by cell.',
    () => 'passes the gradient to the first array, and its negative to the second.',
  ],
  Mul: [
    () => 'multiplies two arrays, cell by cell.',
    () => 'gives each array the gradient times the other array.',
  ],
  Div: [
    () => 'divides one array by the other, cell by cell.',
    () => 'divides the gradient by the second array, which gets its own share with a minus.',
  ],
  Where: [
    () => 'picks each cell from the first array or the second.',
    () => 'sends each gradient to the array that its cell was picked from.',
  ],
  Concatenate: [
    () => 'puts arrays end to end.',
    () => 'cuts the gradient where the arrays met.',
  ],
  Transpose: [
    () => 'changes the order of the axes; no number changes.',
    () => 'puts the axes of the gradient back in order.',
  ],
};

function by1(sizes) {
  return sizes.reduce((all, n) => all * n, 1);
}

/** What the frame does, as a sentence without its subject; `forward` is its op's forward frame. */
export function sentence(frame, forward) {
  const known = SENTENCES[frame.op];
  const back = frame.direction === 'backward';
  if (back && frame.outputs.some(({ name, array }) => name === 'x' && array !== null)) {
    return 'brings the gradient to the image: dx shows which pixels the loss depends on.';
  }
  if (known) return known[Number(back)](forward);
  return back ? 'sends the gradient of its output to its inputs.'
    : 'computes its output from its inputs, by its formula.';
}

/** "Forward 3 of 13". */
export function place(frame, frames) {
  const own = frames.filter(({ direction }) => direction === frame.direction);
  const back = frame.direction === 'backward';
  return `${back ? 'Backward' : 'Forward'} ${own.indexOf(frame) + 1} of ${own.length}`;
}

/** What an array is, in a few words: its axes by name, and where it comes from, unless the op `made` it. */
export function about(operand, frames, made) {
  const said = made ? BESIDE[made.op]?.[operand.argument] : origin(operand, frames);
  return [axes(operand.argument, operand.shape), said].filter(Boolean).join(', ');
}

/** What an op returns beside y. */
const BESIDE = {
  max_pool2d: { 'y[1]': 'the place of each in its window, from 0' },
  AdaptiveMaxPool2d: { 'y[1]': 'the place of each, from 0' },
  BatchNorm: { 'y[1]': 'the mean', 'y[2]': 'the variance' },
};

function axes(argument, sizes) {
  const [first, second, ...map] = sizes;
  if (!sizes.length) return 'one number';
  const isWeight = /weight$/.test(argument);
  if (isWeight && sizes.length === 4) return `${count(first, 'filter')} of ${by([second, ...map])}`;
  if (isWeight && sizes.length === 2) return `${first} outputs × ${second} inputs`;
  const images = first === 1 ? '' : `${first} × `;
  if (sizes.length === 4) return `${images}${count(second, 'map')} of ${by(map)}`;
  if (sizes.length === 2) return `${images}${count(second, 'number')}`;
  return sizes.length === 1 ? count(first, 'number') : by(sizes);
}

function origin({ argument, name, frame }, frames) {
  const gradient = argument === 'dy';
  if (gradient && name === 'loss') return 'of the loss itself';
  if (gradient && frame === null) return `sum from ${name.replaceAll('frame ', '')}`;
  if (frame !== null) return `${gradient ? 'back ' : ''}from ${frames[frame].step || frames[frame].op}`;
  return { x: 'the image', target: 'the target' }[name] ?? name;
}

/** The options that are named, each with the value that is not worth a word. */
const SAID = {
  kernel: null, stride: null, padding: null, dilation: 1, groups: 1, slope: null, eps: null, axis: null,
};

/** The geometry of an op as a line: "kernel 2×2 · stride 2 · padding 0". What is as usual is left out. */
export function geometryText({ geometry }) {
  return Object.entries(geometry).map(([name, value]) => {
    if (!(name in SAID) || value === null) return '';
    const [first, ...others] = [value].flat();
    if ([first, ...others].every((n) => n === SAID[name])) return '';
    return `${name} ${name === 'kernel' || others.some((n) => n !== first) ? by([first, ...others]) : first}`;
  }).filter(Boolean).join(' · ');
}

/** Why a cell is the number that it is, in a sentence; the sum itself stands beside it. */
export function why({ which, cell, total, parts, count, linear, turned }, frame, forward, arrays) {
  const back = frame.direction === 'backward';
  const known = REASONS[forward.op]?.[which];
  const x = arrays[forward.inputs[0].array];
  if (known) return known({ cell, total, parts, count, turned, x, forward, arrays });
  if (!count) return 'Nothing reaches this cell, so it is 0.';
  if (!linear) {
    return 'This number is no sum of its inputs. The slopes say how it changes with them, near these values.';
  }
  return `Cells of ${back ? 'dy' : 'the inputs'} times the slopes of the op there, added up.`;
}

const one = (part) => part && part.coefficient.data[0];
const times = (n) => `${n.toLocaleString('en')} product${n === 1 ? '' : 's'}`;
const andBias = ({ count: n, forward }) => (forward.inputs[2].array === null ? `${times(n)}.`
  : `${times(n - 1)}, and the bias.`);
const passed = ({ parts }) => (one(parts[0])
  ? 'y was above 0 here, so the gradient passes as it is.'
  : 'y was 0 here: the gradient stops, and what lies before learns nothing from this cell.');
const weighted = {
  dx: ({ count: n }) => 'Every output that used this cell sends its gradient times the weight in between: '
    + `${times(n)}.`,
  dbias: () => 'The bias is added to every one of these cells, so its gradient is the sum of theirs.',
};

/** For an op and an array of it, the sentence about a cell. */
const REASONS = {
  conv2d: {
    y: (found) => `The window of x, times filter ${found.cell[1]}, added up: ${andBias(found)}`,
    dx: ({ count: n, turned }) => 'Every window that saw this cell sends its gradient times the weight that '
      + `lay on it${turned ? ', so the filter is turned by 180°' : ''}: ${times(n)}.`,
    dweight: ({ count: n }) => 'This weight was used once at every place of its filter. Its gradient is dy '
      + `there times the x that it met: ${times(n)}.`,
    dbias: weighted.dbias,
  },
  linear: {
    y: (found) => `All inputs times one row of weight, added up: ${andBias(found)}`,
    dx: weighted.dx,
    dweight: () => 'The gradient of the output that it led to, times the input that it met.',
    dbias: () => 'The bias is added to this output, so it has the same gradient.',
  },
  max_pool2d: {
    y: ({ parts }) => `The largest number of its window, from x[${[...parts[0].place.data].join(', ')}].`,
    dx: ({ count: n }) => (n
      ? 'This cell was the largest of its window, so the gradient of the window comes here.'
      : 'Another cell was the largest of the window: no gradient comes here.'),
  },
  Relu: {
    y: ({ total }) => (total > 0 ? 'x is above 0 here, so it passes as it is.'
      : total === 0 ? 'x is not above 0 here, so y is 0.' : 'x is NaN here, and so is y.'),
    dx: passed,
  },
  Reshape: {
    y: () => 'The same number, at another place.',
    dx: () => 'The same number, at another place.',
  },
  Add: {
    y: () => 'The sum of the two.',
    da: () => 'A sum passes its gradient on as it is.',
    db: () => 'A sum passes its gradient on as it is.',
  },
  CrossEntropy: {
    y: () => '−ln of the softmax of the target. It is no sum of the scores; the slopes, softmax minus '
      + 'target, say how it changes with them.',
    dx: ({ cell, arrays, forward }) => {
      const hot = arrays[forward.inputs[1].array].data[cell[0]] === cell[1];
      return hot ? 'Softmax minus 1, since this is the target: a higher score here lowers the loss.'
        : 'Softmax minus 0, since this is not the target: a higher score here raises the loss.';
    },
  },
};
