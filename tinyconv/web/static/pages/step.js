/** The Step page: one step of the model on one image, op by op, forwards to the loss and back to the image. */

import { html, nothing, render } from '../vendor/lit-html.js';
import { number, paint, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { formula } from './step/formula.js';
import { FrameView, isCell, mostOf } from './step/frame.js';
import { code } from './step/source.js';
import { timeline } from './step/timeline.js';
import { geometryText, place, sentence } from './step/words.js';

const SPEEDS = { '½×': 3200, '1×': 1600, '2×': 800, '4×': 400 }; // milliseconds a frame
const FIELDS = 'input, select, textarea';

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
    if (!this.error) this.#show(Number(this.app.state.frame ?? 0), this.#chosen());
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
      this.view.zoomed = this.app.state.zoom;
      this.view.show({ frames: this.frames, arrays: this.arrays }, frame);
    } else if (this.view.zoomed !== this.app.state.zoom) {
      this.view.resize(this.app.state.zoom);
    }
    const view = chosen && this.view.views.get(chosen.map);
    const isThere = view && isCell(chosen.cell, view.array.shape);
    this.#choose(...(isThere ? [chosen.map, chosen.cell] : this.#first()));
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
    this.app.say(this.root.querySelector('.step-title').textContent);
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
    this.map = map;
    this.cell = cell;
    this.view.mark(map, cell);
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
    render(html`
      <div class="step-top">
        <h1>Step</h1>
        ${this.#controls()}
      </div>
      ${this.error ? html`<div class="panel step-error" role="alert"><p class="error">${this.error.message}</p>
        ${(this.error.notes ?? []).map((note) => html`<p class="about">${note}</p>`)}</div>` : nothing}
      ${frame && !this.error ? html`
        ${timeline(frames, frame, (at) => { this.stop(); this.go(at); })}
        <div class="step-head">${this.#transport()}
          <div class="step-title"><h2><span class="step-place">${place(frame, frames)}:</span>
            <code>${frame.op}</code> ${sentence(frame, this.#forward())}</h2></div>
        </div>
        <div class="step-body">
          <div class="step-data">
            <p class="step-facts">${frame.layer ? html`Layer <b>${frame.layer}</b>, ${frame.kind}. ` : ''}${
              geometryText(frame)}</p>
            <div id="flow"></div>
          </div>
          <div class="step-code">
            <div class="formula">${formula(frame.formula, frame.direction === 'backward')}</div>
            ${frame.source ? code(this.result.sources[frame.source.text], {
              ran: frame.source.ran, title: this.#ran(),
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

  #calls() {
    return {
      hover: (map, cell) => this.view.mark(...(cell ? [map, cell] : [this.map, this.cell])),
      pick: (map, cell) => this.#pick(map, cell),
      enlarge: (map) => {
        const zoom = this.view.zoomed === map ? undefined : map;
        this.app.keep({ zoom });
        this.view.resize(zoom);
      },
      follow: () => {},
    };
  }

  #forward() {
    return this.frame.direction === 'forward' ? this.frame : this.frames[this.frame.partner];
  }

  #ran() {
    const { pair, usual } = this.frame;
    return usual && usual !== pair ? `ran: ${pair}; training uses ${usual}` : `ran: ${pair}, as in training`;
  }

  #transport() {
    const { frame, frames } = this;
    const last = frames.length - 1;
    return html`<div class="row transport">
      <button @click=${() => this.go(frame.number - 1)} ?disabled=${frame.number === 0}>← Previous</button>
      <button class="main" @click=${() => this.go(frame.number + 1)} ?disabled=${frame.number === last}>Next →</button>
      <button aria-pressed=${Boolean(this.timer)} @click=${() => this.play()}>${this.timer ? 'Pause' : 'Play'}</button>
      <select aria-label="Speed" @change=${(event) => { this.speed = event.target.value; }}>${
        Object.keys(SPEEDS).map((name) => html`<option ?selected=${name === this.speed}>${name}</option>`)}</select>
      <button @click=${() => this.#cross()} ?disabled=${frame.partner === null}>${
        frame.direction === 'forward' ? 'To its backward' : 'To its forward'}</button>
    </div>`;
  }

  #controls() {
    const { result } = this;
    const { classes } = this.app.subject;
    const { state } = this.app;
    const fresh = { target: undefined, map: undefined, cell: undefined, drawn: undefined };
    const drawn = state.drawn === '1';
    return html`<div class="row step-controls">
      <canvas class="thumb" role="img" aria-label=${drawn ? 'The drawn image' : `Test image ${state.image ?? 0}`}></canvas>
      <label>Image <input type="number" min="0" max=${(result?.images ?? 1) - 1} .value=${state.image ?? '0'}
        @change=${(event) => this.#record({ ...fresh, image: event.target.value })}></label>
      <button @click=${() => this.#record({ ...fresh, image: Number(state.image ?? 0) + 1 })}>Next image</button>
      <label>of class <select @change=${(event) => this.#record(fresh, { among: Number(event.target.value) })}>
        <option value="" selected disabled>…</option>
        ${classes.map((name, i) => html`<option value=${i}>${name}</option>`)}</select></label>
      ${result ? html`<span>label ${classes[result.label] ?? 'none'}, ${whole(100 * result.probabilities.data[result.target])} %</span>` : ''}
    </div>`;
  }
}

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
