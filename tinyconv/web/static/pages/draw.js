import { inWords, showBars } from '../answer.js';
import { Layers, Maps, placeOf, seenBy, showFrame, sightOf } from '../layers.js';
import { number, whole } from '../maps.js';
import { Pad } from '../pad.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

const MOST = 900_000; // bytes of a file that is sent as it is
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const OFTEN = 250; // milliseconds between two looks at weights that are being trained
const HINT = 'Point at a cell of a map, or move to one with the arrow keys: its value stands here, and a '
  + 'frame shows the pixels that it sees.';

/** Draw, and see at once what the model makes of it: its answer, and every map of every layer. */
export function mount(root, app) {
  const [channels] = app.subject.shape;
  if (channels === 1 || channels === 3) return new Draw(root, app);
  render(html`<h1>Draw</h1><p class="intro">This model takes images of ${channels} channels. A drawing is grey
    or has three colours; <a href="#look">look</a> at its test images instead.</p>`, root);
  return {};
}

const KEYS = 'Arrow keys move the brush, Space puts its ink down or lifts it, 0 to 9 load a test image, '
  + 'E erases, Z takes back, Delete clears.';
const EMPTY = 'Nothing is drawn yet. Bars and maps show what an empty sheet gives.';

class Draw {
  #changed = false; // since the drawing was last sent
  #asking = false;
  #since; // when the first of the changes was made that are not on the screen yet
  #toSay = false; // the answer to a stroke that has ended
  #from = null; // the test image, or the file, that is on the sheet

  constructor(root, app) {
    const { shape, classes } = app.subject;
    Object.assign(this, { root, app, shape, classes, error: '', looked: null, pointed: null });
    this.canPlace = shape[0] === 1 && shape[1] === shape[2];
    this.pad = new Pad(shape);
    this.brush = span('brush');
    this.frame = span('frame');
    this.frame.hidden = true;
    this.seen = new Maps({
      label: 'What the model sees',
      grey: true,
      onCell: (cell) => this.#readPixel(cell),
      onPick: () => app.say(this.reading),
    });
    this.layers = new Layers({
      shape,
      onCell: (layer, cell) => {
        this.pointed = cell && { layer: layer.name, cell };
        this.#read();
      },
      onPick: (layer, cell) => this.#pick(layer.name, cell),
    });
    this.#listen();
    this.#restore();
    this.#render();
    this.update(app.state);
    this.#ask();
  }

  /** The URL has changed: `image` is a test image, `layer`, `map`, `row` and `column` are a cell. */
  update({ image, layer, map, row, column }) {
    const cell = { map: Number(map), row: Number(row ?? 0), column: Number(column ?? 0) };
    this.looked = layer !== undefined && map !== undefined ? { layer, cell } : null;
    if (image !== undefined && Number(image) !== this.#from?.number) this.#example({ start: Number(image) });
    else if (this.result) this.#mark();
  }

  close() {
    this.closed = true;
    this.ends.forEach((end) => end());
  }

  /** Whether what is shown is the answer to what is on the sheet. */
  get settled() {
    return Boolean(this.result) && !this.#asking;
  }

  /** Whether the drawing is scaled and centred first. */
  get placed() {
    return this.canPlace && this.app.state.placed !== 'no';
  }

  #listen() {
    const { pad, app } = this;
    pad.addEventListener('change', ({ detail }) => {
      this.#since ??= detail.time;
      if (detail.drawn && this.#from) {
        this.#from = null;
        app.keep({ image: undefined });
      }
      this.#ask();
    });
    pad.addEventListener('end', () => {
      this.#toSay = true;
      this.#store();
      this.#render();
    });
    pad.canvas.addEventListener('keydown', (event) => this.#key(event));
    pad.canvas.addEventListener('blur', () => {
      pad.press(false);
      this.#render();
    });
    const paste = (event) => this.#file(event.clipboardData?.files[0]);
    addEventListener('paste', paste);
    const bar = new ResizeObserver(([{ target }]) => {
      this.root.style.setProperty('--bar', `${target.offsetHeight}px`); // what sticks, sticks below it
    });
    bar.observe(document.querySelector('.bar'));
    const end = app.on('train', () => {
      this.later ??= setTimeout(() => {
        this.later = null;
        if (!document.hidden) this.#ask();
      }, OFTEN);
    });
    this.ends = [end, () => clearTimeout(this.later), () => bar.disconnect(),
      () => removeEventListener('paste', paste)];
  }

  #key(event) {
    const { pad } = this;
    const undoes = event.key === 'z' && !event.altKey;
    if ((event.ctrlKey || event.metaKey || event.altKey) && !undoes) return;
    const step = STEPS[event.key];
    if (step) pad.move(...step.map((n) => n * (event.shiftKey ? 4 : 1)));
    else if (event.key === ' ') {
      pad.press(!pad.inkDown);
      this.app.say(pad.inkDown ? 'Ink down' : 'Ink up');
    } else if (/^\d$/.test(event.key) && Number(event.key) < this.classes.length) {
      this.#example({ label: Number(event.key) });
    } else if (undoes) pad.undo();
    else if (event.key === 'e') this.#erase();
    else if (event.key === 'Delete' || event.key === 'Backspace') this.#clear();
    else if (event.key === 'Escape') pad.press(false);
    else return;
    event.preventDefault();
    this.#render();
  }

