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

/** Notes in `window.pulse` how long the page was kept from running when it wanted to, at most. */
const pulse = {
  script: () => {
    const EVERY = 10;
    const note = (window.pulse = { longest: 0, last: performance.now() });
    setInterval(() => {
      const now = performance.now();
      note.longest = Math.max(note.longest, now - note.last - EVERY);
      note.last = now;
    }, EVERY);
  },
};

/** Remembers in `window.notices` what the page told its user in passing. */
const rememberNotices = {
  script: () => {
    window.notices = [];
    const note = (changes) => {
      for (const { addedNodes } of changes) window.notices.push(...[...addedNodes].map((node) => node.textContent));
    };
    addEventListener('DOMContentLoaded', () => {
      new MutationObserver(note).observe(document.getElementById('toasts'), { childList: true });
    });
  },
};

/** Leaves `window.hideAll(hidden)` in the page: it tells the server that no picture is shown, or all are shown large. */
const rememberSignal = {
  script: () => {
    const Original = window.WebSocket;
    let socket = null;
    window.WebSocket = class extends Original {
      constructor(...parameters) {
        super(...parameters);
        socket = this;
      }
    };
    window.hideAll = (hidden) => {
      const slots = window.peers.at(-1).getTransceivers().filter(({ direction, receiver }) => direction === 'recvonly' && receiver.track.kind === 'video');
      const tile = hidden ? { hidden } : { width: 1280, height: 720 };
      for (const { mid } of slots) socket.send(JSON.stringify({ subscribe: { mid, tile } }));
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

/** Leads the browser's UDP to `address` (host:port), and leaves it no other way. */
const throughRelay = (address) => ({
  argument: address.split(':'),
  script: ([host, port]) => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
      const lines = description.sdp.split('\r\n');
      const kept = lines.filter((line) => !line.startsWith('a=candidate:'));
      const first = lines.findIndex((line) => line.startsWith('a=candidate:'));
      if (first >= 0) kept.splice(first, 0, `a=candidate:1 1 udp 2130706431 ${host} ${port} typ host`);
      return original.call(this, { type: description.type, sdp: kept.join('\r\n') });
    };
  },
});

/** Notes in `window.joinClock` when the join form was sent and when the first remote frame was decoded. */
const joinClock = {
  script: () => {
    const clock = (window.joinClock = { sent: 0, decoded: 0 });
    addEventListener('submit', () => (clock.sent = performance.now()), true);
    // Reading the track costs less than asking for statistics again and again, and does not disturb what is timed.
    const awaitFrame = async (track) => {
      const { value } = await new MediaStreamTrackProcessor({ track }).readable.getReader().read();
      clock.decoded ||= performance.now();
      value.close();
    };
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...parameters) {
        super(...parameters);
        this.addEventListener('track', ({ track }) => track.kind === 'video' && awaitFrame(track));
      }
    };
  },
};

/** Notes in `window.answerClock` how long after the answer was set the connection and the first frame were there. */
const answerClock = {
  script: () => {
    const clock = (window.answerClock = { connected: 0, frame: 0 });
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      setRemoteDescription(description) {
        const start = performance.now();
        const since = () => performance.now() - start;
        this.addEventListener('connectionstatechange', () => {
          if (this.connectionState === 'connected') clock.connected ||= since();
        });
        document.getElementById('video').requestVideoFrameCallback(() => (clock.frame ||= since()));
        return super.setRemoteDescription(description);
      }
    };
  },
};

