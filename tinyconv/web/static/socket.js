/** The socket: jobs and their answers, reports, and one way to read both. See wire.py for the format. */

const READERS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, uint32: Uint32Array,
  int16: Int16Array, uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array,
};

/**
 * An array as it came: `data` is a typed array of its numbers, row by row.
 * @typedef {{shape: number[], data: ArrayLike<number>}} NDArray
 */

/** The message in an ArrayBuffer. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const start = Math.ceil((4 + length) / 8) * 8;
  return JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)), (key, value) => {
    if (value && value.$array) {
      const [dtype, shape, offset] = value.$array;
      const count = shape.reduce((product, n) => product * n, 1);
      return { shape, data: new READERS[dtype](buffer, start + offset, count) };
    }
    return value && value.$number ? Number(value.$number.replace('inf', 'Infinity')) : value;
  });
}

/** A message as bytes. Typed arrays in it are given as {shape, data}. */
export function pack(message) {
  const arrays = [];
  let size = 0;
  const head = new TextEncoder().encode(JSON.stringify(message, (key, value) => {
    if (!value || !ArrayBuffer.isView(value.data)) return value;
    const dtype = Object.keys(READERS).find((name) => value.data instanceof READERS[name]);
    const place = [dtype, value.shape, size];
    arrays.push([size, value.data]);
    size += Math.ceil(value.data.byteLength / 8) * 8;
    return { $array: place };
  }));
  const start = Math.ceil((4 + head.length) / 8) * 8;
  const bytes = new Uint8Array(start + size);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  for (const [offset, data] of arrays) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + offset);
  }
  return bytes;
}

/** What a job that failed is answered with: `kind` is the class of the error in Python. */
export class JobFailed extends Error {
  constructor({ kind, text, notes, refused }) {
    super(text);
    Object.assign(this, { kind, notes, refused });
  }
}

/** A job that a newer one of its kind took the place of, or whose answer was lost with the connection. */
export class Dropped extends Error {}

/** The way to the studio. It opens again by itself after the server was away. */
export class Socket extends EventTarget {
  #waiting = new Map();
  #number = 0;
  #patience = 250;
  #left = false;

  constructor(url) {
    super();
    this.url = url;
    this.open = false;
    this.#connect();
    // A browser keeps pages that were left, to go back to: none of them may hold the studio.
    addEventListener('pagehide', () => {
      this.#left = true;
      this.ws.close();
    });
    addEventListener('pageshow', ({ persisted }) => {
      if (persisted) this.#connect();
    });
  }

  /** The answer to a job: a promise of what it returned. Rejects with JobFailed or Dropped. */
  call(job, args = {}) {
    return new Promise((resolve, reject) => {
      if (!this.open) {
        reject(new Dropped('the studio is not connected'));
        return;
      }
      const id = ++this.#number;
      this.#waiting.set(id, { resolve, reject });
      this.ws.send(pack({ id, job, arguments: args }));
    });
  }

  #connect() {
    this.#left = false;
    const ws = new WebSocket(this.url);
    ws.binaryType = 'arraybuffer';
    this.ws = ws;
    ws.onopen = () => {
      this.open = true;
      this.#patience = 250;
      this.dispatchEvent(new CustomEvent('open'));
    };
    ws.onmessage = ({ data }) => this.#take(unpack(data));
    ws.onclose = async () => {
      if (this.#left) {
        this.open = false;
        return;
      }
      const event = this.open ? 'close' : await this.#why();
      this.open = false;
      for (const { reject } of this.#waiting.values()) reject(new Dropped('the connection was lost'));
      this.#waiting.clear();
      this.dispatchEvent(new CustomEvent(event));
      setTimeout(() => this.#connect(), this.#patience);
      this.#patience = Math.min(this.#patience * 2, 4000);
    };
  }

  /** Why no connection was made: nobody is there, another token is needed, or enough pages are open. */
  async #why() {
    try {
      const { status } = await fetch(location.href, { method: 'HEAD' });
      return status === 403 ? 'refused' : 'crowded';
    } catch {
      return 'close';
    }
  }

  #take(message) {
    if (message.event) {
      this.dispatchEvent(new CustomEvent(`report:${message.event}`, { detail: message.data }));
      return;
    }
    const order = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (!order) return;
    if (message.dropped) order.reject(new Dropped('a newer one took its place'));
    else if (message.error) order.reject(new JobFailed(message.error));
    else order.resolve(message.result);
  }
}
