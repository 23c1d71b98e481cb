/** What the lesson says of its cake, and what is true: docs/errata.md has the arithmetic. */

import { whole } from './maps.js';

export const CAKE = 'conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10';

const PARAMETERS = {
  '1×32×32': 'The lesson is right about this image.',
  '3×32×32': '61,706 is this cake on 1×32×32. On three channels conv1 has 6 (75 + 1) = 456 parameters, '
    + 'not 6 (25 + 1) = 156.',
  '1×28×28': '61,706 is this cake on 1×32×32. On 28×28 fc1 reads 16×4×4 = 256 features and has 30,840 parameters; '
    + 'on 32×32 it reads 400 and has 48,120.',
};

/**
 * The figures of the lesson beside those of `tc.summary`, and why they differ; nothing for another cake or image.
 * @param {object} baked  The answer of `build.bake`.
 * @returns {{what: string, lesson: string, here: string, why: string}[]}
 */
export function figures({ cake, image, slices, totals }) {
  const parameters = image && PARAMETERS[image.join('×')];
  if (cake !== CAKE || !parameters) return [];
  const field = (called) => String(slices.find(({ name }) => name === called).fields[0][0]);
  return [
    { what: 'Parameters', lesson: '61,706', here: whole(totals.params), why: parameters },
    {
      what: 'Multiply-adds',
      lesson: '2 million',
      here: whole(totals.macs),
      why: 'A weight of a convolution counts once for each place of its output, a weight of a linear layer once. '
        + `Two FLOPs for each make ${whole(totals.flops)}, which is not two million either.`,
    },
    {
      what: 'Field of conv2',
      lesson: '10',
      here: field('conv2'),
      why: '10 is 5 + 5, the two kernels. But conv2 reads pooled maps, and a step on them is 2 pixels of the image: '
        + '6 + 4 · 2 = 14.',
    },
    {
      what: 'Field of pool2',
      lesson: '28',
      here: field('pool2'),
      why: '14 + 1 · 2 = 16. No cell of the maps sees more. A neuron of fc1 sees the whole image, for it reads all '
        + 'cells of pool2.',
    },
  ];
}
