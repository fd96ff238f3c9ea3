// Messages both ways: into a closed panel, into an open one, and none for who comes later.

import { SMALL_CAPTURE as options, join, openPanel, reads, say } from '../call.mjs';

export async function run({ server, room, texts }, launch) {
  const browser = await launch('chromium');
  const one = await join(browser, server, { room, name: 'one', options });
  const two = await join(browser, server, { room, name: 'two', options });
  await one.until(() => document.querySelectorAll('.tile').length === 2, null, { what: 'two is there' });
  await say(one, texts[0]);
  await two.until(() => document.querySelector('#show-chat .badge').textContent === '1', null, { what: 'two has one unread message' });
  await openPanel(two, 'chat');
  await reads(two, texts[0]);
  await say(two, texts[1]);
  await reads(one, texts[1]);
  const late = await join(browser, server, { room, name: 'late', options });
  await openPanel(late, 'chat');
  await say(one, texts[2]);
  for (const tab of [two, late]) await reads(tab, texts[2]);
  const lines = () => [...document.querySelectorAll('#chat .messages p')].map((line) => line.textContent);
  const [ofOne, ofTwo, ofLate] = await Promise.all([one, two, late].map((tab) => tab.evaluate(lines)));
  return { one: ofOne, two: ofTwo, late: ofLate, unread: await two.evaluate(() => document.querySelector('#show-chat .badge').textContent) };
}
