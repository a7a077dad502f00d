import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodings } from '../src/encodings';
import { explainDevice, InsecureContextError } from '../src/errors';
import { cleanRoom, identify, parseLink, randomName } from '../src/settings';

test('a link is read', () => {
  assert.deepEqual(parseLink('?roomId=tea%20time&displayName=Ada&codec=VP9&forceTcp=true'), {
    roomId: 'tea-time', displayName: 'Ada', codec: 'vp9', forceTcp: true,
  });
  assert.deepEqual(parseLink('?codec=mp3&forceTcp=yes'), { roomId: '', displayName: '', forceTcp: false });
});

test('rooms are what the server takes', () => {
  for (const text of ['', ' a b ', 'ä☃', 'x'.repeat(100), 'a/b?c=d', '\u0000\n']) {
    assert.match(cleanRoom(text), /^[\x21-\x7e]{0,64}$/);
  }
  assert.equal(cleanRoom('  daily   stand up '), 'daily-stand-up');
});

test('names by chance are of the length that is asked for, and differ', () => {
  const names = new Set(Array.from({ length: 100 }, () => randomName(8)));
  assert.equal(names.size, 100);
  assert.ok([...names].every((name) => /^[a-z2-9]{8}$/.test(name)));
});

test('browsers are told apart', () => {
  const agents: [string, string, string][] = [
    ['Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', 'firefox', '128'],
    ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36', 'chrome', '130'],
    ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36', 'chrome', '130'],
    ['Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/129.0', 'edge', '129'],
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) AppleWebKit/605.1 (KHTML, like Gecko) Version/17.0 Mobile/15E Safari/604.1', 'safari', '17'],
  ];
  for (const [agent, flag, version] of agents) {
    const device = identify(agent);
    assert.equal(device.flag, flag);
    assert.equal(device.version, version);
  }
  assert.equal(identify('something').flag, 'unknown');
});

test('a camera is sent in sizes that double, or in one stream of layers', () => {
  assert.deepEqual(encodings('camera', '', false).map((one) => one.scaleResolutionDownBy), [4, 2, 1]);
  assert.equal(encodings('camera', 'video/VP9', false)[0]?.scalabilityMode, 'L3T3_KEY');
  assert.equal(encodings('screen', 'video/AV1', false).length, 1);
  assert.deepEqual(encodings('camera', 'video/VP9', true).map((one) => one.scalabilityMode), [undefined]);
  assert.ok(encodings('screen', 'video/VP8', false).every((one) => one.dtx));
  assert.ok(encodings('camera', 'video/VP8', true).every((one) => one.scalabilityMode === undefined));
});

test('errors of devices say what to do', () => {
  const named = (name: string) => Object.assign(new Error('x'), { name });
  assert.match(explainDevice('camera', named('NotAllowedError')), /camera is blocked.*Allow/);
  assert.match(explainDevice('microphone', named('NotFoundError')), /No microphone was found/);
  assert.match(explainDevice('camera', named('NotReadableError')), /another program/);
  assert.match(explainDevice('screen', named('NotAllowedError')), /not shared/);
  assert.match(explainDevice('camera', new InsecureContextError('x')), /https/);
  assert.match(explainDevice('camera', 'odd'), /odd/);
});
