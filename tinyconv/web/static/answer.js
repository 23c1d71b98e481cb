/** What the model says of an image: its answer in words, and a bar and a number for each class. */

import { percent } from './maps.js';
import { html, render } from './vendor/lit-html.js';

const MOST = 10; // bars: of more classes, the likeliest

/** A probability in percent: `99.9 %`. What is not certain is never 100 %. */
export function probability(share) {
  if (share > 0.9995 && share < 1) return '>99.9 %';
  return percent(share, 1);
}

/** The number of the largest score. */
const winner = ({ data }) => data.indexOf(Math.max(...data));

/** The answer in words: `7 (99.9 %)`, and the doubt if there is one. */
export function inWords({ probabilities, doubt }, classes) {
  const best = winner(probabilities);
  const share = probabilities.data[best];
  const name = (i) => classes[i] ?? String(i);
  if (!(share >= 0)) {
    return { label: 'no answer', share: '', doubt: 'The scores are no numbers; a weight may be NaN.' };
  }
  if (share >= doubt) return { label: name(best), share: probability(share), doubt: '' };
  const shares = [...probabilities.data];
  const [, second] = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
  const other = second === undefined ? '' : `; it may be ${name(second)} (${probability(shares[second])})`;
  const said = `In doubt: ${probability(share)} is under ${Math.round(100 * doubt)} %${other}.`;
  return { label: name(best), share: probability(share), doubt: said };
}

/** Fill `root` with the bars. */
export function showBars(root, { probabilities }, classes) {
  const shares = [...probabilities.data];
  const best = winner(probabilities);
  const shown = [...shares.keys()];
  if (shown.length > MOST) shown.sort((a, b) => shares[b] - shares[a]).splice(MOST);
  root.style.setProperty('--class', `${Math.max(...shown.map((i) => String(classes[i] ?? i).length))}ch`);
  render(html`<ol class="bars">${shown.map((i) => html`
    <li class=${i === best ? 'best' : ''}><span class="class">${classes[i] ?? i}</span>
      <span class="length" aria-hidden="true"><span></span></span>
      <span class="share">${probability(shares[i])}</span></li>`)}</ol>`, root);
  root.querySelectorAll('.length span').forEach((bar, place) => {
    bar.style.width = `${100 * (shares[shown[place]] || 0)}%`;
  });
}
