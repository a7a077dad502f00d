// The JavaScript library of the protocol, unmodified, against our server at PROTOO_URL.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import protoo from 'protoo-client';

const url = process.env.PROTOO_URL;
const quickly = { retry: { retries: 1, factor: 1, minTimeout: 20, maxTimeout: 20 } };

/** A peer of its own room, connected; `seen` lists its events. */
async function connect(name) {
  const transport = new protoo.WebSocketTransport(`${url}/?roomId=${name}&peerId=${name}`, quickly);
  const peer = new protoo.Peer(transport);
  const seen = [];
  for (const event of ['open', 'failed', 'disconnected', 'close']) peer.on(event, () => seen.push(event));
  await once(peer, 'open');
  return { peer, seen };
}

test('the server answers requests', async () => {
  const { peer } = await connect('requests');
  assert.deepEqual(await peer.request('echo', { text: 'hi', list: [1, null] }), { text: 'hi', list: [1, null] });
  assert.deepEqual(await peer.request('echo'), {});
  await assert.rejects(peer.request('refuse'), (error) => {
    assert.equal(error.code, 503);
    assert.equal(error.message, 'WHO KNOWS!');
    return true;
  });
  await assert.rejects(peer.request('boom'), (error) => error.code === 500);
  peer.close();
});

test('the client answers requests', async () => {
  const { peer } = await connect('answers');
  peer.on('request', (request, accept, reject) => {
    if (request.method === 'question') accept({ answer: request.data.number + 1 });
    else reject(404, 'WHAT?');
  });
  assert.deepEqual(await peer.request('ask', { method: 'question', data: { number: 41 } }), { answer: 42 });
  await assert.rejects(peer.request('ask', { method: 'nonsense', data: {} }), (error) => {
    assert.equal(error.code, 404);
    assert.equal(error.message, 'WHAT?');
    return true;
  });
  peer.close();
});

test('a client that throws is an error', async () => {
  const { peer } = await connect('throws');
  peer.on('request', () => {
    throw new Error('BOOM!!!');
  });
  await assert.rejects(peer.request('ask', { method: 'm', data: {} }), (error) => {
    assert.equal(error.code, 500);
    assert.match(error.message, /BOOM!!!/);
    return true;
  });
  peer.close();
});

test('notifications go both ways', async () => {
  const { peer } = await connect('notifications');
  const back = once(peer, 'notification');
  await peer.notify('hello', { from: 'client' });
  const [{ method, data }] = await back;
  assert.equal(method, 'hello');
  assert.deepEqual(data, { from: 'client', to: 'notifications' });
  peer.close();
});

test('a hundred requests each way', async () => {
  const { peer } = await connect('many');
  peer.on('request', (request, accept) => accept({ twice: 2 * request.data.n }));
  const numbers = Array.from({ length: 100 }, (_, n) => n);
  const asked = numbers.map((n) => peer.request('ask', { method: 'double', data: { n } }));
  const echoed = numbers.map((n) => peer.request('echo', { n }));
  assert.deepEqual(await Promise.all(asked), numbers.map((n) => ({ twice: 2 * n })));
  assert.deepEqual(await Promise.all(echoed), numbers.map((n) => ({ n })));
  peer.close();
});

test('a client that was sent away does not come back', async () => {
  const { peer, seen } = await connect('kicked');
  const closed = once(peer, 'close');
  peer.notify('kickMe');
  await closed;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(seen, ['open', 'close']);
});

test('the end of a room is final', async () => {
  const { peer, seen } = await connect('room');
  const closed = once(peer, 'close');
  peer.notify('closeRoom');
  await closed;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(seen, ['open', 'close']);
});

test('a server that goes down is connected to again', async () => {
  const { peer, seen } = await connect('restart');
  const again = once(peer, 'open');
  peer.notify('goAway');
  await again;
  assert.deepEqual(seen, ['open', 'disconnected', 'open']);
  assert.deepEqual(await peer.request('echo', { still: 'here' }), { still: 'here' });
  peer.close();
});

test('a client that leaves is gone', async () => {
  const { peer } = await connect('leaver');
  const { peer: watcher } = await connect('watcher');
  assert.deepEqual(await watcher.request('peers', { roomId: 'leaver' }), ['leaver']);
  peer.close();
  assert.ok(peer.closed);
  while ((await watcher.request('peers', { roomId: 'leaver' })).length > 0);
  watcher.close();
});

test('a refused client gives up', async () => {
  const transport = new protoo.WebSocketTransport(`${url}/?roomId=refused&peerId=x`, quickly);
  const peer = new protoo.Peer(transport);
  const attempts = [];
  peer.on('failed', (attempt) => attempts.push(attempt));
  peer.on('open', () => assert.fail('must not connect'));
  await once(peer, 'close');
  assert.deepEqual(attempts, [1, 2]);
});
