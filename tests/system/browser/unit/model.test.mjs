// Options, roster, slots, encodings, arrangement, statistics, graph: what needs no browser.

import { webcrypto } from 'node:crypto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './page.mjs';

// Node 18, which Debian 12 has, keeps it in a module.
globalThis.crypto ??= webcrypto;

const { inviteLink, parseOptions, randomRoom, takeToken } = await page('options.js');
const { Roster, isOn, publicationOf } = await page('roster.js');
const { FIRST_SLOTS, Slots, layerText, pauseText } = await page('slots.js');
const { cameraEncodings, usableCodecs } = await page('encodings.js');
const { arrange } = await page('arrange.js');
const { StatsCollector, formatBitrate, formatShare } = await page('stats.js');
const { linePath } = await page('graph.js');

const camera = (id, more = {}) => ({ id, kind: 'MEDIA_KIND_VIDEO', source: 'SOURCE_CAMERA', ...more });
const person = (id, publications) => ({ id, name: id.toUpperCase(), publications });

test('options that make no sense are as if absent', () => {
  const options = parseOptions('?room=%20a%20&codec=h266&width=-3&height=99999&fps=x&simulcast=0');
  assert.deepEqual(
    { ...options },
    { room: 'a', name: '', autojoin: false, codec: 'vp8', simulcast: false, width: 1280, height: 720, fps: 30 },
  );
  assert.equal(parseOptions('?codec=AV1&height=360').codec, 'av1');
});

test('the token leaves the address bar, and a reload finds it again', () => {
  const held = new Map();
  const memory = {
    read: (key) => held.get(key) ?? '',
    write: (key, value) => held.set(key, value),
    forget: (key) => held.delete(key),
  };
  const open = (href, isReload = false) => {
    let shown = href;
    const history = { state: null, replaceState: (_state, _title, url) => (shown = String(url)) };
    return [takeToken({ location: new URL(href), history, memory, isReload }), shown];
  };
  const clean = 'https://example.org/sfu/?room=r#a';
  assert.deepEqual(open('https://example.org/sfu/?room=r&token=secret#a'), ['secret', clean]);
  assert.deepEqual(open(clean, true), ['secret', clean]);
  assert.deepEqual(open(clean), ['', clean]);
  assert.deepEqual(open(clean, true), ['', clean]);
});

test('the invitation names the room and nothing else', () => {
  const link = inviteLink(new URL('https://example.org/sfu/?room=old&name=me&token=secret'), 'my room');
  assert.equal(link, 'https://example.org/sfu/?room=my+room');
  assert.match(randomRoom(), /^[a-z]{3}-[a-z]{3}-[a-z]{3}$/);
});

test('the roster tells who came and who went, and keeps the order', () => {
  const roster = new Roster();
  assert.deepEqual(roster.reset([person('a'), person('b')]).came.map(({ id }) => id), ['a', 'b']);
  const change = roster.update({ participants: [person('a', [camera('1')]), person('c')], left: ['b'] });
  assert.deepEqual([change.came, change.went].map((list) => list.map(({ id }) => id)), [['c'], ['b']]);
  assert.deepEqual(roster.participants.map(({ id }) => id), ['a', 'c']);
  assert.equal(roster.publication('1').person.id, 'a');
  assert.equal(roster.publication('2'), undefined);
  assert.equal(isOn(publicationOf(roster.get('a'), 'CAMERA')), true, 'muted: false is left out of JSON');
  assert.equal(isOn(publicationOf(roster.get('c'), 'CAMERA')), false);
});

test('slots map publications to tracks, and more are asked for up to a bound', () => {
  const count = { audio: 0, video: 0 };
  const slots = new Slots((kind) => {
    const mid = `${kind} ${count[kind]}`;
    count[kind] += 1;
    return { mid, receiver: { track: `track of ${mid}` } };
  });
  assert.deepEqual(count, FIRST_SLOTS);
  slots.assign([{ mid: 'video 0' }, { mid: 'video 1', publicationId: 'p' }]);
  assert.equal(slots.carrying('p').track, 'track of video 1');
  assert.equal(slots.carrying('q'), undefined);
  assert.equal(slots.spare('video'), 'video 0');
  assert.equal(slots.audioTracks().length, FIRST_SLOTS.audio);
  assert.equal(slots.missing('video', FIRST_SLOTS.video), 0);
  assert.equal(slots.missing('video', FIRST_SLOTS.video + 2), 2);
  assert.equal(slots.missing('video', 1000), 17 - FIRST_SLOTS.video);
});

