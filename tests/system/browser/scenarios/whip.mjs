// One browser publishes by WHIP, another plays by WHEP; both from a page of another origin than the server's.
//
// `publisher` and `player` are 'chromium', 'firefox' or 'none' (then a program does that part).

import { readFileSync } from 'node:fs';
import { CAPTURE } from '../call.mjs';
import { inject, readCounters } from '../inject.mjs';
import { serve } from '../serve.mjs';

const SETTLE = 2000;

export async function run({ server, room, stream, publisher, player, seconds, simulcast, codec }, launch) {
  const site = await serve(readFileSync(new URL('../pages/whip.html', import.meta.url)));
  const browsers = new Map();
  const open = async (kind) => {
    if (!browsers.has(kind)) browsers.set(kind, await launch(kind));
    const tab = await browsers.get(kind).open({ prepare: [inject.rememberPeers] });
    await tab.goto(site.url);
    await tab.until(() => window.ready === true);
    return tab;
  };
  const result = {};
  let sending = null;
  let playing = null;
  if (publisher !== 'none') {
    sending = await open(publisher);
    const endpoint = `${server}/whip/${room}/${stream}`;
    result.whip = await sending.evaluate(([url, options]) => window.publish(url, options), [endpoint, { ...CAPTURE, simulcast, codec }]);
    await sending.until(() => window.peers.at(-1).connectionState === 'connected', null, { what: 'the publisher is connected' });
    console.log('PUBLISHING');
  }
  if (player !== 'none') {
    playing = await open(player);
    result.whep = await playing.evaluate((url) => window.play(url), `${server}/whep/${room}/${stream}`);
    await playing.until(() => document.getElementById('video').videoWidth > 0, null, { what: 'the player shows a picture' });
    console.log('PLAYING');
  }
  await pause(SETTLE);
  const before = await read(sending, playing);
  await pause(seconds * 1000);
  const after = await read(sending, playing);
  result.sent = after.sent.map((now, index) => ({ ...now, encoded: now.framesEncoded - (before.sent[index]?.framesEncoded ?? 0) }));
  result.received = after.received.map((now) => {
    const old = before.received.find((one) => one.mid === now.mid) ?? {};
    return { ...now, decoded: now.framesDecoded - (old.framesDecoded ?? 0), freezes: now.freezeCount - (old.freezeCount ?? 0) };
  });
  for (const [name, tab] of [['whepEnded', playing], ['whipEnded', sending]]) {
    if (tab) result[name] = await tab.evaluate(() => window.hangUp());
  }
  result.errors = [sending, playing].flatMap((tab) => tab?.errors ?? []);
  site.close();
  return result;
}

async function read(sending, playing) {
  return {
    sent: sending ? (await sending.evaluate(readCounters)).outgoing : [],
    received: playing ? (await playing.evaluate(readCounters)).incoming : [],
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
