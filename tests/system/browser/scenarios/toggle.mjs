// A viewer of its own offers its only receiving section as inactive and then as receiving again, many times over: the
// section keeps its source and the keys stay, so that the picture must go on under numbers that go on.

import { SMALL_CAPTURE, counters, join } from '../call.mjs';
import { inject } from '../inject.mjs';

const FRAMES = 10;
const PATIENCE = 20_000;

export async function run({ server, room, kind, times }, launch) {
  await join(await launch('chromium'), server, { room, name: 'camera', options: SMALL_CAPTURE });
  const viewer = await (await launch(kind)).open({ prepare: [inject.rememberPeers] });
  await viewer.goto(`${server}/`);
  await viewer.evaluate(enter, room);
  const result = { first: await decodes(viewer), directions: [], decoded: [] };
  for (let time = 0; time < times; time += 1) {
    for (const direction of ['inactive', 'recvonly']) {
      result.directions.push(await viewer.evaluate((wanted) => window.turn(wanted), direction));
    }
    result.decoded.push(await decodes(viewer));
  }
  return result;
}

/** In the page: joins with one receiving section, and leaves `window.turn(direction)` there, which negotiates anew. */
async function enter(room) {
  const { Signal } = await import('/js/signal.js');
  const signal = new Signal(`${location.origin.replace('http', 'ws')}/v1/join`);
  const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const section = peer.addTransceiver('video', { direction: 'recvonly' });
  const screen = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
  screen.srcObject = new MediaStream([section.receiver.track]);
  document.body.append(screen);
  const negotiate = async (exchange) => {
    await peer.setLocalDescription();
    await peer.setRemoteDescription({ type: 'answer', sdp: await exchange(peer.localDescription.sdp) });
  };
  await signal.open();
  await negotiate(async (sdp) => (await signal.join({ room, name: 'viewer', offer: { sdp }, client: 'test' })).answer.sdp);
  window.turn = async (direction) => {
    section.direction = direction;
    await negotiate(async (sdp) => (await signal.request({ offer: { sdp } })).sdp);
    return section.currentDirection;
  };
}

/** Whether the tab decodes some frames more. A browser may count anew for a section that comes back. */
async function decodes(tab) {
  const decoded = async () => (await counters(tab)).incoming.find(({ kind }) => kind === 'video')?.framesDecoded ?? 0;
  let from = await decoded();
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = await decoded();
    if (now >= from + FRAMES) return true;
    from = Math.min(from, now);
  }
  return false;
}
