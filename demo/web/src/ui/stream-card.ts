import type { Conference, RemoteStream } from '../conference';
import type { Layers } from '../protocol';
import type { Source } from '../encodings';
import type { StreamFigures } from '../monitor';
import { formatBitrate, formatLoss, formatSeconds } from '../stats';
import { h, setText } from './dom';
import { Plot } from './plot';
import { Why } from './why';

export const SOURCE: Record<Source, string> = { microphone: 'microphone', camera: 'camera', screen: 'screen' };

/** Names of layers from the best down; there are never more than three in a browser. */
const QUALITIES = ['High', 'Medium', 'Low'];
const PACES = ['Full', 'Half', 'Quarter'];

/** What somebody else sends: its figures, what is wanted of it, and why it comes as it does. */
export class StreamCard {
  readonly element: HTMLElement;
  readonly #conference: Conference;
  readonly #stream: RemoteStream;
  readonly #title = h('h3', { tabindex: '-1' });
  readonly #facts = h('p', { class: 'facts' });
  readonly #bitrate = new Plot({ title: 'Bitrate', format: formatBitrate, least: 50_000 });
  readonly #loss = new Plot({ title: 'Loss', format: formatLoss, least: 0.02 });
  readonly #layers: Plot | undefined;
  readonly #quality: HTMLSelectElement | undefined;
  readonly #pace: HTMLSelectElement | undefined;
  readonly #pause: HTMLButtonElement;
  readonly #why: Why;

  constructor(conference: Conference, stream: RemoteStream) {
    this.#conference = conference;
    this.#stream = stream;
    const video = stream.source !== 'microphone';
    const most = Math.max(stream.spatialLayers, stream.temporalLayers);
    if (most > 1) {
      const format = (layer: number | null) => (layer === null ? '–' : `${layer} of ${most}`);
      this.#layers = new Plot({ title: 'Layers', format, least: most, fixed: true, steps: true });
    }
    if (stream.spatialLayers > 1) {
      this.#quality = this.#choice('Resolution', ['Automatic', ...names(QUALITIES, stream.spatialLayers)]);
    }
    if (stream.temporalLayers > 1) {
      this.#pace = this.#choice('Frame rate', names(PACES, stream.temporalLayers));
    }
    const consumerId = stream.consumer.id;
    this.#why = new Why('What the server decided, and why', () => conference.request('getConsumerDump', { consumerId }));
    this.#pause = h('button', { type: 'button', click: () => void conference.pause(stream, !stream.paused) });
    this.element = h('section', { class: 'card stream', 'data-consumer': stream.consumer.id },
      this.#title, this.#facts, this.#bitrate.element, this.#loss.element, this.#layers?.element,
      h('div', { class: 'controls' },
        this.#quality && labelled('Resolution', this.#quality),
        this.#pace && labelled('Frame rate', this.#pace),
        video && labelled('Priority when bandwidth is short', this.#priority()),
        this.#pause,
        video && h('button', { type: 'button', click: () => void conference.requestKeyFrame(stream) }, 'Ask for a key frame')),
      this.#why.element);
    this.update(undefined);
    void this.#why.load();
  }

  /** Moves the focus here, for whoever came by a button elsewhere. */
  focus(): void {
    this.element.scrollIntoView({ block: 'start' });
    this.#title.focus({ preventScroll: true });
  }

  update(figures: StreamFigures | undefined): void {
    const { participant, source, paused, score } = this.#stream;
    setText(this.#title, `${participant.displayName} · ${SOURCE[source]}`);
    setText(this.#pause, paused ? 'Receive' : 'Stop receiving');
    if (this.#quality) {
      const preferred = this.#stream.preferred;
      this.#quality.value = preferred ? String(this.#stream.spatialLayers - preferred.spatialLayer) : '0';
    }
    if (!figures) {
      return;
    }
    const { now, rates } = figures;
    const facts = now && [
      now.codec,
      now.width > 0 && `${now.width} × ${now.height}`,
      now.kind === 'video' && rates && `${Math.round(rates.frames)} fps`,
      score && `score ${score.score} of 10`,
      `jitter ${formatSeconds(now.jitter)}`,
      now.freezes > 0 && `${now.freezes} freezes`,
      now.keyFrameRequests > 0 && `${now.keyFrameRequests} key frames asked for`,
      now.nacks > 0 && `${now.nacks} NACKs`,
      figures.playout.delay > 0 && `shown ${figures.playout.delay} ms later, so that what is lost can come again`,
    ];
    setText(this.#facts, (facts || ['nothing comes yet']).filter(Boolean).join(' · '));
    this.#bitrate.update([{ label: '', colour: 1, values: figures.bitrate.values }]);
    this.#loss.update([{ label: '', colour: 3, values: figures.loss.values }]);
    this.#layers?.update([
      { label: 'resolution', colour: 1, values: figures.spatialLayer.values },
      { label: 'frame rate', colour: 2, values: figures.temporalLayer.values, dashed: true },
    ]);
    this.#why.update();
  }

  #choice(name: string, options: string[]): HTMLSelectElement {
    return h('select', { 'aria-label': name, change: () => void this.#prefer() },
      ...options.map((option, index) => h('option', { value: String(index) }, option)));
  }

  async #prefer(): Promise<void> {
    const { spatialLayers, temporalLayers } = this.#stream;
    // 0 is the best pace; for resolutions 0 is "automatic" and 1 the best.
    const pace = Number(this.#pace?.value ?? 0);
    const quality = Number(this.#quality?.value ?? 0);
    const layers: Layers = {
      spatialLayer: spatialLayers - Math.max(1, quality),
      temporalLayer: temporalLayers - 1 - pace,
    };
    await this.#conference.prefer(this.#stream, quality === 0 && pace === 0 ? null : layers);
  }

  #priority(): HTMLElement {
    const input = h('input', { type: 'range', min: '1', max: '255', value: String(this.#stream.priority) });
    const value = h('output', {}, input.value);
    input.addEventListener('input', () => setText(value, input.value));
    input.addEventListener('change', () => void this.#conference.prioritise(this.#stream, input.valueAsNumber));
    return h('div', { class: 'range' }, input, value);
  }
}

function labelled(text: string, control: HTMLElement): HTMLElement {
  return h('label', { class: control.matches('.range') ? 'wide' : undefined }, h('span', {}, text), control);
}

function names(all: string[], count: number): string[] {
  return Array.from({ length: count }, (_, index) => all[index] ?? `${index + 1}`);
}
