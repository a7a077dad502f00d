// WebRTC transports, WebRtcServers, pipes, observers and data, driven by the Node client library of version 3.10.0.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mediasoup from 'mediasoup';
import { audio, capabilities, event, mediaCodecs, rtp, sendUntilReceived, video, within } from './support.mjs';

const LOCALHOST = '127.0.0.1';
const fingerprint = { algorithm: 'sha-256', value: Array(32).fill('82').join(':') };
const isError = (error) => error instanceof Error && !(error instanceof TypeError);

// The packets or messages of an object, one at a time.
function arrivals(emitter, name) {
  const queue = [];
  const waiting = [];
  emitter.on(name, (...args) => { const next = waiting.shift(); if (next) next(args); else queue.push(args); });
  return () => (queue.length ? Promise.resolve(queue.shift()) : new Promise((resolve) => waiting.push(resolve)));
}

describe('WebRTC', () => {
  let worker, router;
  before(async () => {
    worker = await mediasoup.createWorker({ logLevel: 'warn', rtcMinPort: 20000, rtcMaxPort: 39999 });
    router = await worker.createRouter({ mediaCodecs });
  });
  after(() => worker.close());
  const createServer = (...protocols) => worker.createWebRtcServer({
    listenInfos: protocols.map((protocol) => ({ protocol, ip: LOCALHOST, announcedIp: '9.9.9.1', port: 0 })),
  });

  test('a transport on sockets of its own', async () => {
    const transport = await router.createWebRtcTransport({
      listenIps: [{ ip: LOCALHOST, announcedIp: '9.9.9.2' }, LOCALHOST], enableTcp: true, preferUdp: true, enableSctp: true,
    });
    assert.equal(transport.iceRole, 'controlled');
    assert.equal(transport.iceParameters.iceLite, true);
    assert.deepEqual(
      transport.iceCandidates.map(({ ip, protocol, type, tcpType }) => [ip, protocol, type, tcpType]),
      [
        ['9.9.9.2', 'udp', 'host', undefined], ['9.9.9.2', 'tcp', 'host', 'passive'],
        [LOCALHOST, 'udp', 'host', undefined], [LOCALHOST, 'tcp', 'host', 'passive'],
      ],
    );
    const priorities = transport.iceCandidates.map(({ priority }) => priority);
    assert.ok(Math.min(priorities[0], priorities[2]) > Math.max(priorities[1], priorities[3]), `${priorities}`);
    assert.equal(transport.iceState, 'new');
    assert.equal(transport.iceSelectedTuple, undefined);
    assert.equal(transport.dtlsState, 'new');
    assert.equal(transport.dtlsParameters.role, 'auto');
    assert.equal(transport.dtlsRemoteCert, undefined);
    assert.deepEqual(
      transport.dtlsParameters.fingerprints.map(({ algorithm }) => algorithm).sort(),
      ['sha-1', 'sha-224', 'sha-256', 'sha-384', 'sha-512'],
    );
    const { port, OS, MIS, maxMessageSize } = transport.sctpParameters;
    assert.deepEqual({ port, OS, MIS, maxMessageSize }, { port: 5000, OS: 1024, MIS: 1024, maxMessageSize: 262144 });
    assert.equal(transport.sctpState, 'new');

    const dump = await transport.dump();
    assert.equal(dump.id, transport.id);
    assert.deepEqual(dump.iceCandidates, transport.iceCandidates);
    const [stats] = await transport.getStats();
    assert.equal(stats.type, 'webrtc-transport');
    assert.equal(stats.iceState, 'new');
    assert.equal(stats.dtlsState, 'new');
    await transport.setMaxIncomingBitrate(1_000_000);
    await transport.setMaxOutgoingBitrate(100_000);
    await assert.rejects(transport.setMaxIncomingBitrate('chicken'), TypeError);
    await transport.enableTraceEvent(['probation', 'chicken', 'bwe']);
    assert.deepEqual((await transport.dump()).traceEventTypes.split(',').sort(), ['bwe', 'probation']);

    transport.close();
    assert.equal(transport.iceState, 'closed');
    assert.equal(transport.dtlsState, 'closed');
    assert.equal(transport.sctpState, 'closed');
    await assert.rejects(transport.dump(), Error);
    assert.ok(!(await router.dump()).transportIds.includes(transport.id));
  });

  test('connecting once, and restarting ICE', async () => {
    for (const [remote, local] of [['auto', 'client'], ['server', 'client'], ['client', 'server']]) {
      const transport = await router.createWebRtcTransport({ listenIps: [LOCALHOST] });
      assert.equal(transport.sctpParameters, undefined);
      for (const dtlsParameters of [undefined, { role: 'chicken', fingerprints: [fingerprint] }, { fingerprints: [] }]) {
        await assert.rejects(transport.connect({ dtlsParameters }), TypeError);
      }
      await transport.connect({ dtlsParameters: { role: remote, fingerprints: [fingerprint] } });
      assert.equal(transport.dtlsParameters.role, local);
      await assert.rejects(transport.connect({ dtlsParameters: { fingerprints: [fingerprint] } }), isError);
      const { usernameFragment, password } = transport.iceParameters;
      const parameters = await transport.restartIce();
      assert.deepEqual(transport.iceParameters, parameters);
      assert.notEqual(parameters.usernameFragment, usernameFragment);
      assert.notEqual(parameters.password, password);
      transport.close();
    }
  });

  test('places where a transport cannot listen', async () => {
    await assert.rejects(router.createWebRtcTransport({ listenIps: [] }), TypeError);
    await assert.rejects(router.createWebRtcTransport({ listenIps: ['chicken'] }), TypeError);
    await assert.rejects(router.createWebRtcTransport({ listenIps: ['192.0.2.1'] }), isError);
  });

  test('a server carries transports of several routers', async () => {
    const server = await createServer('udp', 'tcp');
    assert.ok((await worker.dump()).webRtcServerIds.includes(server.id));
    const second = await worker.createRouter({ mediaCodecs });
    const first = await router.createWebRtcTransport({ webRtcServer: server, enableTcp: true });
    const other = await second.createWebRtcTransport({ webRtcServer: server });
    assert.deepEqual(first.iceCandidates.map(({ ip, protocol }) => [ip, protocol]), [['9.9.9.1', 'udp'], ['9.9.9.1', 'tcp']]);
    assert.deepEqual(other.iceCandidates.map(({ protocol }) => protocol), ['udp']);

    let dump = await server.dump();
    assert.equal(dump.id, server.id);
    assert.deepEqual(dump.udpSockets, [{ ip: LOCALHOST, port: first.iceCandidates[0].port }]);
    assert.deepEqual(dump.tcpServers, [{ ip: LOCALHOST, port: first.iceCandidates[1].port }]);
    assert.deepEqual(dump.webRtcTransportIds.sort(), [first.id, other.id].sort());
    assert.deepEqual(
      dump.localIceUsernameFragments.map((entry) => entry.localIceUsernameFragment).sort(),
      [first, other].map((transport) => transport.iceParameters.usernameFragment).sort(),
    );
    await first.restartIce();
    dump = await server.dump();
    assert.equal(dump.localIceUsernameFragments.filter((entry) => entry.webRtcTransportId === first.id).length, 2);

    second.close();
    assert.deepEqual((await server.dump()).webRtcTransportIds, [first.id]);
    const producer = await first.produce(video());
    const ended = [event(first, 'listenserverclose'), event(producer, 'transportclose')];
    server.close();
    await Promise.all(ended);
    assert.ok(first.closed && producer.closed);
    assert.ok(!(await worker.dump()).webRtcServerIds.includes(server.id));
    assert.deepEqual((await router.dump()).transportIds, []);
    await assert.rejects(router.createWebRtcTransport({ webRtcServer: server }), Error);
  });

  test('what a server refuses', async () => {
    const server = await createServer('udp');
    await assert.rejects(worker.createWebRtcServer({ listenInfos: [] }), TypeError);
    await assert.rejects(worker.createWebRtcServer({ listenInfos: [{ protocol: 'sctp', ip: LOCALHOST, port: 0 }] }), TypeError);
    const { port } = (await server.dump()).udpSockets[0];
    await assert.rejects(worker.createWebRtcServer({ listenInfos: [{ protocol: 'udp', ip: LOCALHOST, port }] }), isError);
    await assert.rejects(router.createWebRtcTransport({ webRtcServer: server, enableUdp: false, enableTcp: true }), Error);

    const stranger = await mediasoup.createWorker();
    const elsewhere = await stranger.createRouter({ mediaCodecs });
    await assert.rejects(elsewhere.createWebRtcTransport({ webRtcServer: server }), isError);
    stranger.close();
    server.close();
  });

  test('a worker that closes ends its servers', async () => {
    const another = await mediasoup.createWorker();
    const server = await another.createWebRtcServer({ listenInfos: [{ protocol: 'tcp', ip: LOCALHOST, port: 0 }] });
    const ended = event(server, 'workerclose');
    another.close();
    await ended;
    assert.ok(server.closed);
  });
});

