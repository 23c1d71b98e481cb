import { html, render } from '../vendor/lit-html.js';

/** The train page. */
export function mount(root, app) {
  render(html`<h1>Train</h1>`, root);
  return {};
}
