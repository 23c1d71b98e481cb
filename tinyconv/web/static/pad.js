/** The sheet to draw on: by mouse, pen, touch and keys. It knows nothing of models. */

const UNDOS = 30;
const [ERASER, ERASERS] = [5, 32]; // the other end of a pen, as `button` and as `buttons`

/**
 * A canvas that takes ink. It sends `change` when its pixels change (`time`: when, `drawn`: by the brush),
 * and `end` when a stroke, or another change, is complete.
 */
export class Pad extends EventTarget {
  #strokes = new Map(); // the pointers that are down, and where they were last
  #undos = [];

  /**
   * @param {number[]} shape  (channels, rows, columns) of the image that is drawn. The sheet has `fine` times
   *   as many pixels along each side.
   */
  constructor([channels, rows, columns]) {
    super();
    this.fine = Math.max(1, Math.round(280 / Math.max(rows, columns)));
    Object.assign(this, { channels, rows, columns, brush: 2, colour: '#ffffff' });
    Object.assign(this, { erases: false, inkDown: false }); // inkDown: of the brush that keys move
    this.at = { row: rows / 2, column: columns / 2 }; // where that brush is
    this.canvas = Object.assign(document.createElement('canvas'), {
      width: columns * this.fine, height: rows * this.fine, tabIndex: 0, className: 'sheet',
    });
    this.canvas.setAttribute('role', 'application');
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.context.lineCap = 'round';
    this.context.lineJoin = 'round';
    this.#wipe();
    this.#listen();
  }

  /** The pixels, (channels, rows, columns) bytes. */
  pixels() {
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    const cells = width * height;
    const out = new Uint8Array(this.channels * cells);
    for (let c = 0; c < this.channels; c += 1) {
      for (let i = 0; i < cells; i += 1) out[c * cells + i] = data[4 * i + c];
    }
    return { shape: [this.channels, height, width], data: out };
  }

  /** Show an image, (channels, rows, columns) bytes, one pixel of it on `fine` x `fine` of the sheet. */
  load({ data }) {
    this.#remember();
    const { width, height } = this.canvas;
    const picture = this.context.createImageData(width, height);
    const apart = this.channels === 3 ? this.rows * this.columns : 0;
    for (let i = 0; i < width * height; i += 1) {
      const row = Math.floor(i / width / this.fine);
      const cell = row * this.columns + Math.floor((i % width) / this.fine);
      for (let c = 0; c < 3; c += 1) picture.data[4 * i + c] = data[c * apart + cell];
      picture.data[4 * i + 3] = 255;
    }
    this.context.putImageData(picture, 0, 0);
    this.#replaced();
  }

  /** Take all ink away. */
  clear() {
    this.#remember();
    this.#wipe();
    this.#replaced();
  }

  /** How wide the brush is, in pixels of the image. */
  get width() {
    return this.brush * (this.erases ? 2 : 1);
  }

  /** Whether there is a stroke to take back. */
  get canUndo() {
    return this.#undos.length > 0;
  }

  /** Take the last stroke back. */
  undo() {
    if (!this.canUndo) return;
    this.context.putImageData(this.#undos.pop(), 0, 0);
    this.#replaced();
  }

  /** Move the brush of the keys by so many pixels of the image; it leaves ink where its ink is down. */
  move(rows, columns) {
    const from = { ...this.at };
    this.at = {
      row: Math.max(0, Math.min(this.at.row + rows, this.rows)),
      column: Math.max(0, Math.min(this.at.column + columns, this.columns)),
    };
    if (this.inkDown) this.#line(from, this.at);
  }

  /** Put the ink of the keys' brush down, or lift it. */
  press(down) {
    if (down === this.inkDown) return;
    this.inkDown = down;
    if (down) {
      this.#remember();
      this.#line(this.at, this.at);
    } else {
      this.dispatchEvent(new CustomEvent('end'));
    }
  }

  #wipe() {
    this.context.fillStyle = '#000000';
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  #remember() {
    this.#undos.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.#undos.length > UNDOS) this.#undos.shift();
  }

  #line(from, to, { time = performance.now(), erases = this.erases } = {}) {
    const { context, fine } = this;
    context.strokeStyle = erases ? '#000000' : this.colour;
    context.lineWidth = this.width * fine;
    context.beginPath();
    context.moveTo(from.column * fine, from.row * fine);
    context.lineTo(to.column * fine + 0.01, to.row * fine); // a point is a line with some length
    context.stroke();
    this.dispatchEvent(new CustomEvent('change', { detail: { time, drawn: true } }));
  }

  #replaced() {
    this.dispatchEvent(new CustomEvent('change', { detail: { time: performance.now(), drawn: false } }));
    this.dispatchEvent(new CustomEvent('end'));
  }

  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return { row: ((clientY - top) / height) * this.rows, column: ((clientX - left) / width) * this.columns };
  }

  #listen() {
    const { canvas } = this;
    const how = ({ timeStamp, buttons }) => ({ time: timeStamp, erases: this.erases || buttons === ERASERS });
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 && event.button !== ERASER) return;
      canvas.setPointerCapture(event.pointerId);
      if (!this.#strokes.size) this.#remember();
      const place = this.#place(event);
      this.#strokes.set(event.pointerId, place);
      this.#line(place, place, how(event));
    });
    canvas.addEventListener('pointermove', (event) => {
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const last = this.#strokes.get(event.pointerId);
        if (!last) return;
        const place = this.#place(part);
        this.#strokes.set(event.pointerId, place);
        this.#line(last, place, how(event));
      }
    });
    for (const end of ['pointerup', 'pointercancel']) {
      canvas.addEventListener(end, (event) => {
        if (this.#strokes.delete(event.pointerId)) this.dispatchEvent(new CustomEvent('end'));
      });
    }
  }
}
