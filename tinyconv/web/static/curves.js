/** Curves over the epochs: a uPlot in the colours of the theme, and the words for those who do not see it. */

const PAUSE = 300; // milliseconds from one drawing to the next: it takes time from the cores that train

let library; // uPlot is a classic script, which is fetched when the first curve is drawn

function load() {
  library ??= new Promise((resolve, reject) => {
    const style = document.createElement('link');
    Object.assign(style, { rel: 'stylesheet', href: '/static/vendor/uPlot.css' });
    const script = document.createElement('script');
    script.src = '/static/vendor/uPlot.js';
    Object.assign(script, { onload: () => resolve(window.uPlot), onerror: reject });
    document.head.append(style, script);
  });
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const narrow = () => matchMedia('(max-width: 640px)').matches;

/**
 * A plot in an element, which it fills; `height` in pixels. A pointer, or the arrow keys, move along x, and
 * what is there is told.
 * @param {HTMLElement} place
 * @param {{height: number, log?: boolean, format: function(number): string, tell: function(number): string,
 *   series: object[]}} how  `format`: a number of the y axis. `tell`: what is at the point of this number.
 *   Of a series: `ink`, the name of a CSS colour; `width`; `alpha`; `dash` and `points` as uPlot takes them.
 */
export class Curves {
  #plot = null;
  #data;
  #drawn = false;

  constructor(place, how) {
    this.place = place;
    this.how = how;
    this.theme = matchMedia('(prefers-color-scheme: dark)');
    this.repaint = () => this.#plot?.redraw(false, true);
    this.theme.addEventListener('change', this.repaint);
    this.sizes = new ResizeObserver(() => this.#fit());
    this.sizes.observe(place);
    this.readout = Object.assign(document.createElement('p'), { className: 'readout' });
    this.readout.setAttribute('aria-hidden', 'true'); // a reader is told by the slider
    Object.assign(place, { tabIndex: 0, role: 'slider' });
    this.keys = (event) => this.#key(event);
    place.addEventListener('keydown', this.keys);
    place.replaceChildren(this.readout);
    load().then((Plot) => this.#make(Plot));
  }

  /**
   * Show these columns: x first, then a column for each series; null where there is no point.
   * @param {number} range  x goes from 0 to this.
   * @param {string} words  What there is to see.
   */
  show(data, range, words) {
    this.#data = data;
    this.range = range;
    this.place.ariaLabel = words;
    this.place.ariaValueMin = '0';
    this.place.ariaValueMax = `${Math.max(data[0].length - 1, 0)}`;
    this.place.ariaValueNow ??= '0';
    if (this.#drawn) return;
    this.#drawn = true;
    setTimeout(() => requestAnimationFrame(() => {
      this.#drawn = false;
      this.#plot?.setData(this.#data);
    }), this.#plot ? PAUSE : 0);
  }

  close() {
    this.theme.removeEventListener('change', this.repaint);
    this.place.removeEventListener('keydown', this.keys);
    this.sizes.disconnect();
    this.#plot?.destroy();
    this.place = null;
  }

  #make(Plot) {
    if (!this.place) return;
    const { height, log, format, series } = this.how;
    const axis = {
      stroke: () => colour('soft'), font: `12px ${colour('sans')}`, ticks: { show: false },
      grid: { stroke: () => colour('line'), width: 1 },
    };
    this.#plot = new Plot({
      width: this.place.clientWidth,
      height,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: () => [0, this.range ?? 1] },
        y: log ? { distr: 3, log: 10 } : { range: (_, least, most) => spread(least, most) },
      },
      axes: [
        { ...axis, size: 26, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? t : '')) },
        {
          ...axis,
          size: narrow() ? 46 : 54,
          values: (_, ticks) => ticks.map((t) => (t === null ? '' : format(t))),
        },
      ],
      series: [{}, ...series.map(({ ink, width, points, dash, alpha = 1 }) => ({
        width, alpha, dash, spanGaps: true, stroke: () => colour(ink), points: points ?? { show: false },
      }))],
      hooks: {
        setCursor: [(plot) => this.#tell(plot.cursor.idx ?? null)],
      },
    }, this.#data ?? [[], ...series.map(() => [])], this.place);
  }

  #tell(at) {
    this.at = at;
    this.readout.textContent = at === null ? '' : this.how.tell(at);
    if (at === null) return;
    this.place.ariaValueNow = `${at}`;
    this.place.ariaValueText = this.readout.textContent;
  }

  #key(event) {
    const last = this.#data[0].length - 1;
    const at = this.at ?? last;
    const to = {
      ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - 10, PageUp: at + 10, Home: 0, End: last,
    }[event.key];
    if (to === undefined || last < 0 || !this.#plot) return;
    event.preventDefault();
    const x = this.#data[0][Math.min(Math.max(to, 0), last)];
    this.#plot.setCursor({ left: this.#plot.valToPos(x, 'x'), top: 0 });
  }

  #fit() {
    const { clientWidth: width } = this.place ?? {};
    if (width && this.#plot) this.#plot.setSize({ width, height: this.how.height });
  }
}

/** The range of shares that holds these: down to a multiple of 10 %, up to 100 %. */
function spread(least, most) {
  if (least === null) return [0, 1];
  return [Math.max(0, Math.floor(least * 10 - 0.5) / 10), Math.max(1, most)];
}
