// Pictures of the page for people to look at, with painted participants instead of a test pattern.

import { DESKTOP, PHONE, SMALL } from '../browsers.mjs';
import { join, seesAll } from '../call.mjs';
import { inject } from '../inject.mjs';

const NAMES = ['Ada Lovelace', 'Grace Hopper', 'Alan Turing'];
const SIZES = { desktop: { viewport: DESKTOP, scale: 1 }, phone: { viewport: PHONE, scale: 2 } };
/** Long enough for graphs to have a shape. */
const STATISTICS = 20_000;

export async function run({ server, room, folder }, launch) {
  const browser = await launch('chromium');
  const made = [];
  for (const [size, { viewport, scale }] of Object.entries(SIZES)) {
    for (const scheme of ['dark', 'light']) {
      const shoot = async (tab, name) => {
        const path = `${folder}/${name}-${size}-${scheme}.png`;
        await tab.screenshot(path);
        made.push(path);
      };
      await series({ browser, server, room: `${room}-${size}-${scheme}`, look: { viewport, scale, scheme }, shoot, full: scheme === 'dark' });
    }
  }
  return { made };
}

/** The same walk through the page for every size and scheme. */
async function series({ browser, server, room, look, shoot, full }) {
  const first = await browser.open({ ...look, prepare: [inject.paintedCamera(3)] });
  await first.goto(`${server}/?${new URLSearchParams({ room, name: 'Katherine Johnson' })}`);
  await first.until(() => document.getElementById('preview').videoWidth > 0, null, { what: 'the preview is there' });
  await shoot(first, '1-join');
  await first.click('#join-button');
  await first.until(() => document.querySelector('.tile.is-own.has-picture'), null, { what: 'the own picture is there' });
  if (full) await shoot(first, '2-alone');
  const others = [];
  for (const [index, name] of NAMES.entries()) {
    others.push(await join(browser, server, { room, name, viewport: SMALL, prepare: [inject.paintedCamera(index)] }));
    await seesAll(first, NAMES.slice(0, index + 1));
    if (index === 0) {
      await settled(first);
      await shoot(first, '3-two');
    }
  }
  await settled(first);
  await shoot(first, '4-four');
  await first.press('i');
  await new Promise((resolve) => setTimeout(resolve, full ? STATISTICS : 3000));
  await shoot(first, '5-statistics');
  for (const tab of [...others, first]) await tab.close();
}

/** Waits until the notices have gone. */
function settled(tab) {
  return tab.until(() => document.querySelectorAll('.toast').length === 0, null, { what: 'the notices have gone' });
}