  #erase() {
    this.pad.erases = !this.pad.erases;
    this.app.say(this.pad.erases ? 'The brush erases' : 'The brush draws');
    this.#render();
  }

  #clear() {
    this.pad.press(false);
    this.#from = null;
    this.#fail(null);
    this.app.keep({ image: undefined, placed: undefined });
    this.pad.clear();
  }

  /** Send the drawing; while one is under way, the newest is sent after it. */
  async #ask() {
    this.#changed = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#changed && !this.closed) {
        this.#changed = false;
        const since = this.#since;
        this.#since = undefined;
        const result = await this.app.call('draw.maps', { pixels: this.pad.pixels(), place: this.placed });
        if (this.closed) return;
        this.#show(result);
        this.root.dispatchEvent(new CustomEvent('painted', { detail: { since } }));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#asking = false;
    }
  }

  #show(result) {
    const first = !this.result;
    this.result = result;
    this.blank = result.image.data.every((value) => value === 0);
    this.seen.show(result.image);
    this.layers.show(result.layers);
    if (first) this.#mark();
    this.#answer();
    this.#read();
    if (this.#toSay && !this.#changed) {
      this.#toSay = false;
      const { label, share, doubt } = inWords(result, this.classes);
      this.app.say(this.blank ? 'Nothing is drawn' : `${label}, ${share}. ${doubt}`);
    }
  }

  /** Load a test image: number `start`, or the next that shows `label`. */
  async #example({ start = (this.#from?.number ?? -1) + 1, label }) {
    try {
      const found = await this.app.call('draw.example', label === undefined ? { start } : { start, label });
      this.#load(found.pixels, found);
      this.app.say(`Test image ${found.number}, which shows ${this.#name(found.label)}`);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Load a picture from a file. */
  async #file(file) {
    if (!file) return;
    const name = file.name || 'the picture';
    try {
      const content = new Uint8Array(await (await smaller(file)).arrayBuffer());
      const sent = { shape: [content.length], data: content };
      const { pixels } = await this.app.call('draw.read', { name, content: sent });
      this.#load(pixels, { name });
      this.app.say(`${name} is on the sheet`);
    } catch (error) {
      this.#fail(error);
    }
  }

  #load(pixels, from) {
    if (this.closed) return;
    this.#from = from;
    this.#fail(null);
    this.app.keep({ image: from.number, placed: this.canPlace ? 'no' : undefined }); // it is placed already
    this.pad.load(pixels);
  }

  #fail(error) {
    if (error instanceof Dropped || this.closed) return;
    this.error = error?.message ?? '';
    this.#render();
  }

  #name(label) {
    return this.classes[label] ?? String(label);
  }

  #pick(layer, cell) {
    this.looked = { layer, cell };
    this.app.keep({ layer, ...cell });
    this.#read();
    this.app.say(this.reading);
  }

  /** Put the cursor where the URL says. */
  #mark() {
    this.layers.pick(this.looked?.layer, this.looked?.cell);
    this.#read();
  }

  /** Say what the cell that is looked at holds and sees, with the numbers of now. */
  #read() {
    const looked = this.pointed ?? this.looked;
    const layer = looked && this.layers.layer(looked.layer);
    const maps = layer && this.layers.rows.get(layer.name);
    if (!maps?.has(looked.cell)) {
      showFrame(this.frame, null, this.shape);
      this.#tell('', HINT);
      return;
    }
    const found = seenBy(layer, looked.cell, this.shape);
    showFrame(this.frame, found, this.shape);
    this.#tell(number(maps.value(looked.cell), 4), `${layer.name}, ${placeOf(layer.shape, looked.cell)}. ${
      sightOf(found, this.shape)}`);
  }

  #readPixel(cell) {
    if (!cell) {
      this.#read();
      return;
    }
    const [channels, height, width] = this.shape;
    const values = Array.from({ length: channels }, (_, c) => (
      this.result.image.data[(c * height + cell.row) * width + cell.column]));
    this.#tell(values.join(', '), `Row ${cell.row}, column ${cell.column} of the image, from 0 to 255.`);
  }

  #tell(value, text) {
    this.reading = `${value} ${text}`;
    const [first, second] = this.root.querySelectorAll('.reading > *');
    first.textContent = value;
    second.textContent = text;
  }

  /** What the model says; many times a second, so nothing else is made anew. */
  #answer() {
    const { result, blank } = this;
    if (!result) return;
    const { label, share, doubt } = inWords(result, this.classes);
    const { trained } = this.app.subject;
    const { after, training } = result;
    render(html`
      <p class="label">${blank ? '?' : label}</p>
      <p class="share">${blank ? nothing : share}</p>
      <p class="doubt">${blank ? EMPTY : doubt}</p>
      ${trained ? nothing : html`<p class="about">The model is untrained: what it says is chance.
        <a href="#train">Train it</a></p>`}
      ${after === null ? nothing : html`<p class="about">${training ? 'In training: after' : 'After'} step
        ${whole(after)}.</p>`}`,
    this.root.querySelector('.answer'));
    showBars(this.root.querySelector('.shares'), result, this.classes);
    this.root.querySelector('.hint').hidden = !blank;
  }

  #render() {
    const { pad } = this;
    const { brush } = this;
    pad.canvas.setAttribute('aria-label', `Sheet to draw on, ${pad.rows} by ${pad.columns} pixels. ${KEYS}${
      pad.inkDown ? ' The ink is down.' : ''}`);
    brush.style.setProperty('--x', pad.at.column / pad.columns);
    brush.style.setProperty('--y', pad.at.row / pad.rows);
    brush.style.setProperty('--wide', pad.width / pad.columns);
    brush.classList.toggle('down', pad.inkDown);
    render(html`
      <div class="desk">
        <div class="making">
          <h1>Draw</h1>
          ${this.#board()}
          ${this.#tools()}
          ${this.#sources()}
          ${this.canPlace ? html`<label class="check"><input type="checkbox" .checked=${this.placed}
            @change=${(event) => this.#place(event.target.checked)}>
            ${this.#from && !this.placed ? 'Scale and centre it (already placed)'
    : 'Scale and centre it, as MNIST’s digits are'}</label>` : nothing}
          <p class="about from">${this.#origin()}</p>
          <p class="error" role="alert">${this.error}</p>
        </div>
        <section class="sight panel" aria-label="What the model sees">
          <div class="framed">${this.seen.element}${this.frame}</div>
          <div><h2>What the model sees</h2><p class="reading"><strong></strong> <span></span></p></div>
        </section>
      </div>
      <section class="says" aria-label="What the model says">
        <div class="answer"></div>
        <div class="shares"></div>
      </section>
      <section class="every">
        <h2 class="unseen">The maps of every layer</h2>
        <p class="legend about"><span class="scale" aria-hidden="true"></span>
          Blue is below 0, orange above, and each layer has a scale of its own.</p>
        ${this.layers.element}
      </section>`, this.root);
    this.#answer();
    this.#read();
  }

  #board() {
    const drop = (event) => {
      event.preventDefault();
      this.#file(event.dataTransfer.files[0]);
    };
    return html`<div class="board" @dragover=${(event) => event.preventDefault()} @drop=${drop}>
      ${this.pad.canvas}${this.brush}<p class="keys" aria-hidden="true">${KEYS}</p>
      <p class="hint" aria-hidden="true">${this.canPlace ? 'Draw a digit here'
    : 'Draw here, or drop a picture'}</p>
    </div>`;
  }

  #tools() {
    const { pad } = this;
    return html`<div class="row tools" role="group" aria-label="Tools">
      <button aria-pressed=${pad.erases} @click=${() => this.#erase()}>Erase</button>
      <button ?disabled=${!pad.canUndo} @click=${() => pad.undo()}>Undo</button>
      <button @click=${() => this.#clear()}>Clear</button>
      ${this.shape[0] === 3 ? html`<input type="color" aria-label="Colour" .value=${pad.colour}
        @input=${(event) => { pad.colour = event.target.value; }}>` : nothing}
      <label class="size">Brush <input type="range" min="1" max="6" step="0.5" .value=${String(pad.brush)}
        @input=${(event) => {
    pad.brush = Number(event.target.value);
    this.#render();
  }}></label></div>`;
  }

  #sources() {
    const choose = (event) => {
      this.#file(event.target.files[0]);
      event.target.value = ''; // the same file may be chosen again
    };
    const next = () => {
      const { value } = this.root.querySelector('.which');
      this.#example(value === '' ? {} : { label: Number(value) });
    };
    return html`<div class="row tools" role="group" aria-label="Pictures">
      <label class="file">Open a picture
        <input class="unseen" type="file" accept="image/*,.tif,.tiff" @change=${choose}></label>
      <select class="which" aria-label="Which test image" @change=${next}><option value="">Any image</option>
        ${this.classes.map((name, i) => html`<option value=${i}>One of ${name}</option>`)}</select>
      <button @click=${next} aria-label="Next test image">Next</button></div>`;
  }

  #place(placed) {
    this.app.keep({ placed: placed ? undefined : 'no' });
    this.#ask();
    this.#render();
  }

  #origin() {
    const from = this.#from;
    if (!from && (this.blank ?? true)) return 'Or drop a picture on the sheet, or paste one.';
    const which = from?.number === undefined ? 'drawn=1' : `image=${from.number}`;
    const step = (text) => html`<a href=${`#step?${which}`}>${text}</a>`;
    if (!from) return step('Step through it');
    if (from.name) return html`<strong>${from.name}</strong>, as <code>tinyconv predict</code> reads it.
      ${step('Step through it')}`;
    return html`<strong>Test image ${from.number}</strong>: ${this.#name(from.label)}.
      <a href=${`#look?image=${from.number}`}>Look at it</a>, or ${step('step through it')}`;
  }

  /** Keep the drawing for when the page is shown again, in this tab. */
  #store() {
    const { number: image, label, name } = this.#from ?? {};
    const from = this.#from && { number: image, label, name };
    const kept = { shape: String(this.shape), picture: this.pad.canvas.toDataURL(), from };
    sessionStorage.setItem('drawing', JSON.stringify(kept));
  }

  async #restore() {
    const kept = JSON.parse(sessionStorage.getItem('drawing') ?? 'null');
    if (kept?.shape !== String(this.shape) || this.app.state.image !== undefined) return;
    const picture = new Image();
    picture.src = kept.picture;
    await picture.decode();
    this.#from = kept.from;
    this.pad.context.drawImage(picture, 0, 0);
    this.#ask();
    this.#render();
  }
}

function span(name) {
  return Object.assign(document.createElement('span'), { className: name });
}

/** A file that fits into a message: one that is too large is scaled down by the browser. */
async function smaller(file) {
  if (file.size <= MOST) return file;
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} has more than ${MOST / 1000} kB, and this browser cannot make it smaller: `
      + 'save it as a PNG or JPEG file with at most 800 pixels a side.');
  });
  const scale = Math.min(1, 800 / Math.max(picture.width, picture.height));
  const canvas = new OffscreenCanvas(Math.max(1, picture.width * scale), Math.max(1, picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: 'image/webp', quality: 0.95 });
}
