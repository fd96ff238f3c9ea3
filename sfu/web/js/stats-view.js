// The statistics panel: the whole connection at the top, then a card per stream.

import { askedText } from './directive.js';
import { byId, h, reconcile, setText } from './dom.js';
import { Sparkline } from './graph.js';
import { displayName } from './roster.js';
import { layerText, pauseText } from './slots.js';
import { StatsCollector, formatBitrate, formatShare, formatTime } from './stats.js';

const PERIOD_SHOWN = 1000;
/** While the panel is closed a slower pace keeps the history for when it opens. */
const PERIOD_HIDDEN = 4000;

const SOURCE_NAMES = { camera: 'camera', microphone: 'microphone', screen: 'screen', screenAudio: 'screen sound' };
/** Metrics of a card: name, tone of the graph, series, text of the newest value. */
const METRICS = {
  bitrate: { name: 'Bitrate', tone: 'down', text: (s) => formatBitrate(s.bitrate), ceiling: 50_000 },
  loss: { name: 'Loss', tone: 'loss', text: (s) => formatShare(s.loss), ceiling: 0.05 },
  fps: { name: 'Frames/s', tone: 'fps', text: (s) => String(Math.round(s.fps)), ceiling: 15 },
  freezes: { name: 'Freezes', tone: 'loss', text: freezeText, ceiling: 1, step: true },
  height: { name: 'Layer', tone: 'layer', text: sizeText, ceiling: 360, step: true },
  jitter: { name: 'Jitter', tone: 'rtt', text: (s) => formatTime(s.jitter), ceiling: 0.03 },
};
const TOTALS = {
  rtt: { name: 'Round trip', tone: 'rtt', text: (s) => formatTime(s.rtt), ceiling: 0.05 },
  loss: { name: 'Loss', tone: 'loss', text: (s) => formatShare(s.loss), ceiling: 0.05 },
  down: { name: 'Receiving', tone: 'down', text: (s) => formatBitrate(s.down), ceiling: 100_000 },
  up: { name: 'Sending', tone: 'up', text: (s) => formatBitrate(s.up), ceiling: 100_000 },
};

export class StatsView {
  #call;
  #collector = new StatsCollector();
  #cards = new Map();
  #timer = 0;
  #shown = false;
  #total = new MetricGrid(TOTALS);
  #path = h('p', { class: 'hint path' });
  #received = h('div', { class: 'cards' });
  #sent = h('div', { class: 'cards' });

