// A conference of the smallest kind: serves the page, and does for it what a signalling server does, with the Node
// library that the worker is compatible with.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import mediasoup from 'mediasoup';
import supported from 'mediasoup/node/lib/supportedRtpCapabilities.js';

// The worker knows AV1, which this library is too old to know of.
const { supportedRtpCapabilities } = supported;
supportedRtpCapabilities.codecs.push({
  ...supportedRtpCapabilities.codecs.find(({ mimeType }) => mimeType === 'video/VP9'),
  mimeType: 'video/AV1',
});
supportedRtpCapabilities.headerExtensions.push({
  kind: 'video',
  uri: 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension',
  preferredId: 8,
  preferredEncrypt: false,
  direction: 'sendrecv',
});

const MEDIA_CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
  { kind: 'video', mimeType: 'video/VP9', clockRate: 90000, parameters: { 'profile-id': 0 } },
  {
    kind: 'video',
    mimeType: 'video/H264',
    clockRate: 90000,
    parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f', 'level-asymmetry-allowed': 1 },
  },
  { kind: 'video', mimeType: 'video/AV1', clockRate: 90000 },
];

/** Starts a worker and a server. `webRtcServer`: the port that all transports share. */
export async function start({ webRtcServer } = {}) {
  const worker = await mediasoup.createWorker({ logLevel: 'warn', rtcMinPort: 40000, rtcMaxPort: 49999 });
  let died = false;
  worker.on('died', () => {
    died = true;
  });
  const router = await worker.createRouter({ mediaCodecs: MEDIA_CODECS });
  const shared = webRtcServer
    ? await worker.createWebRtcServer({
        listenInfos: [
          { protocol: 'udp', ip: '127.0.0.1', port: webRtcServer },
          { protocol: 'tcp', ip: '127.0.0.1', port: webRtcServer },
        ],
      })
    : undefined;
  const transports = new Map();
  const consumers = new Map();

  const methods = {
    capabilities: async () => router.rtpCapabilities,
    // `relayPort`: the page is told of this UDP port instead of the worker's, behind which a relay is;
    // `initialBitrate`: what is thought possible at first.
    async createTransport({ tcpOnly = false, data = false, relayPort, initialBitrate = 10_000_000 }) {
      const transport = await router.createWebRtcTransport({
        ...(shared ? { webRtcServer: shared } : { listenIps: ['127.0.0.1'] }),
        enableUdp: !tcpOnly,
        enableTcp: true,
        preferUdp: true,
        initialAvailableOutgoingBitrate: initialBitrate,
        enableSctp: data,
        // All that a page sends at once must fit; more is dropped.
        sctpSendBufferSize: 4 * 1024 * 1024,
      });
      transports.set(transport.id, transport);
      const { id, iceParameters, dtlsParameters, sctpParameters } = transport;
      const iceCandidates = relayPort
        ? transport.iceCandidates
            .filter(({ protocol }) => protocol === 'udp')
            .map((candidate) => ({ ...candidate, port: relayPort }))
        : transport.iceCandidates;
      return { id, iceParameters, iceCandidates, dtlsParameters, sctpParameters };
    },
    async connect({ transportId, dtlsParameters }) {
      await transports.get(transportId).connect({ dtlsParameters });
      return {};
    },
    async produce({ transportId, kind, rtpParameters }) {
      const producer = await transports.get(transportId).produce({ kind, rtpParameters });
      return { id: producer.id };
    },
    async consume({ transportId, producerId, rtpCapabilities }) {
      const consumer = await transports.get(transportId).consume({ producerId, rtpCapabilities, paused: true });
      consumers.set(consumer.id, consumer);
      const { id, kind, rtpParameters } = consumer;
      return { id, producerId, kind, rtpParameters };
    },
    async produceData({ transportId, ...options }) {
      const producer = await transports.get(transportId).produceData(options);
      return { id: producer.id };
    },
    async consumeData({ transportId, dataProducerId }) {
      const consumer = await transports.get(transportId).consumeData({ dataProducerId });
      const { id, sctpStreamParameters, label, protocol } = consumer;
      return { id, dataProducerId, sctpStreamParameters, label, protocol };
    },
    async preferLayers({ consumerId, spatialLayer }) {
      await consumers.get(consumerId).setPreferredLayers({ spatialLayer });
      return {};
    },
    async resume({ consumerId }) {
      await consumers.get(consumerId).resume();
      return {};
    },
    async restartIce({ transportId }) {
      return { iceParameters: await transports.get(transportId).restartIce() };
    },
  };

  const files = {
    '/': ['text/html', 'page/index.html'],
    '/main.js': ['text/javascript', 'dist/main.js'],
  };
  const server = http.createServer(async (request, response) => {
    const answer = (status, type, body) => response.writeHead(status, { 'content-type': type }).end(body);
    const method = request.url.startsWith('/rpc/') ? methods[request.url.slice(5)] : undefined;
    try {
      if (method) {
        let body = '';
        for await (const chunk of request) {
          body += chunk;
        }
        answer(200, 'application/json', JSON.stringify(await method(JSON.parse(body))));
      } else if (files[request.url]) {
        const [type, file] = files[request.url];
        answer(200, type, readFileSync(new URL(file, import.meta.url)));
      } else {
        answer(404, 'text/plain', 'not here');
      }
    } catch (error) {
      answer(500, 'text/plain', String(error));
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    /** What the worker says about its transports: protocol in use, DTLS state, SRTP suite is not told. */
    async transports() {
      const stats = [];
      for (const transport of transports.values()) {
        stats.push(...(await transport.getStats()));
      }
      return stats;
    },
    close() {
      server.closeAllConnections();
      server.close();
      worker.close();
      return !died;
    },
  };
}
