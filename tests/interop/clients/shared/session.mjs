// What the Node.js clients share: the command line, WHIP and WHEP over HTTP, clips, and the result. See session.py.

import { parseArgs } from 'node:util';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const FRAMES_PER_SECOND = 15;
export const AUDIO_STEP = 960;
/** Seconds until candidates are gathered, and again until the connection stands. */
export const CONNECT_PATIENCE = 10;
const HTTP_PATIENCE_MS = 10_000;

/** The command line that every client here has. */
export function commandLine() {
  const text = { type: 'string' };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: text, token: text, codec: text, media: text, json: text,
      setup: { type: 'string', default: 'actpass' },
      frames: { type: 'string', default: '90' },
      packets: { type: 'string', default: '250' },
      seconds: { type: 'string', default: '30' },
    },
  });
  const [role] = positionals;
  if (!['publish', 'play'].includes(role) || !values.url || !values.json || !['vp8', 'h264'].includes(values.codec)) {
    throw new Error('usage: client.mjs publish|play --url URL --codec vp8|h264 --json FILE [--token T] [--media DIR]');
  }
  return {
    ...values, role, frames: Number(values.frames), packets: Number(values.packets), seconds: Number(values.seconds),
  };
}

/** A WHIP (RFC 9725) or WHEP session: POST of the offer, DELETE at the end. */
export class Session {
  constructor(url, token) {
    this.url = url;
    this.headers = token ? { authorization: `Bearer ${token}` } : {};
  }

  /** Posts the offer; the answer. */
  async begin(offer) {
    const response = await fetch(this.url, {
      method: 'POST',
      headers: { ...this.headers, 'content-type': 'application/sdp' },
      body: offer,
      signal: AbortSignal.timeout(HTTP_PATIENCE_MS),
    });
    const body = await response.text();
    if (response.status !== 201) throw new Error(`HTTP ${response.status}: ${body}`);
    this.location = new URL(response.headers.get('location'), this.url);
    return body;
  }

  async end() {
    if (!this.location) return;
    await fetch(this.location, { method: 'DELETE', headers: this.headers, signal: AbortSignal.timeout(HTTP_PATIENCE_MS) });
    this.location = undefined;
  }
}

/** Resolves at SIGTERM, SIGINT or after so many seconds. */
export function untilTold(seconds) {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, resolve);
    setTimeout(resolve, seconds * 1000);
  });
}

/** Tells who started this publisher that media flows. */
export function sayReady() {
  console.log('ready');
}

/** Waits until `isTrue()`; false after so many seconds. */
export async function waitFor(isTrue, seconds) {
  const end = Date.now() + seconds * 1000;
  while (!isTrue()) {
    if (Date.now() > end) return false;
    await sleep(20);
  }
  return true;
}

/** The RTP payloads of an encoded clip (see clips.py), by frame. */
function clip(file) {
  const bytes = readFileSync(file);
  const frames = [];
  for (let at = 0; at < bytes.length;) {
    const number = bytes.readUInt32BE(at);
    const end = at + 6 + bytes.readUInt16BE(at + 4);
    (frames[number] ??= []).push(bytes.subarray(at + 6, end));
    at = end;
  }
  return frames;
}

/** Plays a clip in real time: `send(payload, marker, timestamp)` for each packet. Stops by `signal`. */
async function pace(frames, perSecond, timestampStep, isVideo, send, signal) {
  const start = Date.now();
  for (const [number, payloads] of frames.entries()) {
    const early = start + number * 1000 / perSecond - Date.now();
    if (early > 0) await sleep(early);
    if (signal.aborted) return;
    payloads.forEach((payload, n) => send(payload, isVideo && n === payloads.length - 1, number * timestampStep));
  }
}

/** Plays the clips of this codec and of Opus until told to stop. */
export async function sendClips(options, sendVideo, sendAudio) {
  const stop = new AbortController();
  const media = (codec) => clip(`${options.media}/${codec}.clip`);
  const video = pace(media(options.codec), FRAMES_PER_SECOND, 90_000 / FRAMES_PER_SECOND, true, sendVideo, stop.signal);
  const audio = pace(media('opus'), 50, AUDIO_STEP, false, sendAudio, stop.signal);
  sayReady();
  await untilTold(options.seconds);
  stop.abort();
  await Promise.all([video, audio]);
}

/** Keeps received RTP packets for decode.py: it counts what this client cannot decode. */
export class Recording {
  constructor(options) {
    this.wanted = { video: options.frames, audio: options.packets };
    this.last = { video: new Set(), audio: new Set() };
    this.packets = [];
    this.file = `${options.json}.rtp`;
  }

  /** `packet` is a whole RTP packet (RFC 3550, 5.1). */
  add(kind, packet) {
    const length = Buffer.alloc(3);
    length.writeUInt8(kind === 'video' ? 1 : 0, 0);
    length.writeUInt16BE(packet.length, 1);
    this.packets.push(length, packet);
    this.last[kind].add(packet.readUInt32BE(4));
  }

  /** A few more than wanted, since the first frames may be no key frames. */
  isComplete() {
    return ['video', 'audio'].every((kind) => this.last[kind].size >= this.wanted[kind] + 2);
  }

  result() {
    writeFileSync(this.file, Buffer.concat(this.packets));
    return { rtp: this.file, wanted: this.wanted };
  }
}

/** Runs a client to its end and writes its result; the exit code tells whether it worked. */
export async function run(options, roles) {
  const session = new Session(options.url, options.token);
  let result;
  try {
    result = await roles[options.role](options, session);
  } catch (error) {
    result = { error: String(error?.message ?? error) };
  }
  await session.end().catch((error) => { result.error ??= `DELETE: ${error.message}`; });
  writeFileSync(options.json, JSON.stringify(result));
  process.exit(result.error ? 1 : 0);
}
