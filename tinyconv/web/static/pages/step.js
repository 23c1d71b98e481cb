/** The Step page: one step of the model on one image, op by op, to the loss and back to the image. */

import { html, nothing, render } from '../vendor/lit-html.js';
import { number } from '../maps.js';
import { Dropped } from '../socket.js';
import { litBy } from './step/explain.js';
import { formula } from './step/formula.js';
import { FrameView, isCell, mostOf } from './step/frame.js';
import { SPEEDS, controls, thumbnail, transport } from './step/head.js';
import { litByTerm } from './step/loops.js';
import { code } from './step/source.js';
import { timeline } from './step/timeline.js';
import { whyPanel } from './step/why.js';
import { geometryText, place, sentence } from './step/words.js';

const RECORDED = ['image', 'drawn', 'target', 'training']; // what of the URL decides on the recording
const LONG = new Set(['conv2d', 'linear', 'Matmul', 'CrossEntropy']); // ops whose sums fill the column
const FIELDS = 'input, select, textarea';
const SHEET = '(max-width: 1099px)'; // the panel scrolls by itself: it must have the focus for the keys
const KEYS = [
  ['← →', 'the frame before, the next'], ['b', 'the same op in the other direction'],
  ['Home End', 'the first frame, the last'], ['Space', 'play, pause'], ['Tab', 'to the maps'],
  ['arrows', 'in a map: the next cell'], ['Page Up, Down', 'in a map: the same cell of another map'],
  ['Enter', 'in a map: the frame that made it'], ['z', 'in a map: enlarge it, show all again'],
  ['Escape', 'show all maps again, shrink the sum'],
];

/** The step page. */
export function mount(root, app) {
  return new Step(root, app);
}

class Step {
  constructor(root, app) {
    Object.assign(this, { root, app, speed: '1×' });
    this.onKey = (event) => this.#key(event);
    this.onResize = () => {
      this.view?.resize();
      if (this.looked) this.#renderWhy();
    };
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
    const numbered = (name) => (state[name] === undefined ? {} : { [name]: Number(state[name]) });
    const flag = (name) => ({ [name]: state[name] === '1' });
    const args = {
      ...numbered('image'), ...numbered('target'), ...flag('drawn'), ...flag('training'), ...extra,
    };
    try {
      const result = await this.app.call('step.record', args);
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
      this.view.enlarge(this.app.state.zoom);
    }
    const view = chosen && this.view.views.get(chosen.map);
    if (!view) this.#choose(...this.#first());
    else this.#choose(chosen.map, isCell(chosen.cell, view.array.shape) ? chosen.cell : mostOf(view.array));
    keepInSight(this.root.querySelector('.tape'), this.root.querySelector('.here'));
  }

