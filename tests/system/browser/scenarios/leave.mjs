// One tab leaves by its button, one is closed, one is reloaded: how long until the other sees it.

import { join, seesAll, seesNoMore } from '../call.mjs';

export async function run({ server, room }, launch) {
  const browser = await launch('chromium');
  const watcher = await join(browser, server, { room, name: 'watcher' });
  const took = {};
  const timed = async (what, action, condition) => {
    const start = Date.now();
    await Promise.all([action(), condition()]);
    took[what] = Date.now() - start;
  };

  const leaver = await join(browser, server, { room, name: 'leaver' });
  await seesAll(watcher, ['leaver']);
  await timed('leave', () => leaver.click('#leave'), () => seesNoMore(watcher, 'leaver'));
  await leaver.close();

  const closer = await join(browser, server, { room, name: 'closer' });
  await seesAll(watcher, ['closer']);
  await timed('close', () => closer.close(), () => seesNoMore(watcher, 'closer'));

  const reloader = await join(browser, server, { room, name: 'reloader' });
  await seesAll(watcher, ['reloader']);
  await seesAll(reloader, ['watcher']);
  // The old picture must be gone before the new one counts.
  await watcher.evaluate(() => {
    for (const tile of document.querySelectorAll('.tile')) tile.dataset.old = '1';
  });
  const backWithPicture = () =>
    watcher.until(
      () =>
        [...document.querySelectorAll('.tile.has-picture:not([data-old])')].some(
          (tile) => tile.querySelector('.tile-name').textContent === 'reloader',
        ),
      null,
      { what: 'reloader is back with picture', every: 20 },
    );
  await timed('reload', async () => {
    await reloader.reload();
    await seesAll(reloader, ['watcher']);
  }, backWithPicture);
  return took;
}
