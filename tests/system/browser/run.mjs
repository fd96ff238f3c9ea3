// Runs one scenario: node run.mjs NAME '{"server": "http://127.0.0.1:7880", ...}'
//
// The scenario's result is the last line on standard output, as JSON; everything else goes to standard error.
// A scenario is scenarios/NAME.mjs and exports `run(parameters, launch)`; browsers it launches are closed here.

import { launch } from './browsers.mjs';

const [name, parameters = '{}'] = process.argv.slice(2);
const { run } = await import(`./scenarios/${name}.mjs`);
const browsers = [];
const launched = async (kind, options) => {
  const browser = await launch(kind, options);
  browsers.push(browser);
  return browser;
};

let result;
try {
  result = { ok: await run(JSON.parse(parameters), launched) };
} catch (error) {
  console.error(error.stack);
  result = { failed: error.message };
}
await Promise.all(browsers.map((browser) => browser.close().catch(() => undefined)));
// A pipe takes 64 kB at once; the rest would be lost if its reader were late.
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
