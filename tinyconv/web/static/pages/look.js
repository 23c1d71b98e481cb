import { inWords, showBars } from '../answer.js';
import {
  Maps, describe, paintImage, placeOf, seenBy, showFrame, sightOf, sizeOf, strongest,
} from '../layers.js';
import { number, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

const OFTEN = 500; // milliseconds between two looks at weights that are being trained
const MOST_FILTERS = 512; // pictures of weights that are shown together
const CHANNELS = ['red', 'green', 'blue'];
const NO_CELL = { map: undefined, row: undefined, column: undefined }; // in the URL: show the strongest one

/** Look at a layer: its filters, what it makes of a test image, and the images that its maps answer to. */
export function mount(root, app) {
  return new Look(root, app);
}

class Look {
  #asked = 0; // how often the page asked for an image; an answer to an earlier one is late
  #search = ''; // the map whose strongest images are looked for

  constructor(root, app) {
    const { shape, classes } = app.subject;
    Object.assign(this, { root, app, shape, classes, error: '' });
    this.net = null; // what `look.layers` said
    this.found = null; // what `look.image` said
    this.best = null; // what `look.strongest` said last
    this.group = null; // the class whose test images can be picked, where it is not that of the image
    const said = () => app.say(this.reading);
    const pixel = (cell) => this.#readPixel(cell);
    const weight = (cell) => this.#readWeight(cell, this.cell.map, cell?.map);
    const any = (cell) => cell && this.#readWeight(cell, ...this.#ofAll(cell));
    this.image = new Maps({ label: 'The test image', grey: true, onCell: pixel, onPick: said });
    const names = (i) => (shape[0] === 3 ? CHANNELS[i] : `${i}`);
    this.gradient = new Maps({ label: 'The gradient', names, onCell: pixel, onPick: said });
    this.maps = new Maps({
      label: 'Maps', onCell: (cell) => this.#read(cell), onPick: (cell) => this.#pick(cell),
    });
    this.filter = new Maps({ label: 'Filter', onCell: weight, onPick: said });
    this.filters = new Maps({
      label: 'All filters',
      onCell: (cell) => (cell ? any(cell) : this.#read()),
      onPick: (cell) => this.#go({ ...NO_CELL, map: this.#ofAll(cell)[0] }).then(() => any(cell)),
    });
    this.frames = [span('frame'), span('frame')];
    this.#note('Reading the test images …');
    this.#open();
    this.ends = [app.on('train', () => this.#trained())];
  }

  /** The URL has changed: `layer`, `map`, `row`, `column`, `image`, `score`. */
  update() {
    if (this.net) this.#ask();
  }

  close() {
    this.closed = true;
    clearTimeout(this.later);
    this.ends.forEach((end) => end());
  }

  /** What the URL asks for, with what stands in for all that it leaves out. */
  get wanted() {
    const { layer, map, row, column, image, score } = this.app.state;
    const { layers, examples } = this.net;
    const first = layers.find((one) => one.shape.length === 3) ?? layers[0];
    return {
      layer: layers.find(({ name }) => name === layer) ?? first,
      image: Number(image ?? (this.app.subject.recorded ? examples.numbers.data[0] : 0)),
      score: score === undefined ? undefined : Number(score),
      map: map === undefined ? null : Number(map),
      cell: { map: Number(map), row: Number(row ?? 0), column: Number(column ?? 0) },
      cellGiven: row !== undefined,
    };
  }

  /** Change the URL, and show what it asks for. */
  #go(changes) {
    this.app.keep(changes);
    return this.#ask();
  }

  async #open() {
    try {
      this.net = await this.app.call('look.layers');
      await this.#ask();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The weights have changed: look again, but not at once. */
  #trained() {
    this.later ??= setTimeout(() => {
      this.later = null;
      this.stale = true;
      if (this.net && !document.hidden) this.#ask();
    }, OFTEN);
  }

  #note(text) {
    render(html`<div class="desk"><h1>Look</h1><p class="about" role="status">${text}</p></div>`, this.root);
  }

  #fail(error) {
    if (error instanceof Dropped || this.closed) return;
    this.error = error.message;
    if (this.found) {
      this.#render();
      return;
    }
    render(html`<div class="desk"><h1>Look</h1><p class="error" role="alert">${this.error}</p>
      ${this.net ? html`<p><a href="#look">Look at another image</a></p>` : nothing}</div>`, this.root);
  }

  async #ask() {
    const { image, score } = this.wanted;
    this.#asked += 1;
    const turn = this.#asked;
    try {
      if (this.stale || this.found?.number !== image || this.askedScore !== score) {
        const args = score === undefined ? { number: image } : { number: image, score };
        const found = await this.app.call('look.image', args);
        const changed = found.weights !== this.net.weights;
        const net = changed ? await this.app.call('look.layers') : this.net;
        if (this.closed || turn !== this.#asked) return;
        Object.assign(this, { found, net, askedScore: score, error: '', stale: false });
      }
      this.#show();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The layer that is shown, with its maps of the image. */
  get layer() {
    return this.found.layers.find(({ name }) => name === this.wanted.layer.name);
  }

  #show() {
    const { found, layer, wanted } = this;
    const known = wanted.map !== null && wanted.map < layer.maps.shape[0];
    this.image.show(found.image);
    this.gradient.label = `The gradient of the score of ${this.#name(found.score)}`;
    this.gradient.show(found.gradient);
    this.maps.label = `${layer.name}: ${sizeOf(layer.shape)}`;
    this.maps.show(layer.maps);
    this.cell = strongest(layer.maps, known ? wanted.map : null);
    if (wanted.cellGiven && this.maps.has(wanted.cell)) this.cell = wanted.cell;
    this.maps.pick(this.cell);
    this.#showFilters();
    this.#render();
    this.#find();
  }

  #showFilters() {
    const { filters, name } = this.wanted.layer;
    const { map } = this.cell;
    if (!filters) return;
    const [count, channels, rows, columns] = filters.shape;
    const size = channels * rows * columns;
    if (map < count) {
      this.filter.label = `The filter of map ${map} of ${name}`;
      const shape = channels * rows === 1 ? [columns] : [channels, rows, columns];
      this.filter.show({ shape, data: filters.data.subarray(map * size, (map + 1) * size) });
    }
    const shown = Math.min(count, Math.max(1, Math.floor(MOST_FILTERS / channels)));
    this.filters.label = `All filters of ${name}`;
    this.filters.names = (i) => (channels === 1 ? `${i}`
      : `map ${Math.floor(i / channels)}, channel ${i % channels}`);
    this.filters.element.classList.toggle('matrix', channels > 1);
    this.filters.element.style.gridTemplateColumns = `repeat(${channels}, max-content)`;
    const data = filters.data.subarray(0, shown * size);
    this.filters.show({ shape: [shown * channels, rows, columns], data });
    this.filters.choose(channels === 1 ? map : null);
  }

  /** The map and the channel of a picture among all filters. */
  #ofAll({ map }) {
    const [, channels] = this.wanted.layer.filters.shape;
    return [Math.floor(map / channels), map % channels];
  }

  /** Ask for the strongest images of the map, again and again until all test images were looked at. */
  async #find(anew = false) {
    const search = `${this.layer.name} ${this.cell.map}`;
    if (this.#search === search && !anew) {
      this.#showStrongest();
      return;
    }
    this.#search = search;
    this.best = null;
    this.#showStrongest();
    try {
      do {
        const best = await this.app.call('look.strongest', { layer: this.layer.name, map: this.cell.map });
        if (this.closed || this.#search !== search) return;
        this.best = best;
        this.#showStrongest();
      } while (this.best.done < this.best.count);
      this.app.say('The strongest images are found');
    } catch (error) {
      if (error instanceof Dropped || this.closed || this.#search !== search) return;
      this.#search = '';
      render(html`<p class="about">${error.message}</p>`, this.root.querySelector('.best-of'));
    }
  }

  #showStrongest() {
    const root = this.root.querySelector('.best-of');
    if (!root) return;
    const { best, shape } = this;
    if (!best) {
      render(html`<p class="about">Looking at the test images …</p>`, root);
      return;
    }
    const { data } = best.images;
    const size = data.length / best.images.shape[0];
    const items = Array.from(best.numbers.data, (image, i) => {
      const [row, column] = best.places.data.subarray(2 * i, 2 * i + 2);
      const [value, label] = [best.values.data[i], best.labels.data[i]];
      return { image, row, column, value: number(value), name: this.#name(label) };
    });
    render(html`<p class="about">${this.#progress()}</p>
      <ol class="strongest">${items.map(({ image, row, column, value, name }) => html`<li>
        <button aria-label=${`Test image ${image}, which shows ${name}: ${value}`}
          @click=${() => this.#go({ image, map: best.map, row, column, score: undefined })}>
          <span class="framed"><canvas></canvas><span class="frame"></span></span>
          <strong>${value}</strong><span class="about">${name}, no. ${image}</span></button></li>`)}</ol>`,
    root);
    root.querySelectorAll('li').forEach((item, i) => {
      paintImage(item.querySelector('canvas'), { shape, data }, i * size);
      showFrame(item.querySelector('.frame'), seenBy(best, items[i], shape), shape);
    });
  }

  #progress() {
    const { done, count, weights, values: { data: [top] } } = this.best;
    if (done < count) return `Looked at ${whole(done)} of ${whole(count)} test images …`;
    if (weights === this.found.weights) {
      const most = top > 0 ? '' : ` It is never above ${number(top)}.`;
      return `The largest values among ${whole(count)} images, and what that cell sees.${most}`;
    }
    return html`These were found with weights of an earlier moment.
      <button class="small" @click=${() => this.#find(true)}>Look again</button>`;
  }

  #name(label) {
    return this.classes[label] ?? String(label);
  }

  #pick(cell) {
    this.cell = cell;
    this.app.keep({ layer: this.layer.name, ...cell });
    this.#showFilters();
    this.#render();
    this.app.say(this.reading);
    this.#find();
  }

  /** Say what a cell of the maps holds and sees: the one that is pointed at, or else the picked one. */
  #read(pointed = null) {
    const { layer } = this;
    const cell = pointed ?? this.cell;
    const found = seenBy(layer, cell, this.shape);
    this.#frame(found);
    this.#tell(number(this.maps.value(cell), 4), `${layer.name}, ${placeOf(layer.shape, cell)}. ${
      sightOf(found, this.shape)}`);
  }

  #readPixel(cell) {
    if (!cell) {
      this.#read();
      return;
    }
    const { row, column } = cell;
    const { found, shape: [channels, height, width] } = this;
    const at = (data, c) => data[(c * height + row) * width + column];
    const values = Array.from({ length: channels }, (_, c) => at(found.image.data, c));
    const slope = at(found.gradient.data, channels === 3 ? cell.map : 0);
    this.#frame({ rows: [row, row + 1], columns: [column, column + 1] });
    const effect = slope > 0 ? 'raises' : slope < 0 ? 'lowers' : 'does not change';
    const said = `A lighter pixel here ${effect} the score of ${this.#name(found.score)}.`;
    const value = `${values.join(', ')}; gradient ${signed(slope)}`;
    this.#tell(value, `Row ${row}, column ${column} of the image. ${said}`);
  }

  #readWeight(cell, map, channel) {
    if (!cell) {
      this.#read();
      return;
    }
    const { name, filters: { shape: [, channels, rows, columns], data } } = this.wanted.layer;
    const flat = channels * rows === 1;
    const [c, place] = flat ? [0, cell.map] : [channel, cell.row * columns + cell.column];
    const where = flat ? `number ${place}`
      : `channel ${c}, row ${cell.row}, column ${cell.column} of its window`;
    const value = data[(map * channels + c) * rows * columns + place];
    this.#tell(number(value, 4), `A weight of ${name}: of map ${map}, for ${where}.`);
  }

  #frame(found) {
    this.frames.forEach((frame) => showFrame(frame, found, this.shape));
  }

  #tell(value, text) {
    this.reading = `${value} ${text}`;
    const [first, second] = this.root.querySelectorAll('.reading > *');
    first.textContent = value;
    second.textContent = text;
  }

  #render() {
    const { layer, net } = this;
    const flat = layer.shape.length !== 3;
    render(html`
      <div class="desk">
        <h1>Look</h1>
        ${this.#pictures()}
        <p class="reading"><strong></strong> <span></span></p>
        ${this.#verdict()}
        ${this.#chooser()}
        <p class="error" role="alert">${this.error}</p>
        <div class="shares"></div>
      </div>
      <div class="results">
        <div class="chips" role="group" aria-label="Layer">${net.layers.map(({ name, shape }) => html`
          <button aria-pressed=${name === layer.name} @click=${() => this.#go({ ...NO_CELL, layer: name })}>
            ${name}<span>${shape.join('×')}</span></button>`)}</div>
        <section class="panel">
          <div class="row head">
            <div><h2>${layer.name}</h2><p class="about">${describe(layer, this.shape)}</p></div>
            <label>${flat ? 'Number' : 'Map'} ${numberField(this.cell.map, layer.maps.shape[0], (map) => (
    this.#go({ ...NO_CELL, map })))}</label>
            <button @click=${() => this.#go(NO_CELL)}>Strongest cell</button>
          </div>
          ${this.maps.element}
          <p class="legend about"><span class="scale" aria-hidden="true"></span>
            Blue is below 0, orange above.</p>
        </section>
        ${this.#weights(flat)}
        <section class="panel"><h2>The strongest images of ${flat ? 'number' : 'map'} ${this.cell.map}</h2>
          <div class="best-of"></div></section>
      </div>`, this.root);
    showBars(this.root.querySelector('.shares'), this.found, this.classes);
    this.#paintThumbs();
    this.#read();
  }

  #pictures() {
    const { found } = this;
    return html`<div class="pictures ${this.shape[0] === 3 ? 'coloured' : ''}">
      <figure><figcaption>Test image ${found.number}: <strong>${this.#name(found.label)}</strong></figcaption>
        <div class="framed">${this.image.element}${this.frames[0]}</div></figure>
      <figure><figcaption><label>Gradient of score
          ${this.#classField('', found.score, (score) => this.#go({ score }))}</label></figcaption>
        <div class="framed">${this.gradient.element}${this.shape[0] === 3 ? nothing : this.frames[1]}</div>
      </figure></div>
      <p class="about depends">${this.#depends()}</p>`;
  }

  /** The pixels on which the score depends most. */
  #depends() {
    const { found, shape: [, height, width] } = this;
    const { data } = found.gradient;
    const order = [...data.keys()].sort((a, b) => Math.abs(data[b]) - Math.abs(data[a])).slice(0, 3);
    const words = order.map((i) => {
      const place = i % (height * width);
      return `row ${Math.floor(place / width)}, column ${place % width} (${signed(data[i])})`;
    });
    return `The score of ${this.#name(found.score)} depends most on ${words.join('; ')}.`;
  }

  #verdict() {
    const { found } = this;
    const { label, share, doubt } = inWords(found, this.classes);
    const right = label === this.#name(found.label);
    const when = found.after === null ? '' : ` After step ${whole(found.after)} of the training.`;
    const { draw, step } = this.app.pages; // not all are in a recording
    return html`<p>The model says <strong>${label}</strong> (${share})${right ? '.'
      : html`, which is <strong>wrong</strong>.`} <span class="about">${doubt}${when}</span>
      ${draw ? html`<a href=${`#draw?image=${found.number}`}>Draw on it</a>, or` : nothing}
      ${step ? html`<a href=${`#step?image=${found.number}`}>${draw ? 's' : 'S'}tep through it</a>.`
    : nothing}</p>`;
  }

  #chooser() {
    const { found, net } = this;
    const { numbers, labels } = net.examples;
    const group = this.group ?? found.label;
    const recorded = this.app.subject.recorded ? [...numbers.data] : null; // the others are not there
    const step = (by) => {
      const place = recorded ? recorded.indexOf(found.number) : found.number;
      const count = recorded ? recorded.length : net.count;
      const next = (place + by + count) % count;
      this.#go({ image: recorded ? recorded[next] : next, score: undefined });
    };
    return html`<div class="row tools" role="group" aria-label="Test image">
        <button @click=${() => step(-1)} aria-label="Previous test image">←</button>
        <label>No. ${numberField(found.number, net.count, (image) => (
    this.#go({ image, score: undefined })))}</label>
        <button @click=${() => step(1)} aria-label="Next test image">→</button>
        ${recorded ? nothing : html`
          <button @click=${() => step(1 + Math.floor(Math.random() * (net.count - 1)))}>Random</button>`}
        <label>Class ${this.#classField('class-of', group, (label) => {
    this.group = label;
    this.#render();
  })}</label>
      </div>
      <ol class="thumbs">${[...labels.data.keys()].filter((i) => labels.data[i] === group).map((i) => html`
        <li>
        <button data-example=${i} aria-pressed=${numbers.data[i] === found.number}
          aria-label=${`Test image ${numbers.data[i]}`}
          @click=${() => this.#go({ image: numbers.data[i], score: undefined })}><canvas></canvas></button>
        </li>`)}</ol>`;
  }

  #classField(name, chosen, change) {
    return html`<select class=${name} @change=${(event) => change(Number(event.target.value))}>
      ${this.classes.map((title, i) => html`<option value=${i} .selected=${i === chosen}>${title}</option>`)}
    </select>`;
  }

  #paintThumbs() {
    const { images } = this.net.examples;
    const size = images.data.length / images.shape[0];
    for (const button of this.root.querySelectorAll('.thumbs button')) {
      const picture = { shape: images.shape.slice(1), data: images.data };
      paintImage(button.querySelector('canvas'), picture, Number(button.dataset.example) * size);
    }
  }

  #weights(flat) {
    const { filters, bias, name } = this.wanted.layer;
    const { map } = this.cell;
    if (!filters) {
      return html`<section class="panel"><h2>Weights</h2>
        <p class="about">${name} has none: it learns nothing.</p></section>`;
    }
    const [count, channels, rows, columns] = filters.shape;
    const one = channels === 1 && rows > 1;
    const many = channels > 1;
    const size = many ? `${channels} pictures of ${rows}×${columns} weights, one for each map that it reads`
      : one ? `${rows}×${columns} weights for each ${flat ? 'number' : 'map'}`
        : `${columns} weights, one for each number that it reads`;
    return html`<section class="panel weights"><h2>${one ? `The filters of ${name}`
      : `The ${many && !flat ? 'filter' : 'weights'} of ${flat ? 'number' : 'map'} ${map}`}</h2>
      <p class="about">${size}${bias && map < count ? `; the bias of ${map} is ${number(bias.data[map])}`
    : ''}.</p>
      ${map >= count ? html`<p class="about">The first ${whole(count)} filters are here; this one is not.</p>`
    : one ? this.filters.element : this.filter.element}
      ${many ? html`<details>
        <summary>All of them: a row for each ${flat ? 'number' : 'map'} of ${name}</summary>
        ${this.filters.element}</details>` : nothing}</section>`;
  }
}

function numberField(value, count, change) {
  return html`<input class="number" type="number" min="0" max=${count - 1} .value=${String(value)}
    @change=${(event) => change(event.target.value)}>`;
}

const signed = (value) => `${value > 0 ? '+' : ''}${number(value)}`;

function span(name) {
  return Object.assign(document.createElement('span'), { className: name, hidden: true });
}
