// Somebody publishes over a bad path, which the test shapes from the line BEGIN on: how many pictures left it, by time.

import { join, settle } from '../call.mjs';
import { inject } from '../inject.mjs';
import { startRecording, stopRecording, total } from '../record.mjs';

const VIDEO = { direction: 'out', kind: 'video' };

export async function run({ server, room, relay, codec, seconds, capture }, launch) {
  const chromium = await launch('chromium');
  const prepare = [inject.noisyCamera({ ...capture, calm: true }), inject.throughRelay(relay)];
  const tab = await join(chromium, server, { room, name: 'Ada', options: { ...capture, codec, simulcast: 0 }, prepare });
  console.log('JOINED');
  await settle([tab]);
  await startRecording(tab);
  console.log('BEGIN');
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const samples = await stopRecording(tab);
  const counts = (name) => total(samples.at(-1), VIDEO, name) - total(samples[0], VIDEO, name);
  return {
    sent: samples.map((sample) => [sample.at, total(sample, VIDEO, 'framesSent')]),
    packets: counts('packetsSent'),
    retransmitted: counts('retransmittedPacketsSent'),
    errors: tab.errors,
  };
}
