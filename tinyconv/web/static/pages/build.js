import { html, render } from '../vendor/lit-html.js';

/** The build page. */
export function mount(root, app) {
  render(html`<h1>Build</h1>`, root);
  return {};
}
