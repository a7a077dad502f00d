import type { Conference, Participant, RemoteStream } from '../conference';
import { fittingLayer, focused, grid } from '../layout';
import { h } from './dom';
import { Tile } from './tile';

/** Pixels between tiles. */
const GAP = 10;

/** Everybody's picture and sound. */
export class Stage {
  readonly element = h('main', { class: 'stage', 'aria-label': 'Participants' });
  readonly #conference: Conference;
  readonly #details: (stream: RemoteStream) => void;
  readonly #silenced: (silenced: boolean) => void;
  readonly #tiles = new Map<string, Tile>();
  readonly #sounds = new Map<RemoteStream, HTMLAudioElement>();
  #pinned: string | undefined;

  /**
   * `details`: somebody wants to know more of a stream; `silenced`: the browser does not play sound before the user has
   * touched the page, or does so again.
   */
  constructor(conference: Conference, details: (stream: RemoteStream) => void, silenced: (silenced: boolean) => void) {
    this.#conference = conference;
    this.#details = details;
    this.#silenced = silenced;
    new ResizeObserver(() => this.#arrange()).observe(this.element);
    this.updateSelf();
  }

  /** Shows what the user sends. */
  updateSelf(): void {
    const { displayName, own } = this.#conference;
    const tile = this.#tile('self');
    tile.setName(displayName, 'you');
    tile.setTrack(own.tracks.get('camera'));
    tile.video.classList.add('mirrored');
    tile.setMuted(!own.isOn('microphone'));
    const screen = own.tracks.get('screen');
    if (screen) {
      const shared = this.#tile('self-screen');
      shared.setName(displayName, 'your screen');
      shared.setTrack(screen);
      shared.element.classList.add('screen');
    } else {
      this.#remove('self-screen');
    }
    this.#arrange();
  }

  /** Shows what somebody sends now. */
  update(participant: Participant): void {
    const { id, displayName, streams } = participant;
    const tile = this.#tile(id, () => streams.get('camera') ?? streams.get('microphone'));
    const [camera, microphone, screen] = [streams.get('camera'), streams.get('microphone'), streams.get('screen')];
    tile.setName(displayName);
    tile.setTrack(picture(camera));
    tile.setMuted(!microphone || microphone.producerPaused);
    tile.setNote(camera?.paused ? 'not received' : '');
    const key = `${id}-screen`;
    if (screen) {
      const isNew = !this.#tiles.has(key);
      const shared = this.#tile(key, () => streams.get('screen'));
      shared.setName(displayName, 'screen');
      shared.setTrack(picture(screen));
      shared.element.classList.add('screen');
      if (isNew) {
        this.#pin(key);
      }
    } else {
      this.#remove(key);
    }
    this.#updateSounds();
    this.#arrange();
  }

  remove(participant: Participant): void {
    this.#remove(participant.id);
    this.#remove(`${participant.id}-screen`);
    this.#updateSounds();
    this.#arrange();
  }

  /** Marks who speaks. */
  speaks(peerId: string | null): void {
    const key = peerId === this.#conference.peerId ? 'self' : peerId;
    for (const [id, tile] of this.#tiles) {
      tile.setSpeaking(id === key);
    }
  }

  /** Plays what the browser has not played yet. */
  playSounds(): void {
    for (const sound of this.#sounds.values()) {
      void this.#play(sound);
    }
  }

  /** Asks for the layers that fill the tiles. */
  fit(): void {
    for (const participant of this.#conference.participants.values()) {
      for (const [source, stream] of participant.streams) {
        const tile = this.#tiles.get(source === 'screen' ? `${participant.id}-screen` : participant.id);
        if (tile && stream.spatialLayers > 1 && stream.current) {
          const height = tile.element.clientHeight * devicePixelRatio;
          const { spatialLayers, current } = stream;
          void this.#conference.fit(stream, fittingLayer(height, tile.video.videoHeight, current.spatialLayer, spatialLayers));
        }
      }
    }
  }

  #tile(key: string, stream?: () => RemoteStream | undefined): Tile {
    let tile = this.#tiles.get(key);
    if (!tile) {
      const details = stream && (() => {
        const found = stream();
        if (found) {
          this.#details(found);
        }
      });
      tile = new Tile(key.startsWith('self') ? this.#conference.peerId : key, { pin: () => this.#pin(this.#pinned === key ? undefined : key), ...(details ? { details } : {}) });
      this.#tiles.set(key, tile);
      this.element.append(tile.element);
    }
    return tile;
  }

  #remove(key: string): void {
    this.#tiles.get(key)?.element.remove();
    this.#tiles.delete(key);
    if (this.#pinned === key) {
      this.#pinned = undefined;
    }
  }

  #pin(key: string | undefined): void {
    this.#pinned = key;
    this.#arrange();
  }

  #arrange(): void {
    const { clientWidth, clientHeight } = this.element;
    const [width, height] = [clientWidth - 2 * GAP, clientHeight - 2 * GAP];
    if (width <= 0 || height <= 0) {
      return;
    }
    const keys = [...this.#tiles.keys()];
    const pinned = this.#pinned === undefined ? -1 : keys.indexOf(this.#pinned);
    const places = pinned < 0
      ? grid(keys.length, width, height, GAP)
      : focused(pinned, keys.length, width, height, GAP);
    for (const [index, tile] of [...this.#tiles.values()].entries()) {
      const place = places[index];
      if (place) {
        Object.assign(tile.element.style, {
          left: `${GAP + place.left}px`, top: `${GAP + place.top}px`, width: `${place.width}px`, height: `${place.height}px`,
        });
      }
      tile.setPinned(index === pinned);
      tile.element.classList.toggle('small', (place?.width ?? 0) < 220);
    }
  }

  #updateSounds(): void {
    const streams = [...this.#conference.participants.values()].flatMap((one) => [...one.streams.values()]);
    for (const [stream, sound] of this.#sounds) {
      if (!streams.includes(stream)) {
        sound.srcObject = null;
        sound.remove();
        this.#sounds.delete(stream);
      }
    }
    for (const stream of streams) {
      if (stream.source === 'microphone' && !this.#sounds.has(stream)) {
        const sound = h('audio', { autoplay: true });
        sound.srcObject = new MediaStream([stream.consumer.track]);
        this.#sounds.set(stream, sound);
        this.element.append(sound);
        void this.#play(sound);
      }
    }
  }

  async #play(sound: HTMLAudioElement): Promise<void> {
    try {
      await sound.play();
      this.#silenced(false);
    } catch (error) {
      // Other errors are of sounds that went away meanwhile.
      if (error instanceof DOMException && error.name === 'NotAllowedError') {
        this.#silenced(true);
      }
    }
  }
}

function picture(stream: RemoteStream | undefined): MediaStreamTrack | undefined {
  return stream && !stream.paused && !stream.producerPaused ? stream.consumer.track : undefined;
}
