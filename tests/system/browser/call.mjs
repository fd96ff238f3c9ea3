// Verbs of the tests about calls on the product's own page.

import { inject, readCounters } from './inject.mjs';

/** The picture and rate that all tests ask of a camera: two cores carry four browsers of it. */
export const CAPTURE = { width: 640, height: 360, fps: 15 };

/** One small layer, for tests that are about something else than the picture. */
export const SMALL_CAPTURE = { width: 320, height: 180, fps: 15 };

/** Opens the page and joins. `options` are those of sfu/web/js/options.js. */
export async function join(browser, server, { room, name, options = {}, prepare = [], ...rest }) {
  const tab = await browser.open({ prepare: [inject.rememberPeers, inject.rememberNotices, inject.pulse, ...prepare], ...rest });
  tab.name = name;
  const query = new URLSearchParams({ room, name, autojoin: '1', ...CAPTURE, ...options });
  await tab.goto(`${server}/?${query}`);
  await tab.until(() => !document.getElementById('call').hidden, null, { what: `${name} is in the call` });
  return tab;
}

const SETTLED_AFTER = 4000;
const MOST_SETTLING = 30_000;

export const counters = (tab) => tab.evaluate(readCounters);

/** Waits until the tab shows a moving picture of each of `names`. */
export async function seesAll(tab, names, options = {}) {
  await tab.until(
    (wanted) => {
      const moving = [...document.querySelectorAll('.tile.has-picture')].map((tile) => tile.querySelector('.tile-name').textContent);
      return wanted.every((name) => moving.includes(name));
    },
    names,
    { what: `${tab.name} sees ${names.join(', ')}`, ...options },
  );
}

/** Waits until nobody of this name has a tile any more. */
export async function seesNoMore(tab, name, options = {}) {
  await tab.until(
    (gone) => [...document.querySelectorAll('.tile-name')].every((label) => label.textContent !== gone),
    name,
    { what: `${tab.name} sees ${name} no more`, every: 20, ...options },
  );
}

