import { html, render } from '../vendor/lit-html.js';

/** The look page. */
export function mount(root, app) {
  render(html`<h1>Look</h1>`, root);
  return {};
}
