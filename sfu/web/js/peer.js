// The one peer connection of a participant: sections that send, slots that receive.
//
// The client always offers. Its candidates need not be signalled: the server is ICE-lite and learns the
// address of each connectivity check. Events: state (RTCPeerConnectionState), trouble (ICE must be restarted).

import { Emitter } from './emitter.js';
import { cameraEncodings, screenEncodings, usableCodecs } from './encodings.js';
import { Slots } from './slots.js';

/** Short losses heal by themselves; after this long an ICE restart is quicker. */
const DISCONNECTED_PATIENCE = 1500;

export class Peer extends Emitter {
  #pc;
  #senders = {};
  slots;
  /** Resolves to the SDP of the first offer. */
  firstOffer;
  #queue = Promise.resolve();
  #patience = 0;

  /**
   * `media` is {codec, simulcast, height, fps}. The first offer is made at once, before anybody joins and before
   * camera and microphone are open: making it takes a good part of the time to join.
   */
  constructor(media) {
    super();
    this.#pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#pc.onconnectionstatechange = () => this.#stateChange();
    this.#senders.microphone = this.#sending('audio');
    this.#senders.camera = this.#sending('video', cameraEncodings(media), media.codec);
    this.slots = new Slots((kind) => this.#add(kind, { direction: 'recvonly' }, RTCRtpReceiver));
    this.firstOffer = this.#describe();
    this.firstOffer.catch(() => undefined);
  }

  get state() {
    return this.#pc.connectionState;
  }

  /** The section that sends `source` ('camera', 'microphone', 'screen', 'screenAudio'), made if need be. */
  section(source) {
    this.#senders[source] ??= source === 'screen' ? this.#sending('video', screenEncodings()) : this.#sending('audio');
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

  async accept(sdp) {
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
  }

  /** Offers again, one negotiation at a time. `exchange(sdp)` resolves to the server's answer. */
  negotiate(exchange, { restartIce = false } = {}) {
    const run = async () => {
      if (this.#pc.signalingState === 'closed') return;
      if (restartIce) this.#pc.restartIce();
      try {
        await this.accept(await exchange(await this.#describe()));
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

  async #describe() {
    await this.#pc.setLocalDescription();
    return this.#pc.localDescription.sdp;
  }

  #sending(kind, sendEncodings = [], codec) {
    return this.#add(kind, { direction: 'sendonly', sendEncodings }, RTCRtpSender, codec);
  }

  /** A section with the codecs that are of use here; `end` is the class that knows what the browser has. */
  #add(kind, init, end, codec) {
    const transceiver = this.#pc.addTransceiver(kind, init);
    const codecs = end.getCapabilities(kind)?.codecs ?? [];
    transceiver.setCodecPreferences?.(usableCodecs(codecs, codec, end === RTCRtpSender));
    return transceiver;
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
