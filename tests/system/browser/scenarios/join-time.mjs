// From sending the join form to the first decoded frame of somebody in a running call, several times over.

import { CAPTURE, join, seesAll } from '../call.mjs';
import { inject } from '../inject.mjs';

export async function run({ server, room, times }, launch) {
  const browser = await launch('chromium');
  const host = await join(browser, server, { room, name: 'host' });
  const took = [];
  for (let index = 0; index < times; index += 1) {
    const guest = await browser.open({ prepare: [inject.rememberPeers, inject.joinClock] });
    await guest.goto(`${server}/?${new URLSearchParams({ room, name: `guest ${index}`, ...CAPTURE })}`);
    await guest.until(() => document.getElementById('preview').videoWidth > 0, null, { what: 'the preview is there' });
    await guest.click('#join-button');
    await seesAll(guest, ['host'], { every: 100 });
    took.push(await guest.evaluate(() => window.joinClock.decoded - window.joinClock.sent));
    await guest.close();
  }
  return { took, errors: host.errors };
}
