import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, formatBitrate, formatLoss, formatSeconds, rates, read, scaleEnd, Series } from '../src/stats';

const REPORTS = [
  { id: 'C', type: 'codec', mimeType: 'video/VP8' },
  {
    id: 'I', type: 'inbound-rtp', kind: 'video', ssrc: 7, codecId: 'C', timestamp: 5000, bytesReceived: 1000, packetsReceived: 90,
    packetsLost: 10, framesDecoded: 30, frameWidth: 640, frameHeight: 360, jitter: 0.004, pliCount: 1, firCount: 1, nackCount: 3,
  },
  { id: 'O', type: 'outbound-rtp', kind: 'video', ssrc: 8, rid: 'r1', remoteId: 'R', bytesSent: 500, packetsSent: 5, qualityLimitationReason: 'cpu' },
  { id: 'R', type: 'remote-inbound-rtp', ssrc: 8, packetsLost: 2, roundTripTime: 0.05 },
  { id: 'P', type: 'candidate-pair', state: 'succeeded', nominated: true, currentRoundTripTime: 0.02, availableOutgoingBitrate: 9e5, remoteCandidateId: 'K' },
  { id: 'K', type: 'remote-candidate', protocol: 'tcp' },
  { id: 'X', type: 'candidate-pair', state: 'failed', nominated: true, currentRoundTripTime: 9 },
];

test('reports become a reading', () => {
  const reading = read(REPORTS);
  assert.equal(reading.at, 5000);
  assert.equal(reading.roundTrip, 0.02);
  assert.equal(reading.available, 9e5);
  assert.equal(reading.protocol, 'tcp');
  const received = reading.received.get(7);
  assert.equal(received?.codec, 'VP8');
  assert.equal(received?.keyFrameRequests, 2);
  assert.equal(received?.audioEnergy, 0);
  const sent = reading.sent.get(8);
  assert.equal(sent?.lost, 2);
  assert.equal(sent?.limitation, 'cpu');
});

test('without a measurement of the path, what the other side reports counts', () => {
  assert.equal(read(REPORTS.filter(({ id }) => id !== 'P')).roundTrip, 0.05);
  assert.equal(read([]).roundTrip, undefined);
});

test('reports that make no sense are read as nothing', () => {
  const reading = read([{}, { type: 'inbound-rtp', ssrc: 'x', bytesReceived: NaN, packetsLost: null }]);
  assert.equal(reading.received.get(0)?.bytes, 0);
});

const totals = (bytes: number, packets: number, lost: number, frames: number) => ({ bytes, packets, lost, frames });

test('loss is a part of what was expected when receiving, of what was sent when sending', () => {
  const [before, after] = [totals(0, 0, 0, 0), totals(1000, 90, 10, 30)];
  assert.deepEqual(rates([before], [after], 2, false), { bitrate: 4000, loss: 0.1, frames: 15 });
  assert.equal(rates([before], [after], 2, true).loss, 10 / 90);
});

test('totals that fall, or no time between, give nothing', () => {
  assert.deepEqual(rates([totals(9, 9, 9, 9)], [totals(1, 1, 1, 1)], 1, false), { bitrate: 0, loss: 0, frames: 0 });
  assert.deepEqual(rates([totals(0, 0, 0, 0)], [totals(1, 1, 1, 1)], 0, false), { bitrate: 0, loss: 0, frames: 0 });
});

test('a stream that ended does not count against those that go on', () => {
  const before = { at: 0, streams: new Map([[1, totals(1e6, 1000, 0, 0)], [2, totals(100, 1, 0, 0)]]) };
  const after = { at: 1000, streams: new Map([[2, totals(225, 2, 0, 0)], [3, totals(125, 1, 0, 0)]]) };
  const { each, all } = compare(before, after, false);
  assert.equal(all.bitrate, 2000);
  assert.equal(each.get(2)?.bitrate, 1000);
  assert.equal(each.get(3)?.bitrate, 1000);
  assert.equal(each.has(1), false);
});

test('a series keeps the newest values', () => {
  const series = new Series(3);
  for (const value of [1, 2, undefined, 4]) {
    series.push(value);
  }
  assert.deepEqual(series.values, [2, null, 4]);
  assert.equal(series.last, 4);
});

test('figures in words', () => {
  assert.equal(formatBitrate(1_234_567), '1.23 Mbit/s');
  assert.equal(formatBitrate(49_600), '50 kbit/s');
  assert.equal(formatBitrate(null), '–');
  assert.equal(formatLoss(0), '0 %');
  assert.equal(formatLoss(0.012), '1.2 %');
  assert.equal(formatLoss(0.5), '50 %');
  assert.equal(formatSeconds(0.0042), '4.2 ms');
  assert.equal(formatSeconds(0.123), '123 ms');
});

test('a scale ends at a round figure that is large enough', () => {
  for (const most of [0.004, 0.02, 0.3, 1, 1.4, 47, 99, 100, 101, 640_000, 3e6]) {
    const end = scaleEnd(most, 0.001);
    assert.ok(end >= most * 0.999 && end <= most * 2.6, `${most}: ${end}`);
  }
  assert.equal(scaleEnd(0, 0.02), 0.02);
});