  /** The array and cell that a frame begins with. */
  #first() {
    const { inputs, outputs } = this.frame;
    const { argument, array } = outputs.find((operand) => operand.array !== null) ?? inputs[0];
    return [argument, mostOf(this.arrays[array])];
  }

  /** Go to a frame, and in it to a cell. */
  go(at, chosen = null) {
    const to = Math.max(0, Math.min(this.frames.length - 1, at));
    const { map, cell } = chosen ?? {};
    this.app.keep({ frame: to || undefined, map, cell: cell?.join('.'), zoom: undefined });
    this.#show(to, chosen);
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
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.frames || (event.target.closest?.(FIELDS) && event.key !== 'Escape')) return;
    const at = this.frame.number;
    const moves = {
      ArrowRight: () => this.go(at + 1), ArrowLeft: () => this.go(at - 1), Home: () => this.go(0),
      End: () => this.go(this.frames.length - 1), b: () => this.#cross(), ' ': () => this.play(),
      Escape: () => this.#escape(event.target),
    };
    if (!moves[event.key] || (event.key === ' ' && event.target.closest?.('button, a, summary'))) return;
    event.preventDefault();
    if (event.key !== ' ') this.stop();
    moves[event.key]();
  }

  /** Shrink the sheet that has the focus; else show all maps again; else shrink the sheet. */
  #escape(target) {
    const { zoom, sheet } = this.app.state;
    if (zoom && !(sheet && target.closest?.('.step-why'))) this.#enlarge(zoom);
    else if (sheet) this.#toggle();
  }

  /** Show the chosen map of an array alone, or all its maps again; the keys act there. */
  #enlarge(map) {
    const zoom = this.view.zoomed === map ? undefined : map;
    this.app.keep({ zoom });
    this.view.enlarge(zoom);
    this.view.views.get(map)?.frame.focus();
  }

  /** Open the sheet, or shrink it to a line. */
  #toggle() {
    this.app.keep({ sheet: this.app.state.sheet ? undefined : 'open' });
    const within = document.activeElement.closest('.step-why');
    this.#render();
    this.#renderWhy();
    if (within) this.root.querySelector('.why-head button').focus(); // what had the focus may be gone
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
    const looked = { map, cell, value: this.view.views.get(map).value(cell), lit: {} };
    if (frame.outputs.some(({ argument }) => argument === map) && !map.startsWith('y[')) {
      try {
        const args = { recording: result.id, frame: frame.number, which: map, cell };
        looked.explanation = await this.app.call('step.explain', args);
        looked.lit = litBy(looked.explanation, (name) => this.view.views.get(name)?.array.shape);
      } catch (error) {
        if (error instanceof Dropped) return;
        looked.error = error;
      }
      if (frame !== this.frame || result !== this.result || this.closed) return;
    }
    this.looked = looked;
    this.view.mark(map, cell, looked.lit, under);
    this.#renderWhy();
  }

  #pick(map, cell) {
    this.app.keep({ map, cell: cell.join('.') });
    this.#choose(map, cell);
    this.app.say(`${map} ${cell.join(', ')}: ${number(this.view.views.get(map).value(cell), 5)}`);
  }

  // What is drawn.

  /** Paint all canvases in the colours of the theme. */
  #paint() {
    this.view?.draw();
    if (this.looked) this.#renderWhy();
    const { pixels } = this.result ?? {};
    const canvas = this.root.querySelector('.thumb');
    if (pixels && canvas) thumbnail(canvas, pixels);
  }

  #render() {
    const { frame, frames, result, error, app } = this;
    const again = (...args) => this.#record(...args);
    const isOpen = app.state.sheet === 'open';
    const head = result || error ? controls(result, app.subject, app.state, again)
      : html`<p class="about">Recording …</p>`;
    render(html`
      ${frame ? nothing : html`<h1>Step</h1>`}
      <div class="step-top">${head}${frame ? this.#transport() : nothing}</div>
      ${error ? html`<p class="panel error step-error" role="alert">${error.message}</p>` : nothing}
      ${frame ? html`
        ${timeline(frames, frame, (at) => {
          this.stop();
          this.go(at);
        })}
        ${this.#title()}
        <div class=${LONG.has(frame.op) ? 'step-body' : 'step-body brief'}>
          <div class="step-data"><div id="flow"></div></div>
          <section class=${isOpen ? 'panel step-why open' : 'panel step-why'} id="why" aria-label="Why this number"
            tabindex=${matchMedia(SHEET).matches && isOpen ? 0 : nothing}></section>
          <div class="step-code">${this.#code()}</div>
        </div>` : nothing}`, this.root);
    const canvas = this.root.querySelector('.thumb');
    if (canvas && result && this.painted !== result.pixels) {
      this.painted = result.pixels;
      thumbnail(canvas, result.pixels);
    }
    const flow = this.root.querySelector('#flow');
    if (flow && this.view?.element !== flow) this.view = new FrameView(flow, this.#calls());
  }

  #title() {
    const { frame } = this;
    const geometry = geometryText(frame);
    return html`<div class="step-title">
      <h1><span class="step-place">${place(frame, this.frames)}:</span> <code>${frame.op}</code> ${
        sentence(frame, this.#forward())}</h1>
      <div class="step-facts">
        <p class="about">${frame.layer ? html`Layer <b>${frame.layer}</b>, ${frame.kind}`
          : 'Outside of layers'}${geometry ? ` · ${geometry}` : ''}</p>
        <p class="about by-touch">Tap a cell for its number.</p>
        <p class="about step-hint by-key">Point at a cell for its sum.</p>
        <details class="about keys by-key"><summary>Keys</summary><dl>${KEYS.map(([key, does]) => html`
          <div><dt><kbd>${key}</kbd></dt><dd>${does}</dd></div>`)}</dl></details>
      </div>
    </div>`;
  }

  #code() {
    const { source, formula: docstring, direction, pair, usual } = this.frame;
    const now = this.#ownLines();
    const ran = usual === pair ? `This is the ${pair} code; training runs it too.`
      : `This is the ${pair} code; training runs a faster pair, ${usual}, that gives the same numbers to rounding.`;
    const title = now.length ? `${ran} In orange: for ${this.map} alone.` : ran;
    return html`
      <div class="formula">${formula(docstring, direction === 'backward')}</div>
      ${source ? code(this.result.sources[source.text], { ran: source.ran, now, title })
        : html`<p class="about">This op's code is compiled; it cannot be shown.</p>`}`;
  }

  /** The panel beside the arrays: what makes the number of the cell. */
  #renderWhy() {
    const element = this.root.querySelector('#why');
    const { looked, frame, arrays, result } = this;
    const { map, cell, explanation, lit } = looked;
    const again = (changes) => {
      Object.assign(this, changes);
      this.#renderWhy();
    };
    const shapeOf = (name) => this.view.views.get(name).array.shape;
    const about = {
      frame, arrays, forward: this.#forward(), operand: this.#operand(map), made: this.#madeIn(map),
      sources: result.sources, loops: result.loops, width: element.clientWidth - 32,
    };
    const { view: way = 'sum', sheet } = this.app.state;
    const view = { way, group: this.group, step: this.step, open: sheet === 'open' };
    render(whyPanel(looked, about, view, {
      turn: (way) => {
        this.app.keep({ view: way === 'sum' ? undefined : way });
        again();
      },
      choose: (group) => again({ group }),
      stepTo: (step) => {
        this.view.mark(map, cell, litByTerm(explanation, step, shapeOf) ?? lit);
        again({ step });
      },
      follow: () => this.#follow(map, cell),
      toggle: () => this.#toggle(),
    }), element);
  }

  #operand(map) {
    const all = [this.frame, this.#forward()].flatMap(({ inputs, outputs }) => [...outputs, ...inputs]);
    return all.find(({ argument }) => argument === map);
  }

  /** The other frame that made an array, and what the array is called there; null for what was given. */
  #madeIn(map) {
    const { frame: at, array: own } = this.#operand(map);
    const frame = at === this.frame.number ? null : this.frames[at];
    if (!frame) return null;
    return { frame, map: frame.outputs.find(({ array }) => array === own)?.argument };
  }

  #follow(map, cell) {
    const made = this.#madeIn(map);
    if (!made) return;
    this.go(made.frame.number, { map: made.map, cell });
    this.view.views.get(this.map).frame.focus();
  }

  #calls() {
    return {
      hover: (map, cell) => {
        if (`${cell && [map, ...cell]}` === this.under) return;
        this.under = `${cell && [map, ...cell]}`;
        this.#look(...(cell ? [map, cell, true] : [this.map, this.cell]));
      },
      pick: (map, cell) => this.#pick(map, cell),
      enlarge: (map) => this.#enlarge(map),
      follow: (map, cell) => this.#follow(map, cell),
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

  #transport() {
    const { frame, frames, timer, speed } = this;
    return transport(frame, frames.length - 1, { playing: Boolean(timer), speed }, {
      go: (at) => this.go(at),
      play: () => this.play(),
      cross: () => this.#cross(),
      pace: (name) => { this.speed = name; },
    });
  }
}

/** Scroll a row sideways until one of its parts is seen; the page itself stays where it is. */
function keepInSight(row, part) {
  const { offsetLeft: left, offsetWidth: width } = part;
  const [from, to] = [row.scrollLeft, row.scrollLeft + row.clientWidth];
  const at = left - row.offsetLeft;
  if (at < from || at + width > to) row.scrollLeft = at - (row.clientWidth - width) / 2;
}
