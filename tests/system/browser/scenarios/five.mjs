// Five tabs in one room: everybody sees and hears the four others.

import { SMALL_CAPTURE as options, counters, join, picturesMove, seesAll } from '../call.mjs';

export async function run({ server, room, screenshot }, launch) {
  const browser = await launch('chromium');
  const names = ['Ada', 'Bea', 'Cleo', 'Dora', 'Eva'];
  const tabs = [];
  for (const name of names) tabs.push(await join(browser, server, { room, name, options }));
  const others = (tab) => names.filter((name) => name !== tab.name);
  for (const tab of tabs) await seesAll(tab, others(tab));
  await Promise.all(tabs.map((tab) => picturesMove(tab, others(tab), { frames: 30, timeout: 60_000 })));
  const all = await Promise.all(tabs.map(counters));
  if (screenshot) await tabs[0].screenshot(screenshot);
  return { tabs: all.map(({ incoming, peers }, index) => ({ name: tabs[index].name, peers, incoming })), errors: tabs.flatMap((tab) => tab.errors) };
}
