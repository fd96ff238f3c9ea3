// The server dies and another one takes its place, and then the same in good order: the tabs enter again by themselves,
// with what they sent before.

import { SMALL_CAPTURE as options, isReconnecting, join, picturesMove, reads, say, seesAll } from '../call.mjs';

const SCREEN = "one's screen";

export async function run({ server, room, ways }, launch) {
  const browser = await launch('chromium');
  const one = await join(browser, server, { room, name: 'one', options });
  const two = await join(browser, server, { room, name: 'two', options });
  await one.click('#toggle-screen');
  await two.click('#toggle-microphone');
  for (const way of [null, ...ways]) {
    if (way) {
      // The test restarts the server in this way when it reads this line.
      console.log(way);
      await Promise.all([one, two].map((tab) => isReconnecting(tab, true)));
      await Promise.all([one, two].map((tab) => isReconnecting(tab, false)));
    }
    await seesAll(one, ['two']);
    await seesAll(two, ['one', SCREEN]);
    await one.until(() => document.querySelector('.tile.is-muted:not(.is-own)'), null, { what: 'one sees that two is muted' });
    await picturesMove(one, ['two']);
    await picturesMove(two, ['one', SCREEN]);
    await say(one, `after ${way}`);
    await reads(two, `after ${way}`);
  }
  // An attempt to enter that found no server yet had a connection of its own.
  const open = () => window.peers.filter((peer) => peer.connectionState !== 'closed').length;
  return { open: await Promise.all([one, two].map((tab) => tab.evaluate(open))), tiles: await one.evaluate(() => document.querySelectorAll('.tile').length) };
}
