// One call, from joining to leaving: joins signalling, peer connection, roster, slots and own media.
//
// Events: state ('joining' | 'connected' | 'reconnecting' | 'left'), people ({came, went}), slots, speakers,
// quality, chat ({from, text}), sharing (boolean), notice (sentence), rejoined, left ({reason, message}).

import { captureScreen } from './devices.js';
import { DirectiveKeeper } from './directive.js';
import { Emitter } from './emitter.js';
import { Peer } from './peer.js';
import { Roster } from './roster.js';
import { Signal, SignalError } from './signal.js';

const CLIENT = 'sfu-web/0.1';
const CHAT_TOPIC = 'chat';

/** What people are told of a server that has too much to do, by the stages that they notice. */
const OVERLOAD = {
  STAGE_REPAIR: 'The server is busy; pictures may break up.',
  STAGE_UPPER_LAYERS: 'The server is busy; pictures are smaller for a while.',
  STAGE_VIDEO: 'The server is busy; some pictures pause.',
  STAGE_SPEAKERS_VIDEO: 'The server is busy; pictures pause, sound goes on.',
};
const SOURCES = {
  camera: 'SOURCE_CAMERA',
  microphone: 'SOURCE_MICROPHONE',
  screen: 'SOURCE_SCREEN',
  screenAudio: 'SOURCE_SCREEN_AUDIO',
};
const DEVICES = ['microphone', 'camera'];
/** An ICE restart that has not connected by then is tried again; after so many the call is joined anew. */
const RESTART_PATIENCE = 6000;
const MOST_RESTARTS = 3;
const REJOIN_DELAYS = [0, 500, 1000, 2000, 4000, 8000];
/** Refusals of a join that pass by themselves: no network, or a server that restarts. */
const PASSING = new Set(['UNREACHABLE', 'TIMEOUT', 'LOST', 'ERROR_CODE_UNAVAILABLE']);
/** Publications tend to come in groups; one offer serves the group. */
const MORE_SLOTS_DELAY = 100;

export class Call extends Emitter {
  #url;
  #entry;
  #media;
  #local;
  #signal = null;
  #peer;
  #published = {};
  #directives = new Map();
  #screen = null;
  #restarts = 0;
  #restartTimer = 0;
  #slotsTimer = 0;
  #pinned = null;
  #tiles = new Map();
  #stops = [];
  /** Whether the server knows us: before and between sessions there is nothing to negotiate. */
  #entered = false;

  state = 'joining';
  roster = new Roster();
  speakers = [];
  lastSpeaker = '';
  quality = new Map();
  room = {};
  grants = {};
  ownId = '';

  /**
   * `entry` is {room, name, token}, `media` {codec, simulcast, height, fps}, `local` a LocalMedia, `peer` a Peer that
   * was made ahead.
   */
  constructor({ url, entry, media, local, peer }) {
    super();
    this.#peer = peer;
    this.#url = url;
    this.#entry = entry;
    this.#media = media;
    this.#local = local;
  }

  get slots() {
    return this.#peer.slots;
  }

  get name() {
    return this.#entry.name;
  }

  get isSharing() {
    return this.#screen !== null;
  }

  get screenTrack() {
    return this.#screen?.video ?? null;
  }

  /** Enters the room. Rejects with a SignalError that says why not. */
  async join() {
    await this.#enter();
    this.#stops.push(this.#local.on('change', (kind) => this.#localChange(kind)));
    this.#listen(window, 'online', () => this.#networkChange());
    this.#listen(navigator.connection, 'change', () => this.#networkChange());
    this.#setState('connected');
  }

  leave(reason = 'left by the user') {
    this.#signal?.leave(reason);
    this.#finish({ reason: 'LEAVE_REASON_CLIENT', message: 'You left the call.' });
  }

  sendChat(text) {
    const payload = toBase64(new TextEncoder().encode(text));
    return this.#signal.request({ sendData: { payload, topic: CHAT_TOPIC } });
  }

  /** `action` is one of {removeParticipantId}, {mutePublicationId}, {closeRoom: true}. */
  moderate(action) {
    return this.#signal.request({ moderate: action });
  }

  /** Tells how large a slot is shown: `tile` is {width, height} in device pixels, or {hidden: true}. */
  setTile(mid, tile) {
    this.#tiles.set(mid, tile);
    this.#subscribe(mid);
  }

