// People meet on the page of the demo server. Takes a scenario as JSON, prints what was seen as JSON.
//
// { play: one of PLAYS, name, url, screenshots: folder, pages: [{browser, name}], server }
//
// `broadcasters`: names and paths of programs, for 'broadcasts'.
// `server`: { pid, workers, program, args }, for 'reconnect', where it is killed and started again, and 'stall', where its
// workers stand still.

import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { close, open, sleep, until } from './browsers.mjs';

const scenario = JSON.parse(process.argv[2]);
const ROOM = 'test-room';
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

/** Has nothing glide. */
async function still(page) {
  await page.evaluate(() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('* { transition: none !important; animation: none !important; }');
    document.adoptedStyleSheets.push(sheet);
  });
}

/** Opens the page by the link of the room, and enters as somebody does. */
async function enter({ browser, name }, more = '') {
  const page = await open(`${scenario.url}?roomId=${ROOM}${more}`, browser, name);
  await page.setViewport(SIZES.desktop);
  // Pictures are taken of where things come to rest.
  await still(page);
  // The own camera is seen before.
  await page.waitForFunction(() => document.querySelector('.preview video')?.videoWidth > 0, { timeout: 60_000 });
  await page.waitForFunction(() => document.querySelector('#microphone')?.options.length > 0, { timeout: 60_000 });
  await page.locator('#name').fill(name);
  return page;
}

const streams = (seen) => (seen.participants ?? []).flatMap((participant) => participant.streams);

/** Whether somebody's camera and microphone are seen and heard more than `before`, by `frames` at least. */
function flows(seen, before, frames) {
  const flowing = streams(seen).filter((stream) => {
    const old = streams(before).find(({ consumerId }) => consumerId === stream.consumerId);
    return stream.source === 'camera'
      ? stream.framesDecoded >= (old?.framesDecoded ?? 0) + frames
      : stream.audioEnergy > (old?.audioEnergy ?? 0) && stream.bytes > (old?.bytes ?? 0);
  });
  return flowing.length === 2 * (scenario.pages.length - 1);
}

/** Gives a page another size, and time to lay itself out. */
async function resize(page, size) {
  await page.setViewport(size);
  await sleep(500);
}

/** Takes a picture of the page, and counts its colours: one that is blank has few. */
async function photograph(page, name) {
  const file = await page.screenshot({ path: `${scenario.screenshots}/${name}.png` });
  const picture = Buffer.from(file).toString('base64');
  return page.evaluate(async (picture) => {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
    return { width: image.width, height: image.height, colours: new Set(pixels).size };
  }, picture);
}

/** What hinders people with disabilities, as far as a program can tell: rule, and where; in light and in dark. */
async function hindrances(page, browser) {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(axe);
  const found = [];
  // Only of Chromium a driver can ask for darkness.
  for (const value of browser === 'chrome' ? ['dark', 'light'] : ['light']) {
    if (browser === 'chrome') {
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
    }
    const { violations } = await page.evaluate(() => window.axe.run());
    found.push(...violations.map(({ id, nodes }) => `${value}, ${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`));
  }
  return found;
}

/** What a user sees of others: names on tiles, and whether their pictures are bright and move. */
async function look(page) {
  return page.evaluate(async () => {
    const hash = (video) => {
      const canvas = new OffscreenCanvas(64, 48);
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0, 64, 48);
      const { data } = context.getImageData(0, 0, 64, 48);
      let [sum, bright] = [0, 0];
      for (let index = 0; index < data.length; index += 4) {
        const light = data[index] + data[index + 1] + data[index + 2];
        bright += light > 30 ? 1 : 0;
        sum = (Math.imul(sum, 31) + light) | 0;
      }
      return { sum, bright };
    };
    const tiles = [...document.querySelectorAll('.tile')];
    const before = tiles.map((tile) => hash(tile.querySelector('video')));
    const seen = tiles.map((tile) => ({ name: tile.getAttribute('aria-label'), bright: 0, moves: false }));
    // The camera of Firefox shows one colour for a while, and the machine may be busy with other things.
    for (const begin = Date.now(); seen.some(({ moves }) => !moves) && Date.now() < begin + 20_000; ) {
      await new Promise((done) => setTimeout(done, 500));
      for (const [index, tile] of tiles.entries()) {
        const { sum, bright } = hash(tile.querySelector('video'));
        seen[index].bright = bright;
        seen[index].moves ||= sum !== before[index].sum;
      }
    }
    return seen;
  });
}

