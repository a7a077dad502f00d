import { openCamera, openMicrophone, openScreen } from './devices';
import { Emitter } from './emitter';
import type { Source } from './encodings';
import { explainDevice, reason } from './errors';
import type { Session } from './session';
import { remember } from './settings';

export interface OwnMediaEvents {
  /** Something was switched on or off. */
  changed: Source;
  error: string;
}

const OPEN = { microphone: openMicrophone, camera: openCamera, screen: openScreen };

/** What the user sends. It is the user's, not the connection's: when one ends it is sent over the next one. */
export class OwnMedia extends Emitter<OwnMediaEvents> {
  /** What is open. A microphone stays open while it is muted. */
  readonly tracks = new Map<Source, MediaStreamTrack>();
  #muted = false;
  #session: Session | undefined;
  /** What is still to be done with each source; one thing after the other. */
  readonly #turns = new Map<Source, Promise<void>>();

  constructor(tracks: Partial<Record<Source, MediaStreamTrack | undefined>>) {
    super();
    for (const source of ['microphone', 'camera', 'screen'] as const) {
      const track = tracks[source];
      if (track) {
        this.#keep(source, track);
      }
    }
  }

  /** Whether others get it. */
  isOn(source: Source): boolean {
    return this.tracks.has(source) && !(source === 'microphone' && this.#muted);
  }

  /** Switches a microphone, a camera or a shared screen on or off. */
  async set(source: Source, on: boolean): Promise<void> {
    await this.#inTurn(source, async () => {
      if (on === this.isOn(source)) {
        return;
      }
      if (source === 'microphone' && this.tracks.has(source)) {
        this.#muted = !on;
        await this.#live?.pauseProducer(source, !on);
      } else if (on) {
        await this.#open(source, '');
      } else {
        await this.#drop(source);
      }
    });
  }

  /** Uses another camera or microphone from now on. */
  async choose(source: 'microphone' | 'camera', deviceId: string): Promise<void> {
    remember({ [source]: deviceId });
    await this.#inTurn(source, async () => {
      if (this.tracks.has(source)) {
        await this.#open(source, deviceId);
      }
    });
  }

  /** Sends what is open over this session from now on. */
  async sendOver(session: Session): Promise<void> {
    this.#session = session;
    for (const source of this.tracks.keys()) {
      await this.#inTurn(source, () => this.#produce(source));
    }
  }

  /** Switches everything off. */
  stop(): void {
    for (const track of this.tracks.values()) {
      track.stop();
    }
    this.tracks.clear();
  }

  /** The session, while it lasts. */
  get #live(): Session | undefined {
    return this.#session?.closed === false ? this.#session : undefined;
  }

  async #produce(source: Source): Promise<void> {
    const track = this.tracks.get(source);
    const session = this.#live;
    if (track && session && !session.producers.has(source)) {
      await session.produce(source, track);
      if (source === 'microphone' && this.#muted) {
        await session.pauseProducer(source, true);
      }
    }
  }

  /** Opens a device and sends what it gives, in place of what was sent before. */
  async #open(source: Source, deviceId: string): Promise<void> {
    let track: MediaStreamTrack;
    try {
      track = await OPEN[source](deviceId);
    } catch (error) {
      this.emit('error', explainDevice(source, error));
      return;
    }
    const old = this.tracks.get(source);
    this.#keep(source, track);
    const producer = this.#live?.producers.get(source);
    if (producer) {
      await producer.replaceTrack({ track });
      old?.stop();
    } else {
      old?.stop();
      if (source === 'microphone') {
        this.#muted = false;
      }
      await this.#produce(source);
    }
  }

  /** Keeps a track until it ends. */
  #keep(source: Source, track: MediaStreamTrack): void {
    this.tracks.set(source, track);
    track.addEventListener('ended', () => {
      // Pulled out, or sharing was ended in the browser's own bar.
      if (this.tracks.get(source) === track) {
        if (source !== 'screen') {
          this.emit('error', `The ${source} is gone.`);
        }
        void this.#inTurn(source, () => this.#drop(source));
      }
    });
  }

  async #drop(source: Source): Promise<void> {
    this.tracks.get(source)?.stop();
    this.tracks.delete(source);
    await this.#live?.closeProducer(source);
  }

  async #inTurn(source: Source, what: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(source) ?? Promise.resolve();
    const turn = before.then(what).catch((error: unknown) => {
      // What a connection that has ended failed at is done over the next one.
      if (this.#live) {
        this.emit('error', `The ${source} cannot be sent: ${reason(error)}`);
      }
    });
    this.#turns.set(source, turn);
    await turn;
    this.emit('changed', source);
  }
}
