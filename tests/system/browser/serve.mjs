// One page on a port of its own, of another origin than the server's.

import { createServer } from 'node:http';

/** Serves `html`: {url, close()}. */
export async function serve(html) {
  const http = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html));
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${http.address().port}/`, close: () => http.close() };
}
