// Figures of a connection: what browsers report is read into totals, and two readings make a sample. Pure.

/** What came in on one stream since it began. */
export interface Received {
  ssrc: number;
  kind: string;
  bytes: number;
  packets: number;
  lost: number;
  frames: number;
  width: number;
  height: number;
  /** Seconds. */
  jitter: number;
  audioEnergy: number;
  freezes: number;
  nacks: number;
  keyFrameRequests: number;
  codec: string;
}

/** What went out on one stream since it began. */
export interface Sent {
  ssrc: number;
  kind: string;
  rid: string;
  bytes: number;
  packets: number;
  /** As the other side reports. */
  lost: number;
  frames: number;
  width: number;
  height: number;
  /** What keeps the encoder from doing better: "none", "cpu", "bandwidth", "other". */
  limitation: string;
  codec: string;
}

/** A reading of one transport. */
export interface Reading {
  /** Milliseconds. */
  at: number;
  /** Seconds; undefined if nothing was measured yet. */
  roundTrip: number | undefined;
  /** What the browser estimates that it can send; bits per second. */
  available: number | undefined;
  /** "udp" or "tcp"; empty if not connected. */
  protocol: string;
  received: Map<number, Received>;
  sent: Map<number, Sent>;
}

/** How things went between two readings. */
export interface Rates {
  /** Bits per second. */
  bitrate: number;
  /** 0 to 1. */
  loss: number;
  /** Per second. */
  frames: number;
}

type Report = Record<string, unknown> & { type?: unknown };

const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Reads what `getStats()` of a transport gave. */
export function read(reports: Iterable<unknown>): Reading {
  const all = [...reports] as Report[];
  const byId = new Map(all.map((report) => [text(report['id']), report]));
  const reading: Reading = {
    at: 0, roundTrip: undefined, available: undefined, protocol: '', received: new Map(), sent: new Map(),
  };
  const codec = (report: Report) => text(byId.get(text(report['codecId']))?.['mimeType']).replace(/^\w+\//, '');
  let remoteRoundTrip: number | undefined;
  for (const report of all) {
    reading.at = Math.max(reading.at, number(report['timestamp']));
    const ssrc = number(report['ssrc']);
    const common = { ssrc, kind: text(report['kind']), width: number(report['frameWidth']), height: number(report['frameHeight']) };
    if (report.type === 'inbound-rtp') {
      reading.received.set(ssrc, {
        ...common,
        bytes: number(report['bytesReceived']),
        packets: number(report['packetsReceived']),
        lost: number(report['packetsLost']),
        frames: number(report['framesDecoded']),
        jitter: number(report['jitter']),
        audioEnergy: number(report['totalAudioEnergy']),
        freezes: number(report['freezeCount']),
        nacks: number(report['nackCount']),
        keyFrameRequests: number(report['pliCount']) + number(report['firCount']),
        codec: codec(report),
      });
    } else if (report.type === 'outbound-rtp') {
      const remote = byId.get(text(report['remoteId']));
      reading.sent.set(ssrc, {
        ...common,
        rid: text(report['rid']),
        bytes: number(report['bytesSent']),
        packets: number(report['packetsSent']),
        lost: number(remote?.['packetsLost']),
        frames: number(report['framesEncoded']),
        limitation: text(report['qualityLimitationReason']) || 'none',
        codec: codec(report),
      });
    } else if (report.type === 'remote-inbound-rtp' && typeof report['roundTripTime'] === 'number') {
      remoteRoundTrip = report['roundTripTime'];
    } else if (report.type === 'candidate-pair' && report['state'] === 'succeeded' && (report['nominated'] || report['selected'])) {
      const measured = report['currentRoundTripTime'];
      reading.roundTrip = typeof measured === 'number' ? measured : reading.roundTrip;
      const available = report['availableOutgoingBitrate'];
      reading.available = typeof available === 'number' ? available : reading.available;
      reading.protocol = text(byId.get(text(report['remoteCandidateId']))?.['protocol']);
    }
  }
  reading.roundTrip ??= remoteRoundTrip;
  return reading;
}

interface Totals {
  bytes: number;
  packets: number;
  lost: number;
  frames: number;
}

const NOTHING: Totals = { bytes: 0, packets: 0, lost: 0, frames: 0 };

/** How one stream, or several, went in `seconds`; nothing if that is not positive. */
export function rates(before: Totals[], after: Totals[], seconds: number, sent: boolean): Rates {
  const sum = (all: Totals[], key: keyof Totals) => all.reduce((total, { [key]: value }) => total + value, 0);
  // A stream that began anew counts from zero again.
  const grown = (key: keyof Totals) => Math.max(0, sum(after, key) - sum(before, key));
  if (!(seconds > 0)) {
    return { bitrate: 0, loss: 0, frames: 0 };
  }
  const [packets, lost] = [grown('packets'), grown('lost')];
  // Receivers count what came, senders also what was lost on the way.
  const expected = sent ? packets : packets + lost;
  return {
    bitrate: (8 * grown('bytes')) / seconds,
    loss: expected > 0 ? Math.min(1, lost / expected) : 0,
    frames: grown('frames') / seconds,
  };
}

/** How each stream went between two readings, and all of them together. */
export function compare<Stream extends Totals>(
  before: { at: number; streams: ReadonlyMap<number, Stream> },
  after: { at: number; streams: ReadonlyMap<number, Stream> },
  sent: boolean,
): { each: Map<number, Rates>; all: Rates } {
  const seconds = (after.at - before.at) / 1000;
  const each = new Map<number, Rates>();
  // Streams that were not there yet began at zero; those that are gone must not count against the others.
  const known: Totals[] = [];
  for (const [ssrc, now] of after.streams) {
    const then = before.streams.get(ssrc) ?? NOTHING;
    known.push(then);
    each.set(ssrc, rates([then], [now], seconds, sent));
  }
  return { each, all: rates(known, [...after.streams.values()], seconds, sent) };
}

/** A line of a plot: the newest values, a gap where nothing was measured. */
export class Series {
  readonly values: (number | null)[];

  constructor(length: number) {
    this.values = new Array<number | null>(length).fill(null);
  }

  push(value: number | null | undefined): void {
    this.values.shift();
    this.values.push(value ?? null);
  }

  get last(): number | null {
    return this.values.at(-1) ?? null;
  }
}

/** "1.24 Mbit/s" */
export function formatBitrate(bits: number | null): string {
  if (bits === null) {
    return '–';
  }
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`;
}

/** "0.5 %" */
export function formatLoss(loss: number | null): string {
  return loss === null ? '–' : `${(loss * 100).toFixed(loss > 0 && loss < 0.1 ? 1 : 0)} %`;
}

/** "12 ms" */
export function formatSeconds(seconds: number | null): string {
  return seconds === null ? '–' : `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
}

/** The end of a scale that holds a value: 1, 2 or 5 times a power of ten. */
export function scaleEnd(most: number, least: number): number {
  const wanted = Math.max(most, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= wanted * 0.999) ?? 10 * power;
}
