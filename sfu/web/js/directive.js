// Obeys EncoderDirective: what the server wants of an encoder, within bounds of our own.
//
// The newest version wins, and replaces the ones before it as a whole: what it leaves open is as it was before any
// directive. One that is not renewed within its time to live lapses, and the sender goes back to that.

import { formatBitrate } from './stats.js';

const OUTCOME = {
  applied: 'DIRECTIVE_OUTCOME_APPLIED',
  clamped: 'DIRECTIVE_OUTCOME_CLAMPED',
  unsupported: 'DIRECTIVE_OUTCOME_UNSUPPORTED',
  stale: 'DIRECTIVE_OUTCOME_STALE',
};

/** Beyond these a directive is more likely a fault than a wish. */
const BOUNDS = {
  bitrate: [30_000, 8_000_000],
  audioBitrate: [6_000, 256_000],
  framerate: [1, 60],
  scale: [1, 16],
};
const SCALABILITY_MODE = /^(L[1-3]T[1-3](h|_KEY|_KEY_SHIFT)?|S[1-3]T[1-3]h?)$/;

/** Keeps the directives of one sender. */
export class DirectiveKeeper {
  #sender;
  #acknowledge;
  #version = 0n;
  #defaults = null;
  #asked = [];
  #lapse = 0;
  #queue = Promise.resolve();

  /** `acknowledge(ack)` is called with an EncoderDirectiveAck for every directive. */
  constructor(sender, acknowledge) {
    this.#sender = sender;
    this.#acknowledge = acknowledge;
  }

  /** What the directive that holds asks of an encoding; undefined where none holds, or it says nothing of that one. */
  asked(rid) {
    return this.#asked.find((wanted) => (wanted.rid ?? '') === rid);
  }

  /** Carries out a directive after those that came before it. */
  obey(directive) {
    this.#queue = this.#queue.then(() => this.#obey(directive));
    return this.#queue;
  }

  /** Forgets everything: the publication is over. */
  close() {
    clearTimeout(this.#lapse);
    this.#defaults = null;
    this.#asked = [];
  }

  async #obey(directive) {
    const version = BigInt(directive.version ?? 0);
    const reply = (outcome, notes = []) =>
      this.#acknowledge({
        applied: this.#sender.getParameters().encodings.map(applied),
        publicationId: directive.publicationId,
        version: String(version),
        outcome,
        detail: notes.join('; ').slice(0, 500),
      });
    if (version <= this.#version) return reply(OUTCOME.stale);
    this.#version = version;
    const parameters = this.#sender.getParameters();
    const before = snapshot(parameters);
    restore(parameters, this.#defaults);
    const { outcome, notes } = applyDirective(directive, parameters);
    try {
      await this.#sender.setParameters(parameters);
    } catch (error) {
      return reply(OUTCOME.unsupported, [error.message]);
    }
    this.#defaults ??= before;
    this.#asked = directive.encodings ?? [];
    clearTimeout(this.#lapse);
    if (directive.ttlMs > 0) this.#lapse = setTimeout(() => this.#restore(), directive.ttlMs);
    return reply(outcome, notes);
  }

  #restore() {
    this.#queue = this.#queue.then(async () => {
      if (!this.#defaults) return;
      const parameters = this.#sender.getParameters();
      restore(parameters, this.#defaults);
      this.#defaults = null;
      this.#asked = [];
      await this.#sender.setParameters(parameters).catch((error) => console.warn('restore', error));
    });
  }
}

/** The changeable part of the encodings, with absent values made explicit so that they can be restored. */
function snapshot(parameters) {
  return parameters.encodings.map((encoding) => ({
    active: encoding.active,
    maxBitrate: encoding.maxBitrate,
    maxFramerate: encoding.maxFramerate,
    ...('scaleResolutionDownBy' in encoding ? { scaleResolutionDownBy: encoding.scaleResolutionDownBy } : {}),
    ...('scalabilityMode' in encoding ? { scalabilityMode: encoding.scalabilityMode } : {}),
  }));
}