test('layers fit the size of the capture', () => {
  const rids = (settings) => cameraEncodings({ fps: 30, codec: 'vp8', simulcast: true, ...settings }).map(({ rid }) => rid);
  assert.deepEqual(rids({ height: 720 }), ['q', 'h', 'f']);
  assert.deepEqual(rids({ height: 360 }), ['h', 'f']);
  assert.deepEqual(rids({ height: 180 }), [undefined]);
  assert.deepEqual(rids({ height: 720, simulcast: false }), [undefined]);
  const bitrates = cameraEncodings({ height: 720, fps: 30, codec: 'vp8', simulcast: true }).map(({ maxBitrate }) => maxBitrate);
  assert.deepEqual(bitrates, [150_000, 474_000, 1_498_000]);
  assert.ok(cameraEncodings({ height: 720, fps: 30, codec: 'av1', simulcast: true }).every(({ scalabilityMode }) => scalabilityMode));
});

test('the wanted codec comes first, and of those that are of use none is lost', () => {
  const usable = (names, sends) => {
    const codecs = names.map((name) => ({ mimeType: `video/${name}` }));
    return usableCodecs(codecs, 'av1', sends).map(({ mimeType }) => mimeType.slice('video/'.length));
  };
  const firefox = ['VP8', 'red', 'rtx', 'AV1', 'H261'];
  assert.deepEqual(usable(firefox, true), ['AV1', 'VP8', 'red', 'rtx']);
  assert.deepEqual(usable(firefox, false), ['AV1', 'VP8', 'red', 'rtx'], 'it takes no other parity');
  const chromium = [...firefox, 'flexfec-03'];
  assert.deepEqual(usable(chromium, true), ['AV1', 'VP8', 'red', 'rtx', 'flexfec-03']);
  assert.deepEqual(usable(chromium, false), ['AV1', 'VP8', 'rtx', 'flexfec-03'], 'it takes parity beside its media');
});

/** A call as `arrange` sees it: pictures of all cameras are there. */
function fakeCall(people, more = {}) {
  const roster = new Roster();
  roster.reset(people);
  return {
    roster,
    speakers: [],
    quality: new Map(),
    ownId: 'me',
    lastSpeaker: '',
    slots: { carrying: (id) => ({ mid: `m${id}`, track: `t${id}` }) },
    ...more,
  };
}
const own = { name: 'Me', cameraTrack: null, micOn: true };
const keys = ({ tiles }) => tiles.map(({ key }) => key);

test('alone, in two, in a group, with a screen, with a speaker', () => {
  const view = { speakerView: false, pinned: null };
  const group = [person('a', [camera('1')]), person('b', []), person('c', [camera('3')])];
  assert.deepEqual(arrange({ call: fakeCall([]), own, view }).mode, 'grid');
  assert.deepEqual(arrange({ call: fakeCall(group.slice(0, 1)), own, view }).mode, 'duo');
  assert.deepEqual(keys(arrange({ call: fakeCall(group), own, view })), ['a', 'c', 'b', 'self'], 'pictures first');
  const sharing = [person('a', [camera('1'), { id: 's', source: 'SOURCE_SCREEN', kind: 'MEDIA_KIND_VIDEO' }]), group[1]];
  const shared = arrange({ call: fakeCall(sharing), own, view });
  assert.deepEqual([shared.mode, keys(shared)[0]], ['spotlight', 's']);
  const speakers = [{ participantId: 'me' }, { participantId: 'c' }];
  const spoken = arrange({ call: fakeCall(group, { speakers }), own, view: { ...view, speakerView: true } });
  assert.deepEqual([spoken.mode, keys(spoken)[0]], ['spotlight', 'c'], 'the own picture is never the large one');
  const pinned = arrange({ call: fakeCall(sharing), own, view: { ...view, pinned: 'b' } });
  assert.equal(keys(pinned)[0], 'b', 'a pin goes before a screen');
});

