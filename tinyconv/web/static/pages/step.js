/** The Step page: one step of the model on one image, op by op, forwards to the loss and back to the image. */

import { html, nothing, render } from '../vendor/lit-html.js';
import { number, paint, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { explanationPanel, litBy } from './step/explain.js';
import { formula } from './step/formula.js';
import { FrameView, isCell, mostOf } from './step/frame.js';
import { im2colPanel } from './step/im2col.js';
import { litByTerm, loopsPanel } from './step/loops.js';
import { code } from './step/source.js';
import { cellName } from './step/tensor.js';
import { timeline } from './step/timeline.js';
import { geometryText, place, sentence } from './step/words.js';

const SPEEDS = { '½×': 3200, '1×': 1600, '2×': 800, '4×': 400 }; // milliseconds a frame
const LONG = new Set(['conv2d', 'linear', 'Matmul', 'CrossEntropy']); // whose sums fill the column beside the maps
const FIELDS = 'input, select, textarea';
const HINT = 'Keys: → next frame, b the same op backwards. Point at a cell, or Tab and arrows, for its sum.';

/** The step page. */
export function mount(root, app) {
  return new Step(root, app);
}

class Step {
  constructor(root, app) {
    Object.assign(this, { root, app, speed: '1×' });
    this.onKey = (event) => this.#key(event);
    this.onResize = () => this.view?.resize();
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.onTheme = () => this.#paint();
    addEventListener('keydown', this.onKey);
    addEventListener('resize', this.onResize);
    this.dark.addEventListener('change', this.onTheme);
    this.#record();
  }

  /** The URL has changed. */
  update(state) {
    if (RECORDED.some((name) => state[name] !== this.asked[name])) this.#record();
    else this.#show(Number(state.frame ?? 0), this.#chosen());
  }

  close() {
    this.closed = true;
    this.stop();
    removeEventListener('keydown', this.onKey);
    removeEventListener('resize', this.onResize);
    this.dark.removeEventListener('change', this.onTheme);
  }

  // What is recorded.

  /** Record what the URL asks for, changed by `changes`; `extra` goes to the job alone. */
  async #record(changes = {}, extra = {}) {
    this.stop();
    this.app.keep(changes);
    const { state } = this.app;
    this.asked = Object.fromEntries(RECORDED.map((name) => [name, state[name]]));
    const given = (name) => (state[name] === undefined ? {} : { [name]: Number(state[name]) });
    const args = { ...given('image'), ...given('target'), drawn: state.drawn === '1', training: state.training === '1' };
    try {
      const result = await this.app.call('step.record', { ...args, ...extra });
      if (this.closed) return;
      this.error = null;
      this.result = result;
      this.frames = result.recording.frames;
      this.arrays = result.recording.arrays;
      if (result.image !== null && String(result.image) !== (state.image ?? '0')) {
        this.app.keep({ image: result.image });
        this.asked.image = String(result.image);
      }
    } catch (error) {
      if (error instanceof Dropped || this.closed) return;
      this.error = error;
    }
    if (this.result) this.#show(Number(this.app.state.frame ?? 0), this.#chosen());
    else this.#render();
  }

  /** The map and the cell that the URL names. */
  #chosen() {
    const { map, cell } = this.app.state;
    return map && { map, cell: (cell ?? '').split('.').filter(Boolean).map(Number) };
  }

  // Which frame is shown.

  /** Show a frame, and in it a cell of one of its arrays. */
  #show(at, chosen) {
    const last = this.frames.length - 1;
    const frame = this.frames[Math.max(0, Math.min(last, Number.isInteger(at) ? at : 0))];
    const isNew = frame !== this.frame || this.shownArrays !== this.arrays;
    this.frame = frame;
    this.#render();
    if (isNew) {
      this.shownArrays = this.arrays;
      this.group = null;
      this.view.zoomed = this.app.state.zoom;
      this.view.show({ frames: this.frames, arrays: this.arrays }, frame);
    } else if (this.view.zoomed !== this.app.state.zoom) {
      this.view.resize(this.app.state.zoom);
    }
    const view = chosen && this.view.views.get(chosen.map);
    if (!view) this.#choose(...this.#first());
    else this.#choose(chosen.map, isCell(chosen.cell, view.array.shape) ? chosen.cell : mostOf(view.array));
    this.root.querySelector('.point[aria-current=step]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** The array and cell that a frame begins with. */
  #first() {
    const { argument, array } = this.frame.outputs.find((operand) => operand.array !== null) ?? this.frame.inputs[0];
    return [argument, mostOf(this.arrays[array])];
  }

  go(at, chosen = null) {
    const number = Math.max(0, Math.min(this.frames.length - 1, at));
    this.app.keep({
      frame: number || undefined, map: chosen?.map, cell: chosen?.cell.join('.'), zoom: undefined, view: this.app.state.view,
    });
    this.#show(number, chosen);
    this.app.say(this.root.querySelector('.step-title h1').textContent);
  }

  play() {
    if (this.timer) {
      this.stop();
    } else {
      if (this.frame.number === this.frames.length - 1) this.go(0);
      this.timer = setInterval(() => {
        this.go(this.frame.number + 1);
        if (this.frame.number === this.frames.length - 1) this.stop();
      }, SPEEDS[this.speed]);
    }
    this.#render();
  }

  stop() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    if (!this.closed) this.#render();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(FIELDS) || !this.frames) return;
    const at = this.frame.number;
    const moves = {
      ArrowRight: () => this.go(at + 1), ArrowLeft: () => this.go(at - 1), Home: () => this.go(0),
      End: () => this.go(this.frames.length - 1), b: () => this.#cross(), ' ': () => this.play(),
    };
    if (!moves[event.key] || (event.key === ' ' && event.target.closest?.('button, a'))) return;
    event.preventDefault();
    if (event.key !== ' ') this.stop();
    moves[event.key]();
  }

  /** Go to the same op's frame in the other direction. */
  #cross() {
    if (this.frame.partner !== null) this.go(this.frame.partner);
  }

  // Which cell is shown.

  #choose(map, cell) {
    const isNew = map !== this.map;
    Object.assign(this, { map, cell, step: undefined });
    if (isNew) this.#render();
    this.#look(map, cell);
  }

  /** Show why a cell is what it is: the chosen one, or the one under the mouse. */
  async #look(map, cell, under = false) {
    const { frame, result } = this;
    this.view.mark(map, cell, this.looked?.map === map ? this.looked.lit : {}, under);
    if (!frame.outputs.some(({ argument }) => argument === map) || map.startsWith('y[')) {
      this.looked = { map, cell, lit: {} };
    } else {
      try {
        const args = { recording: result.id, frame: frame.number, which: map, cell };
        const explanation = await this.app.call('step.explain', args);
        const shapeOf = (name) => this.view.views.get(name)?.array.shape;
        if (frame !== this.frame || result !== this.result || this.closed) return;
        this.looked = { map, cell, explanation, lit: litBy(explanation, shapeOf) };
      } catch (error) {
        if (error instanceof Dropped || this.closed) return;
        this.looked = { map, cell, lit: {}, error };
      }
    }
    this.view.mark(map, cell, this.looked.lit, under);
    this.#renderWhy();
  }

  #pick(map, cell) {
    this.app.keep({ map, cell: cell.join('.') });
    this.#choose(map, cell);
    this.app.say(`${map} ${cell.join(', ')}: ${number(this.view.views.get(map).value(cell), 5)}`);
  }

  // What is drawn.

  #paint() {
    this.view?.draw();
    const { pixels } = this.result ?? {};
    const canvas = this.root.querySelector('.thumb');
    if (pixels && canvas) thumbnail(canvas, pixels);
  }

  #render() {
    const { frame, frames } = this;
    const isShown = Boolean(frame);
    render(html`
      ${isShown ? nothing : html`<h1>Step</h1>`}
      <div class="step-top">${this.result || this.error ? this.#controls() : html`<p class="about">Recording …</p>`}
        ${isShown ? this.#transport() : nothing}</div>
      ${this.error ? html`<div class="panel step-error" role="alert"><p class="error">${this.error.message}</p></div>` : nothing}
      ${isShown ? html`
        ${timeline(frames, frame, (at) => { this.stop(); this.go(at); })}
        <div class="step-title">
          <h1><span class="step-place">${place(frame, frames)}:</span> <code>${frame.op}</code> ${
            sentence(frame, this.#forward())}</h1>
          <div class="step-facts"><p class="about">${frame.layer ? html`Layer <b>${frame.layer}</b>, ${frame.kind}` : 'Outside of layers'}${
            geometryText(frame) ? html` · ${geometryText(frame)}` : ''}</p>
          <p class="about by-key">${HINT}</p><p class="about by-touch">Tap a cell to see what makes its number.</p></div>
        </div>
        <div class=${LONG.has(frame.op) ? 'step-body' : 'step-body brief'}>
          <div class="step-data">
            <div id="flow"></div>
          </div>
          <section class="panel step-why" id="why" aria-label="Why this number"
            tabindex=${matchMedia('(max-width: 1099px)').matches ? 0 : nothing}></section>
          <div class="step-code">
            <div class="formula">${formula(frame.formula, frame.direction === 'backward')}</div>
            ${frame.source ? code(this.result.sources[frame.source.text], {
              ran: frame.source.ran, now: this.#ownLines(), title: this.#ran(),
            }) : html`<p class="about">This op's code is compiled; it cannot be shown.</p>`}
          </div>
        </div>` : nothing}`, this.root);
    const canvas = this.root.querySelector('.thumb');
    if (canvas && this.result && this.drawnPixels !== this.result.pixels) {
      this.drawnPixels = this.result.pixels;
      thumbnail(canvas, this.result.pixels);
    }
    const flow = this.root.querySelector('#flow');
    if (flow && this.view?.element !== flow) this.view = new FrameView(flow, this.#calls());
  }

  /** The panel beside the arrays: what makes the number of the cell. */
  #renderWhy() {
    const element = this.root.querySelector('#why');
    const { looked, frame, arrays, result } = this;
    const { map, cell, explanation, error } = looked;
    const array = this.view.views.get(map).array;
    const forward = this.#forward();
    const width = element.clientWidth - 2 * 16;
    const loops = explanation && forward.op === 'conv2d' && result.loops.conv2d;
    const way = loops ? this.app.state.view ?? 'sum' : 'sum';
    const again = () => this.#renderWhy();
    const ways = {
      sum: () => explanationPanel(explanation, {
        frame, forward, arrays, width, group: this.group, choose: (group) => { this.group = group; again(); },
      }),
      loops: () => loopsPanel(explanation, {
        source: result.sources[loops[frame.direction]], step: this.step, go: (step) => {
          this.step = step;
          const shapeOf = (name) => this.view.views.get(name).array.shape;
          this.view.mark(map, cell, litByTerm(explanation, step, shapeOf) ?? looked.lit);
          again();
        },
      }),
      im2col: () => im2colPanel({ ...explanation, array: this.#operand(map).array }, {
        forward, gradient: frame.direction === 'backward' && arrays[frame.inputs[0].array], arrays, width,
      }),
    };
    render(html`
      <h2 class="cell-name"><code>${cellName(map, cell)}</code> <b>${
        number(this.view.views.get(map).value(cell), 5)}</b></h2>
      ${loops ? html`<div class="row ways" role="group" aria-label="How it is computed">${
        Object.entries({ sum: 'The sum', loops: 'As loops', im2col: 'As im2col' }).map(([name, title]) => html`
          <button class="small" aria-pressed=${name === way} @click=${() => { this.app.keep({ view: name === 'sum' ? undefined : name }); again(); }}>${
            title}</button>`)}</div>` : nothing}
      ${error ? html`<p class="error">${error.message}</p>` : nothing}
      ${explanation ? ways[way]() : nothing}
      ${!explanation && !error ? this.#originOf(map, cell, array) : nothing}`, element);
  }

  #operand(map) {
    return [...this.frame.outputs, ...this.frame.inputs, ...this.#forward().inputs, ...this.#forward().outputs]
      .find(({ argument }) => argument === map);
  }

  /** Where an array that only goes in was made. */
  #originOf(map, cell) {
    const operand = this.#operand(map);
    const made = operand.frame === null ? null : this.frames[operand.frame];
    if (!made) return html`<p class="why">${{ x: 'A number of the image, after normalisation.', loss: 'The walk begins with 1: the loss as a function of itself.' }[operand.name] ?? `A number of ${operand.name}.`}</p>`;
    const there = made.direction === 'forward' ? 'y' : made.outputs.find(({ array }) => array === operand.array)?.argument;
    return html`<p class="why">Made in another frame, by ${made.op}${made.layer ? ` in ${made.layer}` : ''}.</p>
      <button @click=${() => this.go(made.number, { map: there, cell })}>See how</button>`;
  }

  #calls() {
    return {
      hover: (map, cell) => {
        if (`${cell && [map, ...cell]}` === this.under) return;
        this.under = `${cell && [map, ...cell]}`;
        this.#look(...(cell ? [map, cell, true] : [this.map, this.cell]));
      },
      pick: (map, cell) => this.#pick(map, cell),
      enlarge: (map) => {
        const zoom = this.view.zoomed === map ? undefined : map;
        this.app.keep({ zoom });
        this.view.resize(zoom);
      },
      follow: (map, cell) => {
        const operand = this.#operand(map);
        if (operand.frame === null || operand.frame === this.frame.number) return;
        const made = this.frames[operand.frame];
        const there = made.outputs.find(({ array }) => array === operand.array)?.argument;
        this.go(made.number, { map: there, cell });
      },
    };
  }

  #forward() {
    return this.frame.direction === 'forward' ? this.frame : this.frames[this.frame.partner];
  }

  /** The lines that ran for the chosen gradient alone, and for no other. */
  #ownLines() {
    const own = this.frame.outputs.find(({ argument }) => argument === this.map);
    const others = this.frame.outputs.filter((operand) => operand !== own && operand.ran.length);
    if (!own || !others.length) return [];
    const common = new Set(others.flatMap(({ ran }) => ran));
    return own.ran.filter((line) => !common.has(line));
  }

  #ran() {
    const { pair, usual } = this.frame;
    return usual && usual !== pair ? `ran: ${pair}; training uses ${usual}` : `ran: ${pair}, as in training`;
  }

  #transport() {
    const { frame, frames } = this;
    const last = frames.length - 1;
    const other = frame.direction === 'forward' ? 'backward' : 'forward';
    return html`<div class="row transport" role="group" aria-label="Go through the frames">
      <button aria-label="Previous frame" @click=${() => this.go(frame.number - 1)} ?disabled=${frame.number === 0}>←<span
        class="wide"> Previous</span></button>
      <button class="main" aria-label="Next frame" @click=${() => this.go(frame.number + 1)} ?disabled=${
        frame.number === last}>Next →</button>
      <button aria-pressed=${Boolean(this.timer)} @click=${() => this.play()}>${this.timer ? 'Pause' : 'Play'}</button>
      <select aria-label="Speed" @change=${(event) => { this.speed = event.target.value; }}>${
        Object.keys(SPEEDS).map((name) => html`<option ?selected=${name === this.speed}>${name}</option>`)}</select>
      <button aria-label=${`To its ${other} frame`} @click=${() => this.#cross()} ?disabled=${frame.partner === null}><span
        class="wide">To its </span>${other}</button>
    </div>`;
  }

  #controls() {
    const { result } = this;
    return html`<div class="step-controls">
      <canvas class="thumb" role="img" aria-label=${result?.image === null ? 'The drawing' : `Test image ${result?.image}`}></canvas>
      <div>
        <div class="row">${this.#choices()}</div>
        ${result ? html`<p class="about">${this.#verdict()}${this.app.subject.recorded ? nothing : html`
          <button class="small" @click=${() => this.#record()}>Record again</button>`}</p>` : nothing}
      </div>
    </div>`;
  }

  /** Which image, which class, which target. */
  #choices() {
    const { result } = this;
    const { classes, recorded } = this.app.subject; // an exported page has some images, and nothing else
    const { state } = this.app;
    const at = result?.image ?? Number(state.image ?? 0);
    const near = (by) => {
      const number = recorded ? recorded[recorded.indexOf(at) + by] : at + by;
      return number >= 0 && number < result?.images ? number : null;
    };
    const of = (image) => this.#record({ ...AFRESH, image: image || undefined });
    return html`
      <label>Image <input type="number" min="0" max=${(result?.images ?? 1) - 1} .value=${String(at)}
        @change=${(event) => of(Number(event.target.value))}></label>
      <button aria-label="Image before" ?disabled=${near(-1) === null} @click=${() => of(near(-1))}>‹</button>
      <button aria-label="Image after" ?disabled=${near(1) === null} @click=${() => of(near(1))}>›</button>
      <label>Next of class <select .value=${''} @change=${(event) => this.#record(AFRESH, {
        among: Number(event.target.value), image: at + 1,
      })}><option value="" selected></option>${
        classes.map((name, i) => html`<option value=${i}>${name}</option>`)}</select></label>
      <label title="The class that the loss is computed for">Target <select ?disabled=${Boolean(recorded)}
        @change=${(event) => this.#record({
          target: Number(event.target.value) === result.label ? undefined : event.target.value,
        })}>${classes.map((name, i) => html`<option value=${i} ?selected=${i === result?.target}>${name}${
          i === result?.label ? ' (its label)' : ''}</option>`)}</select></label>
      ${result?.drawing ? html`<button aria-pressed=${state.drawn === '1'} @click=${() => this.#record({
        ...AFRESH, drawn: state.drawn === '1' ? undefined : '1',
      })}>The drawing</button>` : nothing}
      ${result?.modal && !recorded ? html`<label><input type="checkbox" .checked=${state.training === '1'}
        @change=${(event) => this.#record({ training: event.target.checked ? '1' : undefined })}> as in training</label>` : nothing}`;
  }

  /** What the model says of the image, and when it said so. */
  #verdict() {
    const { result, arrays } = this;
    const { classes } = this.app.subject;
    const { data } = result.probabilities;
    const best = data.indexOf(Math.max(...data));
    const loss = number(arrays[result.recording.loss].data[0]);
    const when = result.trained === null ? '' : `, after ${whole(result.trained)} steps of this training`;
    return html`${result.label === null ? 'Drawn' : `Label ${classes[result.label]}`}; the model says <b>${
      classes[best]}</b> (${number(100 * data[best])} %). Loss <b>${loss}</b>${when}.`;
  }
}

/** What another image leaves of the URL's state: neither the target nor a cell. */
const AFRESH = { target: undefined, map: undefined, cell: undefined, drawn: undefined };

/** What of the URL decides on the recording. */
const RECORDED = ['image', 'drawn', 'target', 'training'];

function thumbnail(canvas, { shape: [channels, rows, columns], data }) {
  if (channels === 1) {
    paint(canvas, data, { rows, columns, scale: 255, grey: true });
    return;
  }
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const size = rows * columns;
  for (let i = 0; i < size; i += 1) image.data.set([data[i], data[size + i], data[2 * size + i], 255], 4 * i);
  context.putImageData(image, 0, 0);
}
