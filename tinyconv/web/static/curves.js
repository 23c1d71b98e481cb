/** Curves over the epochs: a uPlot in the colours of the theme, and the words for those who do not see it. */

let library; // uPlot is a classic script, which is fetched when the first curve is drawn

function load() {
  library ??= new Promise((resolve, reject) => {
    const style = document.createElement('link');
    Object.assign(style, { rel: 'stylesheet', href: '/static/vendor/uPlot.css' });
    const script = document.createElement('script');
    Object.assign(script, { src: '/static/vendor/uPlot.js', onload: () => resolve(window.uPlot), onerror: reject });
    document.head.append(style, script);
  });
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const narrow = () => matchMedia('(max-width: 640px)').matches;

/**
 * A plot in an element, which it fills; `height` in pixels.
 * @param {HTMLElement} place
 * @param {{height: number, log?: boolean, format: function(number): string, series: object[],
 *   onHover?: function(?number): void}} how  `series` as uPlot takes them, with `ink`, the name of a CSS colour.
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
    load().then((Plot) => this.#make(Plot));
  }

  /** Show these columns: x first, then a column for each series; null where there is no point. */
  show(data, range) {
    this.#data = data;
    this.range = range;
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#plot?.setData(this.#data);
    });
  }

  close() {
    this.theme.removeEventListener('change', this.repaint);
    this.sizes.disconnect();
    this.#plot?.destroy();
    this.place = null;
  }

  #make(Plot) {
    if (!this.place) return;
    const { height, log, format, series, onHover } = this.how;
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
        { ...axis, size: narrow() ? 46 : 54, values: (_, ticks) => ticks.map((t) => (t === null ? '' : format(t))) },
      ],
      series: [{}, ...series.map(({ ink, ...rest }) => ({
        ...rest, stroke: () => colour(ink), points: rest.points ?? { show: false },
      }))],
      hooks: { setCursor: [({ cursor }) => onHover?.(cursor.idx ?? null)] },
    }, this.#data ?? [[], ...series.map(() => [])], this.place);
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
