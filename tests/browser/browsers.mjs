// Starts browsers whose camera and microphone are made up.

import puppeteer from 'puppeteer-core';

const PROGRAMS = { chrome: '/usr/bin/chromium', firefox: '/usr/bin/firefox-esr' };
const CHROME = [
  '--no-sandbox',
  '--use-fake-device-for-media-stream',
  '--auto-select-desktop-capture-source=Entire screen',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
  '--mute-audio',
];
const [ALLOW, DENY] = ['--use-fake-ui-for-media-stream', '--deny-permission-prompts'];
const FIREFOX = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'media.autoplay.default': 0,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.peerconnection.ice.tcp': true,
  'privacy.resistFingerprinting': false,
};

const browsers = new Map();

/**
 * Opens a page; pages of one kind of browser are tabs of the same one. `denied`: it gets no
 * camera and no microphone; of Chromium.
 */
export async function open(url, browser, label, { denied = false } = {}) {
  const key = `${browser}${denied ? ' denied' : ''}`;
  if (!browsers.has(key)) {
    browsers.set(
      key,
      await puppeteer.launch({
        browser,
        executablePath: PROGRAMS[browser],
        headless: true,
        acceptInsecureCerts: true,
        args: browser === 'chrome' ? [...CHROME, denied ? DENY : ALLOW] : [],
        extraPrefsFirefox: FIREFOX,
        protocolTimeout: 120_000,
      }),
    );
  }
  const page = await browsers.get(key).newPage();
  page.on('console', (message) => console.error(`${label}: ${message.text()}`));
  page.on('pageerror', (error) => console.error(`${label}: ${error}`));
  await page.goto(url);
  return page;
}

/** Ends all browsers. */
export async function close() {
  for (const browser of browsers.values()) {
    await browser.close();
  }
}

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Looks at a page until what is seen pleases, or for two minutes; returns what was seen last. */
export async function until(page, pleases) {
  for (let attempt = 0; ; attempt += 1) {
    const seen = await page.evaluate(() => window.sluice.observe());
    if (pleases(seen) || attempt === 480) {
      return seen;
    }
    await sleep(250);
  }
}
