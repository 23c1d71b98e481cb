import { Curves } from '../curves.js';
import { number, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

/** The fields of a recipe in the order of the page: label, what it means, and for a choice its values. */
const FIELDS = {
  epochs: ['Epochs', 'How often the training goes through all training images.'],
  batch_size: ['Batch size', 'Images in a step: the weights move once for each batch.'],
  lr: ['Learning rate', 'How far a step goes: the peak of the schedule. Too high, and it diverges.'],
  schedule: ['Schedule', 'How the learning rate changes: onecycle and triangle rise and fall, constant stays.',
    ['onecycle', 'triangle', 'constant']],
  optimizer: ['Optimiser', 'What makes a step of a gradient: Adam, or SGD with Nesterov momentum 0.9.', ['adam', 'sgd']],
  weight_decay: ['Weight decay', 'Draws the weights towards 0 in each step, against learning by heart.'],
  label_smoothing: ['Label smoothing', 'The share of each label that is spread evenly over all classes, 0 to 1.'],
  shift: ['Shift', 'Move each training image at random by up to this many pixels.'],
  crop: ['Crop', 'Pad each training image by this many mirrored pixels, then crop it at random.'],
  cutout: ['Cutout', 'Cover part of each training image with a grey square of this many pixels a side.'],
  flip: ['Flip', 'Mirror each training image left to right with probability 1/2. Not for digits.'],
  layer_rates: ['Rates by layer', 'With SGD: learning rates of their own for normalisations and the last layer.'],
};
const SEED = ['Seed', 'Decides the first weights, the order of the images and how they are changed.'];
const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;

/** The train page. */
export function mount(root, app) {
  return new Page(root, app);
}

class Page {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.known = null; // what train.state answered
    this.training = null; // about it and how it stands, kept fresh by reports
    this.losses = [];
    this.smooth = [];
    this.errors = {};
    this.command = '';
    this.trouble = ''; // what the last job was refused with
    this.hint = '';
    this.offs = [
      app.on('train', (news) => this.#hear(news)),
      app.on('role', () => this.#draw()),
    ];
    this.#load();
  }

  update() {
    this.#check();
  }

  close() {
    this.offs.forEach((off) => off());
    this.lossCurve?.close();
    this.accuracyCurve?.close();
  }

  // What the studio knows.

  async #load() {
    this.known = await this.app.call('train.state');
    this.#take(this.known.training);
    this.#draw();
    if (this.known.begin) this.#check();
  }

  #take(training) {
    this.training = training;
    this.losses = training ? Array.from(training.losses.data) : [];
    this.smooth = [];
    this.#smoothen();
    this.#curves();
  }

  #hear(news) {
    if (!this.known) return;
    const now = this.training;
    if (!now || news.lossesFrom !== this.losses.length || news.epochsFrom !== now.history.length) {
      this.#load(); // another training, or some reports were lost
      return;
    }
    for (const loss of news.losses.data) this.losses.push(loss);
    this.#smoothen();
    const history = [...now.history, ...news.history];
    this.training = { ...now, ...news, history, speed: news.speed ?? now.speed };
    for (const { epoch, test_accuracy: share } of news.history) {
      this.app.say(`Epoch ${epoch} of ${news.total / news.steps}: ${percent(share)} of the test images are right.`);
    }
    if (news.status === 'failed') this.app.say(`The training stopped: ${news.said}`);
    this.#draw();
    this.#curves();
  }

  /** A mean of the losses that follows them, over about the last twentieth of an epoch. */
  #smoothen() {
    const keep = this.training ? 1 - 1 / Math.max(this.training.steps / 20, 4) : 0;
    for (let i = this.smooth.length; i < this.losses.length; i += 1) {
      const loss = this.losses[i];
      this.smooth.push(i === 0 ? loss : keep * this.smooth[i - 1] + (1 - keep) * loss);
    }
  }

  // What the person does.

  async #do(job, args) {
    this.trouble = '';
    try {
      const answer = await this.app.call(job, args);
      this.errors = answer?.errors ?? {};
      return answer;
    } catch (error) {
      if (error instanceof Dropped) return null;
      this.trouble = [error.message, ...(error.notes ?? [])].join('\n');
      this.app.say(this.trouble);
      return null;
    } finally {
      this.#draw();
    }
  }

  async #start(running = true) {
    this.starting = true;
    this.#draw();
    const answer = await this.#do('train.start', { ...this.#plan(), running });
    this.starting = false;
    if (answer && !Object.keys(answer.errors).length) await this.#load();
    else this.root.querySelector('[aria-invalid=true]')?.focus();
    this.#draw();
    return answer;
  }

  #main() {
    const status = this.training?.status;
    if (status === 'running') this.#do('train.pause');
    else if (status === 'paused') this.#do('train.go_on');
    else this.#start();
  }

  async #step() {
    if (this.training?.status === 'paused') this.#do('train.step');
    else if (await this.#start(false)) this.#do('train.step');
  }

  /** The fields as the URL has them, over those of the training, or of the subject. */
  #plan() {
    const { recipes, begin } = this.known;
    const { state } = this.app;
    const recipe = state.recipe in recipes ? state.recipe : begin.recipe;
    const changes = {};
    for (const [name, usual] of Object.entries(recipes[recipe])) {
      const text = state[name];
      if (text === undefined) continue;
      const value = typeof usual === 'boolean' ? text === 'true' : typeof usual === 'string' ? text : asNumber(text);
      if (value !== usual) changes[name] = value;
    }
    return { recipe, seed: state.seed ?? begin.seed, changes };
  }

  #change(name, text) {
    const usual = this.known.recipes[this.#plan().recipe][name];
    this.app.keep({ [name]: text === String(usual) ? undefined : text });
    this.#draw();
    this.#check();
  }

  #choose(recipe) {
    const none = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, undefined]));
    this.app.keep({ ...none, recipe });
    this.#draw();
    this.#check();
  }

  async #check() {
    if (!this.known?.begin) return;
    const { errors, command } = await this.app.call('train.check', this.#plan());
    this.errors = errors;
    this.command = command ?? '';
    this.#draw();
  }

  async #save() {
    const saved = await this.#do('train.save');
    if (saved) {
      this.saved = saved;
      this.app.say(`Saved as ${saved.path}`);
      this.#draw();
    }
  }

  // What is seen.

  #draw() {
    if (!this.known) return;
    const { subject } = this.app;
    render(html`
      <h1>Train</h1>
      <p class="intro">${subject.trainable ? html`Each step shows <strong>${subject.title}</strong> a batch of images and
        moves its weights a little, so that its loss falls. All other pages see the weights as they are now.`
    : html`<strong>${subject.title}</strong> came from Python, without a recipe. Train it there; these pages show its
        weights as they are.`}</p>
      ${subject.trainable ? html`
      <div class="desk">
        ${this.#controls()}
        ${this.#recipe()}
        <div class="results">
          <section class="panel">
            <h2>Loss of each step</h2>
            <div class="curve loss" role="img" aria-label=${this.#lossInWords()}></div>
            <h2>Test accuracy after each epoch</h2>
            <div class="curve accuracy" role="img" aria-label=${this.#accuracyInWords()}></div>
          </section>
          ${this.#epochs()}
        </div>
      </div>` : nothing}`, this.root);
    if (subject.trainable && !this.lossCurve) this.#plots();
  }

  #controls() {
    const now = this.training;
    const status = now?.status ?? 'none';
    const looks = !this.app.role.writes;
    const labels = { none: 'Start training', running: 'Pause', paused: 'Go on', finished: 'Train anew', failed: 'Train anew' };
    return html`
      <section class="panel controls" aria-label="Training">
        ${looks ? html`<p class="looks">Another tab has the studio: this one looks on.</p>` : nothing}
        <div class="row">
          <button class="main" ?disabled=${looks || this.starting} @click=${() => this.#main()}>${
  this.starting ? 'Loading the images …' : labels[status]}</button>
          ${['none', 'paused'].includes(status) ? html`
            <button ?disabled=${looks || this.starting} @click=${() => this.#step()}>One step</button>` : nothing}
          ${status === 'paused' ? html`
            <button ?disabled=${looks || this.starting} @click=${() => this.#start()}>Train anew</button>` : nothing}
          ${now ? html`<button ?disabled=${looks} @click=${() => this.#save()}>Save</button>` : nothing}
        </div>
        ${this.trouble ? html`<p class="error trouble" role="alert">${this.trouble}</p>` : nothing}
        ${now?.said ? html`<p class="error trouble" role="alert">${now.said}</p>` : nothing}
        ${now ? this.#progress(now) : nothing}
      </section>`;
  }

  #progress(now) {
    const epochs = now.total / now.steps;
    const epoch = Math.min(Math.floor(now.done / now.steps) + (now.testing ? 0 : 1), epochs);
    const step = now.testing || now.status === 'finished' ? now.steps : now.done % now.steps;
    const last = now.history.at(-1);
    return html`
      <progress max=${now.total} .value=${now.done} aria-label="Steps done"></progress>
      <p class="where">Epoch ${epoch} of ${epochs}, step ${whole(step)} of ${whole(now.steps)}${
  now.testing ? `, testing: ${percent(now.testing, 0)}` : ''}${
  now.left ? html`<span class="left">about ${duration(now.left)} left</span>` : ''}</p>
      <dl class="numbers">
        <div><dt>Loss</dt><dd>${this.smooth.length ? number(this.smooth.at(-1)) : '–'}</dd></div>
        <div><dt>Test accuracy</dt><dd>${last ? percent(last.test_accuracy) : '–'}</dd></div>
        <div><dt>Learning rate</dt><dd>${number(now.rate)}</dd></div>
        <div><dt>Images per second</dt><dd>${now.speed ? whole(now.speed) : '–'}</dd></div>
      </dl>`;
  }

  #recipe() {
    const plan = this.#plan();
    const { recipes, usual } = this.known;
    const fields = { ...recipes[plan.recipe], ...plan.changes };
    const off = !this.app.role.writes || this.training?.status === 'running';
    return html`
      <section class="panel recipe">
        <h2>Recipe</h2>
        <fieldset ?disabled=${off}>
          <p class="field wide"><label for="recipe">Recipe</label>
            <select id="recipe" @change=${(event) => this.#choose(event.target.value)}>
              ${Object.keys(recipes).map((name) => html`<option value=${name} ?selected=${name === plan.recipe}>${name}${
  name === usual ? ' (usual)' : ''}</option>`)}
            </select></p>
          ${Object.entries(FIELDS).map(([name, [label, , choices]]) => this.#field(name, label, fields[name], choices,
    name in plan.changes))}
          ${this.#field('seed', SEED[0], plan.seed, null, false)}
        </fieldset>
        ${this.command ? html`<details class="command"><summary>The same in a terminal</summary>
          <pre tabindex="0">${this.command}</pre></details>` : nothing}
      </section>`;
  }

  #field(name, label, value, choices, changed) {
    const error = this.errors[name];
    const shared = { id: `field-${name}`, invalid: error ? 'true' : 'false' };
    const change = (event) => this.#change(name,
      event.target.type === 'checkbox' ? String(event.target.checked) : event.target.value.trim());
    const about = `about-${name}`;
    let input;
    if (choices) {
      input = html`<select id=${shared.id} aria-invalid=${shared.invalid} aria-describedby=${about} @change=${change}>
        ${choices.map((choice) => html`<option ?selected=${choice === value}>${choice}</option>`)}</select>`;
    } else if (typeof value === 'boolean') {
      input = html`<input id=${shared.id} type="checkbox" .checked=${value} aria-invalid=${shared.invalid}
        aria-describedby=${about} @change=${change}>`;
    } else {
      input = html`<input id=${shared.id} inputmode="decimal" autocomplete="off" .value=${String(value)}
        aria-invalid=${shared.invalid} aria-describedby=${about} @change=${change}>`;
    }
    return html`<p class=${`field${changed ? ' changed' : ''}${typeof value === 'boolean' ? ' check' : ''}`}>
      <label for=${shared.id}>${label}</label>${input}
      <span id=${about} class=${error ? 'error' : 'unseen'}>${error ?? (FIELDS[name] ?? SEED)[1]}</span></p>`;
  }

  #epochs() {
    const history = this.training?.history ?? [];
    if (!history.length) return nothing;
    return html`
      <section class="panel">
        <h2>Epochs</h2>
        <div class="scroll" tabindex="0" role="region" aria-label="Epochs"><table class="epochs">
          <thead><tr><th>Epoch</th><th>Training loss</th><th>Test accuracy</th><th>Seconds</th></tr></thead>
          <tbody>${history.map((row) => html`<tr><td>${row.epoch}</td><td>${row.train_loss.toFixed(4)}</td>
            <td>${percent(row.test_accuracy)}</td><td>${row.seconds.toFixed(1)}</td></tr>`)}</tbody>
        </table></div>
      </section>`;
  }

  // Curves.

  #plots() {
    this.lossCurve = new Curves(this.root.querySelector('.loss'), {
      height: 220, log: true, format: (value) => number(value, 2),
      series: [{ ink: 'line', width: 1 }, { ink: 'accent', width: 2 }],
    });
    this.accuracyCurve = new Curves(this.root.querySelector('.accuracy'), {
      height: 160, format: (value) => percent(value, 0),
      series: [{ ink: 'accent', width: 2, points: { show: true, size: 7 } }],
    });
    this.#curves();
  }

  #curves() {
    if (!this.lossCurve) return;
    const { first = 0, steps = 1, total = 1, history = [] } = this.training ?? {};
    const at = this.losses.map((_, i) => (first + i + 1) / steps);
    const seen = (values) => values.map((value) => Math.max(value, 1e-6)); // a logarithm of 0 is none
    this.lossCurve.show([at, seen(this.losses), seen(this.smooth)], total / steps);
    this.accuracyCurve.show([history.map(({ epoch }) => epoch), history.map((row) => row.test_accuracy)], total / steps);
  }

  #lossInWords() {
    if (!this.losses.length) return 'The curve of the loss begins with the first step.';
    return `The loss of ${whole(this.losses.length)} steps: ${number(this.losses[0])} at first, `
      + `about ${number(this.smooth.at(-1))} now.`;
  }

  #accuracyInWords() {
    const history = this.training?.history ?? [];
    if (!history.length) return 'The curve of the accuracy begins with the first epoch.';
    return `Test accuracy by epoch: ${history.map((row) => percent(row.test_accuracy)).join(', ')}.`;
  }
}

/** The number in a text; the text itself where it is none, so that its error can quote it. */
function asNumber(text) {
  const value = Number(text);
  return text !== '' && Number.isFinite(value) ? value : text;
}

/** `45 s`, `3 min`, `1 h 20 min`. */
function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
