// Which tiles the stage shows, in what order and in which layout: pure, from what is known of the call.

import { displayName, isOn, publicationOf } from './roster.js';
import { pauseText } from './slots.js';

/**
 * `own` is {name, cameraTrack, micOn}; `call` a Call; `view` is {speakerView, pinned (a tile's key)}.
 * Returns {mode, tiles} as Stage.show takes it.
 */
export function arrange({ call, own, view }) {
  const speaking = new Set(call.speakers.map((speaker) => speaker.participantId));
  const self = ownTile(call, own, speaking);
  const people = call.roster.participants.map((person) => personTile(call, person, speaking));
  const screens = call.roster.participants.flatMap((person) => screenTile(call, person));
  for (const tile of [self, ...people, ...screens]) tile.pinned = tile.key === view.pinned;
  const large =
    [...screens, ...people, self].find((tile) => tile.pinned) ??
    screens[0] ??
    (view.speakerView ? loudest(call, people) : undefined);
  const others = inOrder(people);
  if (large && people.length + screens.length > 0) {
    const rest = [...screens, ...others, self].filter((tile) => tile !== large);
    return { mode: rest.length > 0 ? 'spotlight' : 'grid', tiles: [large, ...rest] };
  }
  if (people.length === 1) return { mode: 'duo', tiles: [people[0], self] };
  return { mode: 'grid', tiles: [...others.slice(0, 15), self, ...others.slice(15)] };
}

/** Those with a picture first, then by joining; the sort is stable. */
function inOrder(people) {
  return [...people].sort((a, b) => Number(Boolean(b.track)) - Number(Boolean(a.track)));
}

function loudest(call, people) {
  const speaker = call.speakers.find(({ participantId }) => people.some((tile) => tile.key === participantId));
  return people.find((tile) => tile.key === (speaker?.participantId ?? call.lastSpeaker)) ?? people[0];
}

function ownTile(call, own, speaking) {
  return {
    key: 'self',
    name: own.name,
    own: true,
    screen: false,
    track: own.cameraTrack,
    videoOn: own.cameraTrack !== null,
    micOn: own.micOn,
    speaking: speaking.has(call.ownId),
    quality: 0,
    note: '',
  };
}

function personTile(call, person, speaking) {
  const camera = publicationOf(person, 'CAMERA');
  const slot = camera && call.slots.carrying(camera.id);
  const note = isOn(camera) ? pauseText(slot?.assignment) : '';
  return {
    key: person.id,
    publicationId: camera?.id,
    name: displayName(person),
    own: false,
    screen: false,
    track: slot?.track ?? null,
    mid: slot?.mid,
    videoOn: isOn(camera) && Boolean(slot) && note === '',
    micOn: isOn(publicationOf(person, 'MICROPHONE')),
    speaking: speaking.has(person.id),
    quality: call.quality.get(person.id)?.score ?? 0,
    note,
  };
}

function screenTile(call, person) {
  const screen = publicationOf(person, 'SCREEN');
  if (!isOn(screen)) return [];
  const slot = call.slots.carrying(screen.id);
  const note = pauseText(slot?.assignment);
  return [
    {
      key: screen.id,
      publicationId: screen.id,
      name: `${displayName(person)}'s screen`,
      own: false,
      screen: true,
      track: slot?.track ?? null,
      mid: slot?.mid,
      videoOn: Boolean(slot) && note === '',
      micOn: true,
      speaking: false,
      quality: 0,
      note,
    },
  ];
}
