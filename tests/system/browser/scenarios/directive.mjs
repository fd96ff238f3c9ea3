// The admin API directs a camera's encoder: the sender obeys, says so, and the directive lapses in its time.

import { adminApi } from '../admin.mjs';
import { CAPTURE, counters, join, picturesMove, seesAll } from '../call.mjs';

/** Highest rate of the upper layer that the directive allows. */
const LITTLE = 60_000;
const SPAN = 1500;
const PATIENCE = 30_000;

export async function run({ server, room, adminToken }, launch) {
  const admin = adminApi(server, adminToken);
  const browser = await launch('chromium');
  const camera = await join(browser, server, { room, name: 'camera', options: CAPTURE });
  const viewer = await join(browser, server, { room, name: 'viewer', options: CAPTURE });
  await seesAll(viewer, ['camera']);
  await receivesHeight(viewer, CAPTURE.height);
  const { participants } = await admin('GET', `rooms/${room}/participants`);
  const publication = participants.find(({ name }) => name === 'camera').publications.find(({ source }) => source === 'SOURCE_CAMERA').id;
  const direct = (encodings, ttlMs) => admin('POST', `rooms/${room}/publications/${publication}/directive`, { encodings, ttlMs });
  const answered = async (version) => {
    for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await pause(100)) {
      const { ack } = await admin('GET', `rooms/${room}/publications/${publication}/directive`);
      if (ack && Number(ack.version) === Number(version)) return ack.outcome;
    }
    throw new Error(`no answer to directive ${version}`);
  };
  const result = { before: await upperLayer(camera), rate: await rate(camera) };

  const little = await direct([{ rid: 'f', active: true, maxBitrateBps: LITTLE }], 60_000);
  result.outcomes = [await answered(little.version)];
  result.during = await upperLayer(camera);
  for (const deadline = Date.now() + PATIENCE; ; ) {
    result.rateDuring = await rate(camera);
    if (result.rateDuring < result.rate / 2 || Date.now() > deadline) break;
  }

  const off = await direct([{ rid: 'f', active: false }], 4_000);
  result.outcomes.push(await answered(off.version));
  await receivesHeight(viewer, CAPTURE.height / 2);
  await picturesMove(viewer, ['camera']);
  await camera.until(
    (wanted) => JSON.stringify(window.upper?.()) === JSON.stringify(wanted),
    result.before,
    { what: 'the directive has lapsed' },
  );
  await receivesHeight(viewer, CAPTURE.height);
  return result;
}

/** What the upper layer may do now: {active, maxBitrate}. */
function upperLayer(tab) {
  return tab.evaluate(() => {
    window.upper = () => {
      const camera = window.peers.at(-1).getSenders().find((sender) => sender.getParameters().encodings.length > 1);
      const { active, maxBitrate } = camera.getParameters().encodings.find(({ rid }) => rid === 'f');
      return { active, maxBitrate };
    };
    return window.upper();
  });
}

/** Bits per second of the upper layer, over a short span. */
async function rate(tab) {
  const bytes = async () => (await counters(tab)).outgoing.find(({ rid }) => rid === 'f').bytesSent;
  const [before, start] = [await bytes(), Date.now()];
  await pause(SPAN);
  return (8000 * ((await bytes()) - before)) / (Date.now() - start);
}

function receivesHeight(tab, height) {
  return untilCounters(tab, ({ incoming }) => incoming.some((stream) => stream.kind === 'video' && stream.frameHeight === height), `a picture of ${height} lines`);
}

async function untilCounters(tab, condition, what) {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await pause(200)) {
    if (condition(await counters(tab))) return;
  }
  throw new Error(`${tab.name}: not in time: ${what}`);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
