// What the address bar says, and what this browser remembers.
//
// For people:  ?room= ?name= ?token=
// For tests:   ?autojoin=1            joins without a click
//              ?codec=vp8|vp9|av1|h264  codec of the camera
//              ?simulcast=0           one layer
//              ?width= &height= &fps=  what to ask of the camera

const CODECS = new Set(['vp8', 'vp9', 'av1', 'h264']);
const MAX_SIDE = 4096;
const MAX_FPS = 60;

/** Reads the options out of a query string. Anything that makes no sense is as if it were absent. */
export function parseOptions(search) {
  const query = new URLSearchParams(search);
  const codec = (query.get('codec') ?? '').toLowerCase();
  return {
    room: (query.get('room') ?? '').trim(),
    name: (query.get('name') ?? '').trim(),
    autojoin: query.get('autojoin') === '1',
    codec: CODECS.has(codec) ? codec : 'vp8',
    simulcast: query.get('simulcast') !== '0',
    width: number(query.get('width'), 1280, MAX_SIDE),
    height: number(query.get('height'), 720, MAX_SIDE),
    fps: number(query.get('fps'), 30, MAX_FPS),
  };
}

/**
 * The token of this tab, which the address bar forgets once it is read: what stands there ends up in histories, on
 * shared screens and in copied links. A reload finds it in `memory`.
 */
export function takeToken({ location, history, memory, isReload }) {
  const url = new URL(location.href);
  const token = url.searchParams.get('token');
  if (token === null) {
    if (!isReload) memory.forget('token');
    return memory.read('token');
  }
  memory.write('token', token);
  url.searchParams.delete('token');
  history.replaceState(history.state, '', url);
  return token;
}

function number(text, fallback, most) {
  const value = Number.parseInt(text ?? '', 10);
  return value > 0 && value <= most ? value : fallback;
}

/** A link that others can open: the room, and nothing of one's own name or token. */
export function inviteLink(location, room) {
  const url = new URL(location.pathname, location.origin);
  url.searchParams.set('room', room);
  return url.href;
}

/** A room name that is easy to say and hard to meet by chance. */
export function randomRoom() {
  const letters = 'abcdefghjkmnpqrstuvwxyz';
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  const text = [...bytes].map((byte) => letters[byte % letters.length]).join('');
  return `${text.slice(0, 3)}-${text.slice(3, 6)}-${text.slice(6)}`;
}

/** Preferences of this browser. Storage may be forbidden; then they last as long as the page. */
export const preferences = storage(() => globalThis.localStorage);

/** What a reload of this tab should find again. */
export const tabMemory = storage(() => globalThis.sessionStorage);

function storage(open) {
  const held = new Map();
  const attempt = (action) => {
    try {
      return action(open());
    } catch {
      return undefined;
    }
  };
  return {
    read: (key) => attempt((store) => store.getItem(`sfu.${key}`)) ?? held.get(key) ?? '',
    write(key, value) {
      held.set(key, value);
      attempt((store) => store.setItem(`sfu.${key}`, value));
    },
    forget(key) {
      held.delete(key);
      attempt((store) => store.removeItem(`sfu.${key}`));
    },
  };
}
