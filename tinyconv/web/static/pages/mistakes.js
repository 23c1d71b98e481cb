import { html, render } from '../vendor/lit-html.js';

/** The mistakes page. */
export function mount(root, app) {
  render(html`<h1>Mistakes</h1>`, root);
  return {};
}