  constructor(call) {
    this.#call = call;
    byId('stats').replaceChildren(
      h('section', { class: 'card total', 'aria-label': 'Connection' }, this.#total.element, this.#path),
      h('h3', {}, 'Receiving'),
      this.#received,
      h('h3', {}, 'Sending'),
      this.#sent,
    );
    this.#timer = setTimeout(() => this.#tick(), PERIOD_HIDDEN);
  }

  show(isShown) {
    this.#shown = isShown;
    if (isShown) this.#tick();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #tick() {
    clearTimeout(this.#timer);
    const sample = this.#collector.sample(await this.#call.stats());
    if (this.#shown) this.#draw(sample);
    if (this.#timer !== null) this.#timer = setTimeout(() => this.#tick(), this.#shown ? PERIOD_SHOWN : PERIOD_HIDDEN);
  }

  #draw(sample) {
    this.#total.draw(sample, sample.series);
    setText(this.#path, sample.path ? `over ${sample.path}` : '');
    for (const [direction, box] of [['in', this.#received], ['out', this.#sent]]) {
      const streams = sample.streams.filter((stream) => stream.direction === direction && this.#isOfInterest(stream));
      const named = streams.map((stream) => ({ stream, title: this.#title(stream) }));
      named.sort((a, b) => order(a.stream) - order(b.stream) || a.title.localeCompare(b.title));
      reconcile(box, named.map(({ stream, title }) => this.#card(stream, title)));
    }
    const keys = new Set(sample.streams.map((stream) => stream.key));
    for (const key of [...this.#cards.keys()]) if (!keys.has(key)) this.#cards.delete(key);
  }

  #isOfInterest(stream) {
    if (stream.direction === 'out') return stream.active || stream.bitrate > 0 || this.#reason(stream) !== '';
    return Boolean(this.#call.slots.assignment(stream.mid)?.publicationId);
  }

  #title(stream) {
    if (stream.direction === 'out') return `Your ${SOURCE_NAMES[this.#call.sourceOf(stream.mid)] ?? stream.kind}`;
    const { publicationId } = this.#call.slots.assignment(stream.mid);
    const found = this.#call.roster.publication(publicationId);
    if (!found) return stream.kind;
    const source = found.publication.source?.replace('SOURCE_', '').replace('_', ' ').toLowerCase() ?? stream.kind;
    return `${displayName(found.person)}, ${source}`;
  }

  #card(stream, title) {
    if (!this.#cards.has(stream.key)) this.#cards.set(stream.key, new StreamCard(stream));
    const card = this.#cards.get(stream.key);
    card.draw(stream, title, this.#reason(stream));
    return card.element;
  }

  /** Why a stream is as it is. */
  #reason({ direction, kind, mid, rid }) {
    if (direction === 'out') return askedText(this.#call.asked(mid, rid));
    const assignment = this.#call.slots.assignment(mid);
    return kind === 'video' ? layerText(assignment) : pauseText(assignment);
  }
}

/** One stream. */
class StreamCard {
  #title = h('h4');
  #codec = h('span', { class: 'hint' });
  #grid;
  element;

  constructor({ kind, direction }) {
    const video = direction === 'in' ? ['bitrate', 'fps', 'height', 'loss', 'freezes', 'jitter'] : ['bitrate', 'fps', 'height', 'loss'];
    const names = kind === 'video' ? video : ['bitrate', 'loss', 'jitter'];
    const metrics = Object.fromEntries(names.map((name) => [name, { ...METRICS[name] }]));
    if (direction === 'out') metrics.bitrate.tone = 'up';
    this.#grid = new MetricGrid(metrics);
    this.element = h('section', { class: 'card' }, h('header', {}, this.#title, this.#codec), this.#grid.element);
  }

  draw(stream, title, reason) {
    setText(this.#title, stream.rid ? `${title}, layer ${stream.rid}` : title);
    const limited = stream.direction === 'out' && stream.limit !== 'none' ? `limited by ${stream.limit}` : '';
    setText(this.#codec, [stream.codec, limited, reason].filter(Boolean).join(' · '));
    this.element.setAttribute('aria-label', title);
    this.#grid.draw(stream, stream.series);
  }
}

/** Values with a graph under each. */
class MetricGrid {
  #rows;
  element;

  constructor(metrics) {
    this.#rows = Object.entries(metrics).map(([key, metric]) => ({
      key,
      metric,
      value: h('dd'),
      graph: new Sparkline(metric.tone),
    }));
    const cells = this.#rows.map(({ metric, value, graph }) => h('div', { class: 'metric' }, h('dt', {}, metric.name), value, graph.element));
    this.element = h('dl', { class: 'metrics' }, cells);
  }

  draw(values, series) {
    for (const { key, metric, value, graph } of this.#rows) {
      setText(value, metric.text(values));
      graph.draw(series[key]?.points ?? [], metric);
    }
  }
}

function order({ kind, rid }) {
  return (kind === 'video' ? 0 : 10) + (['f', 'h', 'q'].indexOf(rid) + 1);
}

function sizeText({ width, height }) {
  return height > 0 ? `${width} × ${height}` : 'none';
}

function freezeText({ freezes, frozen }) {
  return freezes > 0 ? `${freezes} (${frozen.toFixed(1)} s)` : '0';
}
