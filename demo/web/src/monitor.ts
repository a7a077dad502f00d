import type { types } from 'mediasoup-client';
import type { Conference, RemoteStream } from './conference';
import { Emitter } from './emitter';
import { Playout, wait } from './playout';
import { compare, type Rates, type Reading, read, type Received, type Sent, Series } from './stats';

/** How often figures are read, milliseconds, and how many are kept. */
const INTERVAL = 1000;
const KEPT = 60;

/** Figures of one stream that comes in. */
export class StreamFigures {
  readonly bitrate = new Series(KEPT);
  readonly loss = new Series(KEPT);
  readonly spatialLayer = new Series(KEPT);
  readonly temporalLayer = new Series(KEPT);
  readonly playout = new Playout();
  now: Received | undefined;
  rates: Rates | undefined;
}

/** One of the encodings that the user sends, and how it went of late. */
export type SentFigures = Sent & { rates: Rates };

/** Reads the figures of a conference once a second, and keeps those of the last minute. */
export class Monitor extends Emitter<{ sample: undefined }> {
  readonly sending = new Series(KEPT);
  readonly receiving = new Series(KEPT);
  /** What the server estimates that can be received. */
  readonly available = new Series(KEPT);
  readonly sendingLoss = new Series(KEPT);
  readonly receivingLoss = new Series(KEPT);
  readonly roundTrip = new Series(KEPT);
  readonly streams = new Map<RemoteStream, StreamFigures>();
  sent: SentFigures[] = [];
  received: Received[] = [];
  protocol = '';
  readonly #conference: Conference;
  readonly #timer: ReturnType<typeof setInterval>;
  #before: Record<'send' | 'receive', Reading | undefined> = { send: undefined, receive: undefined };
  #busy = false;

  constructor(conference: Conference) {
    super();
    this.#conference = conference;
    this.#timer = setInterval(() => void this.#sample(), INTERVAL);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #sample(): Promise<void> {
    // A slow browser may take longer than the interval.
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    try {
      const { session } = this.#conference;
      const [send, receive] = await Promise.all([reading(session?.sendTransport), reading(session?.receiveTransport)]);
      this.#noteSending(this.#before.send, send);
      this.#noteReceiving(this.#before.receive, receive);
      this.roundTrip.push(send?.roundTrip ?? receive?.roundTrip);
      this.protocol = send?.protocol || receive?.protocol || '';
      this.#before = { send, receive };
    } catch {
      // The transport was closed meanwhile.
      this.#before = { send: undefined, receive: undefined };
    } finally {
      this.#busy = false;
    }
    this.emit('sample', undefined);
  }

  #noteSending(before: Reading | undefined, after: Reading | undefined): void {
    if (!before || !after || after.sent.size === 0) {
      this.sending.push(null);
      this.sendingLoss.push(null);
      this.sent = [];
      return;
    }
    const { each, all } = compare({ at: before.at, streams: before.sent }, { at: after.at, streams: after.sent }, true);
    this.sending.push(all.bitrate);
    this.sendingLoss.push(all.loss);
    this.sent = [...after.sent.values()]
      .map((sent) => ({ ...sent, rates: each.get(sent.ssrc) as Rates }))
      .sort((one, other) => one.kind.localeCompare(other.kind) || other.rid.localeCompare(one.rid));
  }

  #noteReceiving(before: Reading | undefined, after: Reading | undefined): void {
    const streams = [...this.#conference.participants.values()].flatMap((one) => [...one.streams.values()]);
    for (const stream of this.streams.keys()) {
      if (!streams.includes(stream)) {
        this.streams.delete(stream);
      }
    }
    this.received = [...(after?.received.values() ?? [])];
    this.available.push(this.#conference.availableBitrate);
    if (!before || !after || after.received.size === 0) {
      this.receiving.push(null);
      this.receivingLoss.push(null);
      return;
    }
    const [then, now] = [{ at: before.at, streams: before.received }, { at: after.at, streams: after.received }];
    const { each, all } = compare(then, now, false);
    this.receiving.push(all.bitrate);
    this.receivingLoss.push(all.loss);
    for (const stream of streams) {
      const figures = this.streams.get(stream) ?? new StreamFigures();
      this.streams.set(stream, figures);
      const ssrc = stream.consumer.rtpParameters.encodings?.[0]?.ssrc ?? 0;
      figures.now = after.received.get(ssrc);
      figures.rates = each.get(ssrc);
      if (figures.now?.kind === 'video') {
        wait(stream.consumer.rtpReceiver, figures.playout.update(after.at, figures.now, after.roundTrip));
      }
      figures.bitrate.push(figures.rates?.bitrate);
      figures.loss.push(figures.rates?.loss);
      figures.spatialLayer.push(stream.current && stream.current.spatialLayer + 1);
      figures.temporalLayer.push(stream.current && stream.current.temporalLayer + 1);
    }
  }
}

async function reading(transport: types.Transport | undefined): Promise<Reading | undefined> {
  return transport && !transport.closed ? read((await transport.getStats()).values()) : undefined;
}
