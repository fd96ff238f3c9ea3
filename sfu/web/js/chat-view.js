// A small chat: messages of those who are in the call now; nothing is kept.

import { byId, h, icon } from './dom.js';
import { displayName } from './roster.js';

const LONGEST = 2000;
const MOST_SHOWN = 200;

export class ChatView {
  #call;
  #list = h('ol', { class: 'messages', 'aria-live': 'polite', 'aria-label': 'Messages' });
  #input = h('textarea', { rows: '1', maxlength: String(LONGEST), placeholder: 'Message to everyone', 'aria-label': 'Message to everyone' });
  #empty = h('p', { class: 'hint' }, 'Messages are seen by those who are in the call now. Nothing is kept.');
  #lastFrom = null;

  constructor(call) {
    this.#call = call;
    const send = h('button', { type: 'submit', class: 'primary', 'aria-label': 'Send' }, icon('send'));
    const form = h('form', { class: 'chat-form' }, this.#input, send);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    byId('chat').replaceChildren(this.#empty, this.#list, form);
    if (call.grants.data === false) form.hidden = true;
  }

  focus() {
    this.#input.focus();
  }

  receive({ from, text }) {
    const person = this.#call.roster.get(from);
    this.#show(displayName(person), text, false);
  }

  async #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    this.#input.value = '';
    try {
      await this.#call.sendChat(text);
      this.#show('You', text, true);
    } catch (error) {
      this.#input.value = text;
      this.#call.emit('notice', error.message);
    }
  }

  #show(name, text, own) {
    this.#empty.hidden = true;
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const head = name === this.#lastFrom ? null : h('header', {}, h('b', {}, name), h('time', {}, time));
    this.#lastFrom = name;
    this.#list.append(h('li', { class: own ? 'is-own' : '' }, head, h('p', {}, text)));
    while (this.#list.children.length > MOST_SHOWN) this.#list.firstChild.remove();
    this.#list.lastChild.scrollIntoView({ block: 'nearest' });
  }
}