test('a picture that is paused says why instead of standing still', () => {
  const pause = (reason) => {
    const carrying = (id) => ({ mid: 'm', track: `t${id}`, assignment: { pauseReason: reason } });
    const { tiles } = arrange({ call: fakeCall([person('a', [camera('1')])], { slots: { carrying } }), own, view: {} });
    return [tiles[0].videoOn, tiles[0].note];
  };
  assert.deepEqual(pause(undefined), [true, '']);
  assert.deepEqual(pause('PAUSE_REASON_BANDWIDTH'), [false, 'paused, the connection is slow']);
  assert.deepEqual(pause('PAUSE_REASON_FROM_THE_FUTURE'), [true, '']);
  assert.equal(pauseText(undefined), '');
});

test('a slot says why its picture is no better', () => {
  assert.equal(layerText({ publicationId: 'p' }), 'the best there is');
  assert.equal(layerText({ publicationId: 'p', layerLimit: 'LAYER_LIMIT_WANTED' }), 'as large as it is shown');
  assert.equal(layerText({ publicationId: 'p', layerLimit: 'LAYER_LIMIT_WANTED', pauseReason: 'PAUSE_REASON_BANDWIDTH' }), 'paused, the connection is slow');
  assert.equal(layerText({ publicationId: 'p', layerLimit: 'LAYER_LIMIT_FROM_THE_FUTURE' }), 'the best there is');
  assert.equal(layerText({ publicationId: '' }), '');
  assert.equal(layerText(undefined), '');
});

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));
const inbound = (timestamp, more) =>
  report([
    { id: 'P', type: 'peer-connection', timestamp },
    { id: 'I', type: 'inbound-rtp', kind: 'video', mid: '2', codecId: 'C', frameHeight: 360, framesPerSecond: 15, ...more },
    { id: 'C', type: 'codec', mimeType: 'video/VP8' },
  ]);

test('the path in use is shown while a check is under way', () => {
  const remote = { id: 'r', type: 'remote-candidate', address: '192.0.2.1', port: 7, protocol: 'udp' };
  const pair = (id, more) => ({ id, type: 'candidate-pair', remoteCandidateId: id === 'used' ? 'r' : 'x', ...more });
  const checked = pair('used', { state: 'in-progress', nominated: true });
  const other = pair('other', { state: 'succeeded', nominated: true });
  const path = (reports) => new StatsCollector().sample(new Map(reports.map((one) => [one.id, one]))).path;
  assert.equal(path([other, checked, remote, { id: 't', type: 'transport', selectedCandidatePairId: 'used' }]), 'UDP 192.0.2.1:7');
  assert.equal(path([other, { ...checked, selected: true }, remote]), 'UDP 192.0.2.1:7', 'Firefox');
});

test('counters become rates', () => {
  const collector = new StatsCollector();
  collector.sample(inbound(1000, { bytesReceived: 1000, packetsReceived: 10, packetsLost: 0 }));
  const sample = collector.sample(inbound(3000, { bytesReceived: 26_000, packetsReceived: 28, packetsLost: 2 }));
  assert.equal(sample.down, 100_000);
  assert.equal(sample.up, 0);
  assert.equal(sample.loss, 0.1);
  assert.equal(sample.streams[0].codec, 'VP8');
  assert.equal(sample.streams[0].series.bitrate.points.length, 1, 'the first report alone says nothing');
});

test('an empty report gives an empty sample', () => {
  assert.deepEqual(new StatsCollector().sample(new Map()).streams, []);
});

test('numbers are readable', () => {
  assert.equal(formatBitrate(999_400), '999 kbit/s');
  assert.equal(formatBitrate(1_234_567), '1.23 Mbit/s');
  assert.equal(formatShare(0), '0 %');
  assert.equal(formatShare(0.0123), '1.2 %');
});

test('a sparkline needs two points and ends at the right edge', () => {
  assert.equal(linePath([{ time: 0, value: 1 }]).line, '');
  const { line, area } = linePath([{ time: 0, value: 0 }, { time: 30_000, value: 2 }]);
  assert.equal(line, 'M50,26L100,2');
  assert.ok(area.endsWith('Z'));
});