/** Instead of the camera, a painted person; `index` chooses who. The microphone stays as it is. */
const paintedCamera = (index) => ({
  argument: index,
  script: (who) => {
    const SKIN = ['#e3b999', '#8d5a3c', '#f0cdb0', '#6b4129'];
    const HAIR = ['#3a2a20', '#1a1412', '#7a4d22', '#8f8f92'];
    const paint = (canvas) => {
      const context = canvas.getContext('2d');
      const fill = (colour, draw) => {
        context.fillStyle = colour;
        context.beginPath();
        draw();
        context.fill();
      };
      const ellipse = (x, y, width, height, from = 0, to = 7) => () => context.ellipse(x, y, width, height, 0, from, to);
      const hue = (who * 67 + 20) % 360;
      const wall = context.createLinearGradient(0, 0, 640, 360);
      wall.addColorStop(0, `hsl(${hue} 25% 62%)`);
      wall.addColorStop(1, `hsl(${hue + 40} 30% 40%)`);
      return () => {
        const time = performance.now() / 1000 + who;
        const [x, y] = [320 + 12 * Math.sin(time), 170 + 5 * Math.cos(1.3 * time)];
        fill(wall, () => context.rect(0, 0, 640, 360));
        fill(`hsl(${hue} 20% 80%)`, () => context.rect(40, 40, 90, 140));
        fill(`hsl(${hue + 180} 25% 45%)`, () => context.rect(520, 0, 80, 230));
        fill(`hsl(${hue + 200} 35% 35%)`, ellipse(x, 400, 170, 150));
        fill(SKIN[who % 4], ellipse(x, y, 62, 80));
        fill(SKIN[who % 4], () => context.rect(x - 24, y + 50, 48, 60));
        fill(HAIR[who % 4], ellipse(x, y - 50, 68, 40));
        fill('#222', ellipse(x - 22, y - 2, 5, 5));
        fill('#222', ellipse(x + 22, y - 2, 5, 5));
        context.strokeStyle = '#7b3b32';
        context.lineWidth = 4;
        context.beginPath();
        context.arc(x, y + 28, 20 + 4 * Math.sin(5 * time), 0.2, 2.9);
        context.stroke();
      };
    };
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = new MediaStream();
      if (wanted.audio) for (const track of (await original({ audio: wanted.audio })).getTracks()) stream.addTrack(track);
      if (wanted.video) {
        const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
        const draw = paint(canvas);
        draw();
        setInterval(draw, 66);
        stream.addTrack(canvas.captureStream(15).getVideoTracks()[0]);
      }
      return stream;
    };
  },
});

/**
 * Instead of the camera, a picture that takes as many bits as an encoder is given: that of the test device is so plain
 * that no bound of a bitrate shows. A wall of coloured stones goes by, with grain over it. `calm`: as slowly as somebody who
 * talks moves, with the grain of a camera in a room.
 */
const noisyCamera = ({ width, height, fps, calm = false }) => ({
  argument: [width, height, fps, calm ? 12 : 1, calm ? 6 : 24],
  script: ([wide, high, rate, slowness, grain]) => {
    const random = (below) => Math.floor(below * Math.random());
    const paint = (across, down, draw) => {
      const canvas = new OffscreenCanvas(across, down);
      draw(canvas.getContext('2d'), across, down);
      return canvas;
    };
    const wall = paint(2 * wide, 2 * high, (context, across, down) => {
      for (let stone = 0; stone < 4000; stone += 1) {
        context.fillStyle = `rgb(${random(256)} ${random(256)} ${random(256)})`;
        context.fillRect(random(across), random(down), 8 + random(40), 8 + random(40));
      }
    });
    const grains = Array.from({ length: 8 }, () => paint(wide / 2, high / 2, (context, across, down) => {
      const image = context.createImageData(across, down);
      for (let at = 0; at < image.data.length; at += 4) image.data.set([random(256), random(256), random(256), grain], at);
      context.putImageData(image, 0, 0);
    }));
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = new MediaStream();
      if (wanted.audio) for (const track of (await original({ audio: wanted.audio })).getTracks()) stream.addTrack(track);
      if (wanted.video) {
        const canvas = Object.assign(document.createElement('canvas'), { width: wide, height: high });
        const context = canvas.getContext('2d');
        let frame = 0;
        const draw = () => {
          const turn = frame / 60 / slowness;
          context.drawImage(wall, -wide * (0.5 + 0.5 * Math.sin(turn)), -high * (0.5 + 0.5 * Math.cos(0.7 * turn)));
          context.drawImage(grains[frame % grains.length], 0, 0, wide, high);
          frame += 1;
        };
        draw();
        setInterval(draw, 1000 / rate);
        stream.addTrack(canvas.captureStream(rate).getVideoTracks()[0]);
      }
      return stream;
    };
  },
});

export const inject = { rememberPeers, pulse, rememberNotices, rememberSignal, tcpOnly, throughRelay, joinClock, answerClock, paintedCamera, noisyCamera };

/**
 * In the page: what it sends and receives, with the participant whose picture each receiver shows, and how long it was
 * kept from running since this was read last.
 */
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
  const paused = window.pulse?.longest ?? 0;
  if (window.pulse) window.pulse.longest = 0;
  // As the page has it (sfu/web/js/stats.js).
  const selected = reports.find((one) => one.type === 'transport')?.selectedCandidatePairId;
  const pair = reports.find((one) => one.type === 'candidate-pair' && (selected ? one.id === selected : one.selected));
  const local = reports.find((one) => one.id === pair?.localCandidateId);
  const remote = reports.find((one) => one.id === pair?.remoteCandidateId);
  return {
    outgoing,
    incoming,
    state: peer.connectionState,
    peers: window.peers.length,
    paused,
    path: { protocol: local?.protocol ?? remote?.protocol ?? '', port: remote?.port ?? 0 },
  };
}
