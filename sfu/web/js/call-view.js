// The screen of the call: stage, controls, side panel, banner.

import { arrange } from './arrange.js';
import { ChatView } from './chat-view.js';
import { canShareScreen } from './devices.js';
import { byId, h, icon, setIcon, setText } from './dom.js';
import { listenForKeys } from './keys.js';
import { LevelMeter } from './level.js';
import { inviteLink, preferences } from './options.js';
import { PeopleView } from './people-view.js';
import { displayName } from './roster.js';
import { StatsView } from './stats-view.js';
import { Stage } from './tiles.js';
import { toast } from './toast.js';

const PANELS = { people: 'People', chat: 'Chat', stats: 'Statistics' };
/** Tile sizes change while people come and go; the server is told when it is quiet. */
const TILES_DELAY = 300;
const MUTED_SPEECH_LEVEL = 0.35;
const MUTED_SPEECH_PAUSE = 20_000;

export class CallView {
  #call;
  #local;
  #stage;
  #views;
  #panel = null;
  #view = { speakerView: preferences.read('view') === 'speaker', pinned: null };
  #sizes = new Map();
  #told = new Map();
  #timers = { draw: 0, tiles: 0, clock: 0 };
  #started = performance.now();
  #unread = 0;
  #meter = new LevelMeter();
  #mutedHint = -MUTED_SPEECH_PAUSE;
  #silenced = false;
  #stops = [];
  #openSettings;

  constructor({ call, local, openSettings }) {
    this.#call = call;
    this.#local = local;
    this.#openSettings = openSettings;
    this.#stage = new Stage({ onPin: (key) => this.#pin(key), onLayout: (sizes) => this.#laidOut(sizes) });
    this.#views = { people: new PeopleView(call, local), chat: new ChatView(call), stats: new StatsView(call) };
    this.#follow();
    this.#wireButtons();
    setText(byId('room-name'), call.room.name ?? '');
    document.title = `${call.room.name ?? 'Call'}`;
    byId('moderator-mark').hidden = !call.grants.moderate;
    byId('call').hidden = false;
    this.#timers.clock = setInterval(() => this.#eachSecond(), 1000);
    this.#refresh();
    this.#connectVoices();
  }

