/** The frame of the studio: which page is shown, what is in the URL, and what every page shares. */

import { html, render } from './vendor/lit-html.js';
import { Dropped } from './socket.js';

const AWAY = {
  close: 'The studio is not running. Start it again, and open the address that it prints.',
  refused: 'The studio was started again and has another address: open the one that it printed.',
  crowded: 'Too many pages of this studio are open. Close one, and this page goes on.',
};
const byId = (id) => document.getElementById(id);

/**
 * What a page is given. A page is a module that exports `mount(root, app)`, which fills `root` and returns
 * `{update(state), close()}`: `update` is called when the URL of the page changes, `close` before it goes.
 */
export class App {
  /**
   * @param {EventTarget} source  Whom it asks: a Socket, or what answers like one.
   * @param {Object<string, {title: string, load: function(): Promise}>} pages
   * @param {string} home  The page that is shown where the URL names none.
   */
  constructor(source, pages, home) {
    this.source = source;
    this.pages = pages;
    this.home = home;
    this.subject = null; // see Subject.outline in subject.py; of a page in a file also `recorded`, its
    // test images, and `command`, which opens the studio
    this.role = { writes: true, tabs: 1 };
    this.page = null;
    this.root = null; // where the page that is shown draws
    this.turn = 0; // how often a page was asked for
    this.state = {}; // what the URL says after `?` in the hash: texts by name
    this.#listen();
  }

  /** Ask for a job. Rejects with JobFailed (show its text where it belongs) or Dropped (forget it). */
  call(job, args) {
    return this.source.call(job, args);
  }

  /** Hear the reports of a kind; the function that is returned ends it. */
  on(event, listener) {
    const wrapped = ({ detail }) => listener(detail);
    this.source.addEventListener(`report:${event}`, wrapped);
    return () => this.source.removeEventListener(`report:${event}`, wrapped);
  }

  /** Show a page with this state. Names with undefined or '' are left out. */
  go(page, state = {}) {
    location.hash = address(page, state);
  }

  /** Change the state of the page that is shown, without a new entry in the history. */
  keep(changes) {
    if (this.#named().page !== this.page) return; // another page was asked for, and this one does not know it yet
    this.state = clean({ ...this.state, ...changes });
    history.replaceState(null, '', address(this.page, this.state));
  }

  /** Let a screen reader say this. */
  say(text) {
    byId('said').textContent = text;
  }

  #listen() {
    this.source.addEventListener('open', () => this.#opened());
    for (const [event, text] of Object.entries(AWAY)) this.source.addEventListener(event, () => notice(text));
    this.on('role', (role) => {
      this.role = role;
      this.#head();
    });
    this.on('subject', (subject) => {
      const known = this.subject !== null;
      this.subject = subject;
      this.#head();
      if (known || !this.page) this.show();
    });
    this.on('outline', (subject) => { // the same model, which trains now: the page stays
      this.subject = subject;
      this.shownSubject = subject;
      this.#head();
    });
    this.on('failed', ({ text }) => notice(text));
    addEventListener('hashchange', () => this.show());
    document.querySelector('.skip').addEventListener('click', (event) => {
      event.preventDefault(); // the hash is that of the page
      byId('main').focus();
    });
  }

  #opened() {
    notice('');
  }

  #head() {
    render(html`${Object.entries(this.pages).map(([name, { title }]) => html`
      <a href=${`#${name}`} aria-current=${name === this.page ? 'page' : 'false'}>${title}</a>`)}`, byId('pages'));
    const { subject, role } = this;
    if (!subject) return;
    render(html`
      <span class="name">${subject.title}</span>
      <span class="about">${subject.shape.join('×')}${subject.data ? html`, ${subject.data}` : ''}${
        subject.trained ? '' : ', untrained'}</span>
      ${subject.recorded ? html`<span class="about">A recording; live with
        <code>${subject.command}</code></span>` : ''}
      ${role.writes ? '' : html`<span class="about">looks on</span>
        <button class="small" @click=${() => this.call('studio.take')}>Take over</button>`}`, byId('subject'));
  }

  /** The page that the URL names, and its state. */
  #named() {
    const [, name = '', query = ''] = location.hash.match(/^#([a-z]*)\??(.*)$/) ?? [];
    return {
      page: Object.hasOwn(this.pages, name) ? name : this.home,
      state: Object.fromEntries(new URLSearchParams(query)),
    };
  }

  /** Show what the URL names. */
  async show() {
    const { page, state } = this.#named();
    this.state = state;
    if (page === this.page && this.shown && this.shownSubject === this.subject) {
      this.shown.update?.(this.state);
      return;
    }
    const other = page !== this.page;
    this.turn += 1;
    const { turn } = this;
    this.shown?.close?.();
    this.shown = null;
    this.root = null;
    this.page = page;
    this.#head();
    document.title = `${this.pages[page].title} · tinyconv studio`;
    const root = document.createElement('div');
    root.className = `page ${page}`;
    const away = this.source.open === false; // its subject, when it is back, shows the page
    const { mount } = away ? { mount: absent } : await this.pages[page].load();
    if (this.turn !== turn) return; // another page, or this one anew, was asked for meanwhile
    const hadFocus = byId('main').contains(document.activeElement);
    byId('main').replaceChildren(root);
    if (other) scrollTo(0, 0);
    if (hadFocus) byId('main').focus(); // else the keyboard would begin at the top again
    this.root = root;
    this.shownSubject = this.subject;
    this.shown = mount(root, this.#for(root)) ?? {};
  }

  /** This, as a page has it: an answer that comes when another page is shown does not change the URL of that one. */
  #for(root) {
    return Object.create(this, { keep: { value: (changes) => this.root === root && this.keep(changes) } });
  }
}

/** What stands where a page would be, while nobody is there to ask. */
function absent(root, app) {
  render(html`<h1>${app.pages[app.page].title}</h1>
    <p class="intro">This page asks the studio, which is not running now.</p>`, root);
}

function address(page, state) {
  const query = new URLSearchParams(clean(state)).toString();
  return `#${page}${query ? `?${query}` : ''}`;
}

function clean(state) {
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== undefined && value !== ''));
}

/** A line for the whole studio, above the page; '' takes it away. */
function notice(text) {
  byId('notice').hidden = !text;
  byId('notice').textContent = text;
}

addEventListener('unhandledrejection', (event) => {
  if (event.reason instanceof Dropped) event.preventDefault();
  else notice(event.reason?.message ?? String(event.reason));
});
