// The list of participants, with what a moderator may do.

import { byId, h, icon } from './dom.js';
import { displayName, isOn, publicationOf } from './roster.js';
import { hue, initials } from './tiles.js';

export class PeopleView {
  #call;
  #local;
  #element = byId('people');

  constructor(call, local) {
    this.#call = call;
    this.#local = local;
  }

  /** Draws the list anew; cheap enough for a room, and done only while it is shown. */
  refresh() {
    const { roster, speakers, grants } = this.#call;
    const speaking = new Set(speakers.map((speaker) => speaker.participantId));
    const own = {
      name: `${this.#call.name} (you)`,
      mic: this.#local.isOn('microphone'),
      camera: this.#local.isOn('camera'),
      speaking: speaking.has(this.#call.ownId),
    };
    const rows = roster.participants.map((person) => this.#row(remote(person, speaking), person));
    const focused = this.#element.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    this.#element.replaceChildren(h('ul', { class: 'people' }, this.#row(own), ...rows), ...this.#closing(grants));
    if (focused) this.#element.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
  }

  #row({ name, mic, camera, speaking }, person) {
    const bare = name.replace(/ \(you\)$/, '');
    const face = h('span', { class: 'face small', 'aria-hidden': 'true' }, initials(bare));
    face.style.setProperty('--hue', String(hue(bare)));
    const state = [mic ? 'microphone on' : 'microphone off', camera ? 'camera on' : 'camera off'];
    return h(
      'li',
      { class: speaking ? 'is-speaking' : '' },
      face,
      h('span', { class: 'person-name' }, name),
      ...(person && this.#call.grants.moderate ? this.#actions(person, name) : []),
      h(
        'span',
        { class: 'person-state', role: 'img', 'aria-label': state.join(', ') },
        mark(mic ? 'mic' : 'mic-off', mic),
        mark(camera ? 'camera' : 'camera-off', camera),
      ),
    );
  }

  #actions(person, name) {
    const mic = publicationOf(person, 'MICROPHONE');
    const mute =
      mic && !mic.muted && this.#action(`mute-${person.id}`, 'mic-off', `Mute ${name}`, { mutePublicationId: mic.id });
    const remove = this.#action(`remove-${person.id}`, 'remove', `Remove ${name}`, { removeParticipantId: person.id });
    return [mute || null, remove];
  }

  #action(id, symbol, label, action) {
    const run = () => this.#call.moderate(action).catch((error) => this.#call.emit('notice', error.message));
    return h(
      'button',
      { type: 'button', class: 'flat', 'aria-label': label, title: label, dataset: { action: id }, onclick: run },
      icon(symbol),
    );
  }

  #closing(grants) {
    if (!grants.moderate) return [];
    const close = () => {
      if (confirm('End the call for everybody?')) this.#call.moderate({ closeRoom: true });
    };
    return [h('button', { type: 'button', class: 'secondary end-all', onclick: close }, 'End the call for everybody')];
  }
}

function remote(person, speaking) {
  const on = (source) => isOn(publicationOf(person, source));
  return { name: displayName(person), mic: on('MICROPHONE'), camera: on('CAMERA'), speaking: speaking.has(person.id) };
}

function mark(symbol, on) {
  const element = icon(symbol);
  element.classList.toggle('is-off', !on);
  return element;
}