/** Waits until the tab has decoded `frames` more of each picture that it shows of `names`. */
export async function picturesMove(tab, names, { frames = 10, ...options } = {}) {
  const of = (all, name) => all.incoming.find((stream) => stream.kind === 'video' && stream.from === name);
  const before = await counters(tab);
  const deadline = Date.now() + (options.timeout ?? 40_000);
  for (;;) {
    const now = await counters(tab);
    const still = names.filter((name) => !(of(now, name)?.framesDecoded >= (of(before, name)?.framesDecoded ?? 0) + frames));
    if (still.length === 0) return;
    if (Date.now() > deadline) throw new Error(`${tab.name}: no moving picture of ${still.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Waits until the page says that the connection is lost, or no longer. */
export async function isReconnecting(tab, yes) {
  await tab.until(
    (wanted) => {
      const banner = document.getElementById('banner');
      return wanted === (!banner.hidden && banner.classList.contains('is-warning'));
    },
    yes,
    { what: `${tab.name} is ${yes ? 'reconnecting' : 'connected again'}` },
  );
}

/** Opens one of the side panels: 'people', 'chat' or 'stats'. */
export async function openPanel(tab, name) {
  const isOpen = await tab.evaluate((id) => !document.getElementById(id).hidden, name);
  if (!isOpen) await tab.click(`#show-${name}`);
}

/** Writes into the chat. */
export async function say(tab, text) {
  await openPanel(tab, 'chat');
  await tab.click('#chat textarea');
  // Firefox takes keys before it has dealt with a click: they would go to what had the focus before.
  await tab.until(() => document.activeElement?.matches('#chat textarea'), null, { what: 'the chat takes text' });
  await tab.type(text);
  await tab.press('Enter');
}

/** Waits until the chat holds this text. */
export async function reads(tab, text) {
  await tab.until(
    (wanted) => [...document.querySelectorAll('#chat .messages p')].some((line) => line.textContent === wanted),
    text,
    { what: `${tab.name} reads "${text}"` },
  );
}

/** Bandwidth estimates begin low: waits until no tab's pictures have changed size for some seconds. */
export async function settle(tabs) {
  const sizes = async () => {
    const all = await Promise.all(tabs.map(counters));
    return JSON.stringify(all.map(({ incoming }) => incoming.map(({ mid, frameHeight }) => [mid, frameHeight])));
  };
  const deadline = Date.now() + MOST_SETTLING;
  let [last, since] = [await sizes(), Date.now()];
  while (Date.now() < deadline && Date.now() - since < SETTLED_AFTER) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = await sizes();
    if (now !== last) [last, since] = [now, Date.now()];
  }
}

/**
 * Counts over a span what each tab received of each other: one entry per tab, with a `video` entry per picture shown
 * and an `audio` entry per sound. A layer may change meanwhile, so frames are compared interval by interval.
 */
export async function measure(tabs, seconds) {
  const samples = [await Promise.all(tabs.map(counters))];
  const start = Date.now();
  for (let second = 1; second <= seconds; second += 1) {
    await new Promise((resolve) => setTimeout(resolve, start + 1000 * second - Date.now()));
    samples.push(await Promise.all(tabs.map(counters)));
  }
  const end = Date.now();
  return tabs.map((tab, index) => {
    const own = samples.map((sample) => sample[index]);
    const last = own.at(-1);
    const of = (kind) => last.incoming.filter((stream) => stream.kind === kind);
    return {
      name: tab.name,
      state: last.state,
      path: last.path,
      measured: { from: start, to: end },
      paused: Math.max(...own.slice(1).map((sample) => sample.paused)),
      sent: last.outgoing.map((stream) => ({ ...stream, encodedInSpan: stream.framesEncoded - encoded(own[0], stream.rid) })),
      video: of('video')
        .filter((stream) => stream.from)
        .map((stream) => videoOf(stream, own, samples.map((sample) => sample[tabs.findIndex((other) => other.name === stream.from)]))),
      audio: of('audio').map((stream) => audioOf(stream, own)),
    };
  });
}

/** Frames that a sender had encoded in a layer. */
function encoded(sender, rid) {
  return sender.outgoing.find((stream) => stream.kind === 'video' && stream.rid === rid)?.framesEncoded ?? 0;
}

/**
 * The layer that has the size of a received picture, in the sender's newest sample that tells. Both ends are not asked
 * at one moment, so a sender may say a new size, or none, while the last picture of the old one is still shown.
 */
function layerOf(samples, received) {
  const isShown = (stream) => stream.kind === 'video' && stream.frameHeight === received?.frameHeight;
  return samples.map(({ outgoing }) => outgoing.find(isShown)?.rid).findLast((rid) => rid !== undefined);
}

function videoOf(stream, own, sender) {
  const received = own.map((sample) => sample.incoming.find((one) => one.mid === stream.mid));
  const layers = received.map((one, index) => layerOf(sender.slice(0, index + 1), one));
  let expected = 0;
  for (let index = 1; index < own.length; index += 1) {
    // Where the layer changed in between, the one of which more was encoded counts.
    const grown = [layers[index - 1], layers[index]].map((rid) => encoded(sender[index], rid) - encoded(sender[index - 1], rid));
    expected += Math.max(...grown);
  }
  const since = (name) => stream[name] - (received[0]?.[name] ?? 0);
  return {
    from: stream.from,
    codec: stream.codec,
    layers: layers.filter((rid, index) => rid !== layers[index - 1] || index === 0),
    encoded: expected,
    received: since('framesReceived') || since('framesDecoded'),
    decoded: since('framesDecoded'),
    dropped: since('framesDropped'),
    freezes: since('freezeCount'),
    frozen: since('totalFreezesDuration'),
    keyframes: since('keyFramesDecoded'),
    lost: since('packetsLost'),
    nacks: since('nackCount'),
    plis: since('pliCount'),
    width: stream.frameWidth,
    height: stream.frameHeight,
  };
}

function audioOf(stream, own) {
  const old = own[0].incoming.find((one) => one.mid === stream.mid) ?? {};
  const since = (name) => stream[name] - (old[name] ?? 0);
  return {
    codec: stream.codec,
    packets: since('packetsReceived'),
    lost: since('packetsLost'),
    energy: since('totalAudioEnergy'),
    samples: since('totalSamplesReceived'),
    concealed: since('concealedSamples') - since('silentConcealedSamples'),
  };
}
