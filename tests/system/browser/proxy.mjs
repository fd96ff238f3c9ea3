// A TCP proxy before the server's HTTP port whose connections can be cut as a network cuts them: without a word.
// Media goes past it.

import { connect, createServer } from 'node:net';

/** A running proxy: {url, cut(), mend(), close()}. After `cut` nothing gets through until `mend`. */
export async function proxy(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    const both = [client, upstream];
    const end = () => both.forEach((socket) => socket.destroy());
    for (const [one, other] of [both, [...both].reverse()]) {
      open.add(one);
      one.pipe(other);
      // A broken half takes the other with it.
      one.on('error', end);
      one.on('close', () => {
        open.delete(one);
        end();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      isCut = true;
      for (const socket of open) socket.resetAndDestroy();
    },
    mend() {
      isCut = false;
    },
    close: () => server.close(),
  };
}
