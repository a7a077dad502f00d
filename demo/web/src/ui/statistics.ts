import type { Conference, RemoteStream } from '../conference';
import type { Monitor, SentFigures } from '../monitor';
import { formatBitrate, formatLoss, formatSeconds } from '../stats';
import { h, setText } from './dom';
import { Plot } from './plot';
import { StreamCard } from './stream-card';
import { Why } from './why';

/** Live figures: the connection as a whole, what the user sends, and each stream that comes. */
export class Statistics {
  readonly element: HTMLElement;
  readonly #conference: Conference;
  readonly #monitor: Monitor;
  readonly #bitrate = new Plot({ title: 'Bitrate', format: formatBitrate, least: 100_000 });
  readonly #loss = new Plot({ title: 'Packet loss', format: formatLoss, least: 0.02 });
  readonly #roundTrip = new Plot({ title: 'Round trip', format: formatSeconds, least: 0.01 });
  readonly #path = h('p', { class: 'facts' });
  readonly #why: Why;
  readonly #sent = h('tbody');
  readonly #streams = h('div', { class: 'streams' });
  readonly #cards = new Map<RemoteStream, StreamCard>();
  #shown = false;

  constructor(conference: Conference, monitor: Monitor) {
    this.#conference = conference;
    this.#monitor = monitor;
    this.#why = new Why('What the server decided about what it sends to you, and why', async () => {
      const transportId = conference.session?.receiveTransport?.id;
      return transportId === undefined ? undefined : conference.request('getTransportDump', { transportId });
    });
    const heads = ['Encoding', 'Size', 'fps', 'Bitrate', 'Limit'].map((head) => h('th', { scope: 'col' }, head));
    this.element = h('div', { class: 'statistics' },
      h('section', { class: 'card connection' }, h('h3', {}, 'Connection'), this.#path,
        this.#bitrate.element, this.#loss.element, this.#roundTrip.element, this.#why.element),
      h('section', { class: 'card' }, h('h3', {}, 'You send'),
        h('table', {}, h('thead', {}, h('tr', {}, ...heads)), this.#sent)),
      this.#streams);
    monitor.on('sample', () => this.update());
  }

  /** Figures are drawn while they are seen. */
  show(shown: boolean): void {
    this.#shown = shown;
    if (shown) {
      void this.#why.load();
    }
    this.update();
  }

  /** Moves to the card of a stream. */
  focus(stream: RemoteStream): void {
    this.#cards.get(stream)?.focus();
  }

  update(): void {
    if (!this.#shown) {
      return;
    }
    const monitor = this.#monitor;
    const protocol = monitor.protocol ? `Media over ${monitor.protocol.toUpperCase()}` : 'Not connected';
    const { participants, status } = this.#conference;
    setText(this.#path, `${protocol} · ${participants.size + 1} in the room · ${status}`);
    this.#bitrate.update([
      { label: 'in', colour: 1, values: monitor.receiving.values },
      { label: 'out', colour: 2, values: monitor.sending.values },
      ...(monitor.available.last === null ? [] : [
        { label: 'estimate in', colour: 3 as const, values: monitor.available.values, dashed: true },
      ]),
    ]);
    this.#loss.update([
      { label: 'in', colour: 1, values: monitor.receivingLoss.values },
      { label: 'out', colour: 2, values: monitor.sendingLoss.values },
    ]);
    this.#roundTrip.update([{ label: '', colour: 1, values: monitor.roundTrip.values }]);
    this.#why.update();
    this.#sent.replaceChildren(...(monitor.sent.length > 0 ? monitor.sent.map(row) : [
      h('tr', {}, h('td', { colspan: '5' }, 'Nothing')),
    ]));
    this.#updateCards();
  }

  #updateCards(): void {
    const streams = [...this.#conference.participants.values()].flatMap((one) => [...one.streams.values()]);
    for (const [stream, card] of this.#cards) {
      if (!streams.includes(stream)) {
        card.element.remove();
        this.#cards.delete(stream);
      }
    }
    for (const stream of streams) {
      let card = this.#cards.get(stream);
      if (!card) {
        card = new StreamCard(this.#conference, stream);
        this.#cards.set(stream, card);
        this.#streams.append(card.element);
        void this.#why.load();
      }
      card.update(this.#monitor.streams.get(stream));
    }
  }
}

function row({ kind, rid, width, height, codec, limitation, rates }: SentFigures): HTMLElement {
  const cells = [
    `${codec || kind}${rid ? ` ${rid}` : ''}`,
    width > 0 ? `${width}×${height}` : '–',
    kind === 'video' ? String(Math.round(rates.frames)) : '–',
    formatBitrate(rates.bitrate),
    limitation === 'none' ? '–' : limitation,
  ];
  return h('tr', {}, ...cells.map((cell) => h('td', {}, cell)));
}
