// What a browser does in a test: sends camera and microphone, or plays what somebody else sends. The driver calls
// window.sluice.* and looks at what comes out.

import { Device } from 'mediasoup-client';
import { Playout, wait } from '../../../demo/web/src/playout.ts';
import { read } from '../../../demo/web/src/stats.ts';
import { noise } from './noise.js';

/** Asks the test server. */
async function ask(method, data = {}) {
  const answer = await fetch(`/rpc/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(data),
  });
  if (!answer.ok) {
    throw new Error(`${method}: ${await answer.text()}`);
  }
  return answer.json();
}

let device;
let transport;
const dataProducers = [];
const messages = {};
const frames = [];
let lastSent = { at: 0, bytes: 0, bitrate: 0 };
const consumers = [];
const producers = [];

async function open(direction, options) {
  if (!device) {
    device = new Device();
    await device.load({ routerRtpCapabilities: await ask('capabilities') });
  }
  const parameters = await ask('createTransport', options);
  const opened = direction === 'send' ? device.createSendTransport(parameters) : device.createRecvTransport(parameters);
  opened.on('connect', ({ dtlsParameters }, done, failed) => {
    ask('connect', { transportId: opened.id, dtlsParameters }).then(done, failed);
  });
  opened.on('produce', ({ kind, rtpParameters }, done, failed) => {
    ask('produce', { transportId: opened.id, kind, rtpParameters }).then(done, failed);
  });
  opened.on('producedata', ({ sctpStreamParameters, label, protocol }, done, failed) => {
    ask('produceData', { transportId: opened.id, sctpStreamParameters, label, protocol }).then(done, failed);
  });
  transport = opened;
  return opened;
}

/** Has a video wait as it does in the demo's page. */
function patience(consumer) {
  const playout = new Playout();
  setInterval(async () => {
    const { at, roundTrip, received } = read((await transport.getStats()).values());
    const counts = received.get(consumer.rtpParameters.encodings[0].ssrc);
    if (counts) {
      wait(consumer.rtpReceiver, playout.update(at, counts, roundTrip));
    }
  }, 1000);
}

/** What a message is, in a form that can be compared. */
async function describe(message) {
  if (typeof message === 'string') {
    return `text ${message}`;
  }
  const bytes = message instanceof Blob ? await message.arrayBuffer() : message;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return `binary ${bytes.byteLength} ${[...digest.slice(0, 8)].join('.')}`;
}

/** Microphone and camera, both made up by the browser; or instead of the camera a picture that is hard to encode. */
async function capture({ width = 640, height = 480, noise: frameRate }) {
  const video = frameRate ? false : { width, height };
  const tracks = (await navigator.mediaDevices.getUserMedia({ audio: true, video })).getTracks();
  return frameRate ? [...tracks, noise({ width, height, frameRate })] : tracks;
}

/** How a camera is sent: in one quality, in three streams of a codec, or in the layers of one (`mode`). */
function qualities({ codec: name, mode, top }) {
  const codec = name && device.rtpCapabilities.codecs.find((codec) => codec.mimeType.toLowerCase() === `video/${name}`);
  if (name && !codec) {
    throw new Error(`this browser does not send ${name}`);
  }
  if (mode === 'simulcast') {
    const encodings = [
      { scaleResolutionDownBy: 4, maxBitrate: 150_000 },
      { scaleResolutionDownBy: 2, maxBitrate: 500_000 },
      { scaleResolutionDownBy: 1, maxBitrate: top ?? 1_500_000 },
    ];
    return { codec, encodings };
  }
  if (mode) {
    return { codec, encodings: [{ scalabilityMode: mode, maxBitrate: 2_000_000 }] };
  }
  return top ? { codec, encodings: [{ maxBitrate: top }] } : { codec };
}

window.sluice = {
  /** Sends a camera and a microphone; returns the ids of the producers. */
  async send(options) {
    document.getElementById('role').textContent = `sending (${navigator.userAgent})`;
    await open('send', options);
    for (const track of await capture(options)) {
      const more = track.kind === 'video' ? qualities(options) : {};
      producers.push(await transport.produce({ track, stopTracks: false, ...more }));
      if (track.kind === 'video') {
        document.getElementById('video').srcObject = new MediaStream([track]);
      }
    }
    return producers.map((producer) => producer.id);
  },

  /** Plays these producers. */
  async receive(options, producerIds) {
    document.getElementById('role').textContent = `receiving (${navigator.userAgent})`;
    await open('receive', options);
    const stream = new MediaStream();
    for (const producerId of producerIds) {
      const rtpCapabilities = device.rtpCapabilities;
      const consumer = await transport.consume(
        await ask('consume', { transportId: transport.id, producerId, rtpCapabilities }),
      );
      consumers.push(consumer);
      if (consumer.kind === 'video') {
        patience(consumer);
      }
      stream.addTrack(consumer.track);
      await ask('resume', { consumerId: consumer.id });
    }
    const video = document.getElementById('video');
    video.srcObject = stream;
    // Energy is measured when audio is played.
    video.muted = false;
    await video.play();
  },

  /** Looks at each frame from now on. */
  watch() {
    const video = document.getElementById('video');
    const next = (_, { presentationTime, rtpTimestamp, height }) => {
      frames.push({ at: presentationTime, rtpTimestamp, height });
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  },

  /** The frames that were seen since then: when they were shown, in milliseconds, their timestamps and heights. */
  frames: () => frames,

  /** Longest time between two of them in milliseconds, by their timestamps. */
  longestFreeze() {
    // The clock of video ticks 90 times a millisecond.
    const since = ({ rtpTimestamp }, index) => index && ((rtpTimestamp - frames[index - 1].rtpTimestamp) >>> 0) / 90;
    return frames.map(since).reduce((longest, time) => Math.max(longest, time), 0);
  },

  /** Asks for this spatial layer of the video. */
  async prefer(spatialLayer) {
    const { id } = consumers.find(({ kind }) => kind === 'video');
    await ask('preferLayers', { consumerId: id, spatialLayer });
  },

  /** Opens data channels of these kinds; returns their ids. */
  async openData(kinds) {
    const sending = await open('send', { data: true });
    for (const kind of kinds) {
      dataProducers.push(await sending.produceData(kind));
    }
    const opened = (producer) =>
      new Promise((done) => (producer.readyState === 'open' ? done() : producer.on('open', done)));
    await Promise.all(dataProducers.map(opened));
    return dataProducers.map((producer) => producer.id);
  },

  /** Listens to data channels of others. */
  async receiveData(dataProducerIds) {
    const receiving = await open('receive', { data: true });
    for (const dataProducerId of dataProducerIds) {
      const answer = await ask('consumeData', { transportId: receiving.id, dataProducerId });
      const consumer = await receiving.consumeData(answer);
      messages[consumer.label] = [];
      const before = messages[consumer.label];
      // In order, though describing takes a while.
      let last = Promise.resolve();
      consumer.on('message', (message) => {
        last = last.then(async () => before.push(await describe(message)));
      });
      await new Promise((done) => (consumer.readyState === 'open' ? done() : consumer.on('open', done)));
    }
  },

  /** Sends texts and bytes of many sizes on each channel; returns what was sent by label. */
  async sendData(sizes) {
    const sent = {};
    for (const producer of dataProducers) {
      sent[producer.label] = [];
      for (const size of sizes) {
        const bytes = new Uint8Array(size).map((_, index) => (index * 7 + size) % 251);
        for (const message of [`${producer.label} ${size} äöü ☃`, bytes.buffer]) {
          producer.send(message);
          sent[producer.label].push(await describe(message));
        }
      }
    }
    return sent;
  },

  /** What arrived, by label. */
  received() {
    return messages;
  },

  /** Restarts ICE. */
  async restartIce() {
    const { iceParameters } = await ask('restartIce', { transportId: transport.id });
    await transport.restartIce({ iceParameters });
  },

  /** The state of the connection, figures of what arrives, and a hash of the picture that is shown. */
  async observe() {
    const figures = {
      state: transport?.connectionState ?? 'none',
      framesDecoded: 0,
      audioEnergy: 0,
      audioPackets: 0,
      protocol: '',
      bytesSent: 0,
      videoBytesSent: 0,
      framesSent: 0,
      height: 0,
      codec: '',
      availableOutgoingBitrate: 0,
      sendingBitrate: 0,
      // Bits per second that the streams of the video may take, from the lowest one on.
      targetBitrates: [],
    };
    const reports = transport ? [...(await transport.getStats()).values()] : [];
    let [sentAt, captured] = [0, 0];
    const byId = new Map(reports.map((report) => [report.id, report]));
    for (const report of reports) {
      if (report.type === 'inbound-rtp' && report.kind === 'video') {
        figures.framesDecoded += report.framesDecoded ?? 0;
        figures.height = report.frameHeight ?? 0;
        figures.codec = byId.get(report.codecId)?.mimeType ?? '';
      }
      if (report.type === 'inbound-rtp' && report.kind === 'audio') {
        figures.audioEnergy += report.totalAudioEnergy ?? 0;
        figures.audioPackets += report.packetsReceived ?? 0;
      }
      if (report.type === 'outbound-rtp') {
        figures.bytesSent += report.bytesSent ?? 0;
        // Of several streams the lowest has all frames.
        figures.framesSent = Math.max(figures.framesSent, report.framesSent ?? 0);
        sentAt = report.timestamp;
      }
      if (report.type === 'media-source' && report.kind === 'video') {
        captured = report.frames ?? 0;
      }
      if (report.type === 'outbound-rtp' && report.kind === 'video') {
        figures.videoBytesSent += report.bytesSent ?? 0;
        figures.targetBitrates.push(report.targetBitrate ?? 0);
      }
      if (report.type === 'candidate-pair' && (report.nominated || report.selected) && report.state === 'succeeded') {
        const available = report.availableOutgoingBitrate ?? 0;
        figures.availableOutgoingBitrate = Math.max(figures.availableOutgoingBitrate, available);
        figures.protocol = byId.get(report.remoteCandidateId)?.protocol ?? '';
      }
    }
    // Chromium counts each spatial layer of a frame.
    figures.framesSent = Math.min(figures.framesSent, captured);
    // Since the last time when this was at least two seconds ago.
    if (sentAt >= lastSent.at + 2000) {
      const bits = 8 * (figures.bytesSent - lastSent.bytes);
      lastSent = { at: sentAt, bytes: figures.bytesSent, bitrate: (1000 * bits) / (sentAt - lastSent.at) };
    }
    figures.sendingBitrate = lastSent.bitrate;
    figures.targetBitrates.sort((one, other) => one - other);
    const video = document.getElementById('video');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 48];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 64, 48);
    const { data } = context.getImageData(0, 0, 64, 48);
    let hash = 0;
    let bright = 0;
    for (let index = 0; index < data.length; index += 4) {
      const sum = data[index] + data[index + 1] + data[index + 2];
      bright += sum > 30 ? 1 : 0;
      hash = (Math.imul(hash, 31) + sum) | 0;
    }
    return { ...figures, picture: hash, bright, width: video.videoWidth };
  },
};
