// A far viewer plays by WHEP again and again: from the answer being set to "connected" and to the first frame.
//
// `viewer` is a browser's kind, `way` the relay between it and the server, `publisherWay` that of the publisher, if any.

import { readFileSync } from 'node:fs';
import { CAPTURE } from '../call.mjs';
import { inject } from '../inject.mjs';
import { serve } from '../serve.mjs';

export async function run({ server, room, viewer, way, publisherWay, times }, launch) {
  const site = await serve(readFileSync(new URL('../pages/whip.html', import.meta.url)));
  const open = async (browser, prepare) => {
    const tab = await browser.open({ prepare });
    await tab.goto(site.url);
    await tab.until(() => window.ready === true);
    return tab;
  };
  const chromium = await launch('chromium');
  const sending = await open(chromium, [inject.rememberPeers, ...(publisherWay ? [inject.throughRelay(publisherWay)] : [])]);
  await sending.evaluate(([url, options]) => window.publish(url, options), [`${server}/whip/${room}/camera`, CAPTURE]);
  await sending.until(() => window.peers.at(-1).connectionState === 'connected', null, { what: 'the publisher is connected' });
  // Until the server has had a keyframe and knows the publisher's round trip.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const browser = viewer === 'firefox' ? await launch('firefox') : chromium;
  const took = [];
  for (let index = 0; index < times; index += 1) {
    const tab = await open(browser, [inject.throughRelay(way), inject.answerClock]);
    await tab.evaluate((url) => window.play(url), `${server}/whep/${room}/camera`);
    await tab.until(() => window.answerClock.connected && window.answerClock.frame, null, { what: 'the first frame is there' });
    took.push(await tab.evaluate(() => window.answerClock));
    await tab.evaluate(() => window.hangUp());
    await tab.close();
  }
  site.close();
  return { took };
}
