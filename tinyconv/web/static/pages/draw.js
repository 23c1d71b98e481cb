import { inWords, showBars } from '../answer.js';
import { Layers, Maps, placeOf, seenBy, showFrame, sightOf } from '../layers.js';
import { number } from '../maps.js';
import { Pad } from '../pad.js';
import { Dropped } from '../socket.js';
import { html, render } from '../vendor/lit-html.js';

const MOST = 900_000; // bytes of a file that is sent as it is
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Draw, and see at once what the model makes of it: its answer, and every map of every layer. */
export function mount(root, app) {
  const { shape, classes } = app.subject;
  return new Draw(root, app, shape, classes);
}

class Draw {
  constructor(root, app, shape, classes) {
    Object.assign(this, { root, app, shape, classes, error: '', from: null });
    this.canPlace = shape[0] === 1 && shape[1] === shape[2];
    this.place = this.canPlace;
    this.pad = new Pad(shape);
    this.seen = new Maps({
      label: 'What the model sees', grey: true,
      onCell: (cell) => this.#readPixel(cell), onPick: (cell) => this.#readPixel(cell, true),
    });
    this.layers = new Layers({
      onCell: (layer, cell) => this.#read(layer, cell),
      onPick: (layer, cell) => this.#pick(layer, cell),
    });
    this.frame = Object.assign(document.createElement('span'), { className: 'frame', hidden: true });
    this.brush = Object.assign(document.createElement('span'), { className: 'brush' });
    this.#listen();
    this.#render();
    this.#ask();
    this.update(app.state);
  }

  /** The URL has changed: `image` is a test image to load, `layer`, `map`, `row` and `column` the cell looked at. */
  update({ image }) {
    if (image !== undefined && Number(image) !== this.from?.number) this.#example({ start: Number(image) });
  }

  close() {
    this.closed = true;
    removeEventListener('paste', this.onPaste);
  }

