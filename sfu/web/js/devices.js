// Cameras, microphones and speakers, and what this participant sends of them.

import { Emitter } from './emitter.js';
import { preferences } from './options.js';

const AUDIO_PROCESSING = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Why a device could not be opened, as a sentence that helps. */
function explain(error, what) {
  if (!navigator.mediaDevices) {
    return 'Browsers allow camera and microphone only on https:// or localhost. You can still watch and listen.';
  }
  switch (error?.name) {
    case 'NotAllowedError':
      return `The browser does not allow this page to use the ${what}. Allow it beside the address bar.`;
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `No ${what} was found.`;
    case 'NotReadableError':
      return `The ${what} is used by another program.`;
    default:
      return `The ${what} could not be opened.`;
  }
}

/** All devices by kind: {camera: [{id, label}], microphone: [...], speaker: [...]}. */
export async function listDevices() {
  const kinds = { videoinput: 'camera', audioinput: 'microphone', audiooutput: 'speaker' };
  const found = { camera: [], microphone: [], speaker: [] };
  for (const device of (await navigator.mediaDevices?.enumerateDevices()) ?? []) {
    const kind = kinds[device.kind];
    if (device.deviceId) found[kind].push({ id: device.deviceId, label: device.label || `${kind} ${found[kind].length + 1}` });
  }
  return found;
}

/**
 * The own camera and microphone: open or not, and which device. A camera that is off is closed, so that its
 * light goes out; a microphone that is off stays open, so that speech while muted can be noticed.
 * Events: change (kind), problem (sentence).
 */
export class LocalMedia extends Emitter {
  #capture;
  #tracks = { camera: null, microphone: null };
  #on = { camera: true, microphone: true };

  /** `capture` is {width, height, fps}. */
  constructor(capture) {
    super();
    this.#capture = capture;
    for (const kind of ['camera', 'microphone']) this.#on[kind] = preferences.read(`${kind}.on`) !== 'off';
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#deviceChange());
  }

  isOn(kind) {
    return this.#on[kind] && this.#tracks[kind] !== null;
  }

  /** The open track of a device, whether muted or not. */
  track(kind) {
    return this.#tracks[kind];
  }

  /** Opens what is switched on, in one question to the user where possible. */
  async start() {
    const wanted = ['camera', 'microphone'].filter((kind) => this.#on[kind]);
    if (wanted.length === 2) {
      try {
        const stream = await this.#open(wanted);
        this.#adopt('camera', stream.getVideoTracks()[0]);
        this.#adopt('microphone', stream.getAudioTracks()[0]);
        return;
      } catch {
        // One of the two is missing or refused: find out which.
      }
    }
    for (const kind of wanted) await this.#switchOn(kind);
  }

  /** Switches a device on or off. */
  async set(kind, on) {
    this.#on[kind] = on;
    preferences.write(`${kind}.on`, on ? 'on' : 'off');
    if (on && !this.#tracks[kind]) return this.#switchOn(kind);
    if (!on && kind === 'camera') this.#drop(kind);
    this.emit('change', kind);
    return undefined;
  }

  /** Takes another device. */
  async choose(kind, deviceId) {
    preferences.write(kind, deviceId);
    if (!this.#tracks[kind]) return;
    this.#drop(kind);
    await this.#switchOn(kind);
  }

  /** The id of the device in use. */
  deviceId(kind) {
    return this.#tracks[kind]?.getSettings().deviceId ?? preferences.read(kind);
  }

  stop() {
    for (const kind of ['camera', 'microphone']) this.#drop(kind);
  }

  async #switchOn(kind) {
    try {
      const stream = await this.#open([kind]);
      this.#adopt(kind, stream.getTracks()[0]);
    } catch (error) {
      this.emit('problem', explain(error, kind));
      this.emit('change', kind);
    }
  }

  #open(kinds) {
    const { width, height, fps } = this.#capture;
    const device = (kind) => {
      const id = preferences.read(kind);
      return id ? { deviceId: { ideal: id } } : {};
    };
    return navigator.mediaDevices.getUserMedia({
      video: kinds.includes('camera') && {
        width: { ideal: width },
        height: { ideal: height },
        frameRate: { ideal: fps, max: fps },
        ...device('camera'),
      },
      audio: kinds.includes('microphone') && { ...AUDIO_PROCESSING, ...device('microphone') },
    });
  }

  #adopt(kind, track) {
    // Switched off while the question was open.
    if (!this.#on[kind] && kind === 'camera') return track.stop();
    this.#tracks[kind]?.stop();
    this.#tracks[kind] = track;
    track.contentHint = kind === 'camera' ? 'motion' : 'speech';
    track.onended = () => {
      if (this.#tracks[kind] !== track) return;
      this.#tracks[kind] = null;
      this.emit('problem', `The ${kind} was disconnected.`);
      this.emit('change', kind);
    };
    return this.emit('change', kind);
  }

  #drop(kind) {
    this.#tracks[kind]?.stop();
    this.#tracks[kind] = null;
  }

  /** A device came or went: try again to open what should be on. */
  async #deviceChange() {
    this.emit('devices');
    for (const kind of ['camera', 'microphone']) {
      if (this.#on[kind] && !this.#tracks[kind] && (await listDevices())[kind].length > 0) await this.#switchOn(kind);
    }
  }
}

/** Asks for a screen or window. Resolves to null where the user changes their mind. */
export async function captureScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: true });
    const video = stream.getVideoTracks()[0];
    video.contentHint = 'detail';
    return { video, audio: stream.getAudioTracks()[0] ?? null };
  } catch (error) {
    if (error.name === 'NotAllowedError') return null;
    throw new Error('The screen could not be captured.', { cause: error });
  }
}

/** Whether this browser can share its screen. */
export function canShareScreen() {
  return typeof navigator.mediaDevices?.getDisplayMedia === 'function';
}