/** Everybody enters; returns the pages. */
async function enterAll() {
  const pages = [];
  for (const person of scenario.pages) {
    const page = await enter(person);
    await page.locator('button[type=submit]').click();
    await until(page, ({ status }) => status === 'connected');
    pages.push(page);
  }
  return pages;
}

/** Waits until a page sees and hears everybody; returns what it sees. */
async function settle(page) {
  const seen = await until(page, (seen) => flows(seen, {}, 10));
  if (!flows(seen, {}, 10)) {
    throw new Error(`not everybody is seen and heard: ${JSON.stringify(seen)}`);
  }
  return seen;
}

/** Presses a button of the toolbar by its key. */
async function press(page, key) {
  await page.bringToFront();
  await page.locator(`.tool[aria-keyshortcuts=${key}]`).click();
}

async function meet() {
  const photos = {};
  const first = await enter(scenario.pages[0]);
  photos.lobby = await photograph(first, `${scenario.name}-lobby`);
  const hinders = { lobby: await hindrances(first, scenario.pages[0].browser) };
  await first.close();
  const pages = await enterAll();
  const people = [];
  for (const page of pages) {
    const before = await settle(page);
    const after = await until(page, (seen) => flows(seen, before, 50));
    people.push({ before, after, flows: flows(after, before, 50), tiles: await look(page) });
  }
  for (const [index, page] of pages.entries()) {
    await press(page, 'I');
    await page.waitForFunction(() => document.querySelectorAll('.statistics .plot-line[d*=L]').length >= 6, { timeout: 60_000 });
    people[index].plots = await page.evaluate(() => document.querySelectorAll('.statistics .plot-line[d]').length);
    photos[`desktop-${index}`] = await photograph(page, `${scenario.name}-${index}`);
  }
  await pages[0].bringToFront();
  hinders.room = await hindrances(pages[0], scenario.pages[0].browser);
  await resize(pages[0], SIZES.phone);
  photos['phone-statistics'] = await photograph(pages[0], `${scenario.name}-phone-statistics`);
  await pages[0].locator('.panel > header button').click();
  photos.phone = await photograph(pages[0], `${scenario.name}-phone`);
  await resize(pages[0], SIZES.desktop);
  const last = pages.pop();
  await last.bringToFront();
  await last.locator('.tool.leave').click();
  await last.waitForFunction(() => document.querySelector('.goodbye') !== null);
  const alone = await until(pages[0], ({ participants }) => participants?.length === scenario.pages.length - 2);
  const told = await pages[0].evaluate(() => document.getElementById('spoken').textContent);
  return { people, photos, hinders, alone, told, tilesLeft: (await look(pages[0])).map(({ name }) => name) };
}

/** The second page watches what the first one does with its buttons. */
async function use() {
  const [user, watcher] = await enterAll();
  const [{ name }] = scenario.pages;
  const seen = {};
  const stream = (observed, source) => streams(observed).find((one) => one.source === source);
  const watch = (pleases) => until(watcher, pleases);
  await settle(watcher);
  await press(user, 'M');
  seen.muted = stream(await watch((observed) => stream(observed, 'microphone')?.producerPaused), 'microphone');
  seen.mutedTile = await watcher.evaluate(() => document.querySelectorAll('.tile')[1].getAttribute('aria-label'));
  seen.hinders = await hindrances(user, scenario.pages[0].browser);
  await user.keyboard.press('m');
  seen.unmuted = stream(await watch((observed) => stream(observed, 'microphone')?.producerPaused === false), 'microphone');
  await press(user, 'V');
  seen.cameraOff = streams(await watch((observed) => !stream(observed, 'camera'))).map(({ source }) => source);
  await press(user, 'V');
  seen.cameraOn = stream(await watch((observed) => stream(observed, 'camera')?.framesDecoded > 10), 'camera');
  await press(user, 'S');
  seen.screen = stream(await watch((observed) => stream(observed, 'screen')?.framesDecoded > 10), 'screen');
  await watcher.bringToFront();
  seen.tiles = await look(watcher);
  seen.photo = await photograph(watcher, `${scenario.name}-screen`);
  await press(user, 'S');
  seen.screenOff = streams(await watch((observed) => !stream(observed, 'screen'))).map(({ source }) => source);
  await user.locator('.toolbar > div:last-child .tool:last-child').click();
  await user.locator('#own-name').fill(`${name} Byron`);
  await user.locator('dialog .primary').click();
  seen.renamed = (await watch(({ participants }) => participants[0]?.displayName !== name)).participants[0].displayName;
  return seen;
}

