// Drives browsers through one scenario, given as JSON, and prints what was observed as JSON.
//
// Media: { name, screenshots, senders: [{browser, options}], receivers: [{browser, options}], seconds, restartIce, webRtcServer: port }
// Layers: { name, layers: [spatial layers, asked for in turn], heights: [that of each], bitrate: that the sender reaches, sender, receiver: {browser, options} }
// Loss: { name, loss: true, sender, receiver: {browser, options}, seconds, webRtcServer: port }
// Rates: { name, rates: [bits per second that the receiver's link takes, in turn], heights: [[least, most] expected at each], seconds: for each, control: UDP port that is told of them, bitrates: that the sender's streams reach, sender, receiver: {browser, options}, webRtcServer: port }
// Ramp: { name, ramp: bits per second, sender: {browser, options} }
// Data: { name, data: [browser, browser], channels: [options of data producers], sizes: [bytes] }

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { close, open as page, sleep, until } from './browsers.mjs';
import { start } from './server.mjs';

const scenario = JSON.parse(process.argv[2]);

async function main(server) {
  mkdirSync(scenario.screenshots, { recursive: true });
  const [senders, receivers, ids] = [[], [], []];
  for (const [index, { browser, options }] of scenario.senders.entries()) {
    const sender = await page(server.url, browser, `sender ${index}`);
    ids.push(...(await sender.evaluate((options) => window.sluice.send(options), options)));
    senders.push(sender);
  }
  for (const [index, { browser, options }] of scenario.receivers.entries()) {
    const receiver = await page(server.url, browser, `receiver ${index}`);
    await receiver.evaluate((options, ids) => window.sluice.receive(options, ids), options, ids);
    receivers.push(receiver);
  }
  const flowing = (seen) => seen.framesDecoded > 10 && seen.audioPackets > 10 && seen.bright > 100;
  const before = [];
  for (const receiver of receivers) {
    before.push(await until(receiver, flowing));
  }
  if (scenario.restartIce) {
    for (const page of [...senders, ...receivers]) {
      await page.evaluate(() => window.sluice.restartIce());
    }
    await sleep(3000);
    for (const [index, receiver] of receivers.entries()) {
      before[index] = await receiver.evaluate(() => window.sluice.observe());
    }
  }
  await sleep(scenario.seconds * 1000);
  const observations = [];
  for (const [index, receiver] of receivers.entries()) {
    // As long as it takes: the machine may be busy with other things.
    const enough = (seen) =>
      seen.framesDecoded >= before[index].framesDecoded + 50 &&
      seen.audioEnergy > before[index].audioEnergy &&
      seen.picture !== before[index].picture;
    const after = await until(receiver, enough);
    await receiver.screenshot({ path: `${scenario.screenshots}/${scenario.name}-${index}.png` });
    observations.push({ before: before[index], after });
  }
  const sending = [];
  for (const sender of senders) {
    sending.push(await sender.evaluate(() => window.sluice.observe()));
  }
  return { receivers: observations, senders: sending, transports: await server.transports() };
}

/** One page sends in layers, another one asks for one after the other; returns what it saw of each. */
async function climb(server) {
  const sender = await page(server.url, scenario.sender.browser, 'sender');
  const ids = await sender.evaluate((options) => window.sluice.send(options), scenario.sender.options);
  const receiver = await page(server.url, scenario.receiver.browser, 'receiver');
  await receiver.evaluate((options, ids) => window.sluice.receive(options, ids), scenario.receiver.options, ids);
  const steps = [];
  for (const [index, layer] of scenario.layers.entries()) {
    await receiver.evaluate((layer) => window.sluice.prefer(layer), layer);
    const reached = await until(receiver, ({ height }) => height === scenario.heights[index]);
    // It stays, and moves on.
    const after = await until(receiver, (seen) => seen.framesDecoded >= reached.framesDecoded + 30);
    steps.push({ layer, reached, after });
  }
  const risen = ({ availableOutgoingBitrate, sendingBitrate }) =>
    availableOutgoingBitrate > scenario.bitrate && sendingBitrate > scenario.bitrate;
  return { steps, sender: await until(sender, risen) };
}

/** One page sends over a bad network; returns how many frames it sent, how many another one saw, and the longest pause. */
async function lose(server) {
  const sender = await page(server.url, scenario.sender.browser, 'sender');
  const ids = await sender.evaluate((options) => window.sluice.send(options), scenario.sender.options);
  const receiver = await page(server.url, scenario.receiver.browser, 'receiver');
  await receiver.evaluate((options, ids) => window.sluice.receive(options, ids), scenario.receiver.options, ids);
  await until(receiver, ({ framesDecoded }) => framesDecoded > 30);
  await receiver.evaluate(() => window.sluice.watch());
  const samples = [];
  for (let second = 0; second <= scenario.seconds; second += 1) {
    const [sent, received] = await Promise.all([sender, receiver].map((page) => page.evaluate(() => window.sluice.observe())));
    const { framesSent, availableOutgoingBitrate: available, targetBitrates: targets } = sent;
    samples.push({ framesSent, framesDecoded: received.framesDecoded, height: received.height, available, targets });
    await sleep(second < scenario.seconds ? 1000 : 0);
  }
  const [before, after] = [samples[0], samples.at(-1)];
  const longestFreeze = await receiver.evaluate(() => window.sluice.longestFreeze());
  return {
    framesSent: after.framesSent - before.framesSent,
    framesDecoded: after.framesDecoded - before.framesDecoded,
    longestFreeze,
    // Each second, for whoever wants to know why.
    samples,
  };
}

