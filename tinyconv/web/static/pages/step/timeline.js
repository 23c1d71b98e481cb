/** The tape as a path: forwards on top, and back underneath, so that both frames of an op stand together. */

import { html } from '../../vendor/lit-html.js';
import { place } from './words.js';

/**
 * The frames as points on the path. A drag along a row goes through its frames.
 * @param {object[]} frames
 * @param {object} now  The frame that is shown.
 * @param {(number: number) => void} go
 */
export function timeline(frames, now, go) {
  const forward = frames.filter(({ direction }) => direction === 'forward');
  const point = (frame, back) => {
    if (!frame) return html`<span class="no-point"></span>`;
    const at = `${place(frame, frames)}: ${frame.op}${frame.layer ? ` in ${frame.layer}` : ''}`;
    const passed = frame.number < now.number ? 'passed' : '';
    return html`<button class=${`point ${back ? 'back' : ''} ${passed}`} title=${at} aria-label=${at}
      data-frame=${frame.number} tabindex=${frame === now ? 0 : -1}
      aria-current=${frame === now ? 'step' : 'false'} @click=${() => go(frame.number)}></button>`;
  };
  return html`
    <div class="tape" role="group" aria-label="Frames" @pointerdown=${(event) => scrub(event, go)}
      @pointermove=${(event) => event.buttons === 1 && scrub(event, go)}>
      <div class="tape-ends" aria-hidden="true"><span>image →</span><span>gradient ←</span></div>
      <ol class="tape-path">
        ${forward.map((frame) => html`<li class=${isHere(frame, now) ? 'here' : ''}>
          ${point(frame, false)}
          <span class="tape-name" aria-hidden="true">${name(frame)}</span>
          ${point(frames[frame.partner], true)}</li>`)}
      </ol>
      <div class="tape-turn" aria-hidden="true"></div>
    </div>`;
}

const isHere = (frame, now) => frame === now || frame.number === now.partner;

/** What the timeline calls an op: its step, unless that is a mere number, or the loss. */
function name({ step, op }) {
  return { crossentropy: 'loss' }[step] ?? (/(^|\.)\d+$/.test(step) ? op : step || op);
}

function scrub(event, go) {
  const tape = event.currentTarget;
  const points = [...tape.querySelectorAll('.point')];
  const distance = (point) => {
    const { left, top, width, height } = point.getBoundingClientRect();
    return Math.abs(event.clientX - left - width / 2) + 3 * Math.abs(event.clientY - top - height / 2);
  };
  const nearest = points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
  if (event.type === 'pointermove' || event.target === nearest) go(Number(nearest.dataset.frame));
}
