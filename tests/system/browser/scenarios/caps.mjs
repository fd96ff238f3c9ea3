// Somebody publishes whose token bounds the video; a viewer notes what comes of it.
//
// `publisher` is 'page', 'whip' (Chromium by the book), or 'none': then a program does that part.

import { readFileSync } from 'node:fs';
import { DESKTOP } from '../browsers.mjs';
import { SMALL_CAPTURE, counters, join } from '../call.mjs';
import { inject } from '../inject.mjs';
import { rate, startRecording, stopRecording, streamsLike, total } from '../record.mjs';
import { serve } from '../serve.mjs';

/** More than the token allows in every respect. */
const CAPTURE = { width: 1280, height: 720, fps: 30 };
const PATIENCE = 20_000;

export async function run({ server, room, publisher, token, caps, seconds, noise }, launch) {
  const viewer = await join(await launch('chromium'), server, { room, name: 'viewer', viewport: DESKTOP, options: SMALL_CAPTURE });
  await startRecording(viewer);
  let sender = null;
  let site = null;
  const prepare = noise ? [inject.noisyCamera(CAPTURE)] : [];
  if (publisher === 'page') {
    sender = await join(await launch('chromium'), server, { room, name: 'camera', options: { ...CAPTURE, token }, prepare });
  } else if (publisher === 'whip') {
    site = await serve(readFileSync(new URL('../pages/whip.html', import.meta.url)));
    sender = await (await launch('chromium')).open({ prepare: [inject.rememberPeers, ...prepare] });
    await sender.goto(site.url);
    await sender.until(() => window.ready === true);
    await sender.evaluate(([url, options]) => window.publish(url, options), [`${server}/whip/${room}/camera`, { ...CAPTURE, token }]);
  }
  console.log('WATCHING');
  if (sender) await startRecording(sender);
  await begins(viewer);
  await new Promise((resolve) => setTimeout(resolve, 1000 * (seconds + 1.5)));
  const got = await stopRecording(viewer);
  const sent = sender ? await stopRecording(sender) : [];
  const errors = [viewer, sender].flatMap((tab) => tab?.errors ?? []);
  site?.close();
  return { ...judge(got, sent, { caps, seconds }), errors };
}

async function begins(viewer) {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await new Promise((resolve) => setTimeout(resolve, 50))) {
    if ((await counters(viewer)).incoming.some(({ kind }) => kind === 'video')) return;
  }
  throw new Error('nothing of the camera comes');
}

/** What came, and what was sent, from one second after the first packet on. */
function judge(got, sent, { caps, seconds }) {
  const incoming = { direction: 'in', kind: 'video' };
  const outgoing = { direction: 'out', kind: 'video' };
  const first = got.find((sample) => total(sample, incoming, 'bytesReceived') > 0).at;
  const from = first + 1000;
  const to = from + 1000 * seconds;
  const windows = (samples, like, name, scale) => {
    const rates = samples.filter(({ at }) => at >= from && at + 1000 <= to).map(({ at }) => rate(samples, like, name, at, at + 1000));
    return Math.max(...rates.filter((one) => one !== null)) * scale;
  };
  const heights = got.filter(({ at }) => at >= from && at <= to).flatMap((sample) => streamsLike(sample, incoming).map(({ frameHeight }) => frameHeight ?? 0));
  const upload = (at) => 8 * rate(sent, outgoing, 'bytesSent', at - 500, at + 500);
  const obeys = sent.find(({ at }) => at > first && [0, 1000, 2000].every((later) => upload(at + later) <= 1.05 * caps.bitrate));
  return {
    bitrate: 8 * rate(got, incoming, 'bytesReceived', from, to),
    bitrateOfWorstSecond: windows(got, incoming, 'bytesReceived', 8),
    fps: rate(got, incoming, 'framesReceived', from, to),
    fpsOfWorstSecond: windows(got, incoming, 'framesReceived', 1),
    decoded: rate(got, incoming, 'framesDecoded', from, to),
    height: Math.max(...heights),
    frozen: seconds * rate(got, incoming, 'totalFreezesDuration', from, to),
    sentBitrate: sent.length > 0 ? 8 * rate(sent, outgoing, 'bytesSent', from, to) : null,
    sentFps: sent.length > 0 ? rate(sent, outgoing, 'framesEncoded', from, to) : null,
    obeysAfterMs: obeys ? obeys.at - first : null,
  };
}
