// How long a video waits before it is shown. Browsers show a picture as soon as it is complete. If one that later pictures
// do not need (of a higher temporal layer) is not, they leave it out as soon as the next one is: what is lost of it comes
// again too late, unless there is some time.

/** Share of packets lost from which on a video waits, and down to which it goes on waiting. */
const LOSSY = 0.03;
const CLEAN = 0.01;
/** As many measurements in a row must tell so: a link that is full for a moment loses packets too. */
const IN_A_ROW = 3;
/** For so long after the last losses, milliseconds. */
const PATIENCE = 30_000;
/** Least that tells anything. */
const PACKETS = 20;
/** For a loss to be noticed on both ways, by the next picture or report; and how often a packet may have to come again. */
const NOTICE = 200;
const ROUNDS = 3;
const MOST = 600;

/** Totals of a stream. */
export interface Counts {
  packets: number;
  lost: number;
  /** Requests for packets that were missing, be it that they were lost before the server. */
  nacks: number;
}

/** Decides how long one video waits, by what is lost of it. */
export class Playout {
  /** Milliseconds; 0: as the browser likes. */
  delay = 0;
  #counts: Counts | undefined;
  #lossy = 0;
  #lossyAt = 0;

  /** Takes the totals at a time (milliseconds), with the round trip in seconds if that is known; returns the delay. */
  update(at: number, { packets, lost, nacks }: Counts, roundTrip = 0.1): number {
    const before = this.#counts ?? { packets, lost, nacks };
    const [came, missing] = [packets - before.packets, Math.max(lost - before.lost, nacks - before.nacks)];
    // A stream that began anew counts from zero again.
    if (this.#counts && came >= 0 && came < PACKETS) {
      return this.delay;
    }
    this.#counts = { packets, lost, nacks };
    const share = came > 0 ? missing / came : 0;
    this.#lossy = share >= LOSSY ? this.#lossy + 1 : 0;
    if (this.#lossy >= IN_A_ROW || (this.delay > 0 && share >= CLEAN)) {
      this.#lossyAt = at;
      // Not every change of the path is worth a jump.
      this.delay ||= Math.min(MOST, Math.round(NOTICE + ROUNDS * 1000 * roundTrip));
    } else if (at - this.#lossyAt >= PATIENCE) {
      this.delay = 0;
    }
    return this.delay;
  }
}

/** Has a receiver wait so long, in milliseconds, or as it likes (0); browsers that cannot do that go on as they are. */
export function wait(receiver: RTCRtpReceiver | undefined, delay: number): void {
  const target = delay > 0 ? delay : null;
  if (receiver && 'jitterBufferTarget' in receiver && receiver.jitterBufferTarget !== target) {
    receiver.jitterBufferTarget = target;
  }
}