/** One page sends a picture that is hard to encode; returns for each quarter of a second since it began what it sent. */
async function ramp(server) {
  const sender = await page(server.url, scenario.sender.browser, 'sender');
  await sender.evaluate((options) => window.sluice.send(options), scenario.sender.options);
  const samples = [];
  const isEnough = () => {
    // Over a second.
    const [from, to] = [samples.at(-5), samples.at(-1)];
    return from && (8000 * (to.bytes - from.bytes)) / (to.at - from.at) >= scenario.ramp;
  };
  for (let attempt = 0; attempt < 240 && !isEnough(); attempt += 1) {
    await sleep(250);
    const sample = await sender.evaluate(async () => {
      const { bytesSent: bytes, videoBytesSent } = await window.sluice.observe();
      return { at: performance.now(), bytes, begun: videoBytesSent > 0 };
    });
    if (sample.begun) {
      samples.push(sample);
    }
  }
  return { enough: Boolean(isEnough()), took: samples.at(-1)?.at - samples[0]?.at, samples };
}

/** Tells the relay how much it is to pass from now on. */
async function limit(port, rate) {
  const socket = createSocket('udp4');
  const answered = once(socket, 'message');
  socket.send(String(rate), port, '127.0.0.1');
  await answered;
  socket.close();
}

/**
 * One page sends three streams to another one behind a link that changes. Returns for each of its rates after how many
 * milliseconds the height became one that is expected, and stayed so for three seconds; and the longest time without a
 * new picture.
 */
async function follow(server) {
  const sender = await page(server.url, scenario.sender.browser, 'sender');
  const ids = await sender.evaluate((options) => window.sluice.send(options), scenario.sender.options);
  const sum = scenario.bitrates.reduce((sum, bitrate) => sum + bitrate, 0);
  const complete = ({ targetBitrates, sendingBitrate }) =>
    sendingBitrate >= 0.9 * sum &&
    targetBitrates.length === scenario.bitrates.length &&
    targetBitrates.every((bitrate, index) => bitrate >= 0.95 * scenario.bitrates[index]);
  const { targetBitrates, sendingBitrate } = await until(sender, complete);
  const receiver = await page(server.url, scenario.receiver.browser, 'receiver');
  await receiver.evaluate(() => window.sluice.watch());
  const steps = [];
  for (const [index, rate] of scenario.rates.entries()) {
    await limit(scenario.control, rate);
    if (index === 0) {
      await receiver.evaluate((options, ids) => window.sluice.receive(options, ids), scenario.receiver.options, ids);
    }
    const from = await receiver.evaluate(() => performance.now());
    await sleep(1000 * scenario.seconds);
    steps.push({ rate, from, to: from + 1000 * scenario.seconds });
  }
  const frames = await receiver.evaluate(() => window.sluice.frames());
  for (const [index, step] of steps.entries()) {
    const [least, most] = scenario.heights[index];
    const fits = ({ height }) => least <= height && height <= most;
    const seen = frames.filter(({ at }) => step.from <= at && at < step.to);
    const stays = ({ at: since }) => seen.every((frame) => frame.at < since || frame.at > since + 3000 || fits(frame));
    step.after = (seen.find((frame) => fits(frame) && stays(frame))?.at ?? Infinity) - step.from;
    step.frames = seen.length;
    // When it changed, and to what.
    const changes = seen.filter(({ height }, index) => height !== seen[index - 1]?.height);
    step.heights = changes.map(({ at, height }) => [Math.round(at - step.from), height]);
  }
  const pauses = frames.map(({ at }, index) => (index === 0 ? 0 : at - frames[index - 1].at));
  return { steps, targetBitrates, sendingBitrate, longestPause: Math.max(...pauses) };
}

/** Two pages send to each other; returns what each sent and what the other one received. */
async function talk(server) {
  const pages = [];
  for (const browser of scenario.data) {
    pages.push(await page(server.url, browser, browser));
  }
  const ids = [];
  for (const [index, page] of pages.entries()) {
    const channels = scenario.channels.map((options) => ({ ...options, label: `${options.label} of ${index}` }));
    ids.push(await page.evaluate((channels) => window.sluice.openData(channels), channels));
  }
  for (const [index, page] of pages.entries()) {
    await page.evaluate((ids) => window.sluice.receiveData(ids), ids[1 - index]);
  }
  const sent = [];
  for (const page of pages) {
    sent.push(await page.evaluate((sizes) => window.sluice.sendData(sizes), scenario.sizes));
  }
  const wanted = scenario.channels.length * scenario.sizes.length * 2;
  const received = [];
  for (const page of pages) {
    for (let attempt = 0; ; attempt += 1) {
      const messages = await page.evaluate(() => window.sluice.received());
      if (Object.values(messages).flat().length >= wanted || attempt === 240) {
        received.push(messages);
        break;
      }
      await sleep(250);
    }
  }
  return { sent, received };
}

const server = await start(scenario);
let workerLives = false;
try {
  const seen = await (scenario.data ? talk : scenario.layers ? climb : scenario.loss ? lose : scenario.rates ? follow : scenario.ramp ? ramp : main)(server);
  workerLives = server.close();
  console.log(JSON.stringify({ ...seen, workerLives }));
} finally {
  server.close();
  await close();
}
