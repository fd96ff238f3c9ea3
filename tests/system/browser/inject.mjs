// What the tests put into a page before its own scripts run. These functions run in the page: they cannot use
// anything from outside themselves.

/** Remembers every RTCPeerConnection of the page in `window.peers`. */
const rememberPeers = {
  script: () => {
    const Original = window.RTCPeerConnection;
    window.peers = [];
    window.RTCPeerConnection = class extends Original {
      constructor(...parameters) {
        super(...parameters);
        window.peers.push(this);
      }
    };
  },
};

/** Offers the browser only the server's TCP candidates. */
const tcpOnly = {
  script: () => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
      const isUdp = (line) => line.startsWith('a=candidate:') && line.split(' ')[2].toLowerCase() === 'udp';
      const sdp = description.sdp.split('\r\n').filter((line) => !isUdp(line)).join('\r\n');
      return original.call(this, { type: description.type, sdp });
    };
  },
};

/** Leads the browser's UDP to 127.0.0.1:`port`, and leaves it no other way. */
const throughRelay = (port) => ({
  argument: port,
  script: (relayPort) => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
      const lines = description.sdp.split('\r\n');
      const kept = lines.filter((line) => !line.startsWith('a=candidate:'));
      const first = lines.findIndex((line) => line.startsWith('a=candidate:'));
      if (first >= 0) kept.splice(first, 0, `a=candidate:1 1 udp 2130706431 127.0.0.1 ${relayPort} typ host`);
      return original.call(this, { type: description.type, sdp: kept.join('\r\n') });
    };
  },
});

/** Notes in `window.joinClock` when the join form was sent and when the first remote frame was decoded. */
const joinClock = {
  script: () => {
    const clock = (window.joinClock = { sent: 0, decoded: 0 });
    addEventListener('submit', () => (clock.sent = performance.now()), true);
    const awaitFrame = async (receiver) => {
      while (!clock.decoded) {
        for (const one of (await receiver.getStats()).values()) {
          if (one.type === 'inbound-rtp' && one.framesDecoded > 0) clock.decoded ||= performance.now();
        }
        await new Promise((resolve) => setTimeout(resolve, 4));
      }
    };
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...parameters) {
        super(...parameters);
        this.addEventListener('track', ({ receiver, track }) => {
          if (track.kind === 'video') track.addEventListener('unmute', () => awaitFrame(receiver), { once: true });
        });
      }
    };
  },
};

export const inject = { rememberPeers, tcpOnly, throughRelay, joinClock };

/** In the page: what it sends and receives, with the participant whose picture each receiver shows. */
export async function readCounters() {
  const shown = new Map();
  for (const tile of document.querySelectorAll('.tile[data-tile]')) {
    const track = tile.querySelector('video')?.srcObject?.getVideoTracks()[0];
    if (track) shown.set(track.id, tile.querySelector('.tile-name').textContent);
  }
  const peer = window.peers.at(-1);
  const reports = [...(await peer.getStats()).values()];
  const codecs = new Map(reports.filter((one) => one.type === 'codec').map((one) => [one.id, one.mimeType]));
  const pick = (one, names) => Object.fromEntries(names.map((name) => [name, one[name] ?? 0]));
  const outgoing = reports
    .filter((one) => one.type === 'outbound-rtp')
    .map((one) => ({
      kind: one.kind,
      rid: one.rid ?? '',
      codec: codecs.get(one.codecId) ?? '',
      ...pick(one, ['framesEncoded', 'frameHeight', 'frameWidth', 'framesPerSecond', 'packetsSent', 'bytesSent', 'nackCount', 'pliCount', 'firCount', 'retransmittedPacketsSent']),
    }));
  const incoming = reports
    .filter((one) => one.type === 'inbound-rtp' && one.packetsReceived > 0)
    .map((one) => ({
      kind: one.kind,
      mid: one.mid,
      from: shown.get(one.trackIdentifier) ?? '',
      codec: codecs.get(one.codecId) ?? '',
      ...pick(one, ['framesDecoded', 'framesReceived', 'framesDropped', 'keyFramesDecoded', 'frameHeight', 'frameWidth', 'framesPerSecond', 'freezeCount', 'totalFreezesDuration', 'packetsReceived', 'packetsLost', 'nackCount', 'pliCount', 'totalAudioEnergy', 'totalSamplesReceived', 'concealedSamples', 'silentConcealedSamples', 'jitterBufferDelay', 'jitterBufferEmittedCount']),
    }));
  const pair = reports.find((one) => one.type === 'candidate-pair' && one.state === 'succeeded' && one.nominated);
  const local = reports.find((one) => one.id === pair?.localCandidateId);
  const remote = reports.find((one) => one.id === pair?.remoteCandidateId);
  return {
    outgoing,
    incoming,
    state: peer.connectionState,
    peers: window.peers.length,
    path: { protocol: local?.protocol ?? remote?.protocol ?? '', port: remote?.port ?? 0 },
  };
}
