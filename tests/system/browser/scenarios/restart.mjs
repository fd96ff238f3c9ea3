// The server dies and another one takes its place: the tabs enter again by themselves.

import { SMALL_CAPTURE as options, counters, isReconnecting, join, picturesMove, reads, say, seesAll } from '../call.mjs';

export async function run({ server, room }, launch) {
  const browser = await launch('chromium');
  const [one, two] = [
    await join(browser, server, { room, name: 'one', options }),
    await join(browser, server, { room, name: 'two', options }),
  ];
  await seesAll(one, ['two']);
  await seesAll(two, ['one']);
  // The test restarts the server when it reads this line.
  console.log('RESTART');
  for (const tab of [one, two]) await isReconnecting(tab, true);
  for (const tab of [one, two]) await isReconnecting(tab, false);
  await seesAll(one, ['two']);
  await seesAll(two, ['one']);
  await picturesMove(one, ['two']);
  await picturesMove(two, ['one']);
  await say(one, 'here again');
  await reads(two, 'here again');
  const both = await Promise.all([one, two].map(counters));
  return { tabs: both.map(({ peers, incoming }) => ({ peers, incoming })), tiles: await one.evaluate(() => document.querySelectorAll('.tile').length) };
}
