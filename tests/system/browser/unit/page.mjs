// Imports a module of the page into Node: a copy, beside a package.json that tells Node what browsers know.

import { cpSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const source = fileURLToPath(new URL('../../../../sfu/web/js', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'sfu-page-'));
cpSync(source, copy, { recursive: true });
writeFileSync(join(copy, 'package.json'), '{"type": "module"}');

export const page = (name) => import(pathToFileURL(join(copy, name)));
