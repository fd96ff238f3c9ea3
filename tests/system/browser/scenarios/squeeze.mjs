// Six in a room; the path to one of them becomes narrow for a while, which the test does at the lines NARROW and WIDE.
//
// What the one sees and hears of the others, and what they see and hear, second by second.

import { DESKTOP, TINY } from '../browsers.mjs';
import { CAPTURE, join, openPanel, seesAll, settle } from '../call.mjs';
import { inject } from '../inject.mjs';
import { startRecording, stopRecording } from '../record.mjs';
import { freezes, heights, sound } from '../flow.mjs';

const NAMES = ['Ada', 'Bea', 'Cleo', 'Dora', 'Eva'];
const PATIENCE = 120_000;
/** The estimate of a path is let grow before it is cut. */
const WARM_UP = 10_000;

export async function run({ server, room, relay, narrowSeconds, wideSeconds, capture = CAPTURE, folder }, launch) {
  const browser = await launch('chromium');
  const others = [];
  for (const name of NAMES) others.push(await join(browser, server, { room, name, viewport: TINY, options: capture }));
  // Its tiles are large enough for the upper layers.
  const one = await join(browser, server, { room, name: 'Fay', viewport: DESKTOP, options: capture, prepare: [inject.throughRelay(relay)] });
  await seesAll(one, NAMES, { timeout: PATIENCE });
  for (const tab of others) await seesAll(tab, [...NAMES.filter((name) => name !== tab.name), 'Fay'], { timeout: PATIENCE });
  await settle([one]);
  await pause(WARM_UP);
  await Promise.all([startRecording(one), ...others.map((tab) => startRecording(tab, 250))]);
  await pause(5000);
  const shoot = async (name) => {
    if (!folder) return;
    await openPanel(one, 'stats');
    await pause(3000);
    await one.screenshot(`${folder}/${name}.png`);
    await one.click('#show-stats');
  };
  console.log('NARROW');
  const narrow = Date.now();
  await pause(1000 * narrowSeconds);
  console.log('WIDE');
  const wide = Date.now();
  await pause(1000 * wideSeconds);
  const end = Date.now();
  const of = async (tab) => ({ name: tab.name, samples: await stopRecording(tab) });
  const [weak, ...strong] = await Promise.all([one, ...others].map(of));
  await shoot('squeeze');
  const spans = { before: [narrow - 5000, narrow], narrow: [narrow, wide], wide: [wide, end] };
  return {
    weak: { ...describe(weak, spans), ...recovery(weak.samples, narrow, wide, end) },
    strong: strong.map((tab) => describe(tab, { before: spans.before, after: [narrow, end] })),
    errors: [one, ...others].flatMap((tab) => tab.errors),
  };
}

function describe({ name, samples }, spans) {
  const each = (span) => ({ video: freezes(samples, ...span), audio: sound(samples, ...span) });
  return { name, ...Object.fromEntries(Object.entries(spans).map(([span, times]) => [span, each(times)])) };
}

/** Heights before, at the end of the narrow time, and how long after it each picture was as large as before for good. */
function recovery(samples, narrow, wide, end) {
  const before = heights(samples, narrow);
  const backAfterMs = Object.fromEntries(
    Object.entries(before).map(([mid, height]) => {
      const low = samples.findLast((sample) => sample.at >= wide && sample.at <= end && (heights([sample], sample.at)[mid] ?? 0) < height);
      return [mid, low ? low.at - wide : 0];
    }),
  );
  return { heights: { before, narrow: heights(samples, wide), end: heights(samples, end) }, backAfterMs };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
