// Slots: the receiving sections of the peer connection. The server says which publication each carries now.

/** Slots offered at first: enough for a small call; each costs time to join, and the first offer has a limit. */
export const FIRST_SLOTS = { audio: 4, video: 3 };
/** The page shows up to 16 people and a screen; voices beyond the loudest dozen are not told apart. */
const MOST_SLOTS = { audio: 12, video: 17 };

const PAUSES = {
  PAUSE_REASON_CODEC: 'this browser cannot show it',
  PAUSE_REASON_NOT_VISIBLE: 'not in view',
  PAUSE_REASON_BANDWIDTH: 'paused, the connection is slow',
  PAUSE_REASON_NO_LAYER: 'no picture arrives',
};

/** Why nothing of what a slot carries is sent; '' where something is. */
export function pauseText(assignment) {
  return PAUSES[assignment?.pauseReason] ?? '';
}

const LIMITS = {
  LAYER_LIMIT_WANTED: 'as large as it is shown',
  LAYER_LIMIT_BANDWIDTH: 'your connection carries no better',
  LAYER_LIMIT_SENDER: 'no better is sent now',
  LAYER_LIMIT_CAP: 'no better is allowed',
  LAYER_LIMIT_OVERLOAD: 'the server is busy',
};

/** Why a slot shows its video as well as it does, and no better; '' where it carries none. */
export function layerText(assignment) {
  if (!assignment?.publicationId) return '';
  return pauseText(assignment) || (LIMITS[assignment.layerLimit] ?? 'the best there is');
}

export class Slots {
  #byMid = new Map();
  #transceivers = { audio: [], video: [] };
  #make;

  /** `make(kind)` makes a receiving transceiver; its mid is known once the local description is set. */
  constructor(make) {
    this.#make = make;
    for (const kind of ['audio', 'video']) this.add(kind, FIRST_SLOTS[kind]);
  }

  /** Makes more slots, to be offered next. */
  add(kind, count) {
    for (let index = 0; index < count; index += 1) this.#transceivers[kind].push(this.#make(kind));
  }

  /** Takes a Slots message (or the slots of Joined): it always names all slots. */
  assign(assignments = []) {
    this.#byMid = new Map(assignments.map((assignment) => [assignment.mid, assignment]));
  }

  /** How many more slots of a kind it takes to show `publications`. */
  missing(kind, publications) {
    return Math.max(0, Math.min(publications, MOST_SLOTS[kind]) - this.#transceivers[kind].length);
  }

  /** The slot that carries this publication: {mid, track, assignment}. */
  carrying(publicationId) {
    for (const [mid, assignment] of this.#byMid) {
      if (assignment.publicationId !== publicationId) continue;
      const track = this.#receiving(mid)?.receiver.track;
      if (track) return { mid, track, assignment };
    }
    return undefined;
  }

  /** What the slot with this mid carries. */
  assignment(mid) {
    return this.#byMid.get(mid);
  }

  /** The tracks of all audio slots, in the order of the slots. */
  audioTracks() {
    return this.#transceivers.audio.map((transceiver) => transceiver.receiver.track);
  }

  /** A slot of this kind that carries nothing, else the last one: the least important. */
  spare(kind) {
    const mids = this.#transceivers[kind].map((transceiver) => transceiver.mid).filter((mid) => mid !== null);
    return mids.find((mid) => !this.#byMid.get(mid)?.publicationId) ?? mids.at(-1);
  }

  #receiving(mid) {
    const all = [...this.#transceivers.audio, ...this.#transceivers.video];
    return all.find((transceiver) => transceiver.mid === mid);
  }
}