  /** Makes sure that a publication has a slot, whoever speaks; null lets the server choose again. */
  pin(publicationId) {
    const mid = publicationId && (this.slots.carrying(publicationId)?.mid ?? this.slots.spare('video'));
    const before = this.#pinned?.mid;
    this.#pinned = mid ? { mid, publicationId } : null;
    if (before && before !== mid) this.#subscribe(before);
    if (mid) this.#subscribe(mid);
  }

  async startSharing() {
    const screen = await captureScreen();
    if (!screen || this.state === 'left') return;
    this.#screen = screen;
    screen.video.onended = () => this.stopSharing();
    this.emit('sharing', true);
    await this.#sendScreen();
  }

  async stopSharing() {
    if (!this.#screen) return;
    for (const track of [this.#screen.video, this.#screen.audio]) track?.stop();
    this.#screen = null;
    this.emit('sharing', false);
    await this.#withdraw('screen');
    await this.#withdraw('screenAudio');
  }

  /** Everything the statistics panel needs of this call: the raw report and whose each section is. */
  async stats() {
    return this.#peer.stats();
  }

  /** The source that a sending section carries. */
  sourceOf(mid) {
    return Object.keys(SOURCES).find((source) => this.#peer.mid(source) === mid);
  }

  /** What the server asks of an encoding of the section with this mid, as an EncodingDirective; undefined for nothing. */
  asked(mid, rid) {
    return this.#directives.get(this.#published[this.sourceOf(mid)]?.id)?.asked(rid);
  }

  /** Says all that is wanted in a slot: what is not said again does not hold. */
  #subscribe(mid) {
    const pinned = this.#pinned?.mid === mid ? { publicationId: this.#pinned.publicationId } : {};
    this.#signal.send({ subscribe: { mid, tile: this.#tiles.get(mid), ...pinned } });
  }

  async #enter() {
    const signal = new Signal(this.#url);
    const peer = this.#peer;
    this.#signal = signal;
    this.#published = {};
    this.#pinned = null;
    this.#tiles.clear();
    this.#restarts = 0;
    signal.on('message', ({ kind, body }) => this.#message(kind, body));
    try {
      const publishing = DEVICES.filter((source) => this.#liveTrack(source));
      const sending = publishing.map((source) => peer.send(source, this.#liveTrack(source)));
      const [sdp] = await Promise.all([peer.firstOffer, signal.open(), ...sending]);
      const publish = publishing.map((source) => ({ mid: peer.mid(source), source: SOURCES[source] }));
      const joined = await signal.join({ ...this.#entry, offer: { sdp, publish }, client: CLIENT });
      publishing.forEach((source, index) => {
        this.#published[source] = { id: joined.answer.publications?.[index]?.id, muted: false };
      });
      const accepted = peer.accept(joined.answer.sdp);
      this.#adopt(joined);
      await accepted;
      if (joined.iceServers?.length > 0) peer.useIceServers(joined.iceServers);
    } catch (error) {
      signal.leave('could not join');
      peer.close();
      throw error;
    }
    this.#watch(signal, peer);
    this.#entered = true;
    this.#afterRoster();
    for (const kind of DEVICES) this.#localChange(kind);
    await this.#sendScreen();
  }

  #watch(signal, peer) {
    signal.on('state', (state) => this.#setState(state === 'lost' ? 'reconnecting' : this.#mediaState()));
    signal.on('resumed', (joined) => this.#resumed(joined));
    signal.on('gone', () => this.#rejoin());
    signal.on('left', (left) => (left.reason === 'LEAVE_REASON_SERVER_SHUTDOWN' ? this.#rejoin() : this.#finish(left)));
    peer.on('trouble', () => this.#restartIce());
    peer.on('state', (state) => {
      if (state === 'connected') {
        clearTimeout(this.#restartTimer);
        this.#restarts = 0;
      }
      this.#setState(signal.isOpen ? this.#mediaState() : 'reconnecting');
    });
  }

  #mediaState() {
    return ['disconnected', 'failed'].includes(this.#peer.state) ? 'reconnecting' : 'connected';
  }

  #adopt(joined) {
    this.ownId = joined.participantId;
    this.room = joined.room ?? {};
    this.grants = joined.grants ?? {};
    this.slots.assign(joined.slots);
    const change = this.roster.reset(joined.participants);
    this.emit('people', change);
    this.emit('slots');
  }

  #message(kind, body) {
    switch (kind) {
      case 'roster':
        this.emit('people', this.roster.update(withoutSelf(body, this.ownId)));
        this.#afterRoster();
        break;
      case 'slots':
        this.slots.assign(body.slots);
        this.emit('slots');
        break;
      case 'activeSpeakers':
        this.speakers = body.speakers ?? [];
        this.lastSpeaker = this.speakers.find(({ participantId }) => participantId !== this.ownId)?.participantId ?? this.lastSpeaker;
        this.emit('speakers');
        break;
      case 'data':
        this.#data(body);
        break;
      case 'connectionQuality':
        for (const one of body.participants ?? []) this.quality.set(one.participantId, one);
        this.emit('quality');
        break;
      case 'encoderDirective':
        this.#directive(body);
        break;
      case 'muted':
        this.#mutedByOther(body);
        break;
      case 'overload':
        this.emit('notice', OVERLOAD[body.stage] ?? 'The server keeps up again.');
        break;
      case 'error':
        this.emit('notice', body.message);
        break;
      default:
    }
  }

  #data({ from, payload = '', topic }) {
    if (topic !== CHAT_TOPIC) return;
    this.emit('chat', { from, text: new TextDecoder().decode(fromBase64(payload)) });
  }

  #directive(directive) {
    const source = Object.keys(this.#published).find((name) => this.#published[name].id === directive.publicationId);
    const acknowledge = (ack) => this.#signal.send({ encoderDirectiveAck: ack });
    if (!source) {
      acknowledge({
        publicationId: directive.publicationId,
        version: directive.version,
        outcome: 'DIRECTIVE_OUTCOME_UNSUPPORTED',
        detail: 'no such publication here',
      });
      return;
    }
    if (!this.#directives.has(directive.publicationId)) {
      const keeper = new DirectiveKeeper(this.#peer.section(source).sender, acknowledge);
      this.#directives.set(directive.publicationId, keeper);
    }
    this.#directives.get(directive.publicationId).obey(directive);
  }

  #mutedByOther({ publicationId, muted = false }) {
    const source = Object.keys(this.#published).find((name) => this.#published[name].id === publicationId);
    if (!source || !muted) return;
    this.#published[source].muted = true;
    if (source.startsWith('screen')) this.stopSharing();
    else this.#local.set(source, false);
    this.emit('notice', `A moderator switched your ${source === 'screenAudio' ? 'screen sound' : source} off.`);
  }

  /** More people publish than there are slots: offer more. */
  #afterRoster() {
    const kinds = { audio: 'AUDIO', video: 'VIDEO' };
    const missing = (kind) => this.slots.missing(kind, this.roster.published(kinds[kind]).length);
    clearTimeout(this.#slotsTimer);
    if (missing('audio') + missing('video') === 0) return;
    this.#slotsTimer = setTimeout(() => {
      for (const kind of ['audio', 'video']) this.slots.add(kind, missing(kind));
      this.emit('slots');
      this.#negotiate();
    }, MORE_SLOTS_DELAY);
  }

  async #negotiate({ restartIce = false } = {}) {
    const exchange = async (sdp) => (await this.#signal.request({ offer: { sdp } })).sdp;
    try {
      await this.#peer.negotiate(exchange, { restartIce });
    } catch (error) {
      // A lost connection offers again once it is resumed.
      if (!(error instanceof SignalError)) throw error;
      if (error.code !== 'LOST') this.emit('notice', error.message);
    }
  }

  #liveTrack(kind) {
    return this.#local.isOn(kind) ? this.#local.track(kind) : null;
  }

  async #localChange(kind) {
    if (!this.#entered) return undefined;
    const track = this.#liveTrack(kind);
    if (track) return this.#send(kind, track);
    await this.#peer.send(kind, null);
    return this.#setMuted(kind, true);
  }

  async #sendScreen() {
    if (this.#screen) await this.#send('screen', this.#screen.video);
    if (this.#screen?.audio) await this.#send('screenAudio', this.#screen.audio);
  }

  /** Sends a track as `source`, publishing it the first time. */
  async #send(source, track) {
    const peer = this.#peer;
    await peer.send(source, track);
    if (peer.mid(source) === null) await this.#negotiate();
    const known = this.#published[source];
    if (known?.id) return this.#setMuted(source, false);
    if (known) return undefined;
    this.#published[source] = { id: '', muted: false };
    try {
      const reply = await this.#signal.request({ publish: { mid: peer.mid(source), source: SOURCES[source] } });
      this.#published[source] = { id: reply.publication?.id, muted: false };
      // It may have been switched off meanwhile.
      if (DEVICES.includes(source) && !this.#liveTrack(source)) this.#setMuted(source, true);
    } catch (error) {
      delete this.#published[source];
      this.emit('notice', error.message);
    }
    return undefined;
  }

  #setMuted(source, muted) {
    const known = this.#published[source];
    if (!known?.id || known.muted === muted) return;
    known.muted = muted;
    this.#signal.send({ setMuted: { publicationId: known.id, muted } });
  }

  async #withdraw(source) {
    const known = this.#published[source];
    if (!known) return;
    delete this.#published[source];
    this.#directives.get(known.id)?.close();
    this.#directives.delete(known.id);
    this.#signal.send({ unpublish: { publicationId: known.id } });
    await this.#peer.send(source, null);
  }

  #resumed(joined) {
    this.#adopt(joined);
    // What was asked for while the connection was away may not have arrived: begin from the server's view.
    for (const [source, known] of Object.entries(this.#published)) {
      const publication = joined.publications?.find((candidate) => candidate.id === known.id);
      if (publication) known.muted = publication.muted ?? false;
      else delete this.#published[source];
    }
    for (const kind of DEVICES) this.#localChange(kind);
    this.#sendScreen();
    this.#afterRoster();
    if (this.#peer.state !== 'connected') this.#restartIce();
  }

  #networkChange() {
    this.#signal.probe();
    this.#restartIce();
  }

  /** New ICE credentials and candidates on the same connection: the way over after a change of network. */
  #restartIce() {
    clearTimeout(this.#restartTimer);
    if (!this.#entered || !this.#signal.isOpen) return;
    this.#restarts += 1;
    if (this.#restarts > MOST_RESTARTS) {
      this.#rejoin();
      return;
    }
    this.#negotiate({ restartIce: true });
    this.#restartTimer = setTimeout(() => {
      if (this.#peer.state !== 'connected') this.#restartIce();
      else this.#restarts = 0;
    }, RESTART_PATIENCE);
  }

  /** The session is over although nobody wanted that: enter again as a new participant. */
  async #rejoin() {
    this.#closeSession('joins again');
    this.#setState('reconnecting');
    for (const delay of REJOIN_DELAYS) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.state === 'left') return;
      try {
        this.#peer = new Peer(this.#media);
        await this.#enter();
        this.#setState('connected');
        this.emit('rejoined');
        return;
      } catch (error) {
        if (!PASSING.has(error.code)) {
          this.#finish({ reason: '', message: error.message });
          return;
        }
      }
    }
    this.#finish({ reason: 'LEAVE_REASON_CONNECTION_LOST', message: 'The connection was lost.' });
  }

  #closeSession(reason) {
    this.#entered = false;
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#slotsTimer);
    for (const keeper of this.#directives.values()) keeper.close();
    this.#directives.clear();
    this.#signal?.leave(reason);
    this.#peer.close();
  }

  #finish(left) {
    if (this.state === 'left') return;
    this.#closeSession('left');
    for (const stop of this.#stops) stop();
    for (const track of [this.#screen?.video, this.#screen?.audio]) track?.stop();
    this.#screen = null;
    this.#setState('left');
    this.emit('left', left);
  }

  #setState(state) {
    if (this.state === state || this.state === 'left') return;
    this.state = state;
    this.emit('state', state);
  }

  #listen(target, name, listener) {
    if (!target) return;
    target.addEventListener(name, listener);
    this.#stops.push(() => target.removeEventListener(name, listener));
  }
}

function withoutSelf(update, ownId) {
  return { ...update, participants: (update.participants ?? []).filter((person) => person.id !== ownId) };
}

function toBase64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
