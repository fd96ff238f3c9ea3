// Short notices at the edge of the page, read out politely.

import { byId, h } from './dom.js';

const SHOWN_FOR = 5000;
const MOST = 4;

export function toast(text) {
  const box = byId('toasts');
  const note = h('p', { class: 'toast' }, text);
  box.append(note);
  while (box.children.length > MOST) box.firstChild.remove();
  setTimeout(() => note.remove(), SHOWN_FOR);
}
