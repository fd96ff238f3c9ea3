// What samples of a recording (record.mjs) say of pictures and sound between two times, in ms of the epoch.

import { streamsLike } from './record.mjs';

const VIDEO = { direction: 'in', kind: 'video' };
const AUDIO = { direction: 'in', kind: 'audio' };

const within = (samples, from, to) => samples.filter(({ at }) => at >= from && at <= to);

/**
 * Freezes of all pictures: how many, seconds in all, and the longest. One that the page explained, since the picture was
 * paused, counts apart. `fps` is of each picture.
 */
export function freezes(samples, from, to) {
  const span = within(samples, from, to);
  const result = { freezes: 0, frozen: 0, longest: 0, paused: 0, fps: [] };
  for (let index = 1; index < span.length; index += 1) {
    for (const now of streamsLike(span[index], VIDEO)) {
      const before = streamsLike(span[index - 1], { ...VIDEO, mid: now.mid })[0];
      const count = (now.freezeCount ?? 0) - (before?.freezeCount ?? 0);
      if (!before || count <= 0) continue;
      const seconds = now.totalFreezesDuration - before.totalFreezesDuration;
      const began = span[index].at - 1000 * seconds;
      if (span.some((sample) => sample.at >= began - 500 && sample.at <= span[index].at && sample.paused.includes(now.mid))) {
        result.paused += seconds;
        continue;
      }
      result.freezes += count;
      result.frozen += seconds;
      result.longest = Math.max(result.longest, seconds / count);
    }
  }
  const [first, last] = [span[0], span.at(-1)];
  for (const now of streamsLike(last, VIDEO)) {
    const before = streamsLike(first, { ...VIDEO, mid: now.mid })[0];
    result.fps.push(round((1000 * (now.framesDecoded - (before?.framesDecoded ?? 0))) / (last.at - first.at), 1));
  }
  return { ...result, frozen: round(result.frozen), longest: round(result.longest), paused: round(result.paused) };
}

/** Share of all sound that was concealed and not silent, and the most milliseconds of it from one sample to the next. */
export function sound(samples, from, to) {
  const span = within(samples, from, to);
  const heard = (stream) => (stream.concealedSamples ?? 0) - (stream.silentConcealedSamples ?? 0);
  let [all, concealed, longest] = [0, 0, 0];
  for (let index = 1; index < span.length; index += 1) {
    for (const now of streamsLike(span[index], AUDIO)) {
      const before = streamsLike(span[index - 1], { ...AUDIO, mid: now.mid })[0];
      if (!before) continue;
      all += now.totalSamplesReceived - before.totalSamplesReceived;
      concealed += heard(now) - heard(before);
      longest = Math.max(longest, heard(now) - heard(before));
    }
  }
  return { concealed: round(concealed / Math.max(1, all), 4), longestMs: round(longest / 48, 0) };
}

/** Lines of each picture, by its section, at a time. */
export function heights(samples, at) {
  const sample = samples.findLast((one) => one.at <= at);
  const streams = sample ? streamsLike(sample, VIDEO) : [];
  return Object.fromEntries(streams.filter(({ frameHeight }) => frameHeight).map(({ mid, frameHeight }) => [mid, frameHeight]));
}

function round(value, digits = 2) {
  return Number(value.toFixed(digits));
}
