import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentence, waits } from '../src/decisions';

const AT = { timestamp: 12_500, until: 12_500, count: 1 };
const TOP = { spatialLayer: 2, temporalLayer: 2 };

test('decisions in words', () => {
  const text = (decision: object) => sentence({ ...AT, what: '', why: '', ...decision }, 10_000).text;
  assert.equal(text({ what: 'target', why: 'preferred', targetLayers: TOP }), 'aims at resolution 3, frame rate 3: you asked for it');
  assert.equal(text({ what: 'target', why: 'stopped' }), 'aims at nothing: it is paused');
  assert.equal(text({ what: 'switch', why: 'keyFrame', currentLayers: TOP }), 'sends resolution 3, frame rate 3: a key frame came');
  assert.equal(text({ what: 'keyFrameRequest', why: 'receiver', sent: true, count: 3 }), 'asks for a key frame, 3 times: your browser asked');
  assert.equal(text({ what: 'drop', why: 'layer', count: 40 }), 'leaves out 40 packets: they belong to other layers');
  // Of a server that knows more than this page.
  assert.equal(text({ what: 'somethingNew', why: 'anotherReason' }), 'something new: another reason');
});

test('their time is counted from the first one', () => {
  assert.equal(sentence({ ...AT, what: 'drop', why: 'late' }, 10_000).at, '2.5 s');
});

test('decisions about the bandwidth in words', () => {
  const bandwidth = { before: 6e5, estimate: 12e5, available: 1e6, desired: 25e5, allocated: 9e5, lost: 0 };
  const text = (decision: object) => sentence({ ...AT, what: '', why: '', bandwidth, ...decision }, 10_000).text;
  assert.equal(text({ what: 'raise', why: 'probe' }), 'expects more: 1.20 Mbit/s instead of 600 kbit/s: a try got through');
  assert.equal(text({ what: 'raise', why: 'room', count: 9 }), 'expects more: 1.20 Mbit/s instead of 600 kbit/s, 9 times: all of it arrives without delay');
  assert.equal(text({ what: 'raise', why: 'loss' }), 'expects more: 1.20 Mbit/s instead of 600 kbit/s: fewer packets are lost');
  const less = { before: 12e5, estimate: 6e5 };
  assert.equal(text({ what: 'lower', why: 'loss', bandwidth: less }), 'expects less: 600 kbit/s instead of 1.20 Mbit/s: packets are lost');
  assert.equal(text({ what: 'probe', why: 'desired', bitrate: 18e5 }), 'tries 1.80 Mbit/s for a moment: more is wanted');
  const measured = { ...bandwidth, measured: 17e5 };
  assert.equal(text({ what: 'probe', why: 'desired', bitrate: 18e5, bandwidth: measured }), 'tries 1.80 Mbit/s for a moment, 1.70 Mbit/s get through: more is wanted');
  assert.equal(text({ what: 'limit', why: 'parent', bitrate: 5e5 }), 'sends 500 kbit/s at most: the conference asked');
  assert.equal(text({ what: 'limit', why: 'parent', bitrate: 0 }), 'sends as much as is possible: the conference asked');
  assert.equal(text({ what: 'allocate', why: 'bandwidth' }), 'sends 900 kbit/s of video, 1.00 Mbit/s are possible and 2.50 Mbit/s wanted: the network takes more or less now');
});

test('waits of packets in words', () => {
  assert.equal(waits({ packets: 0, longestWait: 0, maxDelay: 100 }), '');
  assert.equal(waits({ packets: 1, longestWait: 7, maxDelay: 100 }), '1 packet of a large picture waited for their turn, 7 ms at most (100 ms are allowed).');
  assert.equal(waits({ packets: 40, longestWait: 63, maxDelay: 100 }), '40 packets of large pictures waited for their turn, 63 ms at most (100 ms are allowed).');
});
