import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './page.mjs';

const { Signal } = await page('signal.js');

/** A WebSocket whose far end is the test. */
class FakeSocket {
  static OPEN = 1;
  static made = [];
  static refuse = false;
  readyState = 0;
  sent = [];

  constructor(url, subprotocol) {
    Object.assign(this, { url, subprotocol });
    FakeSocket.made.push(this);
    queueMicrotask(() => {
      if (FakeSocket.refuse) return this.drop();
      this.readyState = 1;
      return this.onopen?.();
    });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  close() {
    this.readyState = 3;
  }

  drop() {
    this.readyState = 3;
    this.onclose?.();
  }
}

globalThis.WebSocket = FakeSocket;
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

async function joined() {
  FakeSocket.made = [];
  FakeSocket.refuse = false;
  const signal = new Signal('ws://test/v1/join');
  await signal.open();
  const socket = FakeSocket.made[0];
  const reply = signal.join({ room: 'r' });
  socket.say({ replyTo: socket.sent[0].id, joined: { session: 'secret', participantId: 'me' } });
  assert.equal((await reply).participantId, 'me');
  return { signal, socket };
}

test('a request gets its own reply, whatever comes between', async () => {
  const { signal, socket } = await joined();
  const seen = [];
  signal.on('message', ({ kind }) => seen.push(kind));
  const first = signal.request({ publish: { mid: '0' } });
  const second = signal.request({ offer: { sdp: 'x' } });
  const [, a, b] = socket.sent;
  socket.say({ roster: { left: ['z'] } });
  socket.say({ replyTo: b.id, answer: { sdp: 'y' } });
  socket.say({ replyTo: a.id, error: { code: 'ERROR_CODE_LIMIT', message: 'too many' } });
  assert.equal((await second).sdp, 'y');
  await assert.rejects(first, { code: 'ERROR_CODE_LIMIT', message: 'too many' });
  assert.deepEqual(seen, ['roster']);
  signal.leave('done');
});

test('an empty body and unreadable text do no harm', async () => {
  const { signal, socket } = await joined();
  const done = signal.request({ unpublish: { publicationId: 'p' } });
  socket.onmessage({ data: '{' });
  socket.say({ replyTo: socket.sent[1].id, done: {} });
  assert.deepEqual(await done, {});
  signal.leave('done');
});

test('a lost socket is resumed with the secret', async () => {
  const { signal, socket } = await joined();
  const states = [];
  signal.on('state', (state) => states.push(state));
  const resumed = new Promise((resolve) => signal.on('resumed', resolve));
  const pending = signal.request({ ping: {} });
  socket.drop();
  await assert.rejects(pending, { code: 'LOST' });
  await turn();
  const next = FakeSocket.made[1];
  assert.deepEqual(next.sent[0].resume, { session: 'secret' });
  next.say({ replyTo: next.sent[0].id, joined: { participantId: 'me' } });
  assert.equal((await resumed).participantId, 'me');
  assert.deepEqual(states, ['lost', 'open']);
  signal.leave('done');
});

test('a session that the server no longer knows is gone', async () => {
  const { signal, socket } = await joined();
  const gone = new Promise((resolve) => signal.on('gone', resolve));
  socket.drop();
  await turn();
  const next = FakeSocket.made[1];
  next.say({ replyTo: next.sent[0].id, error: { code: 'ERROR_CODE_NOT_FOUND', message: 'no such session' } });
  await gone;
  assert.equal(FakeSocket.made.length, 2, 'it is not asked again');
});

test('what the server ended is not resumed', async () => {
  const { signal, socket } = await joined();
  const left = new Promise((resolve) => signal.on('left', resolve));
  socket.say({ left: { reason: 'LEAVE_REASON_REMOVED', message: 'removed' } });
  socket.drop();
  assert.equal((await left).message, 'removed');
  await turn();
  assert.equal(FakeSocket.made.length, 1);
});

test('a server that is not there is said to be unreachable', async () => {
  FakeSocket.refuse = true;
  await assert.rejects(new Signal('ws://test/').open(), { code: 'UNREACHABLE' });
});