  #listen() {
    const { pad } = this;
    pad.addEventListener('change', ({ detail }) => {
      this.since ??= detail.time;
      if (!this.loading) this.from = null;
      this.#ask();
    });
    pad.addEventListener('end', () => {
      this.ended = true;
      this.#render();
    });
    pad.canvas.addEventListener('keydown', (event) => this.#key(event));
    pad.canvas.addEventListener('blur', () => pad.press(false));
    this.onPaste = (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file) this.#file(file);
    };
    addEventListener('paste', this.onPaste);
  }

  #key(event) {
    const { pad } = this;
    if (event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== 'z')) return;
    const step = STEPS[event.key];
    if (step) pad.move(...step.map((n) => n * (event.shiftKey ? 3 : 1)));
    else if (event.key === ' ') {
      pad.press(!pad.inkDown);
      this.app.say(pad.inkDown ? 'Ink down' : 'Ink up');
    } else if (/^\d$/.test(event.key) && Number(event.key) < this.classes.length) this.#example({ label: Number(event.key) });
    else if (event.key === 'z') pad.undo();
    else if (event.key === 'e') pad.erases = !pad.erases;
    else if (event.key === 'Delete' || event.key === 'Backspace') this.#clear();
    else if (event.key === 'Escape') pad.press(false);
    else return;
    event.preventDefault();
    this.#render();
  }

  #clear() {
    this.pad.press(false);
    this.place = this.canPlace;
    this.pad.clear();
    this.app.keep({ image: undefined });
    this.#render();
  }

  /** Send the drawing, or as soon as the one that was sent is answered. */
  async #ask() {
    this.changed = true;
    if (this.asking) return;
    this.asking = true;
    while (this.changed && !this.closed) {
      this.changed = false;
      const { since } = this;
      this.since = undefined;
      try {
        this.#show(await this.app.call('draw.maps', { pixels: this.pad.pixels(), place: this.place }));
        this.root.dispatchEvent(new CustomEvent('painted', { detail: { since } }));
      } catch (error) {
        if (error instanceof Dropped) break;
        this.#fail(error);
      }
    }
    this.asking = false;
  }

  #show(result) {
    this.result = result;
    this.seen.show(result.image);
    this.layers.show(result.layers);
    showBars(this.root.querySelector('.shares'), result, this.classes);
    this.#readAgain();
    this.#head();
    if (this.ended && !this.changed) {
      this.ended = false;
      const { label, share, doubt } = inWords(result, this.classes);
      this.app.say(this.#isBlank() ? 'Nothing is drawn' : `${label}, ${share}. ${doubt}`);
    }
  }

  #isBlank() {
    return this.result.image.data.every((value) => value === 0);
  }

  /** Load a test image: number `start`, or the next that shows `label`. */
  async #example({ start = (this.from?.number ?? -1) + 1, label }) {
    try {
      const found = await this.app.call('draw.example', label === undefined ? { start } : { start, label });
      this.#load(found.pixels, found);
      this.app.keep({ image: found.number });
      this.app.say(`Test image ${found.number}, which shows ${this.classes[found.label]}`);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #file(file) {
    this.#fail(null);
    try {
      const content = new Uint8Array(await (await smaller(file)).arrayBuffer());
      const { pixels } = await this.app.call('draw.read', {
        name: file.name || 'the picture', content: { shape: [content.length], data: content },
      });
      this.#load(pixels, { name: file.name || 'the picture' });
      this.app.keep({ image: undefined });
    } catch (error) {
      this.#fail(error);
    }
  }

  #load(pixels, from) {
    this.#fail(null);
    this.place = false; // it is placed already
    this.loading = true;
    this.pad.load(pixels);
    this.loading = false;
    this.from = from;
    this.#render();
  }

  #fail(error) {
    if (error instanceof Dropped) return;
    this.error = error?.message ?? '';
    this.#render();
  }

  #pick(layer, cell) {
    this.at = { layer: layer.name, cell };
    this.#read(layer, cell);
    this.app.say(this.reading);
  }

  #read(layer, cell) {
    this.looked = cell ? { layer: layer.name, cell } : null;
    this.#readAgain();
  }

  /** Say what the cell that is looked at holds and sees, with the numbers of now. */
  #readAgain() {
    const looked = this.looked ?? this.at;
    const layer = looked && this.layers.layer(looked.layer);
    const found = layer && seenBy(layer, looked.cell, this.shape);
    this.reading = layer ? `${layer.name}, ${placeOf(layer.shape, looked.cell)}: ${
      number(this.layers.rows.get(layer.name).value(looked.cell), 4)}. ${sightOf(found, this.shape)}` : '';
    showFrame(this.frame, found, this.shape);
    this.root.querySelector('.reading').textContent = this.reading
      || 'Point at a cell of a map, or move to it with the arrow keys: its value stands here, and a frame on the '
      + 'picture shows the pixels that it sees.';
  }

  #readPixel(cell, say = false) {
    if (!cell) return this.#readAgain();
    const [, height, width] = this.shape;
    const values = Array.from({ length: this.shape[0] }, (_, c) => this.result.image.data[
      (c * height + cell.row) * width + cell.column]);
    this.reading = `Row ${cell.row}, column ${cell.column} of the image: ${values.join(', ')} of 255.`;
    this.root.querySelector('.reading').textContent = this.reading;
    if (say) this.app.say(this.reading);
    return undefined;
  }

  #head() {
    const { result } = this;
    if (!result) return;
    const { label, share, doubt } = inWords(result, this.classes);
    const blank = this.#isBlank();
    render(html`
      <p class="says"><span class="label">${blank ? '–' : label}</span> <span class="share">${blank ? '' : share}</span></p>
      <p class="doubt">${blank ? 'Nothing is drawn yet. The bars show what the model makes of an empty sheet.' : doubt}</p>`,
    this.root.querySelector('.answer'));
  }

  #render() {
    const { pad, app } = this;
    const colour = this.shape[0] === 3;
    pad.canvas.setAttribute('aria-label', `Sheet to draw on, ${pad.rows} by ${pad.columns} pixels. Arrow keys move the `
      + `brush, Space puts ink down or lifts it, 0 to 9 load a test image. ${pad.inkDown ? 'Ink is down.' : ''}`);
    this.brush.style.setProperty('--x', pad.at.column / pad.columns);
    this.brush.style.setProperty('--y', pad.at.row / pad.rows);
    this.brush.style.setProperty('--wide', (pad.brush * (pad.erases ? 2 : 1)) / pad.columns);
    this.brush.classList.toggle('down', pad.inkDown);
    render(html`
      <div class="desk">
        <h1>Draw</h1>
        <p class="intro">${this.canPlace ? 'Draw a digit with mouse, finger or pen.'
    : 'Draw, or take a picture from a file.'} Every map of the model follows.</p>
        <div class="board" @dragover=${(event) => event.preventDefault()} @drop=${(event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) this.#file(file);
}}>${pad.canvas}${this.brush}</div>
        <div class="row tools" role="group" aria-label="Tools">
          <label class="size">Brush <input type="range" min="1" max="6" step="0.5" .value=${String(pad.brush)}
            @input=${(event) => { pad.brush = Number(event.target.value); this.#render(); }}></label>
          ${colour ? html`<label>Colour <input type="color" .value=${pad.colour}
            @input=${(event) => { pad.colour = event.target.value; }}></label>` : ''}
          <button aria-pressed=${pad.erases} @click=${() => { pad.erases = !pad.erases; this.#render(); }}>Erase</button>
          <button ?disabled=${!pad.canUndo} @click=${() => pad.undo()}>Undo</button>
          <button @click=${() => this.#clear()}>Clear</button>
        </div>
        <div class="row tools">
          <label class="file">Open a picture<input class="unseen" type="file" accept="image/*,.tif,.tiff"
            @change=${(event) => {
    const [file] = event.target.files;
    if (file) this.#file(file);
    event.target.value = '';
  }}></label>
          <button @click=${() => this.#example({})}>Next test image</button>
        </div>
        <p class="error" role="alert">${this.error}</p>
        <p class="about">${this.#origin()}</p>
        ${this.canPlace ? html`<label class="check"><input type="checkbox" .checked=${this.place}
          @change=${(event) => { this.place = event.target.checked; this.#ask(); this.#render(); }}>
          Scale and centre it, as the digits of MNIST were</label>` : ''}
      </div>
      <div class="sight panel">
        <h2>What the model sees</h2>
        <div class="framed">${this.seen.element}${this.frame}</div>
        <p class="reading"></p>
      </div>
      <div class="results">
        <div class="answer"></div>
        <div class="shares"></div>
        ${this.layers.element}
      </div>`, this.root);
    this.#head();
    this.#readAgain();
  }

  #origin() {
    if (!this.from) return '';
    if (this.from.name) return `${this.from.name}, as \`tinyconv predict\` reads it.`;
    return `Test image ${this.from.number}: ${this.classes[this.from.label]}.`;
  }
}

/** A file that fits into a message: one that is too large is scaled down by the browser. */
async function smaller(file) {
  if (file.size <= MOST) return file;
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} has more than ${MOST / 1000} kB, and this browser cannot make it smaller: save it as a `
      + 'PNG or JPEG with at most 800 pixels a side.');
  });
  const scale = Math.min(1, 800 / Math.max(picture.width, picture.height));
  const canvas = new OffscreenCanvas(Math.max(1, picture.width * scale), Math.max(1, picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: 'image/webp', quality: 0.95 });
}
