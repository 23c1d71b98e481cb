import { probability } from '../answer.js';
import { Curves } from '../curves.js';
import { Maps, paintImage, sizeOf } from '../layers.js';
import { number, percent, whole } from '../maps.js';
import { Dropped } from '../socket.js';
import { html, nothing, render } from '../vendor/lit-html.js';

/** The fields of a recipe in the order of the page: label, what it means, and for a choice its values. */
const FIELDS = {
  epochs: ['Epochs', 'How often the training goes through all training images.'],
  batch_size: ['Batch size', 'Images in a step: the weights move once for each batch.'],
  lr: ['Learning rate', 'How far a step goes: the peak of the schedule. Too high, and it diverges.'],
  schedule: ['Schedule', 'How the learning rate changes: onecycle, triangle rise and fall, constant stays.',
    ['onecycle', 'triangle', 'constant']],
  optimizer: ['Optimiser', 'What makes a step of a gradient: Adam, or SGD with Nesterov momentum 0.9.',
    ['adam', 'sgd']],
  weight_decay: ['Weight decay', 'Draws the weights towards 0 in each step, against learning by heart.'],
  label_smoothing: ['Label smoothing', 'The share of each label that is spread over all classes, 0 to 1.'],
  shift: ['Shift', 'Move each training image at random by up to this many pixels.'],
  crop: ['Crop', 'Pad each training image by this many mirrored pixels, then crop it at random.'],
  cutout: ['Cutout', 'Cover part of each training image with a grey square of this many pixels a side.'],
  flip: ['Flip', 'Mirror each training image left to right with probability 1/2. Not for digits.'],
  alternating: ['Flip by turns', 'With flip: each training image is mirrored in every second epoch.'],
  layer_rates: ['Rates by layer', 'With SGD: rates of their own for normalisations and the last layer.'],
};
const SEED = ['Seed', 'Decides the first weights, the order of the images and how they are changed.'];
const INKS = ['accent', 'plus', 'good', 'bad', 'soft']; // of the runs; the sixth has the first again
const DASHES = [[10, 4], [2, 3], [7, 3, 2, 3], [], [14, 6]];
const MAPS_EVERY = 200; // milliseconds from one picture of the maps to the next, at least
const WEIGHTS_EVERY = 1000;

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
    this.weights = null; // what train.weights answered
    this.maps = new Maps({ label: 'Maps' });
    this.seen = null; // what train.maps answered
    this.offs = [
      app.on('train', (news) => this.#hear(news)),
      app.on('role', () => this.#draw()),
    ];
    this.#load();
  }

  update() {
    this.#check();
    this.#follow();
  }

  close() {
    this.closed = true;
    clearTimeout(this.later);
    this.offs.forEach((off) => off());
    this.lossCurve?.close();
    this.accuracyCurve?.close();
  }

  // What the studio knows.

  async #load() {
    if (this.loading) {
      this.missed = true; // what is on its way may be older than what was heard
      return;
    }
    this.loading = true;
    this.missed = false;
    this.known = await this.app.call('train.state').finally(() => { this.loading = false; });
    if (this.closed) return;
    this.#take(this.known.training);
    this.#draw();
    this.#follow();
    if (this.known.begin && !this.command) this.#check();
    if (this.missed) this.#load();
  }

  #take(training) {
    this.training = training;
    this.losses = training ? Array.from(training.losses.data) : [];
    this.smooth = [];
    this.#smoothen();
    this.#curves();
  }

  #hear(news) {
    const now = this.training;
    const lacks = (from, have) => from > have.length;
    if (!now || this.loading || news.number !== now.number || lacks(news.lossesFrom, this.losses)
      || lacks(news.epochsFrom, now.history)) {
      this.#load(); // another training, or some reports were lost
      return;
    }
    this.losses.push(...news.losses.data.subarray(this.losses.length - news.lossesFrom));
    this.#smoothen();
    const epochs = news.history.slice(now.history.length - news.epochsFrom);
    const history = [...now.history, ...epochs];
    this.training = { ...now, ...news, history, speed: news.speed ?? now.speed };
    for (const { epoch, test_accuracy: share } of epochs) {
      const of = news.total / news.steps;
      this.app.say(`Epoch ${epoch} of ${of}: ${percent(share)} of the test images are right.`);
    }
    if (news.status === 'failed') this.app.say(`The training stopped: ${news.said}`);
    this.#draw();
    this.#curves();
    this.#follow();
  }

  /** A mean of the losses that follows them, over about the last fortieth of an epoch. */
  #smoothen() {
    const keep = this.training ? 1 - 1 / Math.max(this.training.steps / 40, 4) : 0;
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

  async #begun() {
    const answer = await this.#start(false);
    return answer && !Object.keys(answer.errors).length;
  }

  #main() {
    if (this.starting) return; // the button is not disabled then, which would take the focus from it
    const status = this.training?.status;
    if (status === 'running') this.#do('train.pause');
    else if (status === 'paused') this.#do('train.go_on');
    else this.#start();
  }

  async #step() {
    const measured = Boolean(this.app.state.weights);
    if (this.training?.status === 'paused' || await this.#begun()) this.#do('train.step', { measured });
  }

  /** The fields: those of the URL, over those of the training, the checkpoint or the chosen recipe. */
  #plan() {
    const { recipes } = this.known;
    const { recipe, seed, fields: begin } = this.#before();
    const { state } = this.app;
    const fields = Object.fromEntries(Object.entries(begin).map(([name, value]) => {
      const text = state[name] ?? String(value);
      const read = { boolean: text === 'true', string: text, number: asNumber(text) };
      return [name, read[typeof value]];
    }));
    const changed = Object.entries(fields).filter(([name, value]) => value !== recipes[recipe][name]);
    return { recipe, seed: state.seed ?? seed, changes: Object.fromEntries(changed) };
  }

  /** What the fields are where the URL says nothing. */
  #before() {
    const { recipes, begin } = this.known;
    const { recipe } = this.app.state;
    if (!(recipe in recipes) || recipe === begin.recipe) return begin;
    return { ...begin, recipe, fields: recipes[recipe] };
  }

  #change(name, text) {
    const { seed, fields } = this.#before();
    this.app.keep({ [name]: text === String({ seed, ...fields }[name]) ? undefined : text });
    this.#draw();
    this.#check();
  }

  #choose(recipe) {
    this.app.keep({ recipe: recipe === this.known.begin.recipe ? undefined : recipe });
    for (const [name, value] of Object.entries(this.known.recipes[recipe])) this.#change(name, String(value));
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
      this.app.say(`Saved as ${saved.path}`);
      this.#load();
    }
  }

  async #resume(epochs) {
    this.starting = true;
    this.#draw();
    await this.#do('train.resume', epochs ? { epochs } : {});
    this.starting = false;
    this.#load();
  }

  async #changeRate(event) {
    event.preventDefault();
    const lr = asNumber(event.target.elements.rate.value.trim());
    const answer = await this.#do('train.rate', { lr });
    this.rateError = answer?.errors.lr ?? '';
    if (answer && !this.rateError) {
      this.app.say(`The learning rate is ${lr} from here on.`);
      this.#load();
    } else this.#draw();
  }

  // What is computed only while it is looked at.

  /** Ask anew for what is open, if it may have changed. */
  #follow() {
    const { state } = this.app;
    if (state.maps && !this.asking && performance.now() - (this.asked ?? 0) >= MAPS_EVERY) this.#askMaps();
    const watched = state.weights && this.training;
    if (watched && !this.later && this.weights?.step !== this.training.done) {
      const pause = this.training.status === 'running' ? WEIGHTS_EVERY : 0;
      this.later = setTimeout(() => this.#askWeights(), pause);
    }
  }

  async #askMaps() {
    const { image = 0, layer } = this.app.state;
    this.asking = true;
    this.asked = performance.now();
    const at = this.training?.done;
    try {
      this.seen = await this.app.call('train.maps', { image: Number(image), ...(layer ? { layer } : {}) });
      this.mapsError = '';
    } catch (error) {
      if (error instanceof Dropped) return;
      this.mapsError = error.message;
    } finally {
      this.asking = false;
    }
    if (this.closed) return;
    this.#draw();
    if (this.seen) {
      this.maps.label = `Maps of ${this.seen.layer.name}`;
      this.maps.show(this.seen.layer.maps);
      const canvas = this.root.querySelector('canvas.digit');
      if (canvas) paintImage(canvas, { shape: this.seen.image.shape, data: this.seen.image.data });
    }
    if (this.training?.done !== at) setTimeout(() => this.#follow(), MAPS_EVERY); // it went on meanwhile
  }

  async #askWeights() {
    this.weights = await this.app.call('train.weights').finally(() => { this.later = null; });
    if (this.closed) return;
    this.#draw();
    this.root.querySelectorAll('canvas.spread').forEach((canvas) => {
      const { rows } = this.weights;
      const found = rows.find(({ name }) => name === canvas.dataset.name)?.[canvas.dataset.what];
      if (found) bars(canvas, found.counts.data);
    });
    this.#follow();
  }

  #toggle(name, open) {
    if (Boolean(this.app.state[name]) === open) return;
    this.app.keep({ [name]: open ? '1' : undefined });
    this.#follow();
  }

  #pick(changes) {
    this.app.keep(changes);
    this.#askMaps();
  }

  // What is seen.

  #draw() {
    if (!this.known) return;
    const { subject } = this.app;
    render(html`
      <h1>Train</h1>
      <p class="intro">${subject.trainable ? html`Each step shows <strong>${subject.title}</strong> a batch of
        images and moves its weights a little, so that its loss falls. All other pages see the weights as they
        are now.` : html`<strong>${subject.title}</strong> came from Python, without a recipe. Train it there;
        these pages show its weights as they are.`}</p>
      ${subject.trainable ? html`
      <div class="desk">
        ${this.#controls()}
        ${this.#recipe()}
        <div class="results">
          <section class="panel">
            ${this.training || this.known.runs.length ? html`
            <h2>Loss of each step${this.training && this.known.runs.length > 1
    ? `, run ${this.known.runs.length}` : ''}</h2>
            <div class="curve loss"></div>
            <h2>Test accuracy after each epoch</h2>
            <div class="curve accuracy"></div>
            ${this.#legend()}` : html`
            <p class="about">The loss of each step and the test accuracy after each epoch appear here.</p>`}
          </section>
          ${this.#runs()}
          ${this.#epochs()}
          ${this.#inside()}
          ${this.#spreads()}
        </div>
      </div>` : nothing}`, this.root);
    if (!this.lossCurve && this.root.querySelector('.loss')) this.#plots();
  }

  #controls() {
    const now = this.training;
    const status = now?.status ?? 'none';
    const looks = !this.app.role.writes;
    const waits = looks || this.starting;
    const labels = {
      none: 'Start training', running: 'Pause', paused: 'Go on', finished: 'Train anew', failed: 'Train anew',
    };
    return html`
      <section class="panel controls" aria-label="Training">
        ${looks ? html`<p class="looks">Another tab has the studio: this one looks on.</p>` : nothing}
        <div class="row">
          <button class=${status === 'finished' ? '' : 'main'} ?disabled=${looks}
            aria-disabled=${this.starting ? 'true' : 'false'} @click=${() => this.#main()}>${
  this.starting ? 'Loading the images …' : labels[status]}</button>
          ${['none', 'paused'].includes(status) ? html`
            <button ?disabled=${waits} @click=${() => this.#step()}>One step</button>` : nothing}
          ${status === 'paused' ? html`
            <button ?disabled=${waits} @click=${() => this.#start()}>Train anew</button>` : nothing}
          ${now ? html`<button ?disabled=${looks} @click=${() => this.#save()}>${
  now.rates.length ? 'Save the weights' : 'Save a checkpoint'}</button>` : nothing}
        </div>
        ${this.#wrong()}
        ${this.trouble ? html`<p class="error trouble" role="alert">${this.trouble}</p>` : nothing}
        ${now?.said ? html`<p class="error trouble" role="alert">${now.said}</p>
          <p class="about">The weights are those before that step. Set a lower learning rate in the recipe,
            then train anew.</p>` : nothing}
        ${now ? nothing : this.#file(looks)}
        ${now ? this.#progress(now) : nothing}
        ${now?.status === 'finished' ? this.#after(now) : nothing}
        ${now?.saved.length ? this.#saved(now.saved.at(-1)) : nothing}
        ${now && ['running', 'paused'].includes(status) ? this.#rate(now, looks) : nothing}
        ${now?.rates.length ? html`<p class="about">Changed by hand: ${now.rates.map((one, i) => html`${
    i ? ', then' : ''} from ${number(one.from)} to ${number(one.to)} after step ${whole(one.step)}`)}. The
          recipe no longer describes this training, so only its weights can be saved.</p>` : nothing}
      </section>`;
  }

  /** Which fields of the recipe have to change first. */
  #wrong() {
    const labels = Object.entries({ ...FIELDS, seed: SEED }).filter(([name]) => this.errors[name]);
    if (!labels.length) return nothing;
    return html`<p class="error wrong">Mend the recipe first:
      ${labels.map(([, [label]]) => label).join(', ')}.</p>`;
  }

  /** What can be done with the file that the model came from. */
  #file(looks) {
    const { checkpoint } = this.known;
    if (!checkpoint) return nothing;
    const { name, epoch, step, epochs, longer } = checkpoint;
    const done = `${epoch} of ${epochs} epochs${step ? ` and ${whole(step)} steps` : ''}`;
    const anew = 'Start training begins with new weights; the file stays as it is.';
    if (epoch < epochs) {
      return html`<p class="about">${name} is not finished: ${done} are done. ${anew}</p>
        <button ?disabled=${looks || this.starting} @click=${() => this.#resume()}>
          Go on with ${name}</button>`;
    }
    if (!longer) return html`<p class="about">The training of ${name} is finished, ${done}. ${anew}</p>`;
    return html`<p class="about">The training of ${name} is finished, ${done}. Its learning rate is constant,
        so it can be made longer. ${anew}</p>
      <form class="row" @submit=${(event) => {
    event.preventDefault();
    this.#resume(Number(event.target.elements.longer.value));
  }}><label for="longer">Epochs in all</label>
        <input id="longer" name="longer" type="number" min=${epochs + 1} .value=${String(epochs + 5)}
          required>
        <button ?disabled=${looks || this.starting}>Go on</button></form>`;
  }

  #after(now) {
    const { test_accuracy: share } = now.history.at(-1);
    const digits = this.app.subject.classes.every((name) => /^\d$/.test(name));
    const classes = this.app.subject.classes.length;
    if (share <= 1.5 / classes) {
      const low = now.peak < this.known.recipes[now.recipe].lr;
      return html`<div class="after">
        <p><strong>${percent(share)}</strong> of the test images are right.</p>
        <p class="error">No better than guessing (${classes} classes:
          ${Number((100 / classes).toFixed(1))} %). The learning rate is likely too ${low ? 'low' : 'high'}.</p>
        <p class="about">Set a ${low ? 'higher' : 'lower'} one in the recipe, then train anew.
          <a href="#mistakes">See its mistakes</a></p></div>`;
    }
    return html`<div class="row after">
      <p><strong>${percent(share)}</strong> of the test images are right.</p>
      <a class="button main" href="#draw">${digits ? 'Draw a digit for it' : 'Draw for it'}</a>
      <a class="button" href="#mistakes">See its mistakes</a></div>`;
  }

  #saved({ path, whole: resumable }) {
    const use = resumable ? `tinyconv predict ${path} digit.png`
      : `model.load_state_dict(tinyconv.train.load_weights("${path}"))`;
    return html`<div class="saved"><p>Saved as <strong>${path}</strong>${
  resumable ? '' : ', the weights alone'}. Use it with</p>
      <pre tabindex="0">${use}</pre></div>`;
  }

  #rate(now, looks) {
    return html`<details class="rate"><summary>Change the learning rate</summary>
      <form class="row" @submit=${(event) => this.#changeRate(event)}>
        <label for="rate">${
  now.fields.schedule === 'constant' ? 'Learning rate' : 'Peak of the schedule'}</label>
        <input id="rate" name="rate" inputmode="decimal" autocomplete="off" .value=${String(now.peak)}
          aria-invalid=${this.rateError ? 'true' : 'false'} aria-describedby="rate-error">
        <button ?disabled=${looks}>Change</button>
        <span id="rate-error" class="error">${this.rateError}</span>
      </form>
      <p class="about">From the next step on. After that the recipe alone no longer gives these weights, so a
        checkpoint cannot be saved, only the weights.</p></details>`;
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
    const kept = this.known.begin.kept && !(plan.recipe === usual && !Object.keys(plan.changes).length);
    return html`
      <section class="panel recipe">
        <h2>Recipe</h2>
        ${kept ? html`<p class="about kept">The recipe of the last training is kept.
          <button class="small" ?disabled=${off} @click=${() => this.#choose(usual)}>Usual recipe</button></p>`
    : nothing}
        <fieldset ?disabled=${off} @pointerover=${(event) => this.#explain(event)}
          @focusin=${(event) => this.#explain(event)}>
          <p class="field wide"><label for="recipe">Recipe</label>
            <select id="recipe" @change=${(event) => this.#choose(event.target.value)}>
              ${Object.keys(recipes).map((name) => html`
                <option value=${name} ?selected=${name === plan.recipe}>${name}${
  name === usual ? ' (usual)' : ''}</option>`)}
            </select></p>
          ${Object.entries(FIELDS).map(([name, [label, , choices]]) => (
    this.#field(name, label, fields[name], choices, name in plan.changes)))}
          ${this.#field('seed', SEED[0], plan.seed, null, false)}
        </fieldset>
        ${this.command ? html`<details class="command"><summary>The same in a terminal</summary>
          <pre tabindex="0">${this.command}</pre></details>` : nothing}
        <p class="meaning" aria-hidden="true">${this.#meaning()}</p>
      </section>`;
  }

  /** What the field means that the pointer or the focus came to last. A reader has it from the field itself. */
  #meaning() {
    const found = FIELDS[this.explained] ?? (this.explained === 'seed' ? SEED : null);
    if (!found) return 'Choose a field, or point at it, to read what it means.';
    return html`<strong>${found[0]}.</strong> ${found[1]}`;
  }

  #explain({ target }) {
    const name = target.closest('[data-field]')?.dataset.field;
    if (!name || name === this.explained) return;
    this.explained = name;
    this.#draw();
  }

  #field(name, label, value, choices, changed) {
    const error = this.errors[name];
    const shared = { id: `field-${name}`, invalid: error ? 'true' : 'false' };
    const change = (event) => this.#change(name,
      event.target.type === 'checkbox' ? String(event.target.checked) : event.target.value.trim());
    const about = `about-${name}`;
    let input;
    if (choices) {
      input = html`<select id=${shared.id} aria-invalid=${shared.invalid} aria-describedby=${about}
        @change=${change}>
        ${choices.map((choice) => html`<option ?selected=${choice === value}>${choice}</option>`)}</select>`;
    } else if (typeof value === 'boolean') {
      input = html`<input id=${shared.id} type="checkbox" .checked=${value} aria-invalid=${shared.invalid}
        aria-describedby=${about} @change=${change}>`;
    } else {
      input = html`<input id=${shared.id} inputmode="decimal" autocomplete="off" .value=${String(value)}
        aria-invalid=${shared.invalid} aria-describedby=${about} @change=${change}>`;
    }
    const [, means] = FIELDS[name] ?? SEED;
    return html`<p data-field=${name} title=${means}
      class=${`field${changed ? ' changed' : ''}${typeof value === 'boolean' ? ' check' : ''}`}>
      <label for=${shared.id}>${label}</label>${input}
      <span id=${about} class=${error ? 'error' : 'unseen'}>${error ?? means}</span></p>`;
  }

  #epochs() {
    const history = this.training?.history ?? [];
    if (!history.length) return nothing;
    return html`
      <section class="panel">
        <h2>Epochs</h2>
        <div class="scroll" tabindex="0" role="region" aria-label="Epochs"><table class="epochs">
          <thead><tr><th>Epoch</th><th>Loss</th><th>Test accuracy</th><th>Seconds</th></tr></thead>
          <tbody>${history.map((row) => html`<tr><td>${row.epoch}</td><td>${row.train_loss.toFixed(4)}</td>
            <td>${percent(row.test_accuracy)}</td><td>${row.seconds.toFixed(1)}</td></tr>`)}</tbody>
        </table></div>
      </section>`;
  }

  /** The trainings since the studio opened, to compare them. */
  #runs() {
    const runs = this.#allRuns();
    if (runs.length < 2) return nothing;
    return html`
      <section class="panel">
        <h2>Trainings so far</h2>
        <div class="scroll" tabindex="0" role="region" aria-label="Trainings so far"><table class="runs">
          <thead><tr><th>Run</th><th>Model</th><th>Parameters</th><th>Test accuracy</th><th>Epochs</th>
            <th>Seconds</th><th>Recipe</th></tr></thead>
          <tbody>${runs.map((run, i) => html`<tr class=${i === runs.length - 1 && this.training ? 'now' : ''}>
            <td>${i + 1}</td>
            <td class="what">${run.cake ? html`<code>${run.cake}</code>` : run.title}</td>
            <td>${whole(run.parameters)}</td>
            <td>${run.history.length ? percent(run.history.at(-1).test_accuracy) : '–'}</td>
            <td>${run.history.length}</td>
            <td>${run.history.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(1)}</td>
            <td class="what">${run.recipe}<span class="about">${run.changes.join(' ')}${
  run.rates.length ? ' rates by hand' : ''}</span></td></tr>`)}</tbody>
        </table></div>
      </section>`;
  }

  #allRuns() {
    const { number: own, history } = this.training ?? {};
    return this.known.runs.map((run) => (run.number === own ? { ...run, history } : run));
  }

  /** Which curve is which training. */
  #legend() {
    const runs = this.#allRuns();
    if (runs.length < 2) return nothing;
    return html`<ul class="legend" aria-label="Test accuracy of each run">${runs.map((run, i) => {
    const now = i === runs.length - 1 && this.training;
    const row = run.history.at(-1);
    return html`<li class=${now ? 'now' : ''}>
      <svg viewBox="0 0 34 10" class=${INKS[i % INKS.length]} aria-hidden="true"><line x1="0" y1="5" x2="34" y2="5"
        stroke-width=${now ? 3 : 1.5} stroke-dasharray=${now ? '' : DASHES[i % DASHES.length].join(' ')} /></svg>
      <span><strong>Run ${i + 1}</strong> ${run.cake ? html`<code>${run.cake}</code>` : run.title}, ${
  [run.recipe, ...run.changes].join(' ')}</span>
      <strong>${row ? percent(row.test_accuracy) : '–'}</strong></li>`;
  })}</ul>`;
  }

  #inside() {
    const { state } = this.app;
    const { seen } = this;
    const classes = this.app.subject.classes;
    const best = seen ? seen.probabilities.data.indexOf(Math.max(...seen.probabilities.data)) : 0;
    return html`
      <details class="panel" ?open=${Boolean(state.maps)}
        @toggle=${(event) => this.#toggle('maps', event.target.open)}>
        <summary><h2>One image, as it learns</h2></summary>
        <div class="row picks">
          <p class="row"><label for="image">Test image</label>
            <input id="image" type="number" min="0" .value=${state.image ?? '0'}
              @change=${(event) => this.#pick({ image: event.target.value })}></p>
          <p class="row"><label for="layer">Layer</label>
            <select id="layer" @change=${(event) => this.#pick({ layer: event.target.value })}>
              ${(seen?.names ?? []).map((name) => html`
                <option ?selected=${name === seen.layer.name}>${name}</option>`)}
            </select></p>
        </div>
        ${this.mapsError ? html`<p class="error">${this.mapsError}</p>` : nothing}
        ${seen ? html`<div class="inside">
          <figure><canvas class="digit" role="img" aria-label=${`Test image ${state.image ?? 0}: ${
            classes[seen.label]}`}></canvas>
            <figcaption>${classes[seen.label]}; the model says ${classes[best]},
              ${probability(seen.probabilities.data[best])}</figcaption></figure>
          <div><p class="about">${seen.layer.name}: ${sizeOf(seen.layer.shape)}</p>${this.maps.element}</div>
        </div>` : nothing}
      </details>`;
  }

  #spreads() {
    const { state } = this.app;
    const rows = this.weights?.rows ?? [];
    const spread = (row, what) => (row[what] ? html`<td><canvas class="spread" data-name=${row.name}
      data-what=${what} role="img" aria-label=${`${what === 'weight' ? 'Values' : 'Gradients'} of ${
        row.name}, from ${number(row[what].least)} to ${number(row[what].most)}`}></canvas></td>
      ${['mean', 'sd', 'norm'].map((name) => html`<td>${number(row[what][name], 2)}</td>`)}`
      : html`<td>–</td><td>–</td><td>–</td><td>–</td>`);
    return html`
      <details class="panel" ?open=${Boolean(state.weights)}
        @toggle=${(event) => this.#toggle('weights', event.target.open)}>
        <summary><h2>Weights and gradients</h2></summary>
        ${this.training ? html`
        <p class="about">Update: how far a step moves the weights, as a share of their norm. About 1/1000 is
          usual; much more may diverge, much less learns slowly. ${
  this.training.status === 'paused' && rows.every(({ gradient }) => !gradient)
    ? 'Make one step to see gradients and updates.' : ''}</p>
        <div class="scroll" tabindex="0" role="region" aria-label="Weights and gradients">
          <table class="spreads">
          <thead><tr><th rowspan="2" scope="col">Parameter</th><th colspan="4" scope="colgroup">Values</th>
            <th colspan="4" scope="colgroup">Gradients</th><th rowspan="2" scope="col">Update</th></tr>
            <tr>${['Histogram', 'Mean', 'SD', 'Norm', 'Histogram', 'Mean', 'SD', 'Norm'].map((name) => html`
              <th scope="col">${name}</th>`)}</tr></thead>
          <tbody>${rows.map((row) => html`<tr>
            <td>${row.name}<span class="about">${row.shape.join('×')}</span></td>
            ${spread(row, 'weight')}${spread(row, 'gradient')}
            <td>${row.ratio === null ? '–' : number(row.ratio, 2)}</td></tr>`)}</tbody>
        </table></div>` : html`<p class="about">They are measured while a training goes on. Start one.</p>`}
      </details>`;
  }

  // Curves.

  #plots() {
    this.lossCurve = new Curves(this.root.querySelector('.loss'), {
      height: 220, log: true, format: (value) => number(value, 2), tell: (at) => this.#lossAt(at),
      series: [{ ink: 'accent', width: 1, alpha: 0.35 }, { ink: 'accent', width: 2 }],
    });
    this.#curves();
  }

  #curves() {
    if (!this.lossCurve) return;
    const { first = 0, steps = 1, total = 1 } = this.training ?? {};
    const at = this.losses.map((_, i) => (first + i + 1) / steps);
    const seen = (values) => values.map((value) => Math.max(value, 1e-6)); // a logarithm of 0 is none
    this.lossCurve.show([at, seen(this.losses), seen(this.smooth)], total / steps, this.#lossInWords());
    this.#accuracies(Math.max(total / steps, ...this.#allRuns().map(({ history }) => history.length)));
  }

  /** The accuracy of this training in a bold line, and of those before it in thin and dashed ones. */
  #accuracies(epochs) {
    const runs = this.#allRuns();
    if (this.accuracyCurve?.runs !== runs.length) {
      this.accuracyCurve?.close();
      const point = { show: true, size: 7 };
      this.accuracyCurve = new Curves(this.root.querySelector('.accuracy'), {
        height: 160, format: (value) => percent(value, 0), tell: (at) => this.#accuracyAt(at),
        series: runs.map((_, i) => (i === runs.length - 1 && this.training
          ? { ink: INKS[i % INKS.length], width: 3, points: { ...point, size: 8 } }
          : { ink: INKS[i % INKS.length], width: 1.5, points: point, dash: DASHES[i % DASHES.length] })),
      });
      this.accuracyCurve.runs = runs.length;
    }
    const at = Array.from({ length: epochs }, (_, i) => i + 1);
    const shares = ({ history }) => {
      const known = new Map(history.map((row) => [row.epoch, row.test_accuracy]));
      return at.map((epoch) => known.get(epoch) ?? null);
    };
    this.accuracyCurve.show([at, ...runs.map(shares)], epochs, this.#accuracyInWords());
  }

  #lossAt(i) {
    const { first, steps } = this.training;
    const step = first + i;
    const [epoch, within] = [Math.floor(step / steps) + 1, (step % steps) + 1];
    return `Epoch ${epoch}, step ${within}: loss ${number(this.losses[i])}`;
  }

  #accuracyAt(i) {
    const found = this.#allRuns().map(({ history }, run) => {
      const row = history.find(({ epoch }) => epoch === i + 1);
      return row && `${percent(row.test_accuracy)}${this.known.runs.length > 1 ? ` (${run + 1})` : ''}`;
    });
    return `Epoch ${i + 1}: ${found.filter(Boolean).join(', ') || 'not tested yet'}`;
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

/** Counts as bars, the highest as high as the canvas. */
function bars(canvas, counts) {
  const height = 32;
  canvas.width = 4 * counts.length;
  canvas.height = height;
  const context = canvas.getContext('2d');
  context.fillStyle = getComputedStyle(canvas).color;
  const most = Math.max(...counts, 1);
  counts.forEach((count, i) => {
    const tall = count ? Math.max(1, Math.round((height * count) / most)) : 0;
    context.fillRect(4 * i, height - tall, 3, tall);
  });
}
