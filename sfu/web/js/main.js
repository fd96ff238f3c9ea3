// Entry of the page: join screen, then the call, then the end screen.

import { Call } from './call.js';
import { CallView } from './call-view.js';
import { LocalMedia } from './devices.js';
import { byId, setText } from './dom.js';
import { JoinView } from './join-view.js';
import { parseOptions, preferences, tabMemory, takeToken } from './options.js';
import { Peer } from './peer.js';
import { setUpDeviceMenus, setUpSettingsDialog, setUpTheme } from './settings-view.js';

const options = parseOptions(location.search);
const isReload = performance.getEntriesByType('navigation')[0]?.type === 'reload';
const token = takeToken({ location, history, memory: tabMemory, isReload });
const local = new LocalMedia({ width: options.width, height: options.height, fps: options.fps });
const openSettings = setUpSettingsDialog();
const joinView = new JoinView({ local, options, onJoin: enter });
const media = { codec: options.codec, simulcast: options.simulcast, height: options.height, fps: options.fps };
/** The call and its screen. */
let current = null;
/** Made ahead of the call, while somebody fills in the form. */
let prepared = new Peer(media);

setUpTheme();
byId('rejoin').addEventListener('click', async () => {
  byId('ended').hidden = true;
  await local.start();
  enter(joinView.entry());
});
addEventListener('pagehide', () => {
  const entry = tabMemory.read('call');
  current?.call.leave('page closed');
  if (entry) tabMemory.write('call', entry);
});
start();

async function start() {
  const entry = reloadedEntry() ?? (options.autojoin && options.room ? joinView.entry() : null);
  if (!entry) joinView.show();
  // Who needs no form does not wait for camera and microphone either: they follow as they open.
  await Promise.all([local.start(), entry && enter({ ...entry, name: entry.name || 'Guest' })]);
  await setUpDeviceMenus(local, (id) => current?.view.setSpeaker(id));
}

/** A reload in a call goes straight back into it. */
function reloadedEntry() {
  const memory = tabMemory.read('call');
  return isReload && memory ? JSON.parse(memory) : null;
}

async function enter(entry) {
  joinView.busy(true);
  joinView.error('');
  const call = new Call({
    url: signalUrl(),
    entry: { ...entry, token },
    media,
    local,
    peer: prepared ?? new Peer(media),
  });
  prepared = null;
  try {
    await call.join();
  } catch (error) {
    prepared = new Peer(media);
    joinView.show();
    joinView.error(error.message);
    return;
  } finally {
    joinView.busy(false);
  }
  preferences.write('name', entry.name);
  tabMemory.write('call', JSON.stringify(entry));
  rememberInAddress(entry.room);
  joinView.hide();
  const view = new CallView({ call, local, openSettings });
  current = { call, view };
  call.on('left', (left) => end(left, view));
}

function end({ message }, view) {
  current = null;
  tabMemory.forget('call');
  view.close();
  local.stop();
  setText(byId('ended-message'), message || 'You left the call.');
  byId('ended').hidden = false;
  byId('rejoin').focus();
}

function signalUrl() {
  const url = new URL('v1/join', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = '';
  return url;
}

/** So that the address bar itself is a link to the call. */
function rememberInAddress(room) {
  const url = new URL(location.href);
  if (url.searchParams.get('room') === room) return;
  url.searchParams.set('room', room);
  history.replaceState(null, '', url);
}
