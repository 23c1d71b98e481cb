/** What an op does, in plain words: a sentence for each direction. */

const by = (size) => size.join('×');
const shape = (operand) => by(operand.shape.length > 1 && operand.shape[0] === 1 ? operand.shape.slice(1) : operand.shape);
const input = (frame, i = 0) => frame.inputs[i];
const count = (n, one, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
const window = (weight) => by(weight.shape.slice(2));
const where = (frame) => frame.outputs[0].shape;

/** For each op [forwards, backwards]: functions of the forward frame. */
const SENTENCES = {
  conv2d: [
    (f) => `slides ${count(input(f, 1).shape[0], 'filter')} of ${window(input(f, 1))} over the input: each number of y is `
      + 'a window of x times a filter, added up.',
    () => 'sends the gradient back through each window: to a cell of x from every window that saw it, and to a filter '
      + 'from every place where it lay.',
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
    (f) => `makes ${count(where(f).at(-1), 'number')}, each a weighted sum of all ${input(f).shape.at(-1)} inputs.`,
    () => 'sends each gradient back along its weights: to an input from every output, and to a weight, gradient times '
      + 'input.',
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
  if (known) return known[Number(back)](forward);
  return back ? 'sends the gradient of its output to its inputs.' : 'computes its output from its inputs, by the formula below.';
}

/** How an op is called in running text: by its own name. */
export const opName = (frame) => frame.op;

/** "Forward 3 of 13". */
export function place(frame, frames) {
  const own = frames.filter(({ direction }) => direction === frame.direction);
  const back = frame.direction === 'backward';
  return `${back ? 'Backward' : 'Forward'} ${own.indexOf(frame) + 1} of ${own.length}`;
}

/** Where an array comes from, in a few words. */
export function origin(operand, frames, gradient) {
  if (gradient) {
    if (operand.name === 'loss') return 'the loss itself: 1';
    return operand.frame === null ? `sum of what frames ${operand.name.replaceAll('frame ', '')} sent` : '';
  }
  const made = operand.frame === null ? null : frames[operand.frame];
  if (made) return `from ${made.step || made.op}`;
  return { x: 'the image', target: 'the target' }[operand.name] ?? operand.name;
}

/** The geometry of an op as a line: "kernel 2×2, stride 2, padding 0". */
export function geometryText(frame) {
  const shown = Object.entries(frame.geometry).filter(([, value]) => value !== null && typeof value !== 'boolean');
  return shown.map(([name, value]) => {
    if (!Array.isArray(value)) return `${name.replaceAll('_', ' ')} ${value}`;
    const same = name !== 'kernel' && name !== 'shape' && new Set(value).size === 1;
    return `${name.replaceAll('_', ' ')} ${same ? value[0] : by(value)}`;
  }).join(' · ');
}
