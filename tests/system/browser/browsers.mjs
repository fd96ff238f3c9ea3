// Starts the two browsers and gives both the same few verbs.
//
// Chromium is driven by playwright-core over its own protocol, Firefox by puppeteer-core over WebDriver BiDi.

import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  // A page that only plays has no gesture that would allow sound.
  '--autoplay-policy=no-user-gesture-required',
];

/** Firefox without a camera, without questions, and willing to speak to 127.0.0.1. */
const FIREFOX_PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.peerconnection.ice.loopback': true,
  'media.autoplay.default': 0,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'app.update.disabledForTesting': true,
};

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
/** Small, so that two cores can paint several at once. */
export const SMALL = { width: 800, height: 560 };
/** Smaller still, for four tabs that all paint four pictures: painting takes most of their time. */
export const TINY = { width: 560, height: 420 };

/** A browser: {kind, open({viewport, prepare, ...}), close()}. `video` is a file for Chromium's fake camera. */
export async function launch(kind, options = {}) {
  return kind === 'firefox' ? launchFirefox() : launchChromium(options);
}

async function launchChromium({ video } = {}) {
  const args = video ? [...CHROMIUM_FLAGS, `--use-file-for-fake-video-capture=${video}`] : CHROMIUM_FLAGS;
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args });
  return {
    kind: 'chromium',
    async open({ viewport = SMALL, prepare = [], scale = 1, scheme = 'dark' } = {}) {
      const context = await browser.newContext({
        viewport,
        deviceScaleFactor: scale,
        colorScheme: scheme,
        permissions: ['camera', 'microphone'],
      });
      const page = await context.newPage();
      for (const { script, argument } of prepare) await page.addInitScript(script, argument);
      return tab(page, {
        goto: (url) => page.goto(url),
        reload: () => page.reload({ waitUntil: 'commit' }),
        evaluate: (f, argument) => page.evaluate(f, argument),
        // Closing the page alone would skip its pagehide handlers.
        close: async () => {
          await page.close({ runBeforeUnload: true });
          await page.waitForEvent('close', { timeout: 2000 }).catch(() => undefined);
          await context.close();
        },
      });
    },
    close: () => browser.close(),
  };
}

async function launchFirefox() {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: FIREFOX,
    headless: true,
    extraPrefsFirefox: FIREFOX_PREFERENCES,
  });
  return {
    kind: 'firefox',
    async open({ viewport = SMALL, prepare = [] } = {}) {
      const context = await browser.createBrowserContext();
      const page = await context.newPage();
      await page.setViewport(viewport);
      for (const { script, argument } of prepare) await page.evaluateOnNewDocument(script, argument);
      return tab(page, {
        goto: (url) => page.goto(url),
        reload: () => page.reload(),
        evaluate: (f, argument) => page.evaluate(f, argument),
        close: () => context.close(),
      });
    },
    close: () => browser.close(),
  };
}

/** The verbs of a tab, the same for both browsers. */
function tab(page, verbs) {
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error?.message ?? error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  return {
    ...verbs,
    errors,
    click: (selector) => page.click(selector),
    type: (text) => page.keyboard.type(text),
    press: (key) => page.keyboard.press(key),
    screenshot: (path) => page.screenshot({ path }),
    async until(condition, argument, { timeout = 40_000, every = 50, what = String(condition) } = {}) {
      const deadline = Date.now() + timeout;
      for (;;) {
        const value = await verbs.evaluate(condition, argument);
        if (value) return value;
        if (Date.now() > deadline) throw new Error(`not within ${timeout} ms: ${what}; errors: ${errors.join(' | ')}`);
        await new Promise((resolve) => setTimeout(resolve, every));
      }
    },
  };
}
