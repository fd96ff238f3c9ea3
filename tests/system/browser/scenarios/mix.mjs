// Six in a room, three of them behind bad networks (`paths`: name to relay): what all see and hear, and what is sent that
// nobody watches.

import { SMALL } from '../browsers.mjs';
import { adminApi, watchedRates } from '../admin.mjs';
import { CAPTURE, join, seesAll } from '../call.mjs';
import { freezes, heights, sound } from '../flow.mjs';
import { inject } from '../inject.mjs';
import { startRecording, stopRecording } from '../record.mjs';

const NAMES = ['Ada', 'Bea', 'Cleo', 'Dora', 'Eva', 'Fay'];
const PATIENCE = 120_000;
const EVERY = 500;

export async function run({ server, room, paths, adminToken, settle, seconds, capture = CAPTURE }, launch) {
  const browser = await launch('chromium');
  const tabs = [];
  for (const name of NAMES) {
    const prepare = paths[name] ? [inject.throughRelay(paths[name])] : [];
    tabs.push(await join(browser, server, { room, name, viewport: SMALL, options: capture, prepare }));
  }
  for (const tab of tabs.filter(({ name }) => !paths[name])) {
    await seesAll(tab, NAMES.filter((name) => name !== tab.name && !paths[name]), { timeout: PATIENCE });
  }
  console.log('SHAPED');
  await pause(1000 * settle);
  await Promise.all(tabs.map((tab) => startRecording(tab, 250)));
  const admin = adminApi(server, adminToken);
  const rates = [];
  const [from, to] = [Date.now(), Date.now() + 1000 * seconds];
  while (Date.now() < to) {
    rates.push(await watchedRates(admin, room));
    await pause(EVERY);
  }
  const parties = [];
  for (const tab of tabs) {
    const samples = await stopRecording(tab);
    parties.push({ name: tab.name, video: freezes(samples, from, to), audio: sound(samples, from, to), heights: heights(samples, to) });
  }
  const mean = (name) => rates.reduce((sum, rate) => sum + rate[name], 0) / rates.length;
  const sum = (name) => parties.reduce((total, { video }) => total + video[name], 0);
  return {
    parties,
    freezes: sum('freezes'),
    frozen: sum('frozen'),
    paused: sum('paused'),
    arriving: mean('arriving'),
    unwatched: mean('unwatched'),
    errors: tabs.flatMap((tab) => tab.errors),
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