describe('pipes', () => {
  let workers, routers;
  before(async () => {
    workers = await Promise.all([mediasoup.createWorker(), mediasoup.createWorker()]);
    routers = await Promise.all([workers[0], workers[0], workers[1]].map((worker) => worker.createRouter({ mediaCodecs })));
  });
  after(() => workers.forEach((worker) => worker.close()));

  test('two ends that are connected by hand', async () => {
    for (const [enableRtx, enableSrtp] of [[false, false], [true, true]]) {
      const [a, b] = await Promise.all(
        [routers[0], routers[2]].map((router) => router.createPipeTransport({ listenIp: LOCALHOST, enableRtx, enableSrtp })),
      );
      assert.equal(a.tuple.localIp, LOCALHOST);
      assert.equal(a.srtpParameters?.cryptoSuite, enableSrtp ? 'AEAD_AES_256_GCM' : undefined);
      assert.equal((await a.dump()).rtx, enableRtx);
      assert.equal((await a.getStats())[0].type, 'pipe-transport');
      const connect = (from, to) =>
        from.connect({ ip: LOCALHOST, port: to.tuple.localPort, srtpParameters: to.srtpParameters });
      if (enableSrtp) {
        await assert.rejects(a.connect({ ip: LOCALHOST, port: b.tuple.localPort }), TypeError);
      } else {
        await assert.rejects(a.connect({ ip: LOCALHOST, port: 1, srtpParameters: { cryptoSuite: 'x' } }), TypeError);
      }
      await assert.rejects(a.connect({}), TypeError);
      await connect(a, b);
      await connect(b, a);
      assert.equal(a.tuple.remotePort, b.tuple.localPort);
      await assert.rejects(connect(a, b), isError);

      const direct = await routers[0].createDirectTransport();
      const producer = await direct.produce(video());
      const consumer = await a.consume({ producerId: producer.id });
      assert.equal(consumer.type, 'pipe');
      assert.equal(consumer.rtpParameters.mid, undefined);
      assert.deepEqual(consumer.score, { score: 10, producerScore: 10, producerScores: [] });
      assert.equal(consumer.rtpParameters.encodings[0].rtx !== undefined, enableRtx);
      assert.equal((await consumer.dump()).type, 'pipe');
      for (const transport of [a, b, direct]) transport.close();
    }
  });

  for (const [where, target] of [['the same worker', 1], ['another worker', 2]]) {
    test(`media and data get to a router of ${where}`, async () => {
      const [from, to] = await Promise.all([routers[0], routers[target]].map((router) => router.createDirectTransport()));
      const producer = await from.produce(audio(6666));
      const { pipeConsumer, pipeProducer } = await routers[0].pipeToRouter({ producerId: producer.id, router: routers[target] });
      assert.equal(pipeProducer.id, producer.id);
      assert.equal(pipeConsumer.type, 'pipe');
      assert.equal((await pipeProducer.dump()).id, producer.id);
      const consumer = await to.consume({ producerId: producer.id, rtpCapabilities: capabilities(routers[target]) });
      const packet = arrivals(consumer, 'rtp');
      const send = (sequence) => producer.send(rtp({ sequence, ssrc: 6666, payload: 'piped' }));
      await sendUntilReceived(send, async () => (await packet())[0], 'piped');

      const paused = event(consumer, 'producerpause');
      await producer.pause();
      await paused;
      assert.ok(pipeProducer.paused);
      const resumed = event(consumer, 'producerresume');
      await producer.resume();
      await resumed;

      const dataProducer = await from.produceData({ label: 'chat', protocol: 'text' });
      const data = await routers[0].pipeToRouter({ dataProducerId: dataProducer.id, router: routers[target] });
      assert.equal(data.pipeDataProducer.id, dataProducer.id);
      assert.equal(data.pipeDataConsumer.type, 'sctp');
      assert.equal(data.pipeDataProducer.label, 'chat');
      const dataConsumer = await to.consumeData({ dataProducerId: dataProducer.id });
      assert.equal(dataConsumer.label, 'chat');
      assert.equal(dataConsumer.protocol, 'text');
      const message = arrivals(dataConsumer, 'message');
      // Until the association is up, messages are lost.
      const sending = setInterval(() => dataProducer.send('hello'), 20);
      const [payload, ppid] = await within(message(), 'arrival of a message').finally(() => clearInterval(sending));
      assert.deepEqual([payload.toString(), ppid], ['hello', 51]);

      const dumps = await Promise.all([routers[0].dump(), routers[target].dump()]);
      assert.deepEqual(dumps.map((dump) => dump.transportIds.length), [2, 2], 'a pair of pipe transports is shared');

      const ended = [event(consumer, 'producerclose'), event(dataConsumer, 'dataproducerclose')];
      producer.close();
      dataProducer.close();
      await Promise.all(ended);
      assert.ok(pipeConsumer.closed && pipeProducer.closed && data.pipeDataConsumer.closed && data.pipeDataProducer.closed);
      // A router that closes takes both ends of its pipes along.
      to.close();
      routers[0].close();
      assert.deepEqual((await routers[target].dump()).transportIds, []);
      routers[0] = await workers[0].createRouter({ mediaCodecs });
    });
  }

  test('concurrent calls share one pair', async () => {
    const [first, second] = await Promise.all([workers[0], workers[1]].map((worker) => worker.createRouter({ mediaCodecs })));
    const direct = await first.createDirectTransport();
    const producers = await Promise.all([audio(7777), video(8888)].map((options) => direct.produce(options)));
    await Promise.all(producers.map(({ id: producerId }) => first.pipeToRouter({ producerId, router: second })));
    const dump = await second.dump();
    assert.equal(dump.transportIds.length, 1);
    assert.deepEqual(Object.keys(dump.mapProducerIdConsumerIds).sort(), producers.map(({ id }) => id).sort());
    first.close();
    assert.deepEqual((await second.dump()).transportIds, []);
    second.close();
  });
});

