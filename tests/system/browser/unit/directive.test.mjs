import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from './page.mjs';

const { DirectiveKeeper, applyDirective, askedText } = await page('directive.js');

const parameters = () => ({
  codecs: [{ mimeType: 'video/VP8', payloadType: 96 }, { mimeType: 'video/VP9', payloadType: 98 }],
  encodings: [
    { rid: 'q', active: true, maxBitrate: 150_000, scaleResolutionDownBy: 4 },
    { rid: 'f', active: true, maxBitrate: 1_500_000, scaleResolutionDownBy: 1 },
  ],
});

/** A sender that behaves as RTCRtpSender does in these matters. */
function fakeSender() {
  let current = parameters();
  return {
    applied: [],
    getParameters: () => structuredClone(current),
    setParameters(next) {
      current = structuredClone(next);
      this.applied.push(next.encodings);
      return Promise.resolve();
    },
  };
}

/** `setTimeout` under the test's control. */
function fakeTimers(context) {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  context.after(() => Object.assign(globalThis, real));
  let now = 0;
  let due = [];
  globalThis.setTimeout = (action, delay) => {
    const timer = { action, at: now + delay };
    due.push(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => (due = due.filter((other) => other !== timer));
  return {
    tick(span) {
      now += span;
      const ready = due.filter(({ at }) => at <= now);
      due = due.filter(({ at }) => at > now);
      for (const { action } of ready) action();
    },
  };
}

test('a directive within bounds is applied whole', () => {
  const changed = parameters();
  const { outcome, notes } = applyDirective(
    { encodings: [{ rid: 'f', active: true, maxBitrateBps: '600000', maxFramerate: 20, scaleResolutionDownBy: 2, scalabilityMode: 'L1T2' }] },
    changed,
  );
  assert.equal(outcome, 'DIRECTIVE_OUTCOME_APPLIED');
  assert.deepEqual(notes, []);
  assert.deepEqual(changed.encodings[1], {
    rid: 'f',
    active: true,
    maxBitrate: 600_000,
    maxFramerate: 20,
    scaleResolutionDownBy: 2,
    scalabilityMode: 'L1T2',
  });
  assert.deepEqual(changed.encodings[0], parameters().encodings[0], 'an encoding that is not named stays');
});

test('active is false where proto3 JSON leaves it out', () => {
  const changed = parameters();
  applyDirective({ encodings: [{ rid: 'q' }] }, changed);
  assert.equal(changed.encodings[0].active, false);
  assert.equal(changed.encodings[0].maxBitrate, 150_000);
});

test('what is beyond the bounds is clamped and said', () => {
  const changed = parameters();
  const { outcome, notes } = applyDirective(
    { encodings: [{ rid: 'f', active: true, maxBitrateBps: '1', maxFramerate: 500, scaleResolutionDownBy: 0.5, scalabilityMode: 'L9T9' }] },
    changed,
  );
  assert.equal(outcome, 'DIRECTIVE_OUTCOME_CLAMPED');
  assert.equal(notes.length, 4);
  assert.equal(changed.encodings[1].maxBitrate, 30_000);
  assert.equal(changed.encodings[1].maxFramerate, 60);
  assert.equal(changed.encodings[1].scaleResolutionDownBy, 1);
});

test('what cannot be done at all is unsupported', () => {
  assert.equal(applyDirective({ encodings: [{ rid: 'x', active: true }] }, parameters()).outcome, 'DIRECTIVE_OUTCOME_UNSUPPORTED');
  assert.equal(applyDirective({ codec: 'H265' }, parameters()).outcome, 'DIRECTIVE_OUTCOME_UNSUPPORTED');
});

test('a codec that was negotiated is taken', () => {
  const changed = parameters();
  assert.equal(applyDirective({ codec: 'vp9' }, changed).outcome, 'DIRECTIVE_OUTCOME_APPLIED');
  assert.ok(changed.encodings.every((encoding) => encoding.codec.mimeType === 'video/VP9'));
});

test('the newest version wins and older ones are stale', async () => {
  const sender = fakeSender();
  const acks = [];
  const keeper = new DirectiveKeeper(sender, (ack) => acks.push(ack));
  const directive = (version) => ({ publicationId: 'p', version, encodings: [{ rid: 'q', active: true, maxBitrateBps: '100000' }] });
  await keeper.obey(directive('18446744073709551615'));
  await keeper.obey(directive('7'));
  assert.deepEqual(acks.map(({ version, outcome }) => [version, outcome]), [
    ['18446744073709551615', 'DIRECTIVE_OUTCOME_APPLIED'],
    ['7', 'DIRECTIVE_OUTCOME_STALE'],
  ]);
  assert.equal(sender.applied.length, 1);
});

test('a directive that is not renewed lapses to what was there before the first', async (context) => {
  const timers = fakeTimers(context);
  const sender = fakeSender();
  const keeper = new DirectiveKeeper(sender, () => undefined);
  await keeper.obey({ publicationId: 'p', version: '1', ttlMs: 1000, encodings: [{ rid: 'f', active: false }] });
  assert.equal(askedText(keeper.asked('f')), 'off, nobody needs it');
  assert.equal(askedText(keeper.asked('q')), '');
  timers.tick(900);
  await keeper.obey({ publicationId: 'p', version: '2', ttlMs: 1000, encodings: [{ rid: 'f', active: true, maxBitrateBps: '50000' }] });
  timers.tick(900);
  assert.equal(sender.getParameters().encodings[1].maxBitrate, 50_000, 'renewed: still holds');
  assert.equal(askedText(keeper.asked('f')), 'held to 50 kbit/s for those who watch');
  timers.tick(200);
  await keeper.obey({ publicationId: 'p', version: '0' });
  const restored = sender.getParameters().encodings[1];
  assert.equal(restored.active, true);
  assert.equal(restored.maxBitrate, 1_500_000);
  assert.equal(askedText(keeper.asked('f')), '');
});
