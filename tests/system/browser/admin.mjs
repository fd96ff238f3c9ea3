// The server's admin API, and what it says of who sends what to whom.

/** `admin(method, path, body)` for the API below /v1/admin. */
export function adminApi(server, token) {
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const response = await fetch(`${server}/v1/admin/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  };
}

/** Bits per second of video that arrive in a room, and those of layers that nobody gets. */
export async function watchedRates(admin, room) {
  const { participants } = await admin('GET', `rooms/${room}/stats`);
  const transports = participants.map(({ transport }) => transport).filter(Boolean);
  const name = ({ publication, rid }) => `${publication}/${rid ?? ''}`;
  const sent = new Set(transports.flatMap(({ slots }) => slots.filter((slot) => slot.publication && !slot.pause_reason).map(name)));
  const video = transports.flatMap(({ received }) => received.filter(({ codec }) => codec.toLowerCase() !== 'opus'));
  const sum = (streams) => streams.reduce((total, { bitrate_bps: rate }) => total + rate, 0);
  return { arriving: sum(video), unwatched: sum(video.filter((stream) => !sent.has(name(stream)))) };
}
