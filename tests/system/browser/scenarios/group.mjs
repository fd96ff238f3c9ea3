// Some Chromium tabs and a Firefox in one room: what each receives of each other over a span.

import { TINY } from '../browsers.mjs';
import { join, measure, seesAll, settle } from '../call.mjs';

export async function run({ server, room, chromiums, firefoxes, seconds, options, screenshot }, launch) {
  const tabs = [];
  for (const [kind, count] of [['chromium', chromiums], ['firefox', firefoxes]]) {
    const browser = count > 0 ? await launch(kind) : null;
    for (let index = 0; index < count; index += 1) {
      const name = `${kind} ${index + 1}`;
      tabs.push(await join(browser, server, { room, name, options, viewport: TINY }));
    }
  }
  for (const tab of tabs) await seesAll(tab, tabs.filter((other) => other !== tab).map((other) => other.name));
  await settle(tabs);
  const result = await measure(tabs, seconds);
  const offers = await Promise.all(tabs.map((tab) => tab.evaluate(() => {
    // As it was before candidates were found, which depend on the machine.
    const { sdp } = window.peers[0].localDescription;
    return JSON.stringify(sdp.replace(/a=candidate:.*\r\n/g, '')).length;
  })));
  if (screenshot) await tabs[0].screenshot(screenshot);
  return { tabs: result, offers, errors: tabs.flatMap((tab) => tab.errors) };
}
