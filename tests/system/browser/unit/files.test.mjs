// The page's files agree with each other: nothing is missing, nothing is left over, nothing comes from elsewhere.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../../../sfu/web/', import.meta.url);
const text = (name) => readFileSync(new URL(name, root), 'utf8');
const html = text('index.html');
const modules = readdirSync(new URL('js/', root));

test('all modules are fetched at once, none in a chain', () => {
  const preloaded = [...html.matchAll(/modulepreload" href="js\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual([...preloaded, 'main.js'].sort(), [...modules].sort());
});

test('every module is used', () => {
  const imported = new Set(modules.flatMap((name) => [...text(`js/${name}`).matchAll(/from '\.\/([^']+)'/g)].map(([, to]) => to)));
  assert.deepEqual(modules.filter((name) => !imported.has(name)), ['main.js']);
});

test('every element that a module asks for by id is in the page', () => {
  const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  for (const name of modules) {
    for (const [, id] of text(`js/${name}`).matchAll(/byId\('([^']+)'\)/g)) assert.ok(ids.has(id), `${name}: #${id}`);
  }
});

test('every icon that is used is drawn', () => {
  const drawn = new Set([...text('icons.svg').matchAll(/symbol id="([^"]+)"/g)].map(([, id]) => id));
  const used = [html, ...modules.map((name) => text(`js/${name}`))].flatMap((source) => [
    ...[...source.matchAll(/icons\.svg#([a-z-]+)/g)].map(([, id]) => id),
    ...[...source.matchAll(/\bicon\('([a-z-]+)'\)/g)].map(([, id]) => id),
  ]);
  assert.deepEqual(used.filter((id) => !drawn.has(id)), []);
});

test('nothing is fetched from elsewhere', () => {
  const files = ['index.html', ...modules.map((name) => `js/${name}`), ...readdirSync(new URL('css/', root)).map((name) => `css/${name}`)];
  for (const name of files) {
    const addresses = [...text(name).matchAll(/\b(?:https?|wss?):\/\/[^\s'"`]+/g)].map(([address]) => address);
    assert.deepEqual(addresses.filter((address) => !address.startsWith('http://www.w3.org/')), [], name);
  }
});
