/** The studio as it is served: the six pages over a socket. */

import { App } from './frame.js';
import { Socket } from './socket.js';

const PAGES = {
  build: { title: 'Build', load: () => import('./pages/build.js') },
  draw: { title: 'Draw', load: () => import('./pages/draw.js') },
  look: { title: 'Look', load: () => import('./pages/look.js') },
  step: { title: 'Step', load: () => import('./pages/step.js') },
  train: { title: 'Train', load: () => import('./pages/train.js') },
  mistakes: { title: 'Mistakes', load: () => import('./pages/mistakes.js') },
};
const HOME = 'draw';

const token = new URLSearchParams(location.search).get('token') ?? '';
const socket = new Socket(`ws://${location.host}/socket?token=${encodeURIComponent(token)}`);
export const app = new App(socket, PAGES, HOME);
