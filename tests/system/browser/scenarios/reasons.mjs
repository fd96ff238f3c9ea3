// A weak and a strong viewer of the same cameras: why each stream has the layer that it has, as their pages say it.

import { DESKTOP } from '../browsers.mjs';
import { CAPTURE, join, openPanel, seesAll, settle } from '../call.mjs';
import { inject } from '../inject.mjs';

const NAMES = ['Ada Lovelace', 'Grace Hopper'];
const PATIENCE = 60_000;
/** Long enough for graphs to have a shape. */
const STATISTICS = 15_000;

export async function run({ server, room, relay, folder }, launch) {
  const browser = await launch('chromium');
  for (const [index, name] of NAMES.entries()) {
    await join(browser, server, { room, name, options: CAPTURE, prepare: [inject.paintedCamera(index)] });
  }
  const viewer = (name, index, prepare) =>
    join(browser, server, { room, name, viewport: DESKTOP, options: CAPTURE, prepare: [inject.paintedCamera(index), ...prepare] });
  const strong = await viewer('Strong', 2, []);
  await seesAll(strong, NAMES, { timeout: PATIENCE });
  const weak = await viewer('Weak', 3, [inject.throughRelay(relay)]);
  for (const tab of [strong, weak]) await openPanel(tab, 'stats');
  await settle([strong, weak]);
  await new Promise((resolve) => setTimeout(resolve, STATISTICS));
  const result = { made: [] };
  for (const [name, tab] of [['weak', weak], ['strong', strong]]) {
    result[name] = await tab.evaluate(() =>
      [...document.querySelectorAll('#stats .card')]
        .filter((card) => card.getAttribute('aria-label').endsWith(', camera'))
        .map((card) => ({ title: card.getAttribute('aria-label'), text: card.querySelector('header .hint').textContent })),
    );
    const path = `${folder}/reasons-${name}.png`;
    await tab.screenshot(path);
    result.made.push(path);
  }
  return result;
}
