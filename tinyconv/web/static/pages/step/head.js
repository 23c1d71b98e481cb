/** The head of the Step page: which image is recorded, and the buttons that go through the frames. */

import { html, nothing } from '../../vendor/lit-html.js';
import { number, paint, whole } from '../../maps.js';

/** The times that a frame is shown while playing, in milliseconds. */
export const SPEEDS = { '½×': 3200, '1×': 1600, '2×': 800, '4×': 400 };

/** What another image leaves of the URL's state: neither the target nor a cell. */
const AFRESH = { target: undefined, map: undefined, cell: undefined, drawn: undefined };

/**
 * What is recorded, and what else may be.
 * @param {object} result  What `step.record` returned; undefined before.
 * @param {object} subject  See Subject.outline; an exported page has `recorded` images, and nothing else.
 * @param {object} state  That of the URL.
 * @param {(changes: object, extra?: object) => void} record
 */
export function controls(result, subject, state, record) {
  const label = result?.image === null ? 'The drawing' : `Test image ${result?.image}`;
  return html`<div class="step-controls">
    <canvas class="thumb" role="img" aria-label=${label}></canvas>
    <div>
      <div class="row">
        ${images(result, subject, state, record)}${targets(result, subject, state, record)}</div>
      ${result ? html`<p class="about">${verdict(result, subject)}${subject.recorded ? nothing : html`
        <button class="small" @click=${() => record({})}>Record again</button>`}</p>` : nothing}
    </div>
  </div>`;
}

function images(result, { classes, recorded }, state, record) {
  const at = result?.image ?? Number(state.image ?? 0);
  const near = (by) => {
    const image = recorded ? recorded[recorded.indexOf(at) + by] : at + by;
    return image >= 0 && image < result?.images ? image : null;
  };
  const of = (image) => record({ ...AFRESH, image: image || undefined });
  const ofClass = (event) => record(AFRESH, { among: Number(event.target.value), image: at + 1 });
  return html`
    <label>Image <input type="number" min="0" max=${(result?.images ?? 1) - 1} .value=${String(at)}
      @change=${(event) => of(Number(event.target.value))}></label>
    <button aria-label="Image before" ?disabled=${near(-1) === null} @click=${() => of(near(-1))}>‹</button>
    <button aria-label="Image after" ?disabled=${near(1) === null} @click=${() => of(near(1))}>›</button>
    <label>Next of class <select .value=${''} @change=${ofClass}><option value="" selected></option>${
      classes.map((name, i) => html`<option value=${i}>${name}</option>`)}</select></label>`;
}

function targets(result, { classes, recorded }, state, record) {
  const choose = ({ target: { value } }) => (
    record({ target: Number(value) === result.label ? undefined : value }));
  const drawn = state.drawn === '1';
  const train = ({ target }) => record({ training: target.checked ? '1' : undefined });
  return html`
    <label title="The class that the loss is computed for">Target
      <select ?disabled=${Boolean(recorded)} @change=${choose}>${classes.map((name, i) => html`
        <option value=${i} ?selected=${i === result?.target}>${name}${
          i === result?.label ? ' (its label)' : ''}</option>`)}</select></label>
    ${result?.drawing ? html`<button aria-pressed=${drawn}
      @click=${() => record({ ...AFRESH, drawn: drawn ? undefined : '1' })}>The drawing</button>` : nothing}
    ${result?.modal && !recorded ? html`<label><input type="checkbox" .checked=${state.training === '1'}
      @change=${train}> as in training</label>` : nothing}`;
}

/** What the model says of the image, and when it said so. */
function verdict({ probabilities: { data }, label, recording, after, training }, { classes }) {
  const best = data.indexOf(Math.max(...data));
  const loss = number(recording.arrays[recording.loss].data[0]);
  const given = label === null ? 'Drawn' : `Label ${classes[label]}`;
  return html`${given}; the model says <b>${classes[best]}</b> (${number(100 * data[best])} %).
    Loss <b>${loss}</b>${after === null ? '' : `, after step ${whole(after)}`}.${
      training ? ' The training goes on; this stays as recorded.' : ''}`;
}

/**
 * The buttons: `go(number)`, `play()`, `cross()` to the op in the other direction, `pace(name of a speed)`.
 * @param {object} frame
 * @param {number} last  The number of the last frame.
 * @param {{playing: boolean, speed: string}} now
 */
export function transport(frame, last, now, { go, play, cross, pace }) {
  const other = frame.direction === 'forward' ? 'backward' : 'forward';
  const { number: at, partner } = frame;
  return html`<div class="row transport" role="group" aria-label="Go through the frames">
    <button aria-label="Previous frame" ?disabled=${at === 0} @click=${() => go(at - 1)}>←<span
      class="wide"> Previous</span></button>
    <button class="main" aria-label="Next frame" ?disabled=${at === last} @click=${() => go(at + 1)}>Next
      →</button>
    <button aria-pressed=${now.playing} @click=${play}>${now.playing ? 'Pause' : 'Play'}</button>
    <select aria-label="Speed" @change=${(event) => pace(event.target.value)}>${speeds(now.speed)}</select>
    <button aria-label=${`To its ${other} frame`} ?disabled=${partner === null} @click=${cross}><span
      class="wide">To its </span>${other}</button>
  </div>`;
}

const speeds = (chosen) => Object.keys(SPEEDS).map((name) => (
  html`<option ?selected=${name === chosen}>${name}</option>`));

/** Paint the image that was recorded, grey or in colours. */
export function thumbnail(canvas, { shape: [channels, rows, columns], data }) {
  if (channels !== 3) {
    paint(canvas, data, { rows, columns, scale: 255, grey: true });
    return;
  }
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const size = rows * columns;
  for (let i = 0; i < size; i += 1) image.data.set([data[i], data[size + i], data[2 * size + i], 255], 4 * i);
  context.putImageData(image, 0, 0);
}
