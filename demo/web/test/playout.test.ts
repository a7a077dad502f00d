import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Playout } from '../src/playout';

/** Lets seconds pass in each of which so many of 100 packets are lost before or behind the server; returns the delays. */
function run(playout: Playout, from: number, seconds: number, { lost = 0, nacks = 0 }, roundTrip?: number): number[] {
  return Array.from({ length: seconds }, (_, second) => {
    const passed = from + second;
    return playout.update(1000 * passed, { packets: 100 * passed, lost: lost * passed, nacks: nacks * passed }, roundTrip);
  });
}

test('a video waits while packets are lost, and for a while after that', () => {
  const playout = new Playout();
  assert.deepEqual(run(playout, 1, 4, { lost: 10 }, 0.02), [0, 0, 0, 260]);
  const delays = Array.from({ length: 60 }, (_, second) =>
    playout.update(5000 + 1000 * second, { packets: 500 + 100 * second, lost: 40, nacks: 0 }));
  const until = delays.indexOf(0);
  assert.equal(5000 + 1000 * until, 34_000, 'half a minute after the last loss');
  assert.ok(delays.slice(until).every((delay) => delay === 0));
});

test('what is lost before the server counts too, though the receiver knows only that it asked for it', () => {
  assert.deepEqual(run(new Playout(), 1, 5, { nacks: 10 }), [0, 0, 0, 500, 500]);
});

test('a long way takes longer, up to a bound', () => {
  assert.equal(run(new Playout(), 1, 4, { lost: 20 }, 9).at(-1), 600);
});

test('a link that was full for a moment changes nothing', () => {
  const playout = new Playout();
  const lost = [0, 30, 60, 60, 60, 90, 90];
  assert.deepEqual(lost.map((lost, second) => playout.update(1000 * second, { packets: 100 * second, lost, nacks: 0 })), Array(7).fill(0));
});

test('few losses, few packets, and a stream that begins anew change nothing', () => {
  assert.deepEqual(run(new Playout(), 1, 60, { lost: 2 }), Array(60).fill(0));
  const few = new Playout();
  assert.equal(few.update(0, { packets: 0, lost: 0, nacks: 0 }), 0);
  assert.equal(few.update(1000, { packets: 10, lost: 9, nacks: 0 }), 0);
  const anew = new Playout();
  anew.update(0, { packets: 1000, lost: 0, nacks: 0 });
  assert.equal(anew.update(1000, { packets: 5, lost: 90, nacks: 0 }), 0);
});
