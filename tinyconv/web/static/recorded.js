/** The studio as one file: the pages Look and Step on what export.py recorded for them, without a server. */

import { App } from './frame.js';
import { NoRule, explain } from './rules.js';
import { JobFailed, unpack } from './socket.js';

const PAGES = {
  look: { title: 'Look', load: () => import('./pages/look.js') },
  step: { title: 'Step', load: () => import('./pages/step.js') },
};
const HOME = 'step';

/** Answers jobs as the studio does, from a recording: see `recorded` in export.py for what is in it. */
class Recording extends EventTarget {
  #answers = new Map();
  #recordings = new Map(); // what step.explain explains, by number

  /** Begin, once somebody listens. */
  async open(text) {
    Object.assign(this, unpack(await unzipped(text)));
    for (const { job, args, result } of this.answers) {
      this.#answers.set(key(job, args), result);
      if (job === 'step.record') this.#recordings.set(result.id, result.recording);
    }
    this.dispatchEvent(new CustomEvent('open'));
    const detail = { ...this.subject, recorded: this.images, command: this.command };
    this.dispatchEvent(new CustomEvent('report:subject', { detail }));
  }

  async call(job, args = {}) {
    if (job === 'step.explain') return this.#explained(args);
    const answer = this.#answers.get(key(job, job === 'step.record' ? this.#steps(args) : args));
    if (!answer) {
      throw this.#refusal(`This page is a recording of ${inWords(this.images)}. All else is in the studio`);
    }
    return job === 'look.strongest' ? { ...answer, images: this.#pictured(answer.numbers) } : answer;
  }

  /** What `step.record` is asked for, with a number for the image. */
  #steps({ image = this.images[0], among, ...args }) {
    if ((among ?? null) === null) return { image, ...args };
    const of = this.images.filter((number, i) => this.labels[i] === among);
    return { image: of.find((number) => number >= image) ?? of[0] ?? NaN, ...args };
  }

  #explained({ recording, ...args }) {
    try {
      return explain(this.#recordings.get(recording), args);
    } catch (error) {
      if (!(error instanceof NoRule)) throw error;
      throw this.#refusal(`This page has no rule for ${error.message}; the studio has`);
    }
  }

  /** The images of these numbers. */
  #pictured({ data: numbers, shape: [count] }) {
    const { numbers: known, images } = this.pictures;
    const size = images.data.length / images.shape[0];
    const data = new images.data.constructor(count * size);
    numbers.forEach((number, i) => {
      const at = known.data.indexOf(number) * size;
      data.set(images.data.subarray(at, at + size), i * size);
    });
    return { shape: [count, ...images.shape.slice(1)], data };
  }

  #refusal(why) {
    return new JobFailed({ kind: 'JobError', text: `${why}: ${this.command}`, notes: [], refused: true });
  }
}

/** "the test image 3", "the test images 0, 3 and 7". */
function inWords(numbers) {
  const [others, last] = [numbers.slice(0, -1), numbers.at(-1)];
  return others.length ? `the test images ${others.join(', ')} and ${last}` : `the test image ${last}`;
}

/** A job and its arguments as one text, whatever their order; null and false are as good as left out. */
function key(job, args) {
  const given = Object.entries(args).filter(([, value]) => (value ?? false) !== false);
  return JSON.stringify([job, given.sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** The bytes in a text of base64, which gzip made smaller. */
async function unzipped(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

const recording = new Recording();
export const app = new App(recording, PAGES, HOME);
recording.open(document.getElementById('recording').textContent);
