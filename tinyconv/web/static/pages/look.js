import { inWords, percent, showBars } from '../answer.js';
import { Maps, paintImage, placeOf, seenBy, showFrame, sightOf, sizeOf, strongest } from '../layers.js';
import { number, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

/** Look at a layer: its filters, what it makes of a test image, and the images that its maps answer to most. */
export function mount(root, app) {
  return new Look(root, app);
}

class Look {
  constructor(root, app) {
    const { shape, classes } = app.subject;
    Object.assign(this, { root, app, shape, classes, error: '', found: null, reading: '', gradientReading: '' });
    this.frame = span('frame');
    this.image = new Maps({ label: 'The test image', grey: true, onCell: (cell) => this.#readPixel(cell), onPick: () => this.#said() });
    this.gradient = new Maps({ label: 'The gradient', onCell: (cell) => this.#readGradient(cell), onPick: () => this.#said() });
    this.maps = new Maps({
      label: 'Maps', onCell: (cell) => this.#read(cell), onPick: (cell) => this.#pick(cell),
    });
    this.filters = new Maps({ label: 'Filter', onCell: (cell) => this.#readWeight(cell), onPick: () => this.#said() });
    render(html`<h1>Look</h1><p class="waiting">Reading the test images …</p>`, root);
    this.#open();
  }

  /** The URL has changed: `layer`, `map`, `row`, `column`, `image`, `score`. */
  update() {
    if (this.net) this.#ask();
  }

  close() {
    this.closed = true;
    clearTimeout(this.later);
  }

  /** What the URL asks for, with what stands in for what it leaves out. */
  get wanted() {
    const { layer, map, row, column, image, score } = this.app.state;
    const layers = this.net.layers.filter((one) => one.shape.length === 3);
    return {
      layer: this.net.layers.find(({ name }) => name === layer) ?? layers[0] ?? this.net.layers[0],
      image: Number(image ?? 0),
      score: score === undefined ? undefined : Number(score),
      map: map === undefined ? undefined : Number(map),
      row: Number(row ?? NaN),
      column: Number(column ?? NaN),
    };
  }

  #go(changes) {
    this.app.keep(changes);
    this.#ask();
  }

  async #open() {
    try {
      this.net = await this.app.call('look.layers');
      render(nothing, this.root);
      await this.#ask();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    if (error instanceof Dropped || this.closed) return;
    this.error = error.message;
    if (this.net && this.found) this.#render();
    else render(html`<h1>Look</h1><p class="error" role="alert">${this.error}</p>`, this.root);
  }

  async #ask() {
    clearTimeout(this.later);
    const { image, score } = this.wanted;
    const known = this.found;
    try {
      if (!known || known.number !== image || known.asked !== score || known.training) {
        const args = score === undefined ? { number: image } : { number: image, score };
        const found = await this.app.call('look.image', args);
        if (this.closed) return;
        if (found.weights !== this.net.weights) this.net = await this.app.call('look.layers');
        this.found = { ...found, asked: score };
        this.error = '';
        if (found.training) this.later = setTimeout(() => this.#ask(), 500);
      }
      if (!this.closed) this.#show();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The layer that is shown, as the image has it. */
  get layer() {
    return this.found.layers.find(({ name }) => name === this.wanted.layer.name);
  }

  #show() {
    const { found, layer } = this;
    const { map, row, column } = this.wanted;
    const size = sizeOf(layer.shape);
    this.cell = strongest(layer.maps, map !== undefined && map < layer.maps.shape[0] ? map : null);
    const asked = { map: this.cell.map, row, column };
    this.maps.label = `${layer.name}: ${size}`;
    this.#render();
    this.image.show(found.image);
    this.gradient.show(found.gradient);
    this.gradient.label = `Gradient of the score of ${this.#name(found.score)}`;
    this.maps.show(layer.maps);
    if (this.maps.has(asked)) this.cell = asked;
    this.maps.pick(this.cell);
    this.#showFilter();
    this.#read(null);
    showBars(this.root.querySelector('.shares'), found, this.classes);
    this.#search();
  }

  #showFilter() {
    const { filters } = this.wanted.layer;
    const { map } = this.cell;
    if (!filters || map >= filters.shape[0]) return;
    const [, channels, rows, columns] = filters.shape;
    const size = channels * rows * columns;
    this.filters.label = `The filter of ${this.wanted.layer.name}, map ${map}`;
    const shape = rows * channels === 1 ? [columns] : [channels, rows, columns];
    this.filters.show({ shape, data: filters.data.subarray(map * size, (map + 1) * size) });
  }

  /** Ask for the strongest images of the map, again and again until all test images were looked at. */
  async #search() {
    const key = `${this.layer.name} ${this.cell.map}`;
    if (this.searching === key) return;
    this.searching = key;
    this.best = null;
    try {
      do {
        const best = await this.app.call('look.strongest', { layer: this.layer.name, map: this.cell.map });
        if (this.closed || this.searching !== key) return;
        this.best = best;
        this.#showStrongest();
      } while (this.best.done < this.best.count);
    } catch (error) {
      this.searching = null;
      this.#fail(error);
    }
  }

  #showStrongest() {
    const { best, shape } = this;
    const { data } = best.images;
    const size = data.length / best.images.shape[0];
    const stale = best.done === best.count && best.weights !== this.found.weights;
    render(html`
      <p class="about" role="status">${best.done < best.count ? `Looked at ${whole(best.done)} of ${whole(best.count)} test images …`
    : stale ? html`Found with weights of an earlier moment. <button class="small" @click=${() => {
      this.searching = null;
      this.#search();
    }}>Look again</button>` : `The strongest of ${whole(best.count)} test images, and what that cell sees.`}</p>
      <ol class="strongest">${Array.from(best.numbers.data, (image, i) => html`
        <li><button @click=${() => this.#go({
    image, map: best.map, row: best.places.data[2 * i], column: best.places.data[2 * i + 1], score: undefined,
  })} aria-label=${`Test image ${image}, which shows ${this.#name(best.labels.data[i])}: ${number(best.values.data[i])}`}>
          <span class="framed"><canvas></canvas><span class="frame"></span></span>
          <span>${number(best.values.data[i])}</span><span class="about">no. ${image}</span>
        </button></li>`)}</ol>`, this.root.querySelector('.best-of'));
    this.root.querySelectorAll('.strongest li').forEach((item, i) => {
      paintImage(item.querySelector('canvas'), { shape, data }, i * size);
      const [row, column] = best.places.data.subarray(2 * i, 2 * i + 2);
      showFrame(item.querySelector('.frame'), seenBy(best, { row, column }, shape), shape);
    });
  }

  #name(label) {
    return this.classes[label] ?? String(label);
  }

  #pick(cell) {
    const moved = cell.map !== this.cell.map;
    this.cell = cell;
    this.app.keep({ layer: this.layer.name, map: cell.map, row: cell.row, column: cell.column });
    this.#read(null);
    this.#said();
    if (moved) {
      this.#render();
      this.#showFilter();
      this.#search();
    }
  }

  #said() {
    this.app.say(this.reading);
  }

  #read(cell) {
    const { layer } = this;
    const looked = cell ?? this.cell;
    const found = seenBy(layer, looked, this.shape);
    showFrame(this.frame, found, this.shape);
    this.#tell(`${layer.name}, ${placeOf(layer.shape, looked)}: ${number(this.maps.value(looked), 4)}. ${
      sightOf(found, this.shape)}`);
  }

  #readPixel(cell) {
    if (!cell) return this.#read(null);
    return this.#tell(`Row ${cell.row}, column ${cell.column} of the image: ${this.image.value(cell)} of 255.`);
  }

  #readGradient(cell) {
    if (!cell) return this.#read(null);
    const value = this.gradient.value(cell);
    return this.#tell(`Row ${cell.row}, column ${cell.column}: gradient ${number(value)}. A lighter pixel here ${
      value > 0 ? 'raises' : value < 0 ? 'lowers' : 'does not change'} the score of ${this.#name(this.found.score)}.`);
  }

  #readWeight(cell) {
    if (!cell) return this.#read(null);
    const { name } = this.wanted.layer;
    const place = this.filters.shape.length === 3 ? `channel ${cell.map}, row ${cell.row}, column ${cell.column}`
      : `input ${cell.map}`;
    return this.#tell(`Weight of ${name}, map ${this.cell.map}, ${place}: ${number(this.filters.value(cell), 4)}.`);
  }

  #tell(text) {
    this.reading = text;
    this.root.querySelector('.reading').textContent = text;
  }

  #render() {
    const { found, layer, net } = this;
    const { label, share, doubt } = inWords(found, this.classes);
    const right = label === this.#name(found.label);
    const { layer: own } = this.wanted;
    const step = (by) => this.#go({ image: (found.number + by + net.count) % net.count, score: undefined });
    render(html`
      <div class="desk">
        <h1>Look</h1>
        <div class="pictures">
          <figure><figcaption>Test image ${found.number}: ${this.#name(found.label)}</figcaption>
            <div class="framed">${this.image.element}${this.frame}</div></figure>
          <figure><figcaption><label>Gradient of the score of
            <select @change=${(event) => this.#go({ score: event.target.value })}>${this.classes.map((name, i) => html`
              <option value=${i} .selected=${i === found.score}>${name}</option>`)}</select></label></figcaption>
            ${this.gradient.element}</figure>
        </div>
        <p class="reading"></p>
        <p>The model says <strong>${label}</strong> (${share})${right ? '' : `, and it is ${this.#name(found.label)}`}. ${doubt}</p>
        <div class="row tools" role="group" aria-label="Test image">
          <button @click=${() => step(-1)} aria-label="Previous test image">←</button>
          <label>No. <input class="number" type="number" min="0" max=${net.count - 1} .value=${String(found.number)}
            @change=${(event) => this.#go({ image: event.target.value, score: undefined })}></label>
          <button @click=${() => step(1)} aria-label="Next test image">→</button>
          <button @click=${() => step(1 + Math.floor(Math.random() * (net.count - 1)))}>Random</button>
        </div>
        <p class="error" role="alert">${this.error}</p>
        <div class="shares"></div>
      </div>
      <div class="results">
        <div class="row chips" role="group" aria-label="Layer">${net.layers.map(({ name }) => html`
          <button aria-pressed=${name === layer.name} @click=${() => this.#go({
    layer: name, map: undefined, row: undefined, column: undefined,
  })}>${name}</button>`)}</div>
        <section class="panel"><h2>${layer.name} makes ${sizeOf(layer.shape)} of this image</h2>${this.maps.element}</section>
        <section class="panel"><h2>The filter of map ${this.cell.map}</h2>
          ${own.filters ? this.filters.element : html`<p class="about">${layer.name} has no weights.</p>`}</section>
        <section class="panel"><h2>The strongest images of map ${this.cell.map}</h2><div class="best-of"></div></section>
      </div>`, this.root);
  }
}

function span(name) {
  return Object.assign(document.createElement('span'), { className: name, hidden: true });
}
