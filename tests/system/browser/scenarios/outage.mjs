// One tab's media is cut for some seconds, with its signalling or without; then both come back by themselves.

import { SMALL_CAPTURE as options, counters, isReconnecting, join, picturesMove, reads, say, seesAll } from '../call.mjs';
import { inject } from '../inject.mjs';
import { proxy } from '../proxy.mjs';

export async function run({ server, room, kind, relay, cutSignalling, seconds }, launch) {
  const way = await proxy(server);
  const chromium = await launch('chromium');
  const browser = kind === 'firefox' ? await launch('firefox') : chromium;
  const near = await join(chromium, server, { room, name: 'near', options });
  const far = await join(browser, way.url, { room, name: 'far', options, prepare: [inject.throughRelay(relay)] });
  const flows = async () => {
    await picturesMove(near, ['far']);
    await picturesMove(far, ['near']);
  };
  await seesAll(near, ['far']);
  await seesAll(far, ['near']);
  await flows();

  // The test cuts and mends the relay when it reads these lines.
  console.log('CUT');
  if (cutSignalling) way.cut();
  await isReconnecting(far, true);
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  console.log('MEND');
  way.mend();
  await isReconnecting(far, false);
  await flows();
  await say(far, 'back');
  await reads(near, 'back');
  const { peers, path } = await counters(far);
  way.close();
  return { peers, path, tiles: await near.evaluate(() => document.querySelectorAll('.tile').length) };
}
