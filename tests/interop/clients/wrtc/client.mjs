// @roamhq/wrtc (libwebrtc for Node.js) publishes by WHIP and plays by WHEP. It is built without H.264.

import { setTimeout as sleep } from 'node:timers/promises';
import wrtc from '@roamhq/wrtc';
import {
  CONNECT_PATIENCE, FRAMES_PER_SECOND, commandLine, run, sayReady, untilTold, waitFor,
} from '../shared/session.mjs';
import { HEIGHT, WIDTH, i420, number } from '../shared/pattern.mjs';

const AUDIO_RATE = 48_000;
/** What the library takes and gives: 10 ms. */
const AUDIO_BLOCK = AUDIO_RATE / 100;
/** Long enough for the last frame to be encoded, and for statistics not to be those of before. */
const ENCODE_PATIENCE_MS = 300;

function preferCodec(transceiver, codec) {
  const kind = transceiver.receiver.track.kind;
  const wanted = [`video/${codec}`, 'video/rtx', 'audio/opus'];
  const known = wrtc.RTCRtpSender.getCapabilities(kind).codecs;
  const codecs = known.filter((one) => wanted.includes(one.mimeType.toLowerCase()));
  if (!codecs.some((one) => one.mimeType.toLowerCase() !== 'video/rtx')) throw new Error(`${codec} is not built in`);
  transceiver.setCodecPreferences(codecs);
}

async function connect(peer, session) {
  await peer.setLocalDescription(await peer.createOffer());
  const gathered = await waitFor(() => peer.iceGatheringState === 'complete', CONNECT_PATIENCE);
  if (!gathered) throw new Error('no candidates were gathered');
  const answer = await session.begin(peer.localDescription.sdp);
  await peer.setRemoteDescription({ type: 'answer', sdp: answer });
  const connected = await waitFor(() => peer.connectionState === 'connected', CONNECT_PATIENCE);
  if (!connected) throw new Error(`not connected: ${peer.connectionState}, ICE ${peer.iceConnectionState}`);
}

/** Calls `make(n)` at n / perSecond until it is stopped. */
function pace(perSecond, make) {
  const start = Date.now();
  let n = 0;
  const timer = setInterval(() => {
    while (n <= (Date.now() - start) * perSecond / 1000) make(n++);
  }, 5);
  return () => clearInterval(timer);
}

function tone(n) {
  const samples = new Int16Array(AUDIO_BLOCK);
  for (let i = 0; i < AUDIO_BLOCK; i++) samples[i] = 8000 * Math.sin(2 * Math.PI * 440 * (n * AUDIO_BLOCK + i) / AUDIO_RATE);
  return { samples, sampleRate: AUDIO_RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: AUDIO_BLOCK };
}

async function videoStats(peer, type) {
  return [...(await peer.getStats()).values()].find((one) => one.type === type && one.kind === 'video');
}

async function publish(options, session) {
  const peer = new wrtc.RTCPeerConnection({ iceServers: [] });
  const sources = [new wrtc.nonstandard.RTCAudioSource(), new wrtc.nonstandard.RTCVideoSource()];
  for (const source of sources) preferCodec(peer.addTransceiver(source.createTrack(), { direction: 'sendonly' }), options.codec);
  await connect(peer, session);
  let given = 0;
  const stops = [
    pace(100, (n) => sources[0].onData(tone(n))),
    pace(FRAMES_PER_SECOND, (n) => {
      given = n + 1;
      sources[1].onFrame({ width: WIDTH, height: HEIGHT, data: i420(n) });
    }),
  ];
  sayReady();
  await untilTold(options.seconds);
  for (const stop of stops) stop();
  // On a busy machine the library leaves out frames before it encodes.
  await sleep(ENCODE_PATIENCE_MS);
  const { framesSent } = await videoStats(peer, 'outbound-rtp');
  peer.close();
  return { unsent: given - framesSent };
}

/**
 * Frames that came whole and were never shown: on a busy machine the library shows only the newest of those that are due,
 * and where a keyframe is due it does not decode what stands before it. The counts are not taken at the same moment, so of
 * many differences the most frequent one is right.
 */
async function skippedFrames(peer, shown) {
  const times = new Map();
  for (let sample = 0; sample < 20; sample++) {
    await sleep(70);
    const { framesDecoded, framesDropped } = await videoStats(peer, 'inbound-rtp');
    const skipped = framesDecoded + framesDropped - shown();
    times.set(skipped, (times.get(skipped) ?? 0) + 1);
  }
  const [[skipped]] = [...times].sort((a, b) => b[1] - a[1]);
  return Math.max(skipped, 0);
}

async function play(options, session) {
  const peer = new wrtc.RTCPeerConnection({ iceServers: [] });
  const video = { numbers: [], unreadable: 0, wanted: options.frames };
  let peak = 0;
  const transceivers = ['audio', 'video'].map((kind) => peer.addTransceiver(kind, { direction: 'recvonly' }));
  for (const transceiver of transceivers) preferCodec(transceiver, options.codec);
  const sounds = new wrtc.nonstandard.RTCAudioSink(transceivers[0].receiver.track);
  sounds.ondata = ({ samples }) => { for (const sample of samples) peak = Math.max(peak, sample); };
  const frames = new wrtc.nonstandard.RTCVideoSink(transceivers[1].receiver.track);
  frames.onframe = ({ frame }) => {
    const read = number(frame.data, frame.width, frame.height);
    if (read === null) video.unreadable++;
    else video.numbers.push(read);
  };
  await connect(peer, session);
  // It shows no RTP packets: audio is counted by its own statistics, of which expected = received + lost.
  let audio;
  await waitFor(() => {
    peer.getStats().then((stats) => {
      const { packetsReceived, packetsLost } = [...stats.values()].find((one) => one.type === 'inbound-rtp' && one.kind === 'audio') ?? {};
      audio = { received: packetsReceived ?? 0, expected: (packetsReceived ?? 0) + (packetsLost ?? 0), wanted: options.packets };
    });
    const { numbers } = video;
    return numbers.length && numbers.at(-1) - numbers[0] + 1 >= options.frames && audio?.received >= options.packets;
  }, options.seconds);
  video.skipped = await skippedFrames(peer, () => video.numbers.length + video.unreadable);
  sounds.stop();
  frames.stop();
  peer.close();
  return { video, audio, peak };
}

await run(commandLine(), { publish, play });
