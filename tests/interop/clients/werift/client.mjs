// werift publishes by WHIP and plays by WHEP. It carries RTP and has no codecs.

import {
  MediaStreamTrack, RTCPeerConnection, RtpHeader, RtpPacket, useH264, useNACK, useOPUS, usePLI, useVP8,
} from 'werift';
import { CONNECT_PATIENCE, Recording, commandLine, run, sendClips, waitFor } from '../shared/session.mjs';

function peerFor(options) {
  const video = options.codec === 'vp8' ? useVP8 : useH264;
  return new RTCPeerConnection({
    iceServers: [],
    codecs: { audio: [useOPUS()], video: [video({ rtcpFeedback: [useNACK(), usePLI()] })] },
  });
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

async function publish(options, session) {
  const peer = peerFor(options);
  const sender = (kind) => {
    const track = new MediaStreamTrack({ kind });
    peer.addTransceiver(track, { direction: 'sendonly' });
    let sequenceNumber = 0;
    return (payload, marker, timestamp) => {
      // SSRC and payload type are set by the sender.
      const header = new RtpHeader({ sequenceNumber: sequenceNumber++ & 0xffff, timestamp, marker, payloadType: 96 });
      track.writeRtp(new RtpPacket(header, payload));
    };
  };
  const [audio, video] = [sender('audio'), sender('video')];
  await connect(peer, session);
  await sendClips(options, video, audio);
  await peer.close();
  return {};
}

async function play(options, session) {
  const peer = peerFor(options);
  const recording = new Recording(options);
  for (const kind of ['audio', 'video']) {
    const transceiver = peer.addTransceiver(kind, { direction: 'recvonly' });
    transceiver.onTrack.subscribe((track) => {
      track.onReceiveRtp.subscribe((packet) => recording.add(kind, packet.serialize()));
    });
  }
  await connect(peer, session);
  await waitFor(() => recording.isComplete(), options.seconds);
  await peer.close();
  return recording.result();
}

await run(commandLine(), { publish, play });
