// The stage: one tile per participant and per shared screen, placed by layout.js.

import { byId, h, icon, setIcon, setText, reconcile } from './dom.js';
import { duo, grid, spotlight, tileSize } from './layout.js';

const GAP = 10;
const PHONE_GAP = 6;
const PHONE_WIDTH = 600;
/** More tiles than this are not told apart; the rest is counted. */
const MOST_TILES = 16;

/**
 * What the stage shows. A tile: {key, name, own, screen, track, videoOn, micOn, speaking, quality (1-5 or 0),
 * note (why there is no picture, or '')}.
 * `arrangement` is {mode: 'grid' | 'spotlight' | 'duo', tiles (ordered, largest first)}.
 */
export class Stage {
  #element = byId('stage');
  #tiles = new Map();
  #arrangement = { mode: 'grid', tiles: [] };
  #onPin;
  #onLayout;
  #more = h('div', { class: 'tile tile-more' });

  /** `onPin(key)` when a tile is chosen; `onLayout(sizes)` with Map key -> {width, height} in device pixels after every layout. */
  constructor({ onPin, onLayout }) {
    this.#onPin = onPin;
    this.#onLayout = onLayout;
    new ResizeObserver(() => this.#place()).observe(this.#element);
  }

  show(arrangement) {
    this.#arrangement = arrangement;
    const shown = arrangement.tiles.slice(0, MOST_TILES);
    const keys = new Set(shown.map((tile) => tile.key));
    for (const key of [...this.#tiles.keys()]) if (!keys.has(key)) this.#tiles.delete(key);
    for (const tile of shown) {
      if (!this.#tiles.has(tile.key)) this.#tiles.set(tile.key, new Tile(tile.key, this.#onPin));
      this.#tiles.get(tile.key).update(tile);
    }
    const surplus = arrangement.tiles.length - shown.length;
    setText(this.#more, surplus > 0 ? `and ${surplus} more` : '');
    const elements = [...this.#tiles.values()].map((tile) => tile.element);
    reconcile(this.#element, surplus > 0 ? [...elements, this.#more] : elements);
    this.#place();
  }

  #place() {
    const { mode, tiles } = this.#arrangement;
    const style = getComputedStyle(this.#element);
    const inset = Number.parseFloat(style.paddingLeft);
    const box = {
      width: this.#element.clientWidth - 2 * inset,
      height: this.#element.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom),
    };
    if (box.width <= 0 || box.height <= 0) return;
    const gap = box.width < PHONE_WIDTH ? PHONE_GAP : GAP;
    const shown = tiles.slice(0, MOST_TILES);
    const layouts = { grid, spotlight, duo: (_, ...rest) => duo(...rest) };
    const rectangles = layouts[mode](shown.length, box, gap);
    this.#element.dataset.mode = mode;
    const sizes = new Map();
    shown.forEach((tile, index) => {
      const place = rectangles[index];
      const element = this.#tiles.get(tile.key).element;
      element.style.left = `${place.left + inset}px`;
      element.style.top = `${place.top + Number.parseFloat(style.paddingTop)}px`;
      element.style.width = `${place.width}px`;
      element.style.height = `${place.height}px`;
      element.classList.toggle('is-small', place.width < 170);
      element.classList.toggle('is-floating', mode === 'duo' && index === 1);
      sizes.set(tile.key, tileSize(place, devicePixelRatio));
    });
    this.#onLayout(sizes);
  }
}

class Tile {
  #video = h('video', { autoplay: true, playsinline: true, muted: true, 'aria-hidden': 'true' });
  #face = h('span', { class: 'face', 'aria-hidden': 'true' });
  #note = h('span', { class: 'tile-note' });
  #mic = icon('mic-off');
  #name = h('span', { class: 'tile-name' });
  #bars = h('span', { class: 'bars' }, h('i'), h('i'), h('i'));
  #shownTrack = null;
  element;

  constructor(key, onPin) {
    this.#video.muted = true;
    this.element = h(
      'article',
      { class: 'tile', tabindex: '0', dataset: { tile: key } },
      this.#face,
      this.#video,
      this.#note,
      h('div', { class: 'tile-label' }, this.#mic, this.#name, this.#bars),
      h(
        'button',
        { class: 'tile-pin', type: 'button', tabindex: '-1', title: 'Show large', 'aria-label': 'Show large', onclick: () => onPin(key) },
        icon('pin'),
      ),
    );
    this.element.addEventListener('dblclick', () => onPin(key));
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && event.target === this.element) onPin(key);
    });
  }

  update(tile) {
    const { element } = this;
    setText(this.#name, tile.own ? 'You' : tile.name);
    setText(this.#face, initials(tile.name));
    setText(this.#note, tile.note);
    element.style.setProperty('--hue', String(hue(tile.name)));
    element.classList.toggle('is-own', tile.own && !tile.screen);
    element.classList.toggle('is-screen', tile.screen);
    element.classList.toggle('is-speaking', tile.speaking);
    element.classList.toggle('is-pinned', tile.pinned);
    element.classList.toggle('is-muted', !tile.micOn && !tile.screen);
    setIcon(element.querySelector('.tile-label'), tile.screen ? 'screen' : 'mic-off');
    this.#bars.dataset.quality = tile.quality ? String(Math.round(tile.quality)) : '';
    element.setAttribute('aria-label', describe(tile));
    this.#showTrack(tile.videoOn ? tile.track : null);
  }

  /** A picture is shown only once a frame of it is there: a slot may still hold the last frame of another. */
  #showTrack(track) {
    if (track === this.#shownTrack) return;
    this.#shownTrack = track;
    this.element.classList.remove('has-picture');
    this.#video.srcObject = track ? new MediaStream([track]) : null;
    if (!track) return;
    const shown = () => {
      if (this.#shownTrack === track) this.element.classList.add('has-picture');
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(shown);
    else this.#video.onloadeddata = shown;
  }
}

function describe({ name, own, screen, micOn, videoOn, speaking, note }) {
  if (screen) return note ? `${name}, ${note}` : name;
  const facts = [own ? `${name}, you` : name];
  if (speaking) facts.push('speaking');
  if (!micOn) facts.push('microphone off');
  if (note) facts.push(note);
  else if (!videoOn) facts.push('camera off');
  return facts.join(', ');
}

/** Up to two letters that stand for a name. */
export function initials(name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join('');
}

/** A colour of one's own, the same in every call. */
export function hue(text) {
  let hash = 0;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)) % 360;
  return hash;
}
