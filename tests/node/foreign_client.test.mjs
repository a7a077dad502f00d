// The Node client library of version 3.10.0 against the worker named by MEDIASOUP_WORKER_BIN.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mediasoup from 'mediasoup';
import { audio, capabilities, event, mediaCodecs, rtp, sendUntilReceived, socket, video } from './support.mjs';

describe('a worker and a router', () => {
  let worker, router;
  before(async () => {
    worker = await mediasoup.createWorker({ logLevel: 'warn', rtcMinPort: 20000, rtcMaxPort: 39999 });
    router = await worker.createRouter({ mediaCodecs });
  });
  after(() => worker.close());
  const plain = (options = {}) => router.createPlainTransport({ listenIp: '127.0.0.1', ...options });

  test('the worker describes itself', async () => {
    const dump = await worker.dump();
    assert.equal(dump.pid, worker.pid);
    assert.ok(dump.routerIds.includes(router.id));
    const usage = await worker.getResourceUsage();
    assert.equal(typeof usage.ru_utime, 'number');
    await worker.updateSettings({ logLevel: 'error', logTags: ['info'] });
    await assert.rejects(worker.updateSettings({ logLevel: 'chicken' }), TypeError);
  });

  test('the router describes itself', async () => {
    const transport = await plain();
    const dump = await router.dump();
    assert.equal(dump.id, router.id);
    assert.ok(dump.transportIds.includes(transport.id));
    transport.close();
  });

  test('plain transports come with and without rtcpMux, comedia and SRTP', async () => {
    const separate = await plain({ rtcpMux: false });
    assert.equal(separate.tuple.localIp, '127.0.0.1');
    assert.notEqual(separate.tuple.localPort, separate.rtcpTuple.localPort);
    await separate.connect({ ip: '127.0.0.1', port: 40001, rtcpPort: 40002 });
    assert.equal(separate.rtcpTuple.remotePort, 40002);

    const comedia = await plain({ comedia: true });
    assert.equal(comedia.rtcpTuple, undefined);
    await comedia.connect({});

    const secure = await plain({ enableSrtp: true, srtpCryptoSuite: 'AES_CM_128_HMAC_SHA1_32' });
    assert.equal(secure.srtpParameters.cryptoSuite, 'AES_CM_128_HMAC_SHA1_32');
    assert.equal(Buffer.from(secure.srtpParameters.keyBase64, 'base64').length, 30);
    await secure.connect({ ip: '127.0.0.1', port: 40001, srtpParameters: secure.srtpParameters });
    const [stats] = await secure.getStats();
    assert.equal(stats.type, 'plain-rtp-transport');
    assert.equal((await secure.dump()).id, secure.id);
    for (const transport of [separate, comedia, secure]) transport.close();
  });

  test('wrong arguments are TypeErrors, other failures are Errors', async () => {
    await assert.rejects(router.createPlainTransport({ listenIp: 'chicken' }), TypeError);
    const transport = await plain();
    await assert.rejects(transport.connect({}), TypeError);
    await transport.connect({ ip: '127.0.0.1', port: 40001 });
    await assert.rejects(transport.connect({ ip: '127.0.0.1', port: 40001 }), (error) => {
      assert.ok(!(error instanceof TypeError));
      return error instanceof Error;
    });
    await assert.rejects(transport.consume({ producerId: 'unknown', rtpCapabilities: capabilities(router) }), Error);
    transport.close();
  });

  test('producers and consumers of both kinds', async () => {
    const transport = await plain({ comedia: true });
    const receiver = await plain();
    await receiver.connect({ ip: '127.0.0.1', port: 40003 });
    for (const options of [audio(), video()]) {
      const producer = await transport.produce(options);
      assert.equal(producer.type, 'simple');
      const dump = await producer.dump();
      assert.equal(dump.id, producer.id);
      assert.equal(dump.kind, options.kind);
      assert.deepEqual(await producer.getStats(), []);
      await producer.enableTraceEvent(['rtp', 'pli']);

      const consumer = await receiver.consume({ producerId: producer.id, rtpCapabilities: capabilities(router) });
      assert.equal(consumer.kind, options.kind);
      assert.equal(consumer.paused, false);
      assert.equal((await consumer.dump()).id, consumer.id);
      assert.equal((await consumer.getStats())[0].type, 'outbound-rtp');
      await consumer.enableTraceEvent(['rtp']);
      await consumer.pause();
      assert.equal((await consumer.dump()).paused, true);
      await consumer.resume();

      const paused = event(consumer, 'producerpause');
      await producer.pause();
      await paused;
      const resumed = event(consumer, 'producerresume');
      await producer.resume();
      await resumed;

      const closed = event(consumer, 'producerclose');
      producer.close();
      await closed;
      assert.ok(consumer.closed);
    }
    transport.close();
    receiver.close();
  });

  test('RTP from one direct transport to another, with traces', async () => {
    const from = await router.createDirectTransport();
    const to = await router.createDirectTransport();
    const producer = await from.produce(audio(3333));
    const consumer = await to.consume({ producerId: producer.id, rtpCapabilities: capabilities(router) });
    await producer.enableTraceEvent(['rtp']);
    const trace = event(producer, 'trace');
    const packets = [];
    const waiting = [];
    consumer.on('rtp', (packet) => { const next = waiting.shift(); if (next) next(packet); else packets.push(packet); });
    const received = () => (packets.length ? packets.shift() : new Promise((resolve) => waiting.push(resolve)));
    const send = (sequence) => producer.send(rtp({ sequence, ssrc: 3333, payload: 'directly' }));
    await sendUntilReceived(send, received, 'directly');
    const [traced] = await trace;
    assert.equal(traced.type, 'rtp');
    assert.equal(traced.direction, 'in');
    const [stats] = await producer.getStats();
    assert.equal(stats.ssrc, 3333);
    assert.ok(stats.packetCount > 0);
    from.close();
    to.close();
  });

  test('RTP from a socket through a comedia transport to another socket', async () => {
    const [sender, receiver] = [await socket(), await socket()];
    const ingest = await plain({ comedia: true });
    const egress = await plain();
    await egress.connect({ ip: '127.0.0.1', port: receiver.address().port });
    const producer = await ingest.produce(audio(4444));
    const consumer = await egress.consume({ producerId: producer.id, rtpCapabilities: capabilities(router) });
    const learned = event(ingest, 'tuple');
    const packets = [];
    const waiting = [];
    receiver.on('message', (packet) => {
      if (packet[1] >= 192 && packet[1] <= 223) return;
      const next = waiting.shift();
      if (next) next(packet); else packets.push(packet);
    });
    let last;
    const received = async () => {
      last = packets.length ? packets.shift() : await new Promise((resolve) => waiting.push(resolve));
      return last;
    };
    const send = (sequence) =>
      sender.send(rtp({ sequence, ssrc: 4444, payload: 'over the wire' }), ingest.tuple.localPort, '127.0.0.1');
    await sendUntilReceived(send, received, 'over the wire');
    assert.equal(last.readUInt32BE(8), consumer.rtpParameters.encodings[0].ssrc);
    const [tuple] = await learned;
    assert.equal(tuple.remotePort, sender.address().port);
    if (producer.score.length === 0) await event(producer, 'score');
    assert.equal(producer.score[0].ssrc, 4444);
    sender.close();
    receiver.close();
    ingest.close();
    egress.close();
  });

  test('closing a transport closes what it holds', async () => {
    const [ingest, egress] = [await plain({ comedia: true }), await plain()];
    const producer = await ingest.produce(audio(5555));
    const consumer = await egress.consume({ producerId: producer.id, rtpCapabilities: capabilities(router) });
    const ended = [event(producer, 'transportclose'), event(consumer, 'producerclose')];
    ingest.close();
    await Promise.all(ended);
    assert.ok(producer.closed && consumer.closed);
    await assert.rejects(producer.dump(), Error);
    egress.close();
  });

  test('closing a router closes its transports', async () => {
    const second = await worker.createRouter({ mediaCodecs });
    const transport = await second.createDirectTransport();
    const ended = event(transport, 'routerclose');
    second.close();
    await ended;
    assert.ok(!(await worker.dump()).routerIds.includes(second.id));
  });
});

test('closing a worker closes its routers', async () => {
  const worker = await mediasoup.createWorker();
  const router = await worker.createRouter({ mediaCodecs });
  const ended = event(router, 'workerclose');
  worker.close();
  await ended;
  assert.ok(worker.closed && router.closed);
});

test('a worker that is killed has died', async () => {
  const worker = await mediasoup.createWorker();
  const died = event(worker, 'died');
  process.kill(worker.pid, 'SIGKILL');
  const [error] = await died;
  assert.ok(error instanceof Error);
  assert.ok(worker.closed);
});

test('options that make no sense are refused', async () => {
  await assert.rejects(mediasoup.createWorker({ logLevel: 'chicken' }), TypeError);
});
