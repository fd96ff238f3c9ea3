// The one peer connection of a participant: sections that send, slots that receive.
//
// The client always offers. Its candidates need not be signalled: the server is ICE-lite and learns the
// address of each connectivity check. Events: state (RTCPeerConnectionState), trouble (ICE must be restarted).

import { Emitter } from './emitter.js';
import { cameraEncodings, preferCodec, screenEncodings } from './encodings.js';

/** Short losses heal by themselves; after this long an ICE restart is quicker. */
const DISCONNECTED_PATIENCE = 1500;

export class Peer extends Emitter {
  #pc;
  #senders = {};
  #queue = Promise.resolve();
  #patience = 0;

  /** `media` is {codec, simulcast, height, fps}; `tracks` is {camera, microphone}, each a track or null. */
  constructor({ media, tracks }) {
    super();
    this.#pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#pc.onconnectionstatechange = () => this.#stateChange();
    const height = tracks.camera?.getSettings().height ?? media.height;
    this.#senders.microphone = this.#sending('audio', tracks.microphone);
    this.#senders.camera = this.#sending('video', tracks.camera, cameraEncodings({ ...media, height }));
    const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
    this.#senders.camera.setCodecPreferences?.(preferCodec(codecs, media.codec));
  }

  get state() {
    return this.#pc.connectionState;
  }

  /** A new slot. */
  addSlot(kind) {
    return this.#pc.addTransceiver(kind, { direction: 'recvonly' });
  }

  /** The section that sends `source` ('camera', 'microphone', 'screen', 'screenAudio'), made if need be. */
  section(source) {
    this.#senders[source] ??=
      source === 'screen' ? this.#sending('video', null, screenEncodings()) : this.#sending('audio', null);
    return this.#senders[source];
  }

  /** The mid of a sending section; null before it is negotiated. */
  mid(source) {
    return this.#senders[source]?.mid ?? null;
  }

  async send(source, track) {
    await this.section(source).sender.replaceTrack(track);
  }

  /** STUN and TURN servers to use from the next ICE restart on; the first attempt does not wait for them. */
  useIceServers(iceServers) {
    this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
  }

  /** Makes an offer and sets it. */
  async describe() {
    await this.#pc.setLocalDescription();
    return this.#pc.localDescription.sdp;
  }

  async accept(sdp) {
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
  }

  /** Offers again, one negotiation at a time. `exchange(sdp)` resolves to the server's answer. */
  negotiate(exchange, { restartIce = false } = {}) {
    const run = async () => {
      if (this.#pc.signalingState === 'closed') return;
      if (restartIce) this.#pc.restartIce();
      try {
        await this.accept(await exchange(await this.describe()));
      } catch (error) {
        if (this.#pc.signalingState === 'have-local-offer') {
          await this.#pc.setLocalDescription({ type: 'rollback' });
        }
        throw error;
      }
    };
    const result = this.#queue.then(run);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  stats() {
    return this.#pc.getStats();
  }

  close() {
    clearTimeout(this.#patience);
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  #sending(kind, track, sendEncodings = []) {
    return this.#pc.addTransceiver(track ?? kind, { direction: 'sendonly', sendEncodings });
  }

  #stateChange() {
    const state = this.#pc.connectionState;
    clearTimeout(this.#patience);
    if (state === 'failed') this.emit('trouble');
    if (state === 'disconnected') {
      this.#patience = setTimeout(() => this.emit('trouble'), DISCONNECTED_PATIENCE);
    }
    this.emit('state', state);
  }
}
