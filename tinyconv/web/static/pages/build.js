/** The Build page: a cake as text and as blocks, what each slice gives and costs, and the way to its training. */

import { html, render } from '../vendor/lit-html.js';
import { Dropped } from '../socket.js';
import { whole } from '../maps.js';
import { figures } from '../lesson.js';
import { by, cellsOf, centre, colour, descent, imagePicture, mapPicture, seen, shapeInto } from '../cake.js';

const COLUMNS = [
  ['output', 'Output', 'Channels × rows × columns of what the slice gives'],
  ['params', 'Parameters', 'Numbers that the slice learns'],
  ['macs', 'MACs', 'Multiply-adds for one image'],
  ['flops', 'FLOPs', 'Multiplications and additions for one image, two for each MAC'],
  ['share', 'Share', 'Share of the MACs of all slices'],
  ['field', 'Field', 'Rows and columns of the image that a cell of the output depends on'],
  ['activations', 'Memory', 'Bytes of the output for one image'],
];
const TOTALS = [['params', 'Parameters', whole], ['macs', 'MACs', whole], ['flops', 'FLOPs', whole],
  ['activations', 'Memory', bytes], ['columns', 'Largest im2col', bytes]];
const SHORT = { conv: 'conv 16 3', pool: 'pool 2', avgpool: 'avgpool 2', adaptive: 'adaptive 4', fc: 'fc 10' };
const MEANS = {
  conv: 'Convolution: filters slide over the maps', pool: 'Max-pooling: the largest of each window',
  avgpool: 'Average-pooling: the mean of each window', gap: 'The mean of each map',
  adaptive: 'Averages to a size', flatten: 'All cells in one row', fc: 'Fully connected: a linear layer',
  bn: 'Batch normalisation', dropout: 'Dropout, in training', softmax: 'Softmax: scores to probabilities',
};
const QUIET = 800; // milliseconds: typing without a longer pause is undone in one step
const FAR = 5; // pixels that a press must move to be a drag

/** With one digit after the point. A tie goes to the even digit, as in Python, so that the figures are the library's. */
function tenths(n) {
  const ten = 10 * n;
  return ((ten % 1 === 0.5 ? 2 * Math.round(ten / 2) : Math.round(ten)) / 10).toFixed(1);
}

/** Memory for people, as `tc.summary` writes it: 13.5 KiB. */
function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let n = count;
  let unit = 0;
  for (; n >= 1024 && unit < 4; unit += 1) n /= 1024;
  return unit ? `${tenths(n)} ${units[unit]}` : `${n} B`;
}

/** A slice's receptive field in pixels: 14, or 14×9 where rows and columns differ. */
function fieldOf({ fields }) {
  if (!fields) return '';
  const [rows, columns] = fields.map(([size]) => size);
  return rows === columns ? whole(rows) : `${whole(rows)}×${whole(columns)}`;
}

function cellText(slice, name) {
  if (!slice.output) return '';
  if (name === 'output') return by(slice.output);
  if (name === 'field') return fieldOf(slice);
  if (name === 'share') return slice.macs ? `${tenths(100 * slice.share)} %` : '';
  if (name === 'activations') return bytes(slice.activations);
  return slice[name] ? whole(slice[name]) : '';
}

/** A slice as text: arguments at their defaults are left out. */
function written(kind, vocabulary, values) {
  const named = vocabulary.some(({ name, default: usual }) => usual === null && !values[name]);
  return [kind, ...vocabulary.map(({ name, default: usual }) => {
    const value = (values[name] ?? '').trim().replace(/\s+/g, '');
    if (!value || value === usual) return '';
    return usual === null && !named ? value : `${name}=${value}`;
  }).filter(Boolean)].join(' ');
}

let left = null; // the state of the page when it was last left, and of which model

const modelOf = ({ subject: { title, cake, shape } }) => [title, cake, ...shape].join();

/** The build page. */
export function mount(root, app) {
  const page = new Build(root, app);
  page.start();
  return { update: (state) => page.read(state), close: () => page.close() };
}

