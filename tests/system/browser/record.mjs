// What a tab sends and receives over time: counters read in the page itself, at even steps.

const STEP = 100;

/** Begins to note the counters of the tab's newest peer connection. */
export function startRecording(tab, step = STEP) {
  return tab.evaluate((every) => {
    const NAMES = [
      'bytesReceived', 'retransmittedPacketsReceived', 'fecPacketsReceived', 'framesReceived', 'framesDecoded', 'frameHeight', 'freezeCount', 'totalFreezesDuration', 'packetsLost', 'packetsReceived',
      'totalSamplesReceived', 'concealedSamples', 'silentConcealedSamples', 'concealmentEvents',
      'bytesSent', 'retransmittedBytesSent', 'packetsSent', 'retransmittedPacketsSent', 'framesEncoded', 'framesSent', 'targetBitrate',
    ];
    const shorten = (one) => ({
      direction: one.type === 'inbound-rtp' ? 'in' : 'out',
      kind: one.kind,
      mid: one.mid,
      rid: one.rid ?? '',
      ...Object.fromEntries(NAMES.filter((name) => name in one).map((name) => [name, one[name]])),
    });
    const recording = (window.recording = { samples: [], sections: new Map(), timer: 0 });
    let busy = false;
    const read = async () => {
      if (busy || window.peers.length === 0) return;
      busy = true;
      const reports = [...(await window.peers.at(-1).getStats()).values()];
      const streams = reports.filter((one) => one.type === 'inbound-rtp' || one.type === 'outbound-rtp').map(shorten);
      const mids = new Map(reports.filter((one) => one.type === 'inbound-rtp').map((one) => [one.trackIdentifier, one.mid]));
      const paused = [];
      for (const tile of document.querySelectorAll('.tile')) {
        const track = tile.querySelector('video')?.srcObject?.getVideoTracks()[0]?.id;
        if (mids.has(track)) recording.sections.set(tile.dataset.tile, mids.get(track));
        if (tile.querySelector('.tile-note')?.textContent) paused.push(tile.dataset.tile);
      }
      recording.samples.push({ at: Date.now(), streams, paused });
      busy = false;
    };
    recording.timer = setInterval(read, every);
  }, step);
}

/**
 * Ends the recording and returns its samples: {at (ms of the epoch), streams, paused}, the last with the sections of the
 * pictures that the page said are paused. It shows nothing of those then, so which they are is seen before or afterwards.
 */
export function stopRecording(tab) {
  return tab.evaluate(() => {
    const { samples, sections, timer } = window.recording;
    clearInterval(timer);
    return samples.map(({ paused, ...sample }) => ({ ...sample, paused: paused.map((tile) => sections.get(tile)) }));
  });
}

/** The streams of a sample that agree with `like`, such as {direction: 'in', kind: 'video'}. */
export function streamsLike(sample, like) {
  return sample.streams.filter((stream) => Object.entries(like).every(([name, value]) => stream[name] === value));
}

/** A counter of all streams like this together. */
export function total(sample, like, name) {
  return streamsLike(sample, like).reduce((sum, stream) => sum + (stream[name] ?? 0), 0);
}

/**
 * How much a counter grew per second from `from` to `to` (ms of the epoch), by the samples nearest to them; null where
 * there are none so near.
 */
export function rate(samples, like, name, from, to) {
  const first = samples.findLast((sample) => sample.at <= from);
  const last = samples.find((sample) => sample.at >= to);
  if (!first || !last || first === last) return null;
  return (1000 * (total(last, like, name) - total(first, like, name))) / (last.at - first.at);
}