/** The second page asks for other qualities of what the first one sends, and for the reasons of what comes. */
async function choose() {
  const pages = await enterAll();
  const watcher = pages[1];
  const camera = (observed) => streams(observed).find(({ source }) => source === 'camera') ?? {};
  const watch = (pleases) => until(watcher, (observed) => pleases(camera(observed)));
  const summary = async (pleases) => {
    const { height, current, priority, paused } = camera(await watch(pleases));
    return { height, current, priority, paused };
  };
  await watch(({ framesDecoded }) => framesDecoded > 10);
  await watcher.bringToFront();
  await watcher.locator('.tile:nth-child(2) [aria-label^="Quality"]').click();
  const card = `.stream[data-consumer="${camera(await watch(() => true)).consumerId}"]`;
  const seen = { focused: await watcher.evaluate(() => document.activeElement.textContent) };
  const select = (label, index) => watcher.select(`${card} select[aria-label="${label}"]`, String(index));
  await select('Resolution', 3);
  seen.low = await summary(({ height }) => height === 180);
  await select('Resolution', 1);
  // How high depends on what the sender's machine has time for.
  seen.high = await summary(({ height }) => height > 180);
  await select('Frame rate', 2);
  seen.slow = await summary(({ current }) => current?.temporalLayer === 0);
  await watcher.focus(`${card} input[type=range]`);
  await watcher.keyboard.press('End');
  seen.first = await summary(({ priority }) => priority === 255);
  await watcher.locator(`${card} .why summary`).click();
  await watcher.waitForFunction((card) => document.querySelectorAll(`${card} .why li`).length > 3, {}, card);
  seen.why = await watcher.evaluate((card) => [...document.querySelectorAll(`${card} .why li`)].map((item) => item.textContent), card);
  seen.photo = await photograph(watcher, `${scenario.name}-why`);
  await watcher.locator('.connection .why summary').click();
  await watcher.waitForFunction(() => document.querySelectorAll('.connection .why li').length > 1);
  seen.whySoMuch = await watcher.evaluate(() => [...document.querySelectorAll('.connection .why li')].map((item) => item.textContent));
  const stop = `${card} .controls button`;
  await watcher.locator(stop).click();
  seen.stopped = await summary(({ paused }) => paused);
  await sleep(2000);
  const { framesDecoded } = camera(await watch(() => true));
  await watcher.locator(stop).click();
  seen.again = await summary((now) => now.framesDecoded > framesDecoded + 10);
  seen.framesAgain = camera(await watch(() => true)).framesDecoded - framesDecoded;
  const speaker = await until(watcher, (observed) => observed.speaker !== null);
  seen.speakerKnown = [speaker.peerId, ...speaker.participants.map(({ id }) => id)].includes(speaker.speaker);
  return seen;
}

/** The first page follows a link that asks for another codec, and for TCP. */
async function link() {
  const [first, second] = scenario.pages;
  const sender = await enter(first, '&codec=vp9&forceTcp=true');
  await sender.locator('button[type=submit]').click();
  const watcher = await enter(second);
  await watcher.locator('button[type=submit]').click();
  const seen = await until(watcher, (observed) => flows(observed, {}, 10));
  const { protocol } = await until(sender, (observed) => observed.protocol !== '');
  const { codec } = streams(seen).find(({ source }) => source === 'camera');
  return { flows: flows(seen, {}, 10), codec, protocol };
}

/** Both say something to each other, and one to the bot. */
async function chat() {
  const pages = await enterAll();
  const say = async (page, text) => {
    await page.locator('.chat input').fill(text);
    await page.locator('.chat button').click();
  };
  for (const page of pages) {
    // To all and to the bot; from the other one and from the bot. What is said before is not kept.
    await until(page, ({ openChannels }) => openChannels?.to === 2 && openChannels.from === 2);
    await press(page, 'C');
  }
  for (const [index, page] of pages.entries()) {
    await page.bringToFront();
    await say(page, `Hello from ${index} ☃`);
  }
  await say(pages[1], '@bot how are you?');
  const heard = [];
  for (const page of pages) {
    await page.waitForFunction(() => document.querySelectorAll('.messages li').length >= 3, { timeout: 60_000 });
    const messages = await page.evaluate(() => {
      const text = (item, part) => item.querySelector(part).firstChild.textContent;
      return [...document.querySelectorAll('.messages li')].map((item) => `${text(item, '.who')}: ${text(item, '.text')}`);
    });
    heard.push(messages);
  }
  await pages[0].bringToFront();
  return { heard, photo: await photograph(pages[0], `${scenario.name}-messages`) };
}

