// libdatachannel (node-datachannel) publishes by WHIP and plays by WHEP. It carries RTP and has no codecs.

import datachannel from 'node-datachannel';
import { CONNECT_PATIENCE, Recording, commandLine, run, sendClips, waitFor } from '../shared/session.mjs';

const PAYLOAD_TYPE = { audio: 111, video: 96 };
const SSRC = { audio: 1111, video: 2222 };

function addTrack(peer, options, kind, direction) {
  const media = kind === 'audio' ? new datachannel.Audio('0', direction) : new datachannel.Video('1', direction);
  if (kind === 'audio') media.addOpusCodec(PAYLOAD_TYPE.audio);
  else if (options.codec === 'vp8') media.addVP8Codec(PAYLOAD_TYPE.video);
  else media.addH264Codec(PAYLOAD_TYPE.video);
  if (direction === 'SendOnly') media.addSSRC(SSRC[kind], 'interop', 'stream', kind);
  return peer.addTrack(media);
}

async function connect(peer, session) {
  peer.setLocalDescription('offer');
  const gathered = await waitFor(() => peer.gatheringState() === 'complete', CONNECT_PATIENCE);
  if (!gathered) throw new Error('no candidates were gathered');
  const answer = await session.begin(peer.localDescription().sdp);
  peer.setRemoteDescription(answer, 'answer');
  const connected = await waitFor(() => peer.state() === 'connected', CONNECT_PATIENCE);
  if (!connected) throw new Error(`not connected: ${peer.state()}, ICE ${peer.iceState()}`);
}

/** An RTP packet (RFC 3550, 5.1) without extensions. */
function rtp(kind, sequenceNumber, timestamp, marker, payload) {
  const header = Buffer.alloc(12);
  header.writeUInt8(0x80, 0);
  header.writeUInt8((marker ? 0x80 : 0) | PAYLOAD_TYPE[kind], 1);
  header.writeUInt16BE(sequenceNumber & 0xffff, 2);
  header.writeUInt32BE(timestamp, 4);
  header.writeUInt32BE(SSRC[kind], 8);
  return Buffer.concat([header, payload]);
}

async function publish(options, session) {
  const peer = new datachannel.PeerConnection('publisher', { iceServers: [], disableAutoNegotiation: true });
  const sender = (kind) => {
    const track = addTrack(peer, options, kind, 'SendOnly');
    track.setMediaHandler(new datachannel.RtcpNackResponder());
    let sequenceNumber = 0;
    return (payload, marker, timestamp) => {
      track.sendMessageBinary(rtp(kind, sequenceNumber++, timestamp, marker, payload));
    };
  };
  const [audio, video] = [sender('audio'), sender('video')];
  await connect(peer, session);
  await sendClips(options, video, audio);
  peer.close();
  return {};
}

async function play(options, session) {
  const peer = new datachannel.PeerConnection('player', { iceServers: [], disableAutoNegotiation: true });
  const recording = new Recording(options);
  // The library gives nothing to a track that was collected as garbage: they are kept.
  const tracks = ['audio', 'video'].map((kind) => {
    const track = addTrack(peer, options, kind, 'RecvOnly');
    track.setMediaHandler(new datachannel.RtcpReceivingSession());
    track.onMessage((packet) => recording.add(kind, packet));
    return track;
  });
  await connect(peer, session);
  await waitFor(() => recording.isComplete(), options.seconds);
  for (const track of tracks) track.close();
  peer.close();
  return recording.result();
}

await run(commandLine(), { publish, play });
