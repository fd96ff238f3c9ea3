// Somebody watches over a bad path, which the test shapes from the line BEGIN on: what comes of the picture and the sound.

import { DESKTOP } from '../browsers.mjs';
import { SMALL_CAPTURE, join, seesAll, settle } from '../call.mjs';
import { freezes, heights, sound } from '../flow.mjs';
import { inject } from '../inject.mjs';
import { rate, startRecording, stopRecording, total } from '../record.mjs';

const PATIENCE = 60_000;
const VIDEO = { direction: 'in', kind: 'video' };
const STEP = 1000;

export async function run({ server, room, relay, viewer, codec, seconds, capture }, launch) {
  const chromium = await launch('chromium');
  const prepare = [inject.noisyCamera({ ...capture, calm: true })];
  const publisher = await join(chromium, server, { room, name: 'Ada', options: { ...capture, codec }, prepare });
  const browser = viewer === 'chromium' ? chromium : await launch(viewer);
  const tab = await join(browser, server, { room, name: 'Bea', viewport: DESKTOP, options: SMALL_CAPTURE, prepare: [inject.throughRelay(relay)] });
  await seesAll(tab, ['Ada'], { timeout: PATIENCE });
  await settle([tab]);
  await startRecording(tab);
  console.log('BEGIN');
  const from = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const samples = await stopRecording(tab);
  const to = from + 1000 * seconds;
  const grown = (like, name) => total(samples.at(-1), like, name) - total(samples[0], like, name);
  const steps = samples.filter(({ at }, index) => index % (STEP / 100) === 0 && at + STEP <= to);
  return {
    seconds,
    video: freezes(samples, from, to),
    audio: sound(samples, from, to),
    bitrate: 8 * rate(samples, VIDEO, 'bytesReceived', from + STEP, to - STEP),
    packets: grown(VIDEO, 'packetsReceived'),
    retransmitted: grown(VIDEO, 'retransmittedPacketsReceived'),
    parity: total(samples.at(-1), VIDEO, 'fecPacketsReceived'),
    overTime: steps.map(({ at }) => ({
      at: (at - from) / 1000,
      bitrate: 8 * rate(samples, VIDEO, 'bytesReceived', at, at + STEP),
      fps: rate(samples, VIDEO, 'framesDecoded', at, at + STEP),
      frozen: rate(samples, VIDEO, 'totalFreezesDuration', at, at + STEP),
      height: Object.values(heights(samples, at))[0] ?? null,
    })),
    errors: [publisher, tab].flatMap(({ errors }) => errors),
  };
}
