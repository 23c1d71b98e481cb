import { html, render } from '../vendor/lit-html.js';

/** The step page. */
export function mount(root, app) {
  render(html`<h1>Step</h1>`, root);
  return {};
}
