// Reads RTCPeerConnection statistics and turns counters into rates, with a short history for graphs.

const HISTORY = 90;

/** Samples of one value over time, oldest first. */
class Series {
  points = [];

  add(time, value) {
    this.points.push({ time, value });
    if (this.points.length > HISTORY) this.points.shift();
  }
}

export class StatsCollector {
  #before = new Map();
  #series = new Map();
  #time = 0;

  /**
   * Takes one report (RTCStatsReport). Returns {rtt, down, up, loss, path, series, streams}: rates in bits per
   * second, shares from 0 to 1, times in seconds; `streams` as made by `stream` below.
   */
  sample(report) {
    const reports = [...report.values()];
    const time = reports.find((one) => one.type === 'peer-connection')?.timestamp ?? performance.now();
    const seconds = Math.max(0.001, (time - this.#time) / 1000);
    const find = (id) => (id ? report.get(id) : undefined);
    const streams = reports
      .filter((one) => one.type === 'inbound-rtp' || one.type === 'outbound-rtp')
      .map((one) => this.#stream(one, find, reports, time, seconds));
    const pair = selectedPair(reports);
    const received = streams.filter((stream) => stream.direction === 'in');
    const total = {
      rtt: pair?.currentRoundTripTime ?? 0,
      down: sum(received, (stream) => stream.bitrate),
      up: sum(streams, (stream) => stream.bitrate) - sum(received, (stream) => stream.bitrate),
      loss: share(sum(received, (stream) => stream.lost), sum(received, (stream) => stream.packets)),
      path: describePath(pair, find),
    };
    const series = this.#record('total', time, { rtt: total.rtt, down: total.down, up: total.up, loss: total.loss });
    this.#forget(new Set(['total', ...streams.map((stream) => stream.key)]));
    this.#before = new Map(reports.map((one) => [one.id, one]));
    this.#time = time;
    return { ...total, series, streams };
  }

  /** One stream: one SSRC that is received, or one encoding that is sent. */
  #stream(now, find, reports, time, seconds) {
    const before = this.#before.get(now.id) ?? {};
    const rise = (field) => Math.max(0, (now[field] ?? 0) - (before[field] ?? now[field] ?? 0));
    const incoming = now.type === 'inbound-rtp';
    const remote = incoming ? undefined : reports.find((one) => one.type === 'remote-inbound-rtp' && one.localId === now.id);
    const lost = rise('packetsLost');
    const packets = incoming ? rise('packetsReceived') + lost : rise('packetsSent');
    const stream = {
      key: `${now.type}/${now.mid}/${now.rid ?? ''}`,
      direction: incoming ? 'in' : 'out',
      kind: now.kind,
      mid: now.mid,
      rid: now.rid ?? '',
      active: packets > 0,
      codec: (find(now.codecId)?.mimeType ?? '').split('/')[1] ?? '',
      bitrate: (8 * rise(incoming ? 'bytesReceived' : 'bytesSent')) / seconds,
      packets,
      lost,
      loss: incoming ? share(lost, packets) : (remote?.fractionLost ?? 0),
      rtt: remote?.roundTripTime,
      jitter: now.jitter ?? remote?.jitter ?? 0,
      fps: now.framesPerSecond ?? rise(incoming ? 'framesDecoded' : 'framesEncoded') / seconds,
      width: now.frameWidth ?? 0,
      height: now.frameHeight ?? 0,
      freezes: now.freezeCount ?? 0,
      frozen: now.totalFreezesDuration ?? 0,
      limit: now.qualityLimitationReason ?? 'none',
      concealed: share(rise('concealedSamples') - rise('silentConcealedSamples'), rise('totalSamplesReceived')),
    };
    const { bitrate, loss, fps, height, freezes, jitter } = stream;
    stream.series = this.#record(stream.key, time, { bitrate, loss, fps, height, freezes, jitter });
    return stream;
  }

  #record(key, time, values) {
    if (!this.#series.has(key)) this.#series.set(key, {});
    const series = this.#series.get(key);
    // The first sample of counters has nothing to be compared with.
    const first = this.#before.size === 0;
    for (const [name, value] of Object.entries(values)) {
      series[name] ??= new Series();
      if (!first) series[name].add(time, value);
    }
    return series;
  }

  #forget(keep) {
    for (const key of [...this.#series.keys()]) if (!keep.has(key)) this.#series.delete(key);
  }
}

/**
 * The pair of candidates in use. Its state does not tell: it is `in-progress` in Chromium from each check to its answer.
 * Firefox has no `transport`, but says `selected`.
 */
function selectedPair(reports) {
  const id = reports.find((one) => one.type === 'transport')?.selectedCandidatePairId;
  return reports.find((one) => one.type === 'candidate-pair' && (id ? one.id === id : one.selected));
}

function describePath(pair, find) {
  const local = find(pair?.localCandidateId);
  const remote = find(pair?.remoteCandidateId);
  if (!remote) return '';
  const address = remote.address ?? remote.ip ?? '';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${(local?.protocol ?? remote.protocol ?? '').toUpperCase()} ${host}:${remote.port}`;
}

function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0);
}

function share(part, whole) {
  return whole > 0 ? Math.max(0, part) / whole : 0;
}

/** 1234567 -> '1.23 Mbit/s'. */
export function formatBitrate(bitsPerSecond) {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** 0.0123 -> '1.2 %'. */
export function formatShare(value) {
  return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}

/** 0.0123 -> '12 ms'. */
export function formatTime(seconds) {
  return `${seconds < 0.01 ? (1000 * seconds).toFixed(1) : Math.round(1000 * seconds)} ms`;
}
