// One tab's signalling is cut for some seconds while its media goes on; then it is taken up again.

import { SMALL_CAPTURE as options, counters, isReconnecting, join, measure, picturesMove, reads, say, seesAll } from '../call.mjs';
import { proxy } from '../proxy.mjs';

export async function run({ server, room, seconds }, launch) {
  const way = await proxy(server);
  const browser = await launch('chromium');
  const cut = await join(browser, way.url, { room, name: 'cut', options });
  const other = await join(browser, server, { room, name: 'other', options });
  await seesAll(cut, ['other']);
  await seesAll(other, ['cut']);
  await picturesMove(cut, ['other']);
  await picturesMove(other, ['cut']);

  way.cut();
  await isReconnecting(cut, true);
  await say(other, 'said while it was cut');
  const tabs = await measure([cut, other], seconds);
  await isReconnecting(cut, true);
  way.mend();
  await isReconnecting(cut, false);

  await reads(cut, 'said while it was cut');
  await say(cut, 'back');
  await reads(other, 'back');
  await cut.click('#toggle-microphone');
  await other.until(() => document.querySelector('.tile.is-muted:not(.is-own)'), null, { what: 'other sees that cut is muted' });
  const { peers } = await counters(cut);
  const notices = await other.evaluate(() => window.notices);
  way.close();
  return { tabs, peers, notices };
}