/** Somebody without camera and microphone is told what to do, and sees the others. */
async function listen() {
  const sender = await enter(scenario.pages[0]);
  await sender.locator('button[type=submit]').click();
  await until(sender, ({ status }) => status === 'connected');
  const { browser, name } = scenario.pages[1];
  const page = await open(`${scenario.url}?roomId=${ROOM}&displayName=${name}`, browser, name, { denied: true });
  await page.setViewport(SIZES.desktop);
  await page.waitForFunction(() => /camera.*microphone/.test(document.querySelector('.problem').textContent), { timeout: 60_000 });
  const seen = { problem: await page.evaluate(() => document.querySelector('.problem').textContent) };
  seen.photo = await photograph(page, `${scenario.name}-denied`);
  await page.locator('button[type=submit]').click();
  seen.frames = streams(await until(page, (observed) => streams(observed).some(({ framesDecoded }) => framesDecoded > 10)))
    .map(({ framesDecoded }) => framesDecoded);
  await press(page, 'M');
  await page.waitForFunction(() => document.querySelector('.notice.error'), { timeout: 60_000 });
  seen.notice = await page.evaluate(() => document.querySelector('.notice.error').textContent);
  seen.pressed = await page.evaluate(() => document.querySelector('.tool.microphone').getAttribute('aria-pressed'));
  return seen;
}

/** The worker stands still for a while: media are interrupted, and go on by themselves. */
async function stall() {
  const pages = await enterAll();
  const before = [];
  for (const page of pages) {
    before.push(await settle(page));
  }
  const { workers } = scenario.server;
  const signal = (name) => workers.forEach((pid) => process.kill(pid, name));
  signal('SIGSTOP');
  const interrupted = await until(pages[0], ({ status }) => status === 'interrupted');
  // The page starts ICE anew meanwhile.
  await sleep(5000);
  signal('SIGCONT');
  const after = [];
  for (const [index, page] of pages.entries()) {
    const seen = await until(page, (seen) => seen.status === 'connected' && flows(seen, before[index], 50));
    after.push({ seen, flows: flows(seen, before[index], 50) });
  }
  return { interrupted: interrupted.status, after };
}

/** The server is killed and started again: everybody is back without doing anything. */
async function reconnect() {
  const { pid, program, args } = scenario.server;
  const pages = await enterAll();
  for (const page of pages) {
    await settle(page);
  }
  process.kill(pid, 'SIGKILL');
  const lost = await until(pages[0], ({ status }) => status === 'reconnecting');
  const server = spawn(program, args, { stdio: 'ignore' });
  try {
    const back = [];
    for (const page of pages) {
      back.push(await until(page, (seen) => seen.status === 'connected' && flows(seen, {}, 10)));
    }
    return { lost: lost.status, back: back.map((seen) => ({ status: seen.status, flows: flows(seen, {}, 10) })) };
  } finally {
    server.kill('SIGKILL');
  }
}

/** Programs broadcast into the room; the page plays what they send. */
async function broadcasts() {
  const page = await enter(scenario.pages[0]);
  await page.locator('button[type=submit]').click();
  await until(page, ({ status }) => status === 'connected');
  const seen = {};
  for (const [name, path] of Object.entries(scenario.broadcasters)) {
    const env = { ...process.env, SERVER_URL: scenario.url, ROOM_ID: ROOM };
    const program = spawn(path, { env, stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = new Promise((done) => program.once('exit', done));
    try {
      const plays = (now, before) =>
        streams(now).length === 2 &&
        streams(now).every(({ consumerId, framesDecoded, audioEnergy }) => {
          const old = streams(before).find((stream) => stream.consumerId === consumerId);
          return framesDecoded >= (old?.framesDecoded ?? 0) + 25 || audioEnergy > (old?.audioEnergy ?? 0);
        });
      const before = await until(page, (now) => plays(now, {}));
      await until(page, (now) => plays(now, before));
      seen[name] = { tiles: await look(page), photo: await photograph(page, `${scenario.name}-${name}`) };
    } finally {
      program.kill();
      await ended;
    }
    await until(page, ({ participants }) => participants?.length === 0);
  }
  return seen;
}

const PLAYS = { meet, use, choose, link, chat, listen, stall, reconnect, broadcasts };
try {
  mkdirSync(scenario.screenshots, { recursive: true });
  console.log(JSON.stringify(await PLAYS[scenario.play]()));
} finally {
  await close();
}