describe('observers', () => {
  let worker, router, transport, speaker, listener;
  before(async () => {
    worker = await mediasoup.createWorker();
    router = await worker.createRouter({ mediaCodecs });
    transport = await router.createDirectTransport();
    const options = audio(9999);
    options.rtpParameters.headerExtensions = [{ uri: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level', id: 1 }];
    speaker = await transport.produce(options);
    listener = await transport.produce({ ...video(), paused: true });
  });
  after(() => worker.close());

  // An RTP packet whose header extension (RFC 6464) says how loud it is.
  function spoken(sequence, level) {
    const packet = rtp({ sequence, ssrc: 9999, payload: 'x' });
    packet[0] |= 0x10;
    const extension = Buffer.from([0xbe, 0xde, 0, 1, 0x10, level, 0, 0]);
    return Buffer.concat([packet.subarray(0, 12), extension, packet.subarray(12)]);
  }
  function speaking(level) {
    let sequence = 1000;
    const timer = setInterval(() => speaker.send(spoken(sequence++, level)), 10);
    return () => clearInterval(timer);
  }

  test('volumes, then silence', async () => {
    await assert.rejects(router.createAudioLevelObserver({ maxEntries: 0 }), TypeError);
    await assert.rejects(router.createAudioLevelObserver({ threshold: 1 }), TypeError);
    const observer = await router.createAudioLevelObserver({ threshold: -70, interval: 250 });
    assert.ok((await router.dump()).rtpObserverIds.includes(observer.id));
    await assert.rejects(observer.addProducer({ producerId: listener.id }), TypeError);
    await observer.addProducer({ producerId: speaker.id });
    const heard = event(observer, 'volumes');
    const stop = speaking(0x80 | 30);
    const [[{ producer, volume }]] = await heard.finally(stop);
    assert.equal(producer, speaker);
    assert.equal(volume, -30);
    await event(observer, 'silence');
    await observer.pause();
    assert.ok(observer.paused);
    await observer.resume();
    await observer.removeProducer({ producerId: speaker.id });
    observer.close();
    assert.ok(!(await router.dump()).rtpObserverIds.includes(observer.id));
  });

  test('the dominant speaker', async () => {
    await assert.rejects(router.createActiveSpeakerObserver({ interval: 'chicken' }), TypeError);
    const observer = await router.createActiveSpeakerObserver({ interval: 100 });
    await observer.addProducer({ producerId: speaker.id });
    await assert.rejects(observer.addProducer({ producerId: speaker.id }), isError);
    const found = event(observer, 'dominantspeaker');
    const stop = speaking(0x80 | 20);
    const [{ producer }] = await found.finally(stop);
    assert.equal(producer, speaker);
    const ended = event(observer, 'routerclose');
    router.close();
    await ended;
    assert.ok(observer.closed);
  });
});

describe('data', () => {
  let worker, router;
  before(async () => {
    worker = await mediasoup.createWorker();
    router = await worker.createRouter({ mediaCodecs });
  });
  after(() => worker.close());

  test('messages from one direct transport to another', async () => {
    const [from, to] = await Promise.all([router.createDirectTransport(), router.createDirectTransport({ maxMessageSize: 100 })]);
    const producer = await from.produceData({ label: 'files', protocol: 'bytes' });
    assert.equal(producer.type, 'direct');
    assert.equal(producer.sctpStreamParameters, undefined);
    const consumer = await to.consumeData({ dataProducerId: producer.id });
    assert.equal(consumer.type, 'direct');
    assert.equal((await producer.dump()).label, 'files');
    assert.equal((await consumer.dump()).dataProducerId, producer.id);
    const message = arrivals(consumer, 'message');
    for (const [sent, ppid] of [['text', 51], [Buffer.from([1, 2, 3]), 53]]) {
      producer.send(sent);
      const [received, receivedPpid] = await within(message(), 'arrival of a message');
      assert.deepEqual([received, receivedPpid], [Buffer.from(sent), ppid]);
    }
    for (const [empty, ppid] of [['', 56], [Buffer.alloc(0), 57]]) {
      producer.send(empty);
      const [received, receivedPpid] = await within(message(), 'arrival of a message');
      assert.deepEqual([received.length, receivedPpid], [1, ppid]);
    }
    const [sent] = await producer.getStats();
    assert.deepEqual([sent.type, sent.messagesReceived], ['data-producer', 4]);
    const [received] = await consumer.getStats();
    assert.deepEqual([received.type, received.messagesSent], ['data-consumer', 4]);
    await assert.rejects(consumer.getBufferedAmount(), isError);
    const ended = event(consumer, 'dataproducerclose');
    producer.close();
    await ended;
    from.close();
    to.close();
  });

  test('streams of WebRTC transports', async () => {
    const [sender, receiver] = await Promise.all(
      [0, 1].map(() => router.createWebRtcTransport({ listenIps: [LOCALHOST], enableSctp: true })),
    );
    const sctpStreamParameters = { streamId: 7, ordered: false, maxRetransmits: 3 };
    const producer = await sender.produceData({ sctpStreamParameters, label: 'game' });
    assert.equal(producer.type, 'sctp');
    assert.deepEqual(producer.sctpStreamParameters, sctpStreamParameters);
    const taken = { streamId: 7 };
    await assert.rejects(sender.produceData({ sctpStreamParameters: taken }), isError);
    await assert.rejects(
      sender.produceData({ sctpStreamParameters: { streamId: 8, ordered: true, maxPacketLifeTime: 5 } }), TypeError,
    );
    const consumer = await receiver.consumeData({ dataProducerId: producer.id });
    const { ordered, maxRetransmits } = consumer.sctpStreamParameters;
    assert.deepEqual({ ordered, maxRetransmits }, { ordered: false, maxRetransmits: 3 });
    assert.equal(await consumer.getBufferedAmount(), 0);
    await consumer.setBufferedAmountLowThreshold(1000);
    assert.equal((await consumer.dump()).bufferedAmountLowThreshold, 1000);
    // Nobody is connected: the message cannot be sent.
    await assert.rejects(consumer.send('lost'), Error);
    const ended = [event(producer, 'transportclose'), event(consumer, 'dataproducerclose')];
    sender.close();
    await Promise.all(ended);
    receiver.close();
  });
});