  /** Takes the screen down. */
  close() {
    for (const stop of this.#stops) stop();
    clearInterval(this.#timers.clock);
    clearTimeout(this.#timers.tiles);
    clearTimeout(this.#timers.draw);
    this.#views.stats.close();
    this.#meter.close();
    this.#stage.show({ mode: 'grid', tiles: [] });
    byId('voices').replaceChildren();
    byId('call').hidden = true;
    if (this.#panel) this.#togglePanel(this.#panel);
  }

  /** Sends all voices to another speaker. */
  setSpeaker(id) {
    for (const voice of byId('voices').children) voice.setSinkId?.(id).catch(() => undefined);
  }

  #follow() {
    const on = (source, name, listener) => this.#stops.push(source.on(name, listener));
    on(this.#call, 'people', ({ came, went }) => {
      for (const person of came) toast(`${displayName(person)} joined`);
      for (const person of went) toast(`${displayName(person)} left`);
      this.#refresh();
    });
    for (const name of ['slots', 'speakers', 'quality', 'sharing']) on(this.#call, name, () => this.#refresh());
    on(this.#call, 'slots', () => this.#connectVoices());
    on(this.#call, 'state', () => this.#refresh());
    on(this.#call, 'rejoined', () => this.#rejoined());
    on(this.#call, 'notice', toast);
    on(this.#call, 'chat', (message) => this.#chat(message));
    on(this.#local, 'change', () => this.#refresh());
    on(this.#local, 'problem', toast);
  }

  #wireButtons() {
    const actions = {
      'toggle-microphone': () => this.#toggle('microphone'),
      'toggle-camera': () => this.#toggle('camera'),
      'toggle-screen': () => this.#share(),
      'show-people': () => this.#togglePanel('people'),
      'show-chat': () => this.#togglePanel('chat'),
      'show-stats': () => this.#togglePanel('stats'),
      'panel-close': () => this.#panel && this.#togglePanel(this.#panel),
      'view-mode': () => this.#switchView(),
      'open-settings': () => this.#openSettings(),
      'copy-link': () => this.#copyLink(),
      leave: () => this.#call.leave(),
    };
    for (const [id, action] of Object.entries(actions)) {
      byId(id).addEventListener('click', action);
      this.#stops.push(() => byId(id).removeEventListener('click', action));
    }
    const keys = { m: 'toggle-microphone', v: 'toggle-camera', s: 'toggle-screen', l: 'view-mode', p: 'show-people', c: 'show-chat', i: 'show-stats', ',': 'open-settings', Escape: 'panel-close' };
    this.#stops.push(listenForKeys(Object.fromEntries(Object.entries(keys).map(([key, id]) => [key, actions[id]]))));
    byId('toggle-screen').hidden = !canShareScreen();
  }

  /** Several things often change at once: they are drawn together. */
  #refresh() {
    if (this.#timers.draw) return;
    this.#timers.draw = setTimeout(() => {
      this.#timers.draw = 0;
      this.#draw();
    });
  }

  #draw() {
    const cameraTrack = this.#local.isOn('camera') ? this.#local.track('camera') : null;
    const own = { name: this.#call.name || 'You', cameraTrack, micOn: this.#local.isOn('microphone') };
    this.#stage.show(arrange({ call: this.#call, own, view: this.#view }));
    this.#drawControls();
    this.#drawBanner();
    if (this.#panel === 'people') this.#views.people.refresh();
  }

  #drawControls() {
    const { isSharing, roster } = this.#call;
    const microphone = this.#local.isOn('microphone');
    const camera = this.#local.isOn('camera');
    button('toggle-microphone', microphone ? 'mic' : 'mic-off', 'Microphone', `Microphone ${onOff(microphone)} (M)`, microphone);
    button('toggle-camera', camera ? 'camera' : 'camera-off', 'Camera', `Camera ${onOff(camera)} (V)`, camera);
    button('toggle-screen', isSharing ? 'screen-off' : 'screen', isSharing ? 'Stop' : 'Share', isSharing ? 'Stop sharing (S)' : 'Share a screen (S)', isSharing);
    byId('toggle-screen').classList.toggle('is-active', isSharing);
    const count = roster.participants.length + 1;
    panelButton('show-people', 'people', 'People', `People, ${count} here (P)`, this.#panel === 'people', count);
    panelButton('show-chat', 'chat', 'Chat', 'Chat (C)', this.#panel === 'chat', this.#unread);
    panelButton('show-stats', 'stats', 'Stats', 'Statistics (I)', this.#panel === 'stats', 0);
    const mode = byId('view-mode');
    mode.setAttribute('aria-pressed', String(this.#view.speakerView));
    mode.title = this.#view.speakerView ? 'Show everybody (L)' : 'Show the speaker large (L)';
    mode.setAttribute('aria-label', mode.title);
    if (!mode.firstChild) mode.append(icon('grid'));
    setIcon(mode, this.#view.speakerView ? 'grid' : 'spotlight');
  }

  #drawBanner() {
    const { state, roster, isSharing } = this.#call;
    const banner = byId('banner');
    const alone = roster.participants.length === 0;
    const text =
      state === 'reconnecting'
        ? 'The connection was lost. Reconnecting …'
        : isSharing
          ? 'You are sharing your screen.'
          : alone
            ? 'You are the only one here. Copy the link and send it to others.'
            : '';
    banner.hidden = text === '';
    banner.classList.toggle('is-warning', state === 'reconnecting');
    setText(banner, text);
  }

  async #toggle(kind) {
    await this.#local.set(kind, !this.#local.isOn(kind));
  }

  async #share() {
    try {
      await (this.#call.isSharing ? this.#call.stopSharing() : this.#call.startSharing());
    } catch (error) {
      toast(error.message);
    }
  }

  #switchView() {
    this.#view.speakerView = !this.#view.speakerView;
    this.#view.pinned = null;
    this.#call.pin(null);
    preferences.write('view', this.#view.speakerView ? 'speaker' : 'grid');
    this.#refresh();
  }

  #pin(key) {
    this.#view.pinned = this.#view.pinned === key ? null : key;
    const person = this.#call.roster.get(this.#view.pinned);
    const camera = person?.publications.find((publication) => publication.source === 'SOURCE_CAMERA');
    const screen = this.#call.roster.publication(this.#view.pinned);
    this.#call.pin(this.#view.pinned && (camera?.id ?? screen?.publication.id ?? null));
    this.#refresh();
  }

  #togglePanel(name) {
    this.#panel = this.#panel === name ? null : name;
    byId('panel').hidden = this.#panel === null;
    byId('call').classList.toggle('has-panel', this.#panel !== null);
    for (const id of Object.keys(PANELS)) byId(id).hidden = id !== this.#panel;
    setText(byId('panel-title'), PANELS[this.#panel] ?? '');
    this.#views.stats.show(this.#panel === 'stats');
    if (this.#panel === 'chat') {
      this.#unread = 0;
      this.#views.chat.focus();
    }
    if (this.#panel === null) byId(`show-${name}`).focus();
    this.#refresh();
  }

  async #copyLink() {
    const link = inviteLink(location, this.#call.room.name);
    try {
      await navigator.clipboard.writeText(link);
      toast('Link copied');
    } catch {
      prompt('The link to this call:', link);
    }
  }

  #chat(message) {
    this.#views.chat.receive(message);
    if (this.#panel === 'chat') return;
    this.#unread += 1;
    toast(`${displayName(this.#call.roster.get(message.from))}: ${message.text.slice(0, 120)}`);
    this.#refresh();
  }

  /** One audio element per audio slot, for as long as the slot lasts. */
  #connectVoices() {
    const box = byId('voices');
    this.#call.slots.audioTracks().forEach((track, index) => {
      const voice = box.children[index] ?? box.appendChild(h('audio', { autoplay: true }));
      if (voice.srcObject?.getTracks()[0] === track) return;
      voice.srcObject = new MediaStream([track]);
      voice.play().catch(() => this.#awaitGesture(voice));
    });
    if (preferences.read('speaker')) this.setSpeaker(preferences.read('speaker'));
  }

  /** A browser may refuse sound before the user has touched the page. */
  #awaitGesture(voice) {
    if (!voice.isConnected || !voice.paused) return;
    if (!this.#silenced) toast('Click anywhere to hear the others.');
    this.#silenced = true;
    const start = () => voice.play().catch(() => undefined);
    document.addEventListener('pointerdown', start, { once: true });
    document.addEventListener('keydown', start, { once: true });
  }

  /** Another session: what the one before was told, and whom it pinned, does not hold. */
  #rejoined() {
    this.#told.clear();
    this.#view.pinned = null;
    this.#refresh();
  }

  #laidOut(sizes) {
    this.#sizes = sizes;
    clearTimeout(this.#timers.tiles);
    this.#timers.tiles = setTimeout(() => this.#tellTiles(), TILES_DELAY);
  }

  #tellTiles() {
    for (const person of this.#call.roster.participants) {
      for (const publication of person.publications) {
        if (publication.kind !== 'MEDIA_KIND_VIDEO') continue;
        const slot = this.#call.slots.carrying(publication.id);
        if (!slot) continue;
        const key = publication.source === 'SOURCE_SCREEN' ? publication.id : person.id;
        const tile = this.#sizes.get(key) ?? { hidden: true };
        const told = `${publication.id} ${tile.hidden ? 'hidden' : `${tile.width}x${tile.height}`}`;
        if (this.#told.get(slot.mid) === told) continue;
        this.#told.set(slot.mid, told);
        this.#call.setTile(slot.mid, tile);
      }
    }
  }

  #eachSecond() {
    const seconds = Math.floor((performance.now() - this.#started) / 1000);
    const pad = (value) => String(value).padStart(2, '0');
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    setText(byId('elapsed'), `${hours ? `${hours}:${pad(minutes)}` : minutes}:${pad(seconds % 60)}`);
    this.#noticeMutedSpeech();
  }

  #noticeMutedSpeech() {
    const muted = !this.#local.isOn('microphone');
    this.#meter.watch(muted ? this.#local.track('microphone') : null);
    if (this.#meter.read() < MUTED_SPEECH_LEVEL || performance.now() - this.#mutedHint < MUTED_SPEECH_PAUSE) return;
    this.#mutedHint = performance.now();
    toast('You are muted. Press M to speak.');
  }
}

function onOff(on) {
  return on ? 'on' : 'off';
}

function button(id, symbol, name, title, pressed) {
  const element = byId(id);
  if (!element.firstChild) element.append(icon(symbol), h('span', { class: 'control-name' }, name));
  setIcon(element, symbol);
  setText(element.querySelector('.control-name'), name);
  element.title = title;
  element.setAttribute('aria-label', title.replace(/ \(.\)$/, ''));
  element.setAttribute('aria-pressed', String(pressed));
}

function panelButton(id, symbol, name, title, open, count) {
  const element = byId(id);
  if (!element.firstChild) {
    element.append(icon(symbol), h('span', { class: 'control-name' }, name), h('span', { class: 'badge', 'aria-hidden': 'true' }));
  }
  element.title = title;
  element.setAttribute('aria-label', title.replace(/ \(.\)$/, ''));
  element.setAttribute('aria-expanded', String(open));
  const badge = element.querySelector('.badge');
  setText(badge, count > 0 ? String(count) : '');
  badge.hidden = count === 0;
}
