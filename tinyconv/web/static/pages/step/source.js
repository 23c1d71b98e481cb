/** Source code of an op, as it stands in its file. */

import { html } from '../../vendor/lit-html.js';

/**
 * Numbered lines in colours. `ran` are marked lightly, `now` strongly; numbers are those of the file.
 * @param {{file: string, line: number, lines: [string, string][][]}} source
 */
export function code(source, { ran = [], now = [], title = '' } = {}) {
  const [light, strong] = [new Set(ran), new Set(now)];
  return html`
    <div class="code-head"><code>${source.file}:${source.line}</code><span class="about">${title}</span></div>
    <div class="code" tabindex="0" role="region" aria-label=${`Source, ${source.file}, line ${source.line}`}>
      ${source.lines.map((parts, i) => {
        const line = source.line + i;
        const mark = strong.has(line) ? 'line now' : light.has(line) ? 'line ran' : 'line';
        return html`<div class=${mark}><span class="line-number">${line}</span><code>${
          parts.map(coloured)}</code></div>`;
      })}
    </div>`;
}

function coloured([kind, text]) {
  return kind ? html`<span class=${`tok-${kind}`}>${text}</span>` : text;
}
