// Ways of the media other than plain UDP: ICE-TCP only, and a relay that changes the client's port in mid-call.

import { counters, join, measure, seesAll, settle } from '../call.mjs';
import { inject } from '../inject.mjs';

/** The client may notice the change by its next check of the path only. */
const BETWEEN_CHANGES = 4000;

const WAYS = {
  tcp: () => [inject.tcpOnly],
  relay: ({ relay }) => [inject.throughRelay(relay)],
};

export async function run(parameters, launch) {
  const { server, room, way, kind, seconds, rebinds } = parameters;
  const chromium = await launch('chromium');
  const browser = kind === 'firefox' ? await launch('firefox') : chromium;
  const plain = await join(chromium, server, { room, name: 'plain' });
  const special = await join(browser, server, { room, name: 'special', prepare: WAYS[way](parameters) });
  await seesAll(plain, ['special']);
  await seesAll(special, ['plain']);
  const before = await counters(special);
  for (let count = 0; count < rebinds; count += 1) {
    // The test changes the relay's ports when it reads this line.
    console.log('REBIND');
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_CHANGES));
  }
  await settle([plain, special]);
  const tabs = await measure([plain, special], seconds);
  const after = await counters(special);
  return { tabs, path: after.path, peers: [before.peers, after.peers], errors: [...plain.errors, ...special.errors] };
}
