// The first screen: name, room, devices and a preview.

import { byId, setIcon } from './dom.js';
import { LevelMeter } from './level.js';
import { preferences, randomRoom } from './options.js';

const BUTTONS = {
  microphone: { id: 'join-mic', on: 'mic', off: 'mic-off' },
  camera: { id: 'join-camera', on: 'camera', off: 'camera-off' },
};

export class JoinView {
  #local;
  #meter = new LevelMeter();
  #frame = 0;

  /** `onJoin({room, name})` is called when the form is sent. */
  constructor({ local, options, onJoin }) {
    this.#local = local;
    byId('room').value = options.room || randomRoom();
    byId('name').value = options.name || preferences.read('name');
    if (options.room) byId('join-title').textContent = `Join ${options.room}`;
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      onJoin(this.entry());
    });
    for (const [kind, { id }] of Object.entries(BUTTONS)) {
      byId(id).addEventListener('click', () => local.set(kind, !local.isOn(kind)));
    }
    local.on('change', () => this.#refresh());
    local.on('problem', (text) => this.#problem(text));
    this.#refresh();
  }

  entry() {
    return { room: byId('room').value.trim(), name: byId('name').value.trim() };
  }

  show() {
    byId('join').hidden = false;
    (byId('name').value ? byId('join-button') : byId('name')).focus();
    this.#refresh();
    this.#animateLevel();
  }

  hide() {
    byId('join').hidden = true;
    cancelAnimationFrame(this.#frame);
    this.#meter.close();
    byId('preview').srcObject = null;
  }

  busy(isBusy) {
    byId('join-button').disabled = isBusy;
    byId('join-button').textContent = isBusy ? 'Joining …' : 'Join';
  }

  error(text) {
    byId('join-error').hidden = !text;
    byId('join-error').textContent = text;
  }

  #problem(text) {
    byId('join-problem').hidden = false;
    byId('join-problem').textContent = text;
  }

  #refresh() {
    if (byId('join').hidden) return;
    for (const [kind, { id, on, off }] of Object.entries(BUTTONS)) {
      const isOn = this.#local.isOn(kind);
      byId(id).setAttribute('aria-pressed', String(isOn));
      byId(id).setAttribute('aria-label', `${kind}, ${isOn ? 'on' : 'off'}`);
      byId(id).title = `Switch the ${kind} ${isOn ? 'off' : 'on'}`;
      setIcon(byId(id), isOn ? on : off);
    }
    const camera = this.#local.isOn('camera') ? this.#local.track('camera') : null;
    const preview = byId('preview');
    if (preview.srcObject?.getTracks()[0] !== camera) preview.srcObject = camera && new MediaStream([camera]);
    byId('preview-frame').classList.toggle('is-off', !camera);
    this.#meter.watch(this.#local.isOn('microphone') ? this.#local.track('microphone') : null);
  }

  #animateLevel() {
    const draw = () => {
      byId('join-level').style.transform = `scaleY(${this.#meter.read().toFixed(2)})`;
      this.#frame = requestAnimationFrame(draw);
    };
    draw();
  }
}