class Build {
  constructor(root, app) {
    Object.assign(this, { root, app, text: '', image: '', baked: null, before: null });
    this.selected = 0; // the slice whose arguments are shown below it, if `open`
    this.open = false;
    this.pointed = null; // the slice under the pointer, -1 for the image
    this.cell = null; // [row, column] of the selected slice; null for the one in the middle
    this.carried = false; // the selected slice is picked up by keys: arrows move it
    this.drag = null;
    this.dataset = null;
    this.past = [];
    this.future = [];
    this.onKey = (event) => this.#shortcut(event);
    addEventListener('keydown', this.onKey);
    this.unhear = app.on('role', () => this.#draw()); // another tab may have taken the studio
  }

  close() {
    if (this.shelf && location.hash.startsWith('#build')) this.app.keep(this.#state()); // it is mounted anew
    if (this.shelf) left = { model: modelOf(this.app), state: this.#state() };
    removeEventListener('keydown', this.onKey);
    clearTimeout(this.keeping);
    this.unhear();
  }

  async start() {
    this.shelf = await this.app.call('build.start');
    this.presets = [...(this.shelf.own ? [this.shelf.own] : []), ...this.shelf.presets];
    this.read(this.app.state);
  }

  /** Take the state of the URL; where that says nothing, the one in which the page was left. */
  read(given) {
    if (!this.shelf) return;
    if (this.text && !Object.keys(given).length) {
      this.#keep();
      return;
    }
    const again = left?.model === modelOf(this.app) && !Object.keys(given).length;
    const { cake, image, before, beforeimage, slice, cell } = again ? left.state : given;
    const shape = by(this.app.subject.shape).replaceAll('×', 'x');
    const usual = this.presets.find((preset) => preset.image === shape) ?? this.presets[0];
    this.text = cake ?? usual.cake;
    this.image = image ?? (cake === undefined ? usual.image : '1x28x28');
    this.before = before ? { cake: before, image: beforeimage ?? this.image } : null;
    this.selected = Math.max(0, Number.parseInt(slice, 10) || 0);
    this.cell = /^\d+,\d+$/.test(cell ?? '') ? cell.split(',').map(Number) : null;
    this.#bake();
  }

  #keep() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.root.isConnected && this.app.keep(this.#state()), 200);
  }

  #state() {
    return {
      cake: this.text,
      image: this.image,
      before: this.before?.cake,
      beforeimage: this.before?.image,
      slice: this.selected || undefined,
      cell: this.cell?.join(','),
    };
  }

  /** Ask for the numbers of the text as it is now. */
  #bake() {
    this.#keep();
    this.#draw();
    const asked = { cake: this.text, image: this.image, ...(this.before ? { before: this.before } : {}) };
    this.baking = this.app.call('build.bake', asked).then((baked) => {
      this.baked = baked;
      this.selected = Math.min(this.selected, Math.max(baked.slices.length - 1, 0));
      if (!baked.datasets.includes(this.dataset)) [this.dataset] = baked.datasets;
      this.#draw();
    }).catch((error) => {
      if (!(error instanceof Dropped)) throw error;
    });
    return this.baking;
  }

  // Changes. Each goes through `change`, which can be undone.

  change(text, image = this.image, how = 'step') {
    if (text === this.text && image === this.image) return this.baking;
    const now = performance.now();
    const goesOn = how === 'typed' && this.typed && now - this.typed < QUIET;
    if (!goesOn) this.past.push([this.text, this.image]);
    this.typed = how === 'typed' ? now : 0;
    this.future = [];
    this.text = text;
    this.image = image;
    return this.#bake();
  }

  async undo(back) {
    const [from, to] = back ? [this.past, this.future] : [this.future, this.past];
    if (!from.length) {
      this.app.say(back ? 'Nothing to undo' : 'Nothing to redo');
      return;
    }
    to.push([this.text, this.image]);
    [this.text, this.image] = from.pop();
    this.typed = 0;
    await this.#bake();
    this.app.say(`${back ? 'Undone' : 'Done again'}: ${this.text}`);
  }