/** Puts back what `snapshot` took, if it took anything; the encodings stay the same as long as a sender does. */
function restore(parameters, defaults) {
  parameters.encodings.forEach((encoding, index) => Object.assign(encoding, defaults?.[index]));
}

/** What holds for an encoding, as an acknowledgement says it. */
function applied({ rid, active, maxBitrate, maxFramerate, scaleResolutionDownBy, scalabilityMode }) {
  return {
    rid: rid ?? '',
    active,
    ...(maxBitrate ? { maxBitrateBps: String(maxBitrate) } : {}),
    ...(maxFramerate ? { maxFramerate } : {}),
    ...(scaleResolutionDownBy ? { scaleResolutionDownBy } : {}),
    ...(scalabilityMode ? { scalabilityMode } : {}),
  };
}

/** What the server asks of an encoding, for people; `asked` as `DirectiveKeeper.asked` gives it. */
export function askedText(asked) {
  if (!asked) return '';
  if (!asked.active) return 'off, nobody needs it';
  const bitrate = Number(asked.maxBitrateBps ?? 0);
  return bitrate > 0 ? `held to ${formatBitrate(bitrate)} for those who watch` : '';
}

/** Writes a directive into RTCRtpSendParameters. Says how far that went, and notes what was not done. */
export function applyDirective(directive, parameters) {
  const notes = [];
  let done = 0;
  for (const wanted of directive.encodings ?? []) {
    const rid = wanted.rid ?? '';
    const encoding = parameters.encodings.find((candidate) => (candidate.rid ?? '') === rid);
    if (!encoding) {
      notes.push(`no encoding ${rid || '(without rid)'}`);
      continue;
    }
    applyEncoding(wanted, encoding, notes);
    done += 1;
  }
  done += applyAudio(directive.audio, parameters, notes);
  done += applyCodec(directive.codec, parameters, notes);
  if (directive.fecRatio > 0) notes.push('a browser chooses its own forward error correction');
  const outcome = notes.length === 0 ? OUTCOME.applied : done > 0 ? OUTCOME.clamped : OUTCOME.unsupported;
  return { outcome, notes };
}

function applyEncoding(wanted, encoding, notes) {
  encoding.active = wanted.active ?? false;
  const bitrate = Number(wanted.maxBitrateBps ?? 0);
  if (bitrate > 0) encoding.maxBitrate = clamp('bitrate', bitrate, BOUNDS.bitrate, notes);
  if (wanted.maxFramerate > 0) {
    encoding.maxFramerate = clamp('frame rate', wanted.maxFramerate, BOUNDS.framerate, notes);
  }
  if (wanted.scaleResolutionDownBy > 0) {
    encoding.scaleResolutionDownBy = clamp('scale', wanted.scaleResolutionDownBy, BOUNDS.scale, notes);
  }
  if (wanted.scalabilityMode) {
    if (SCALABILITY_MODE.test(wanted.scalabilityMode)) encoding.scalabilityMode = wanted.scalabilityMode;
    else notes.push(`unknown scalability mode ${wanted.scalabilityMode}`);
  }
}

function applyAudio(audio, parameters, notes) {
  if (!audio) return 0;
  let done = 0;
  if (audio.bitrateBps > 0 && parameters.encodings[0]) {
    parameters.encodings[0].maxBitrate = clamp('bitrate', audio.bitrateBps, BOUNDS.audioBitrate, notes);
    done = 1;
  }
  if (audio.dtx) notes.push('discontinuous transmission stays off');
  if (audio.packetTimeMs > 0) notes.push('a browser chooses its own packet time');
  return done;
}

function applyCodec(name, parameters, notes) {
  if (!name) return 0;
  const codec = parameters.codecs?.find((candidate) => candidate.mimeType.split('/')[1].toLowerCase() === name.toLowerCase());
  if (!codec) {
    notes.push(`codec ${name} was not negotiated`);
    return 0;
  }
  for (const encoding of parameters.encodings) encoding.codec = codec;
  return 1;
}

function clamp(what, value, [least, most], notes) {
  const clamped = Math.min(most, Math.max(least, value));
  if (clamped !== value) notes.push(`${what} ${value} clamped to ${clamped}`);
  return clamped;
}
