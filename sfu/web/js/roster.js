// Who is in the room and what they publish.

export class Roster {
  #people = new Map();

  /** Everybody else, in the order in which they were first seen. */
  get participants() {
    return [...this.#people.values()];
  }

  get(id) {
    return this.#people.get(id);
  }

  /** Starts over from Joined. */
  reset(participants = []) {
    const before = this.#people;
    this.#people = new Map();
    for (const person of participants) this.#put(person);
    return difference(before, this.#people);
  }

  /** Applies a RosterUpdate. Returns who came and who went. */
  update({ participants = [], left = [] }) {
    const before = new Map(this.#people);
    for (const person of participants) this.#put(person);
    for (const id of left) this.#people.delete(id);
    return difference(before, this.#people);
  }

  /** Finds a publication and its publisher. */
  publication(id) {
    for (const person of this.#people.values()) {
      const publication = person.publications.find((candidate) => candidate.id === id);
      if (publication) return { person, publication };
    }
    return undefined;
  }

  /** All publications of a kind ('AUDIO' or 'VIDEO'). */
  published(kind) {
    return this.participants.flatMap((person) =>
      person.publications.filter((publication) => publication.kind === `MEDIA_KIND_${kind}`),
    );
  }

  #put(person) {
    this.#people.set(person.id, { ...person, publications: person.publications ?? [] });
  }
}

/** The publication of a participant with this source ('CAMERA', 'MICROPHONE', 'SCREEN'), if any. */
export function publicationOf(person, source) {
  return person?.publications.find((publication) => publication.source === `SOURCE_${source}`);
}

/** Whether a publication exists and sends. proto3 JSON leaves `muted: false` out. */
export function isOn(publication) {
  return publication !== undefined && !publication.muted;
}

/** What to call somebody. */
export function displayName(person) {
  return person?.name || person?.identity || 'Guest';
}

function difference(before, after) {
  return {
    came: [...after.values()].filter((person) => !before.has(person.id)),
    went: [...before.values()].filter((person) => !after.has(person.id)),
  };
}
