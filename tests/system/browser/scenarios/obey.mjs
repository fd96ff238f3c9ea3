// How soon a sender stops when nobody watches it any more, and begins when somebody does: its only viewer hides the
// picture and shows it again.
//
// `publisher` is 'page', 'whip' (Chromium by the book), or 'none': then a program does that part.

import { readFileSync } from 'node:fs';
import { DESKTOP } from '../browsers.mjs';
import { adminApi } from '../admin.mjs';
import { CAPTURE, SMALL_CAPTURE, join, seesAll } from '../call.mjs';
import { inject } from '../inject.mjs';
import { rate, startRecording, stopRecording, streamsLike } from '../record.mjs';
import { serve } from '../serve.mjs';

const OUT = { direction: 'out', kind: 'video' };
const IN = { direction: 'in', kind: 'video' };
/** So much is sent by who is to send nothing, as a share of what it sent before: what is on its way, and probes. */
const NOTHING = 0.1;
const WATCH = 10_000;
const HIDE = 8_000;
/** Who stops has stopped by then, however slow the machine is; when it did is told apart. */
const STOPPING = 4_000;

export async function run({ server, room, publisher, adminToken, simulcast = true, from = 'camera' }, launch) {
  const viewer = await join(await launch('chromium'), server, { room, name: 'viewer', viewport: DESKTOP, options: SMALL_CAPTURE, prepare: [inject.rememberSignal] });
  let sender = null;
  let site = null;
  if (publisher === 'page') {
    sender = await join(await launch('chromium'), server, { room, name: 'camera', options: { ...CAPTURE, simulcast: simulcast ? 1 : 0 } });
  } else if (publisher === 'whip') {
    site = await serve(readFileSync(new URL('../pages/whip.html', import.meta.url)));
    sender = await (await launch('chromium')).open({ prepare: [inject.rememberPeers] });
    await sender.goto(site.url);
    await sender.until(() => window.ready === true);
    await sender.evaluate(([url, options]) => window.publish(url, options), [`${server}/whip/${room}/camera`, { ...CAPTURE, simulcast }]);
  }
  console.log('WATCHING');
  await seesAll(viewer, [from]);
  await pause(WATCH);
  const admin = adminApi(server, adminToken);
  const arrivals = watchArrivals(admin, room);
  await startRecording(viewer);
  if (sender) await startRecording(sender);
  await pause(2000);
  const hidden = Date.now();
  await viewer.evaluate(() => window.hideAll(true));
  await pause(HIDE);
  const shown = Date.now();
  await viewer.evaluate(() => window.hideAll(false));
  await pause(HIDE);
  const got = await stopRecording(viewer);
  const sent = sender ? await stopRecording(sender) : [];
  const arrived = arrivals.stop();
  site?.close();
  return {
    sent: sender ? outcome(sent, OUT, 'bytesSent', hidden, shown) : null,
    arrived: outcome(arrived, {}, 'packets', hidden, shown),
    shownAgainMs: (got.find(({ at, ...sample }) => at > shown + 100 && streamsLike(sample, IN).some((one) => grows(got, one, shown, at)))?.at ?? Infinity) - shown,
    errors: [viewer, sender].flatMap((tab) => tab?.errors ?? []),
  };
}

/** Whether more of a picture has come at a time than at `since`. */
function grows(samples, stream, since, at) {
  const before = samples.findLast((sample) => sample.at <= since);
  const old = before?.streams.find(({ mid }) => mid === stream.mid)?.framesReceived ?? 0;
  return at > since && stream.framesReceived > old;
}

/** Bits per second before and while hidden for good, and after how long next to nothing was sent, and something again. */
function outcome(samples, like, name, hidden, shown) {
  const before = 8 * rate(samples, like, name, hidden - 1500, hidden);
  const little = (at) => 8 * rate(samples, like, name, at, Math.min(at + 1000, shown)) <= NOTHING * before;
  const stopped = samples.find(({ at }) => at >= hidden && at < shown - 1000 && little(at));
  return { before, while: 8 * rate(samples, like, name, hidden + STOPPING, shown), stopsAfterMs: stopped ? stopped.at - hidden : null };
}

/** Notes how many packets of video have come from all who publish, as the server counts them. */
function watchArrivals(admin, room) {
  const samples = [];
  let on = true;
  // The server answers with figures of up to half a second ago.
  const read = async () => {
    while (on) {
      const { participants } = await admin('GET', `rooms/${room}/stats`);
      const video = participants.flatMap(({ transport }) => transport?.received ?? []).filter(({ codec }) => codec.toLowerCase() !== 'opus');
      samples.push({ at: Date.now(), streams: [{ packets: video.reduce((sum, { packets }) => sum + packets, 0) }] });
      await pause(100);
    }
  };
  // The room ends before the test does where something fails.
  read().catch(() => undefined);
  return {
    stop() {
      on = false;
      return samples;
    },
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
