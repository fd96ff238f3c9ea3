// One tab shares its screen beside its camera; the other shows both, and the screen large.

import { SMALL_CAPTURE as options, join, picturesMove, seesAll, seesNoMore } from '../call.mjs';

const SCREEN = "presenter's screen";

export async function run({ server, room, screenshot }, launch) {
  const browser = await launch('chromium');
  const presenter = await join(browser, server, { room, name: 'presenter', options });
  const viewer = await join(browser, server, { room, name: 'viewer', options });
  await seesAll(viewer, ['presenter']);
  await presenter.click('#toggle-screen');
  await seesAll(viewer, ['presenter', SCREEN]);
  await picturesMove(viewer, ['presenter', SCREEN]);
  const shown = await viewer.evaluate(() => {
    const tiles = [...document.querySelectorAll('.tile')];
    const area = (tile) => tile.clientWidth * tile.clientHeight;
    const largest = tiles.reduce((one, other) => (area(other) > area(one) ? other : one));
    return { mode: document.getElementById('stage').dataset.mode, largest: largest.querySelector('.tile-name').textContent };
  });
  if (screenshot) await viewer.screenshot(screenshot);
  // Who comes later sees it too.
  const late = await join(browser, server, { room, name: 'late', options });
  await seesAll(late, ['presenter', 'viewer', SCREEN]);
  await presenter.click('#toggle-screen');
  for (const tab of [viewer, late]) await seesNoMore(tab, SCREEN);
  await picturesMove(viewer, ['presenter']);
  return { ...shown, sharing: await presenter.evaluate(() => document.getElementById('toggle-screen').getAttribute('aria-pressed')), errors: [presenter, viewer, late].flatMap((tab) => tab.errors) };
}
