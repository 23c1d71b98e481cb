import { probability } from '../answer.js';
import { paintImage } from '../layers.js';
import { percent, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

const PAIRS = 8;
const PAGEFUL = 36; // images that come at once

/** The mistakes page. */
export function mount(root, app) {
  return new Page(root, app);
}

class Page {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.result = null;
    this.stale = false;
    this.progress = null; // {done, total} while it is measured
    this.images = null; // those of the chosen cell
    this.trouble = '';
    this.open = true;
    this.off = app.on('train', (news) => this.#hear(news));
    this.#load();
  }

  update() {
    this.#show();
  }

  close() {
    this.open = false;
    this.off();
  }

  // What the studio knows.

  async #load() {
    const { measured, stale, under_way: underWay, training } = await this.app.call('mistakes.state');
    if (!this.open) return;
    this.#take(measured, stale);
    if (underWay) this.#measure(underWay);
    else if (!measured || (stale && !training)) this.#measure();
    this.#draw();
    if (measured) this.#show();
  }

  #take(result, stale) {
    this.result = result;
    this.stale = stale;
    if (result) this.#makeGrid();
  }

  #hear({ done, status }) {
    if (!this.result) return;
    const stale = done !== this.result.step;
    if (stale !== this.stale) {
      this.stale = stale;
      this.#draw();
    }
    if (status === 'finished') this.app.say('The training is done: measure again.');
  }

  /** Measure the weights as they are now, a piece at a time, so that others are answered in between. */
  async #measure(progress) {
    if (this.progress) return;
    this.trouble = '';
    try {
      this.progress = progress ?? await this.app.call('mistakes.begin');
      while (this.open && this.progress && this.progress.done < this.progress.total) {
        this.#draw();
        this.progress = await this.app.call('mistakes.go_on');
      }
    } catch (error) {
      if (error instanceof Dropped) return;
      this.trouble = [error.message, ...(error.notes ?? [])].join('\n');
    } finally {
      this.progress = null;
    }
    if (!this.open) return;
    if (this.trouble) {
      this.#draw();
      return;
    }
    const { measured, stale } = await this.app.call('mistakes.state');
    this.#take(measured, stale);
    this.#draw();
    if (!measured) return; // another model was opened meanwhile
    this.#show();
    const { right, total } = measured;
    this.app.say(`${percent(right / total)} of ${whole(total)} test images are right.`);
  }

  // The chosen cell.

  get chosen() {
    const { truth, prediction } = this.app.state;
    const n = this.result.classes.length;
    const at = (text) => (/^\d+$/.test(text ?? '') && Number(text) < n ? Number(text) : null);
    return { truth: at(truth), prediction: at(prediction), sure: this.app.state.order !== 'unsure' };
  }

  async #show(more = false) {
    if (!this.result) return;
    this.#mark();
    const start = more ? this.images.cards.length : 0;
    const found = await this.app.call('mistakes.cell', { ...this.chosen, start, count: PAGEFUL });
    const before = more ? this.images.cards : [];
    const [, ...shape] = found.images.shape;
    const size = shape.reduce((product, n) => product * n, 1);
    const cards = Array.from(found.numbers.data, (number, i) => ({
      number, label: found.labels.data[i], prediction: found.predictions.data[i], given: found.given.data[i],
      pixels: { shape, data: found.images.data.subarray(i * size, (i + 1) * size) },
    }));
    this.images = { total: found.total, cards: [...before, ...cards] };
    this.#draw();
    this.#paint();
  }

  #choose(truth, prediction) {
    this.app.keep({ truth, prediction });
    this.#show();
    const { classes, matrix } = this.result;
    const count = matrix.data[truth * classes.length + prediction];
    this.app.say(`${counted(count)}: ${classes[truth]} read as ${classes[prediction]}`);
  }

  #paint() {
    this.root.querySelectorAll('canvas.thumb').forEach((canvas, i) => {
      paintImage(canvas, this.images.cards[i].pixels);
    });
  }

  // What is seen.

  #draw() {
    const { subject } = this.app;
    const { result } = this;
    render(html`
      <h1>Mistakes</h1>
      <p class="intro">Which test images <strong>${subject.title}</strong> gets wrong, and what it takes them
        for.</p>
      ${subject.trained ? nothing : html`<p class="panel plain">This model has not been trained: its answers
        are chance. <a href="#train">Train it</a>, and measure again.</p>`}
      ${this.trouble ? html`<p class="error trouble" role="alert">${this.trouble}</p>` : nothing}
      ${this.progress ? html`<p class="panel plain measuring"><label for="measuring">Reading the test images:
        ${whole(this.progress.done)} of ${whole(this.progress.total)}</label>
        <progress id="measuring" max=${this.progress.total} .value=${this.progress.done}></progress></p>`
    : nothing}
      ${result ? html`
        <div class="row summary">
          <p><strong class="big">${percent(result.right / result.total)}</strong> right:
            ${whole(result.total - result.right)} of ${whole(result.total)} test images are wrong.</p>
          <button ?disabled=${Boolean(this.progress)} @click=${() => this.#measure()}>Measure again</button>
          ${this.stale ? html`<p class="stale">The weights have changed since.</p>` : nothing}
        </div>
        <div class="desk">
          <div class="counts">${this.#matrix()}${this.#pairs()}${this.#classes()}</div>
          ${this.#cell()}
        </div>` : nothing}`, this.root);
  }

  #matrix() {
    return html`
      <section class="panel matrix">
        <h2 id="matrix-title">Confusion matrix</h2>
        <p class="about">Row: what the image is. Column: what the model says. Choose a cell to see its images;
          arrow keys move, Enter opens.</p>
        <div class="scroll">${this.grid}</div>
      </section>`;
  }

  /** The matrix as a table, made once for a result: with 100 classes it has 10,000 cells. */
  #makeGrid() {
    const { classes, matrix: { data } } = this.result;
    const n = classes.length;
    const make = (tag, attributes, text = '') => {
      const element = Object.assign(document.createElement(tag), { textContent: text });
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    };
    const worst = Math.max(1, ...data.filter((_, i) => i % (n + 1)));
    const rows = classes.map((name, row) => {
      const line = make('tr', { role: 'row' });
      line.append(make('th', { scope: 'row', role: 'rowheader' }, name));
      const all = Math.max(1, sum(data.subarray(row * n, (row + 1) * n)));
      for (let column = 0; column < n; column += 1) {
        const at = row * n + column;
        const depth = row === column ? data[at] / all : Math.sqrt(data[at] / worst);
        line.append(make('td', {
          role: 'gridcell', 'data-at': at, tabindex: -1,
          class: `${row === column ? 'right' : 'wrong'} s${Math.ceil(depth * 8)}`,
        }, data[at] ? String(data[at]) : '·'));
      }
      return line;
    });
    const head = make('tr', { role: 'row' });
    head.append(make('td', { role: 'presentation' }), ...classes.map((name) => {
      const cell = make('th', { scope: 'col', role: 'columnheader' });
      cell.append(make('span', {}, name));
      return cell;
    }));
    const [thead, tbody] = [make('thead', {}), make('tbody', {})];
    thead.append(head);
    tbody.append(...rows);
    const table = make('table', { role: 'grid', 'aria-labelledby': 'matrix-title' });
    table.classList.toggle('many', n > 20);
    table.classList.toggle('upright', classes.some((name) => name.length > 3));
    table.append(thead, tbody);
    table.addEventListener('click', (event) => this.#press(event));
    table.addEventListener('keydown', (event) => this.#key(event));
    table.addEventListener('focusin', ({ target }) => target.setAttribute('aria-label', this.#named(target)));
    this.grid = table;
    this.#mark();
  }

  /** Mark the chosen cell; it, or the first, is where Tab enters the grid. */
  #mark() {
    const n = this.result.classes.length;
    const { truth, prediction } = this.chosen;
    const at = truth === null || prediction === null ? null : truth * n + prediction;
    this.grid.querySelector('[aria-selected]')?.removeAttribute('aria-selected');
    this.grid.querySelector('[tabindex="0"]')?.setAttribute('tabindex', -1);
    const cell = this.grid.querySelector(`[data-at="${at ?? 0}"]`);
    cell.tabIndex = 0;
    if (at !== null) cell.setAttribute('aria-selected', 'true');
  }

  #named({ dataset: { at } }) {
    const { classes, matrix: { data } } = this.result;
    const n = classes.length;
    return `${classes[Math.floor(at / n)]} read as ${classes[at % n]}: ${counted(data[at])}`;
  }

  #press(event) {
    const at = event.target.closest('[data-at]')?.dataset.at;
    const n = this.result.classes.length;
    if (at !== undefined) this.#choose(Math.floor(at / n), at % n);
  }

  #key(event) {
    const at = Number(event.target.dataset.at);
    const n = this.result.classes.length;
    const [row, column] = [Math.floor(at / n), at % n];
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.#choose(row, column);
      return;
    }
    const to = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [event.ctrlKey ? 0 : row, 0], End: [event.ctrlKey ? n - 1 : row, n - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const next = this.grid.querySelector(`[data-at="${clamp(to[0], n) * n + clamp(to[1], n)}"]`);
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  /** The pairs of classes that are mistaken most. */
  #pairs() {
    const { classes, matrix: { data } } = this.result;
    const n = classes.length;
    const pairs = Array.from(data, (count, at) => [count, Math.floor(at / n), at % n])
      .filter(([count, row, column]) => count && row !== column)
      .sort(([one], [other]) => other - one)
      .slice(0, PAIRS);
    if (!pairs.length) return nothing;
    return html`
      <section class="panel">
        <h2>Most frequent mistakes</h2>
        <ul class="row pairs">${pairs.map(([count, row, column]) => html`<li><button class="small"
          @click=${() => this.#choose(row, column)}>${classes[row]} → <b>${classes[column]}</b>
          <span class="about">${counted(count)}</span></button></li>`)}</ul>
      </section>`;
  }

  #cell() {
    const { classes } = this.result;
    const { truth, prediction, sure } = this.chosen;
    const all = truth === null || prediction === null;
    const { total, cards } = this.images ?? { total: 0, cards: [] };
    return html`
      <section class="panel images">
        <h2>${all ? 'All mistakes' : truth === prediction ? html`${classes[truth]}, read right`
    : html`${classes[truth]} read as ${classes[prediction]}`}
          <span class="about">${counted(total)}</span></h2>
        <div class="row">
          <button class="small" aria-pressed=${sure ? 'true' : 'false'}
            @click=${() => this.#order(undefined)}>Most sure first</button>
          <button class="small" aria-pressed=${sure ? 'false' : 'true'}
            @click=${() => this.#order('unsure')}>Least sure first</button>
          ${all ? nothing : html`<button class="small" @click=${() => this.#all()}>All mistakes</button>`}
        </div>
        <p class="about">The share is the probability that the model gives its answer. Choose an image to step
          through it.</p>
        <ul class="cards">${cards.map((card) => html`<li>
          <a href=${`#step?image=${card.number}`}
            aria-label=${`Image ${card.number}: ${classes[card.label]}, read as ${
              classes[card.prediction]}, ${probability(card.given)}. Step through it`}>
            <canvas class="thumb" aria-hidden="true"></canvas>
            <span>${card.label === card.prediction ? classes[card.label]
    : html`${classes[card.label]} → <b>${classes[card.prediction]}</b>`}</span></a>
          <p class="about">${probability(card.given)}
            <a href=${`#look?image=${card.number}`} aria-label=${`Look at image ${card.number}`}>Look</a></p>
        </li>`)}</ul>
        ${cards.length < total ? html`<button @click=${() => this.#show(true)}>Show more</button>` : nothing}
      </section>`;
  }

  #order(order) {
    this.app.keep({ order });
    this.#show();
  }

  #all() {
    this.app.keep({ truth: undefined, prediction: undefined });
    this.#show();
  }

  #classes() {
    const { classes, matrix, recall, precision } = this.result;
    const n = classes.length;
    return html`
      <section class="panel classes">
        <h2>Classes</h2>
        <div class="scroll" tabindex="0" role="region" aria-label="Classes"><table>
          <thead><tr><th>Class</th><th>Images</th><th>Recall</th><th>Precision</th></tr></thead>
          <tbody>${classes.map((name, i) => html`<tr><td>${name}</td>
            <td>${whole(sum(matrix.data.subarray(i * n, (i + 1) * n)))}</td>
            <td>${percent(recall.data[i], 1)}</td><td>${percent(precision.data[i], 1)}</td></tr>`)}</tbody>
        </table></div>
        <p class="about">Recall: the share of a class that is found. Precision: the share of what is called so
          that is.</p>
      </section>`;
  }
}

const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);
const clamp = (i, n) => Math.min(Math.max(i, 0), n - 1);
const counted = (count) => (count === 1 ? '1 image' : `${whole(count)} images`);
