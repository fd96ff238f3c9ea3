// Verbs of the tests about calls on the product's own page.

import { inject, readCounters } from './inject.mjs';

/** The picture and rate that all tests ask of a camera: two cores carry four browsers of it. */
export const CAPTURE = { width: 640, height: 360, fps: 15 };

/** Opens the page and joins. `options` are those of sfu/web/js/options.js. */
export async function join(browser, server, { room, name, options = {}, prepare = [], ...rest }) {
  const tab = await browser.open({ prepare: [inject.rememberPeers, ...prepare], ...rest });
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

/** The layer of a sender that a receiver gets, by the height of the picture. */
export function forwardedLayer(outgoing, received) {
  return outgoing.find((stream) => stream.kind === 'video' && stream.frameHeight === received.frameHeight);
}

/**
 * Counts over a span what each tab received of each other. Returns one entry per pair: {to, from, layer,
 * encoded, decoded, freezes, width, height, fps, ...}.
 */
export async function measure(tabs, seconds) {
  const before = await Promise.all(tabs.map(counters));
  const start = Date.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const after = await Promise.all(tabs.map(counters));
  const span = (Date.now() - start) / 1000;
  return tabs.map((tab, index) => ({
    name: tab.name,
    state: after[index].state,
    path: after[index].path,
    sent: after[index].outgoing.map((stream) => ({ ...stream, ...sinceFor(before[index].outgoing, stream) })),
    video: after[index].incoming
      .filter((stream) => stream.kind === 'video' && stream.from)
      .map((stream) => pairOf(stream, before[index], tabs, before, after, span)),
    audio: after[index].incoming.filter((stream) => stream.kind === 'audio').map((stream) => audioOf(stream, before[index])),
  }));
}

function sinceFor(before, stream) {
  const old = before.find((one) => one.kind === stream.kind && one.rid === stream.rid);
  return { encodedInSpan: stream.framesEncoded - (old?.framesEncoded ?? 0) };
}

function pairOf(stream, before, tabs, allBefore, allAfter, span) {
  const old = before.incoming.find((one) => one.mid === stream.mid) ?? {};
  const sender = tabs.findIndex((tab) => tab.name === stream.from);
  const layer = forwardedLayer(allAfter[sender].outgoing, stream);
  const layerBefore = allBefore[sender].outgoing.find((one) => one.kind === 'video' && one.rid === layer?.rid);
  const since = (name) => stream[name] - (old[name] ?? 0);
  return {
    from: stream.from,
    codec: stream.codec,
    rid: layer?.rid ?? null,
    steady: old.frameHeight === stream.frameHeight,
    encoded: (layer?.framesEncoded ?? 0) - (layerBefore?.framesEncoded ?? 0),
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
    fps: since('framesDecoded') / span,
  };
}

function audioOf(stream, before) {
  const old = before.incoming.find((one) => one.mid === stream.mid) ?? {};
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