  /** The texts of the slices, once they are those of the text as it is. */
  async #pieces() {
    while (this.baked?.text !== this.text) {
      const { baking } = this;
      await baking;
      const unanswered = baking === this.baking && this.baked?.text !== this.text;
      if (unanswered) throw new Dropped('the connection was lost; the page opens anew with it');
    }
    return this.baked.slices.map(({ text }) => text);
  }

  /** Change the list of slices: `edit` is given their texts, and what it returns becomes the cake. */
  async #rearrange(edit, selected) {
    const pieces = await this.#pieces();
    if (!pieces.length && this.text.trim()) {
      this.app.say('The text is too long for blocks: shorten it first');
      return;
    }
    const text = edit(pieces).join(this.text.includes('\n') ? '\n' : '; ');
    if (selected !== undefined) this.#select(selected);
    await this.change(text);
    await this.#pieces();
  }

  async add(kind, at = this.baked?.slices.length ? this.selected + 1 : 0) {
    await this.#rearrange((pieces) => pieces.toSpliced(at, 0, SHORT[kind] ?? kind), at);
    this.open = Boolean(this.shelf.vocabulary[kind].length);
    this.#draw();
    this.#focus(at);
    this.app.say(`Added ${SHORT[kind] ?? kind} as slice ${at + 1}. ${this.#summed()}`);
  }

  async remove(at) {
    const gone = this.baked.slices[at]?.text;
    if (gone === undefined) return;
    this.open = false;
    await this.#rearrange((pieces) => pieces.toSpliced(at, 1), Math.max(0, Math.min(at, this.baked.slices.length - 2)));
    this.#focus(this.selected);
    this.app.say(`Removed ${gone}. ${this.#summed()}`);
  }

  async move(from, to) {
    const last = this.baked.slices.length - 1;
    if (to < 0 || to > last || to === from) return;
    const { carried } = this;
    await this.#rearrange((pieces) => {
      const moved = pieces.toSpliced(from, 1);
      return moved.toSpliced(to, 0, pieces[from]);
    }, to);
    this.#focus(to);
    this.carried = carried; // the focus went from one button to another, which puts a slice down
    this.#draw();
    this.app.say(`${this.baked.slices[to].text} is slice ${to + 1} of ${last + 1}. ${this.#summed()}`);
  }

  async replace(at, piece) {
    await this.#pieces();
    const { start, end, text } = this.baked.slices[at];
    if (piece === text) return;
    await this.change(this.text.slice(0, start) + piece + this.text.slice(end));
    this.app.say(`${piece}. ${this.#summed()}`);
  }

  /** Every convolution with so many times the filters; the cake as it was becomes the one to compare with. */
  async scale(factor) {
    await this.#pieces();
    if (!this.before) this.before = { cake: this.text, image: this.image };
    const scaled = ({ kind, text, arguments: values }) => (kind !== 'conv' ? text
      : written(kind, this.shelf.vocabulary.conv, {
        ...values, filters: String(Math.max(1, Math.round(Number(values.filters) * factor))),
      }));
    await this.#rearrange(() => this.baked.slices.map(scaled));
    this.app.say(`Every convolution has ${factor === 2 ? 'twice' : 'half'} the filters. ${this.#compared()}`);
  }

  pin() {
    this.before = { cake: this.text, image: this.image };
    this.app.say('This cake is kept to compare with');
    this.#bake();
  }

  unpin() {
    this.before = null;
    this.#bake();
  }

  #summed() {
    const { error, totals } = this.baked;
    return error ? `Error: ${error.text}` : `${whole(totals.params)} parameters in all`;
  }

  #compared() {
    const { before, totals } = this.baked;
    return before && totals ? `Parameters ${whole(before.params)} to ${whole(totals.params)}` : this.#summed();
  }

  // What is in the light.

  #select(at) {
    if (at !== this.selected) this.cell = null;
    this.selected = at;
    this.#keep();
  }

  #point(at) {
    if (this.drag) return;
    this.pointed = at;
    this.#draw();
  }

  #focus(at) {
    this.root.querySelector(`[data-block="${at}"]`)?.focus();
  }

  /** The slice that is shown, and the cell of it. */
  get focus() {
    const { slices } = this.baked;
    const at = this.pointed !== null && (this.pointed < 0 || slices[this.pointed]?.output) ? this.pointed : this.selected;
    const output = at < 0 ? this.baked.image : slices[at]?.output;
    if (!output) return { at: null };
    const middle = centre(output);
    const most = cellsOf(output);
    const cell = at === this.selected && this.cell ? this.cell.map((n, i) => Math.min(n, most[i] - 1)) : middle;
    return { at, output, cell };
  }

  // Keys and the pointer.

  #shortcut(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    this.undo(key === 'z' && !event.shiftKey);
  }

  #blockKey(event, at) {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    const does = step ? () => {
      if (event.altKey || this.carried) this.move(at, at + step);
      else this.#focus(at + step);
    } : {
      ' ': () => this.#carry(!this.carried, at),
      Escape: () => (this.carried ? this.#carry(false, at) : this.#close(at)),
      Delete: () => this.remove(at),
      Backspace: () => this.remove(at),
      '+': () => this.root.querySelector('.palette button').focus(),
      Home: () => this.#focus(0),
      End: () => this.#focus(this.baked.slices.length - 1),
    }[event.key];
    if (!does || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    does();
  }

  #carry(carried, at) {
    this.carried = carried;
    this.#draw();
    const { text } = this.baked.slices[at];
    this.app.say(carried ? `${text} is picked up: arrows move it, Space puts it down` : `${text} is put down`);
  }

  #putDown() {
    if (!this.carried) return;
    this.carried = false;
    this.#draw();
  }

  #toggle(at) {
    this.carried = false;
    this.open = !(this.open && this.selected === at);
    this.#select(at);
    this.#draw();
    if (this.open) this.root.querySelector('.arguments input')?.focus();
  }

  #close(at) {
    this.open = false;
    this.#draw();
    this.#focus(at);
  }

  /** A press on a block, or on one of the palette (`kind`): it becomes a drag once it moves. */
  #press(event, { at = null, kind = null }) {
    if (event.button !== 0) return;
    const { clientX, clientY, pointerId, currentTarget } = event;
    const touches = event.pointerType === 'touch';
    if (touches && at !== null && !event.target.closest('.grip')) return; // a finger scrolls the page, but by the grip
    const start = [clientX, clientY];
    const moved = (e) => {
      if (e.pointerId !== pointerId) return;
      if (!this.drag && Math.hypot(e.clientX - start[0], e.clientY - start[1]) < FAR) return;
      if (!this.drag) {
        this.open = false;
        this.pointed = null;
        currentTarget.setPointerCapture(pointerId);
      }
      this.#dragged({ at, kind, x: e.clientX, y: e.clientY });
    };
    const ended = (e) => {
      if (e.pointerId !== pointerId) return;
      removeEventListener('pointermove', moved);
      removeEventListener('pointerup', ended);
      removeEventListener('pointercancel', ended);
      const { drag } = this;
      this.drag = null;
      if (!drag) return;
      const swallow = (click) => click.stopImmediatePropagation(); // the click that ends a drag is none
      currentTarget.addEventListener('click', swallow, { capture: true });
      setTimeout(() => currentTarget.removeEventListener('click', swallow, { capture: true }));
      if (e.type === 'pointerup') this.#dropped(drag);
      this.#draw();
    };
    addEventListener('pointermove', moved);
    addEventListener('pointerup', ended);
    addEventListener('pointercancel', ended);
  }

  #dragged({ at, kind, x, y }) {
    const rows = [...this.root.querySelectorAll('.slices .slice')];
    const box = this.root.querySelector('.slices').getBoundingClientRect();
    const bin = this.root.querySelector('.palette').getBoundingClientRect();
    const gone = at !== null && y < bin.bottom && y > bin.top && x > bin.left && x < bin.right;
    const outside = kind !== null && (x < box.left || x > box.right || y < bin.bottom);
    const gap = rows.filter((row) => {
      const { top, height } = row.getBoundingClientRect();
      return y > top + height / 2;
    }).length;
    this.drag = { at, kind, x, y, gap: gone || outside ? null : gap, gone };
    if (y < 90) scrollBy(0, -12);
    if (y > innerHeight - 50) scrollBy(0, 12);
    this.#draw();
  }

  #dropped({ at, kind, gap, gone }) {
    if (gone) this.remove(at);
    else if (gap === null) this.app.say('Dropped outside: nothing has changed');
    else if (kind) this.add(kind, gap);
    else this.move(at, gap > at ? gap - 1 : gap);
  }

  async #train() {
    clearTimeout(this.keeping);
    this.app.keep(this.#state());
    await this.app.call('build.open', { cake: this.text, image: this.image, dataset: this.dataset });
    this.app.go('train');
  }

  async #openModel() {
    await this.app.call('build.model', { name: this.root.querySelector('#model').value });
    this.app.go('train');
  }

  async #copy(text, what) {
    await navigator.clipboard.writeText(text);
    this.app.say(`${what} is copied`);
    this.copied = what;
    this.#draw();
  }

  // The page.

  #draw() {
    if (!this.shelf) return;
    render(this.#page(), this.root);
    const field = this.root.querySelector('#cake');
    if (field.value !== this.text) field.value = this.text;
    const shape = this.root.querySelector('#image');
    if (shape.value !== this.image && document.activeElement !== shape) shape.value = this.image;
    const preset = this.presets.find(({ cake, image }) => cake === this.baked?.cake && image === this.image);
    this.root.querySelector('#preset').value = preset?.name ?? '';
    if (this.drag) {
      const ghost = this.root.querySelector('.ghost');
      ghost.style.transform = `translate(${this.drag.x + 12}px, ${this.drag.y + 8}px)`;
    }
  }

  #page() {
    const { baked } = this;
    return html`
      <h1>Build</h1>
      <p class="intro">A cake is a stack of slices, from the image to the logits. Write it, or put it together from
        blocks: what each slice gives and costs follows at once. ${this.shelf.own ? this.#whose() : ''}</p>
      ${this.shelf.own ? '' : this.#whose()}
      <div class="bench">
        <section class="work" aria-label="The cake">
          ${this.#controls()}
          ${this.#editor()}
          ${this.#palette()}
          ${baked ? html`${this.#table()}${this.#totals()}` : ''}
        </section>
        <section class="view" aria-label="The cake as a picture">${baked?.slices.some(({ output }) => output)
          ? this.#pictures() : html`<p class="intro">The cake is drawn here once its first slice can be read.</p>`}
        </section>
      </div>
      ${baked ? html`<div class="after">
        ${this.#lesson()}${this.#onwards()}${this.#code()}</div>` : ''}
      ${this.drag ? html`<div class="ghost" aria-hidden="true">${
        this.drag.kind ?? baked.slices[this.drag.at].text}</div>` : ''}`;
  }

  /** Whether the cake is the model of the studio; where no cake can be, the layers of that model. */
  #whose() {
    if (!this.baked) return '';
    const { own, layers, totals } = this.shelf;
    const { title } = this.app.subject;
    const shown = this.presets.find(({ cake, image }) => cake === this.baked?.cake && image === this.image);
    if (own) {
      return shown === own ? html`This is <strong>${title}</strong>, the model of the studio.`
        : html`This cake is not the model of the studio, which is <strong>${title}</strong>.`;
    }
    return html`<section class="panel whose" aria-labelledby="whose"><h2 id="whose">${title}, the model of the studio</h2>
      <p>${title} is no stack of slices, so Build cannot show it as a cake. The cake below is another model${
        shown ? `: ${shown.title}` : ''}.</p>
      ${layers ? html`<p>${title} has <strong>${whole(totals.params)}</strong> parameters and takes
          <strong>${whole(totals.macs)}</strong> MACs (multiply-adds) for one image. Its ${
            layers.length} layers:</p>
        <div class="scroll" tabindex="0" role="region" aria-label=${`The layers of ${title}`}><table>
          <thead><tr>${['Layer', 'Kind', 'Output', 'Parameters', 'MACs'].map((head) => html`
            <th scope="col">${head}</th>`)}</tr></thead>
          <tbody>${layers.map((row) => html`<tr><td class="mono">${row.name}</td><td>${row.kind}</td>
            <td>${by(row.output)}</td><td>${row.params ? whole(row.params) : ''}</td>
            <td>${row.macs ? whole(row.macs) : ''}</td></tr>`)}</tbody></table></div>` : ''}</section>`;
  }

  #controls() {
    const chosen = ({ target }) => {
      const preset = this.presets.find(({ name }) => name === target.value);
      if (preset) this.change(preset.cake, preset.image);
    };
    return html`<div class="row controls">
      <span class="row"><label for="preset">Begin with</label>
        <select id="preset" @change=${chosen}>
          <option value="">your own cake</option>
          ${this.presets.map(({ name, title, image }) => html`
            <option value=${name}>${title} (${image.replaceAll('x', '×')})</option>`)}
        </select></span>
      <span class="row"><label for="image">Image, C×H×W</label>
        <input id="image" class="mono" size="10" autocomplete="off" spellcheck="false" maxlength="40"
          aria-invalid=${this.baked?.error?.where === 'image'} aria-describedby="wrong"
          @input=${({ target }) => this.change(this.text, target.value, 'typed')}></span>
      <span class="row undo">
        <button ?disabled=${!this.past.length} @click=${() => this.undo(true)}>Undo</button>
        <button ?disabled=${!this.future.length} @click=${() => this.undo(false)}>Redo</button></span>
    </div>`;
  }

  /** The text, with a copy behind it that lights the slice in focus and the one that is wrong. */
  #editor() {
    const { baked, text } = this;
    const current = baked?.text === text ? baked : null;
    const error = current?.error;
    const lit = current && this.focus.at;
    const marks = [];
    let done = 0;
    for (const [i, { start, end }] of (current?.slices ?? []).entries()) {
      const kind = error?.slice === i + 1 ? 'wrong' : i === lit ? 'lit' : '';
      marks.push(text.slice(done, start), kind ? html`<mark class=${kind}>${text.slice(start, end)}</mark>`
        : text.slice(start, end));
      done = end;
    }
    marks.push(text.slice(done));
    return html`
      <label class="above" for="cake">The cake, in one line: the same text as for the command line</label>
      <div class="editor mono"><div class="behind" aria-hidden="true">${marks} </div>
        <textarea id="cake" class="mono" rows="1" spellcheck="false" autocomplete="off" autocapitalize="off"
          aria-invalid=${Boolean(error)} aria-describedby="wrong"
          @scroll=${({ target }) => { target.previousElementSibling.scrollTop = target.scrollTop; }}
          @input=${({ target }) => this.change(target.value, this.image, 'typed')}></textarea></div>
      <p id="wrong" class="error" role="status">${this.baked?.error?.text ?? ''}</p>`;
  }

  #palette() {
    const back = (event) => event.key === 'Escape' && this.#focus(this.selected);
    return html`<div class=${`palette ${this.drag?.at != null ? 'bin' : ''} ${this.drag?.gone ? 'over' : ''}`}
      @keydown=${back}>
      <h2 class="unseen">Add a slice</h2>
      ${Object.keys(this.shelf.vocabulary).map((kind) => html`
        <button class=${`block ${colour(kind)}`} title=${MEANS[kind] ?? 'Activation'} aria-label=${`Add ${kind}`}
          @pointerdown=${(event) => this.#press(event, { kind })} @click=${() => this.add(kind)}>
          <span aria-hidden="true">+</span> ${kind}</button>`)}
      <p class="binned" aria-hidden="true">Drop it here to remove it</p>
    </div>`;
  }

  #table() {
    const { baked } = this;
    const { at } = this.focus;
    return html`<div class="scroll">
      <table class=${`slices ${baked.totals?.flops >= 1e9 ? 'crowded' : ''}`} role="table" aria-label="Slices, with what each gives and costs for one image">
        <thead role="rowgroup"><tr role="row"><th role="columnheader">Slice</th>
          ${COLUMNS.map(([name, title, means]) => html`<th role="columnheader" data-column=${name} title=${means}>${title}</th>`)}</tr></thead>
        <tbody role="rowgroup">
          <tr role="row" class=${`image ${at === -1 ? 'lit' : ''}`}><td role="cell"><span class="of-image">image</span></td>
            <td role="cell" data-label="Output">${baked.image ? by(baked.image) : ''}</td>
            <td role="cell" class="none" colspan="5"></td></tr>
          ${baked.slices.map((slice, i) => this.#row(slice, i, i === at))}
        </tbody>
        ${this.#foot()}
      </table></div>
      <p class="keys">MACs are multiply-adds for one image; FLOPs count the two apart, so they are twice as many. Share is
        that of all MACs. Field is how many rows and columns of the image a cell depends on. Memory is what the output
        of one image takes.</p>
      <p class="keys">Click a slice to change it; drag it, by its grip on a touch screen, to move it. Keys: <kbd>↑</kbd>
        <kbd>↓</kbd> choose, <kbd>Space</kbd> picks up, <kbd>Enter</kbd> edits, <kbd>Delete</kbd> removes,
        <kbd>+</kbd> goes to the slices to add, <kbd>Esc</kbd> comes back, <kbd>Ctrl Z</kbd> undoes.</p>`;
  }

  #foot() {
    const { totals, error } = this.baked;
    if (!totals) return '';
    const shown = { ...totals, output: null };
    return html`<tfoot role="rowgroup"><tr role="row"><th role="rowheader" scope="row">${
      error ? 'in all, up to the error' : 'in all'}</th>
      ${COLUMNS.map(([name, title]) => html`<td role="cell" data-label=${title} data-column=${name}>${
        name === 'activations' ? bytes(shown[name]) : shown[name] == null ? '' : whole(shown[name])}</td>`)}
    </tr></tfoot>`;
  }

  #row(slice, i, lit) {
    const wrong = this.baked.error?.slice === i + 1;
    const { drag } = this;
    const last = i === this.baked.slices.length - 1;
    const classes = ['slice', lit ? 'lit' : '', wrong ? 'wrong' : '', drag?.at === i ? 'dragged' : '',
      drag?.gap === i ? 'gap' : '', last && drag?.gap === i + 1 ? 'gap-after' : ''];
    const opened = this.open && this.selected === i && !drag;
    return html`
      <tr role="row" class=${classes.join(' ')} @pointerenter=${() => this.#point(i)}
        @pointerleave=${() => this.#point(null)}>
        <td role="cell"><button class=${`block ${colour(slice.kind)} ${
          this.carried && this.selected === i ? 'carried' : ''}`} data-block=${i} aria-expanded=${opened}
          tabindex=${i === this.selected ? 0 : -1}
          @pointerdown=${(event) => this.#press(event, { at: i })} @click=${() => this.#toggle(i)}
          @focus=${() => this.#took(i)} @keydown=${(event) => this.#blockKey(event, i)}
          @blur=${() => this.#putDown()}>
          <span class="grip" aria-hidden="true"></span><span class="words">${slice.text || '(empty)'}</span>
          <span class="name">${slice.name ?? ''}</span></button></td>
        ${slice.output ? COLUMNS.map(([name, title]) => html`
          <td role="cell" data-label=${title} data-column=${name}>${name === 'share' && slice.macs
    ? html`<meter min="0" max="1" value=${slice.share} aria-hidden="true"></meter>` : ''}${cellText(slice, name)}</td>`)
    : html`<td role="cell" class=${wrong ? 'why error' : 'why'} colspan="7">${wrong
      ? this.baked.error.text.replace(/^slice \d+, '.*?': /, '') : 'waits for the slice in error'}</td>`}
      </tr>
      ${opened ? html`<tr role="row" class="form"><td role="cell" colspan="8">${this.#arguments(slice, i)}</td></tr>` : ''}`;
  }

  #took(i) {
    if (this.selected === i) return;
    this.carried = false;
    this.open = false;
    this.#select(i);
    this.#draw();
  }

  /** The form of the selected slice. */
  #arguments(slice, i) {
    const asked = this.shelf.vocabulary[slice.kind];
    const changed = (event) => {
      const form = event.target.closest('form');
      this.replace(i, asked ? written(slice.kind, asked, Object.fromEntries(new FormData(form)))
        : form.elements.text.value);
    };
    const keys = (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      this.#close(i);
    };
    const done = (event) => {
      event.preventDefault();
      changed(event);
      this.#close(i);
    };
    return html`<form class="arguments" @change=${changed} @submit=${done} @keydown=${keys}>
      ${asked ? asked.map(({ name, wanted, default: usual }) => html`<label>${name}
          <input name=${name} class="mono" size="5" autocomplete="off" .value=${slice.arguments[name] ?? ''}
            placeholder=${usual === '' ? 'kernel' : usual ?? ''} title=${wanted}></label>`)
    : html`<label>text <input name="text" class="mono" size="28" autocomplete="off" .value=${slice.text}></label>`}
      ${asked && !asked.length ? html`<span class="about">${slice.kind} has no arguments.</span>` : ''}
      <span class="row">
        <button class="small" type="submit">Done</button>
        <button class="small" type="button" ?disabled=${!i} @click=${() => this.move(i, i - 1)}>Move up</button>
        <button class="small" type="button" ?disabled=${i === this.baked.slices.length - 1}
          @click=${() => this.move(i, i + 1)}>Move down</button>
        <button class="small" type="button" @click=${() => this.remove(i)}>Remove</button></span>
    </form>`;
  }

  #pictures() {
    const { baked } = this;
    const { at, output, cell } = this.focus;
    return html`<figure>
      ${descent(baked, at ?? -2, cell ?? [0, 0], {
    point: (i) => this.#point(i),
    choose: (i) => i >= 0 && this.#focus(i),
  })}
      <figcaption class="about">Width is the map's, height the logarithm of its channels; a thin sheet leaves
        both as they are. The beam is what the cell at its end depends on.</figcaption></figure>
      ${at === null ? '' : this.#seen(at, output, cell)}`;
  }

  /** What one cell of the slice in the light sees of the image. */
  #seen(at, output, cell) {
    const { baked } = this;
    if (at < 0) return html`<div class="sees"><h2>image</h2><p class="about">${by(output)}: ${output[0]} channel${
      output[0] > 1 ? 's' : ''} of ${output[1]}×${output[2]} pixels. Point at a slice to see what it sees.</p></div>`;
    const slice = baked.slices[at];
    const own = at === this.selected;
    const set = (n, value) => {
      this.cell = cell.with(n, Math.max(0, Math.min(Number.parseInt(value, 10) || 0, cellsOf(output)[n] - 1)));
      this.#keep();
      this.#draw();
    };
    const pick = (where) => {
      this.#select(at);
      this.cell = where;
      this.#keep();
      this.#draw();
    };
    const sees = seen(slice, cell, baked.image);
    return html`<div class="sees">
      <h2>${slice.name} <span class="about mono">${slice.text}</span></h2>
      <dl class="figures">
        <div><dt>Input</dt><dd>${by(shapeInto(baked, at))}</dd></div>
        <div><dt>Output</dt><dd>${by(output)}</dd></div>
        <div><dt>Parameters</dt><dd>${whole(slice.params)}</dd></div>
        <div><dt>MACs</dt><dd>${whole(slice.macs)}</dd></div>
        <div><dt>FLOPs</dt><dd>${whole(slice.flops)}</dd></div>
        <div><dt>Field</dt><dd>${fieldOf(slice)}</dd></div>
      </dl>
      <div class="row cell">${output.length === 3 ? html`<span>Cell</span>
        ${['row', 'column'].map((name, n) => html`<label>${name} <input type="number" min="0" class="small"
          max=${cellsOf(output)[n] - 1} .value=${String(cell[n])} ?disabled=${!own}
          @input=${({ target }) => set(n, target.value)}></label>`)}` : ''}</div>
      <div class="grids">
        ${output.length === 3 ? html`<figure>${mapPicture(output, cell, pick)}
          <figcaption>a map of ${slice.name}</figcaption></figure>` : ''}
        <figure>${imagePicture(baked.image, sees)}<figcaption>the image</figcaption></figure>
      </div>
      <p class="sentence">${sentence(slice, output, cell, sees, baked.image)}</p>
    </div>`;
  }

  #totals() {
    const { totals, before, warnings } = this.baked;
    const change = (name) => (before && before[name] ? html` <span class="times">(×${
      times(totals[name] / before[name])})</span>` : '');
    return html`${warnings.map((text) => html`<p class="warning">${text}</p>`)}
      <section class="panel totals" aria-labelledby="in-all">
      <div class="row"><h2 id="in-all">${before ? 'Before and now' : 'In all'}</h2>
        <button class="small" @click=${() => this.scale(2)}>Filters ×2</button>
        <button class="small" @click=${() => this.scale(0.5)}>Filters ÷2</button>
        <button class="small" ?disabled=${Boolean(this.baked.error)} @click=${() => this.pin()}>Compare with this cake</button>
        ${this.before ? html`<button class="small" @click=${() => this.unpin()}>Stop comparing</button>` : ''}</div>
      <dl>${totals ? TOTALS.map(([name, title, shown]) => html`<div><dt>${title}</dt><dd data-total=${name}>${
        before ? html`<span class="was">${shown(before[name])} → </span>` : ''}${
        shown(totals[name])}${change(name)}</dd></div>`) : ''}</dl>
      ${this.before ? html`<p class="about">Before: <span class="mono">${this.before.cake}</span> on ${
        this.before.image.replaceAll('x', '×')}</p>` : ''}
    </section>`;
  }

  #lesson() {
    const found = figures(this.baked);
    if (!found.length) return '';
    return html`<section class="panel lesson" aria-labelledby="lesson"><h2 id="lesson">The lesson's figures</h2>
      <p class="about">The lesson is “Build a CNN from Scratch”, from which this project grew.
        The figures in bold are those of <code>tc.summary</code>, and they are right;
        <code>docs/errata.md</code> has the arithmetic.</p>
      <dl>${found.map(({ what, lesson, here, why }) => html`<div><dt>${what}</dt>
        <dd><strong>${here}</strong> <span class="was">the lesson says ${lesson}</span>
          <span class="reason">${why}</span></dd></div>`)}</dl></section>`;
  }

  #onwards() {
    const { datasets, untrainable } = this.baked;
    const may = this.app.role.writes;
    return html`<section class="panel onwards" aria-labelledby="onwards"><h2 id="onwards">Train it</h2>
      ${untrainable ? html`<p>${untrainable}</p>` : html`
        <div class="row"><label for="dataset">on</label>
          <select id="dataset" .value=${this.dataset} @change=${({ target }) => {
    this.dataset = target.value;
    this.#draw();
  }}>${datasets.map((name) => html`<option value=${name} ?selected=${name === this.dataset}>${name}</option>`)}</select>
          <button class="main" ?disabled=${!may} @click=${() => this.#train()}>Train this</button></div>
        <p class="about">It becomes the model of the studio, with new weights, in place of ${
          this.app.subject.title}. A training that goes on ends.</p>`}
      <div class="row"><label for="model">or a model by name</label>
        <select id="model">${this.shelf.models.map((name) => html`<option value=${name}>${name}</option>`)}</select>
        <button ?disabled=${!may} @click=${() => this.#openModel()}>Open</button></div>
      ${may ? '' : html`<p class="about">Another tab has the studio; take it over to open a model here.</p>`}
    </section>`;
  }

  #code() {
    const { cake, image, python, untrainable } = this.baked;
    if (!python) return '';
    const command = untrainable ? `tinyconv summary "${cake}" --input ${image.join('x')}`
      : `tinyconv train "${cake}" --data ${this.dataset}`;
    const kept = (text, what) => html`<div class="kept"><pre tabindex="0" aria-label=${what}>${text}</pre>
      <button class="small" @click=${() => this.#copy(text, what)}>${
        this.copied === what ? 'Copied' : 'Copy'}</button></div>`;
    return html`<section class="panel codes" aria-labelledby="code"><h2 id="code">Take it along</h2>
      <h3>In Python</h3>${kept(python, 'Python')}
      <h3>On the command line</h3>${kept(command, 'Command')}</section>`;
  }
}

/** 2, 1.35, 0.5: how many times as large. */
const times = (ratio) => (ratio >= 100 ? whole(ratio) : ratio.toFixed(ratio < 0.1 ? 3 : 2));

/** The answer to "what does this cell see", in words. */
function sentence({ name }, output, [row, column], { rows, columns, padding }, [, height, width]) {
  const who = output.length === 3 ? `Cell (${row}, ${column}) of ${name}` : `A number of ${name}`;
  const size = `${rows[1] - rows[0]}×${columns[1] - columns[0]} of the ${height}×${width} pixels`;
  const lost = padding.some((n) => n > 0)
    ? ` The rest of its field, ${padding[0]} rows and ${padding[1]} columns, lies in the padding.` : '';
  if (rows[1] === rows[0] || columns[1] === columns[0]) return `${who} sees padding alone.`;
  return `${who} sees rows ${rows[0]} to ${rows[1] - 1} and columns ${columns[0]} to ${columns[1] - 1}: ${size}.${lost}`;
}
