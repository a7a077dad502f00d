import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentence } from '../src/decisions';

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
