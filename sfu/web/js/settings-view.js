// Device menus (on the join screen and in the settings dialog) and the settings dialog itself.

import { listDevices } from './devices.js';
import { byId, h } from './dom.js';
import { preferences } from './options.js';

/** The keys of the call, as shown in the dialog. */
export const SHORTCUTS = [
  ['M', 'Microphone on or off'],
  ['V', 'Camera on or off'],
  ['S', 'Share a screen'],
  ['L', 'Grid or speaker view'],
  ['P', 'People'],
  ['C', 'Chat'],
  ['I', 'Statistics'],
  [',', 'Settings'],
  ['Esc', 'Close the side panel'],
  ['Enter', 'On a tile: show it large'],
];

/** Fills every menu of devices and keeps them current. `onSpeaker(id)` gets the choice of a speaker. */
export function setUpDeviceMenus(local, onSpeaker) {
  const menus = [...document.querySelectorAll('select[data-device]')];
  const refresh = async () => {
    const devices = await listDevices();
    for (const menu of menus) fillMenu(menu, devices[menu.dataset.device], currentDevice(local, menu.dataset.device));
    byId('speaker-label').hidden = devices.speaker.length === 0 || !('setSinkId' in HTMLMediaElement.prototype);
  };
  for (const menu of menus) {
    menu.addEventListener('change', async () => {
      const kind = menu.dataset.device;
      if (kind === 'speaker') {
        preferences.write('speaker', menu.value);
        onSpeaker(menu.value);
      } else {
        await local.choose(kind, menu.value);
      }
      await refresh();
    });
  }
  local.on('devices', refresh);
  local.on('change', refresh);
  return refresh();
}

function currentDevice(local, kind) {
  return kind === 'speaker' ? preferences.read('speaker') : local.deviceId(kind);
}

function fillMenu(menu, devices, current) {
  const none = h('option', { value: '' }, 'None found');
  menu.replaceChildren(...(devices.length === 0 ? [none] : devices.map(({ id, label }) => h('option', { value: id }, label))));
  menu.disabled = devices.length === 0;
  if (devices.some(({ id }) => id === current)) menu.value = current;
}

/** The colours: those of the system unless chosen. */
export function setUpTheme() {
  const menu = byId('theme');
  const apply = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  menu.value = preferences.read('theme');
  apply(menu.value);
  menu.addEventListener('change', () => {
    preferences.write('theme', menu.value);
    apply(menu.value);
  });
}

export function setUpSettingsDialog() {
  const dialog = byId('settings');
  for (const [key, meaning] of SHORTCUTS) {
    byId('shortcuts').append(h('dt', {}, h('kbd', {}, key)), h('dd', {}, meaning));
  }
  // A click beside the dialog closes it.
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  return () => dialog.showModal();
}
