// A moderator mutes somebody, removes them, and ends the call; guests have no such buttons.

import { SMALL_CAPTURE, counters, join, openPanel, seesAll, seesNoMore } from '../call.mjs';

const QUIET = 700;

export async function run({ server, room, moderatorToken, guestToken }, launch) {
  const browser = await launch('chromium');
  const enter = (name, token) => join(browser, server, { room, name, options: { ...SMALL_CAPTURE, token } });
  const moderator = await enter('moderator', moderatorToken);
  const noisy = await enter('noisy', guestToken);
  const witness = await enter('witness', guestToken);
  await seesAll(moderator, ['noisy', 'witness']);
  await seesAll(witness, ['noisy', 'moderator']);
  const result = {};

  await openPanel(witness, 'people');
  await witness.until(() => document.querySelectorAll('#people li').length === 3, null, { what: 'three people are listed' });
  result.buttonsOfGuests = await witness.evaluate(() => document.querySelectorAll('#people button').length);

  await openPanel(moderator, 'people');
  await moderator.click('#people [aria-label="Mute noisy"]');
  await noisy.until(() => document.querySelector('#toggle-microphone[aria-pressed="false"]'), null, { what: 'the microphone is off' });
  for (const tab of [moderator, witness]) await showsMuted(tab, 'noisy', true);
  result.notices = await noisy.evaluate(() => window.notices);
  result.sendsSound = await sendsSound(noisy);
  await noisy.click('#toggle-microphone');
  for (const tab of [moderator, witness]) await showsMuted(tab, 'noisy', false);
  result.sendsSoundAgain = await sendsSound(noisy);

  await moderator.click('#people [aria-label="Remove noisy"]');
  result.removed = await ended(noisy);
  for (const tab of [moderator, witness]) await seesNoMore(tab, 'noisy');
  result.camerasStillOpen = await noisy.evaluate(() => window.peers.some((peer) => peer.connectionState !== 'closed'));

  await moderator.evaluate(() => (window.confirm = () => true));
  await moderator.click('#people .end-all');
  result.closed = await ended(witness);
  await ended(moderator);
  return result;
}

function showsMuted(tab, name, muted) {
  return tab.until(
    ([who, wanted]) => [...document.querySelectorAll('.tile')].some((tile) => tile.querySelector('.tile-name').textContent === who && tile.classList.contains('is-muted') === wanted),
    [name, muted],
    { what: `${tab.name} sees ${name} ${muted ? 'muted' : 'unmuted'}` },
  );
}

/** Whether packets of sound leave the tab. */
async function sendsSound(tab) {
  const sent = async () => (await counters(tab)).outgoing.find((stream) => stream.kind === 'audio')?.packetsSent ?? 0;
  const before = await sent();
  await new Promise((resolve) => setTimeout(resolve, QUIET));
  return (await sent()) > before;
}

/** Waits for the screen after the call, and what it says. */
async function ended(tab) {
  await tab.until(() => !document.getElementById('ended').hidden, null, { what: `the call has ended for ${tab.name}` });
  return tab.evaluate(() => document.getElementById('ended-message').textContent);
}
