import { html, render } from '../vendor/lit-html.js';

/** The draw page. */
export function mount(root, app) {
  render(html`<h1>Draw</h1>`, root);
  return {};
}
