import { Device, type types } from 'mediasoup-client';
import { Emitter } from './emitter';
import { encodings, type Source } from './encodings';
import type { Pushes, SctpCapabilities } from './protocol';
import { identify, type Link } from './settings';
import type { Signalling } from './signalling';

/** What a page says when it opens data channels. */
const SCTP: SctpCapabilities = { numStreams: { OS: 1024, MIS: 1024 } };
/** How long a connection may be away before ICE starts anew, and after that before everything does; milliseconds. */
const PATIENCE = 3_000;
const LAST_PATIENCE = 10_000;

export interface SessionEvents {
  /** Media do not get through, or do so again. */
  interrupted: boolean;
  /** They do not, and starting ICE anew has not helped. */
  failed: undefined;
  /** A text on a data channel; from null if the bot says it. */
  text: { peerId: string | null; text: string };
}

/** What lives as long as one connection to the server: two transports, and what goes through them. */
export class Session extends Emitter<SessionEvents> {
  readonly #signalling: Signalling;
  readonly #link: Link;
  readonly #peerId: string;
  readonly #device = new Device();
  readonly #producers = new Map<Source, types.Producer>();
  readonly #channels = new Map<string, types.DataProducer>();
  readonly #heard = new Set<types.DataConsumer>();
  #sending: types.Transport | undefined;
  #receiving: types.Transport | undefined;
  readonly #interrupted = new Set<types.Transport>();
  #hasSctp = false;
  #closed = false;

  constructor(signalling: Signalling, link: Link, peerId: string) {
    super();
    this.#signalling = signalling;
    this.#link = link;
    this.#peerId = peerId;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether the server carries data channels; known once it is open. */
  get hasData(): boolean {
    return this.#hasSctp;
  }

  /** How many data channels are open, to the server and from it. */
  get openChannels(): { to: number; from: number } {
    const open = ({ readyState }: { readyState: RTCDataChannelState }) => readyState === 'open';
    return { to: [...this.#channels.values()].filter(open).length, from: [...this.#heard].filter(open).length };
  }

  /** Whether this is one of its transports. */
  uses(transportId: string): boolean {
    return this.#sending?.id === transportId || this.#receiving?.id === transportId;
  }

  get sendTransport(): types.Transport | undefined {
    return this.#sending;
  }

  get receiveTransport(): types.Transport | undefined {
    return this.#receiving;
  }

  get producers(): ReadonlyMap<Source, types.Producer> {
    return this.#producers;
  }

  /** Makes both transports; nobody sees the peer yet. */
  async open(): Promise<void> {
    const routerRtpCapabilities = await this.#signalling.request('getRouterRtpCapabilities', {});
    await this.#device.load({ routerRtpCapabilities });
    this.#sending = await this.#createTransport('send');
    this.#receiving = await this.#createTransport('receive');
  }

  /** Enters the room; returns who is there. What they send comes by `consume`. */
  async join(displayName: string) {
    const { peers } = await this.#signalling.request('join', {
      displayName,
      device: identify(navigator.userAgent),
      rtpCapabilities: this.#device.recvRtpCapabilities,
      ...(this.#hasSctp ? { sctpCapabilities: SCTP } : {}),
    });
    return peers;
  }

  /** Sends a track. What ends it ends the sending. */
  async produce(source: Source, track: MediaStreamTrack): Promise<types.Producer> {
    const transport = this.#sending;
    if (!transport || this.#closed) {
      throw new Error('not connected');
    }
    const options: types.ProducerOptions = {
      track,
      // The track is the user's: it lives on when the connection does not.
      stopTracks: false,
      streamId: `${this.#peerId}-${source === 'screen' ? 'screen' : 'camera'}`,
      appData: source === 'screen' ? { source, share: true } : { source },
    };
    if (source === 'microphone') {
      options.codecOptions = { opusStereo: true, opusDtx: true };
    } else {
      const codec = this.#codec();
      if (codec) {
        options.codec = codec;
      }
      options.encodings = encodings(source, codec?.mimeType ?? '', this.#device.handlerName.startsWith('Firefox'));
      options.codecOptions = { videoGoogleStartBitrate: 1000 };
    }
    const producer = await transport.produce(options);
    this.#producers.set(source, producer);
    return producer;
  }

  /** Stops sending it. */
  async closeProducer(source: Source): Promise<void> {
    const producer = this.#producers.get(source);
    if (producer) {
      this.#producers.delete(source);
      producer.close();
      await this.#signalling.request('closeProducer', { producerId: producer.id });
    }
  }

  /** Sends silence, or goes on. */
  async pauseProducer(source: Source, paused: boolean): Promise<void> {
    const producer = this.#producers.get(source);
    if (producer && producer.paused !== paused) {
      if (paused) {
        producer.pause();
      } else {
        producer.resume();
      }
      await this.#signalling.request(paused ? 'pauseProducer' : 'resumeProducer', { producerId: producer.id });
    }
  }

  /** Plays what the server offers. */
  async consume({ id, producerId, kind, rtpParameters, peerId, appData }: Pushes['newConsumer']): Promise<types.Consumer> {
    const transport = this.#receiving;
    if (!transport || this.#closed) {
      throw new Error('not connected');
    }
    // Picture and sound of a person stay together; a shared screen has no sound.
    const streamId = `${peerId}-${appData?.share ? 'screen' : 'camera'}`;
    return transport.consume({ id, producerId, kind, rtpParameters, streamId });
  }

  /** Listens to a data channel that the server offers. */
  async consumeData({ peerId, ...options }: Pushes['newDataConsumer']): Promise<void> {
    const transport = this.#receiving;
    if (!transport || this.#closed) {
      throw new Error('not connected');
    }
    const { id, dataProducerId, sctpStreamParameters, label, protocol } = options;
    const consumer = await transport.consumeData({ id, dataProducerId, sctpStreamParameters, label, protocol });
    this.#heard.add(consumer);
    consumer.on('close', () => this.#heard.delete(consumer));
    consumer.on('message', (message: unknown) => {
      if (typeof message === 'string') {
        this.emit('text', { peerId, text: message });
      }
    });
  }

  /** Opens the data channels: one to everybody, one to the bot. */
  async openData(): Promise<void> {
    const transport = this.#sending;
    for (const label of ['chat', 'bot']) {
      const channel = await transport?.produceData({ label, ordered: true });
      if (channel) {
        this.#channels.set(label, channel);
      }
    }
  }

  /** Sends a text to everybody, or to the bot; whether the channel was open. */
  sendText(text: string, label: 'chat' | 'bot'): boolean {
    const channel = this.#channels.get(label);
    if (channel?.readyState !== 'open') {
      return false;
    }
    channel.send(text);
    return true;
  }

  /** Ends everything here; the server learns of it by the end of the connection. */
  close(): void {
    this.#closed = true;
    this.#sending?.close();
    this.#receiving?.close();
  }

  #codec(): types.RtpCodecCapability | undefined {
    const wanted = this.#link.codec;
    return wanted && this.#device.sendRtpCapabilities.codecs?.find(({ mimeType }) => mimeType.toLowerCase() === `video/${wanted}`);
  }

  async #createTransport(direction: 'send' | 'receive'): Promise<types.Transport> {
    const options = await this.#signalling.request('createWebRtcTransport', {
      forceTcp: this.#link.forceTcp,
      producing: direction === 'send',
      consuming: direction === 'receive',
      sctpCapabilities: SCTP,
    });
    this.#hasSctp = options.sctpParameters !== undefined;
    const transport =
      direction === 'send' ? this.#device.createSendTransport(options) : this.#device.createRecvTransport(options);
    transport.on('connect', ({ dtlsParameters }, done, failed) => {
      this.#signalling.request('connectWebRtcTransport', { transportId: transport.id, dtlsParameters }).then(done, failed);
    });
    transport.on('produce', ({ kind, rtpParameters, appData }, done, failed) => {
      this.#signalling.request('produce', { transportId: transport.id, kind, rtpParameters, appData }).then(done, failed);
    });
    transport.on('producedata', ({ sctpStreamParameters, label = '', protocol = '', appData }, done, failed) => {
      const data = { transportId: transport.id, sctpStreamParameters, label, protocol, appData };
      this.#signalling.request('produceData', data).then(done, failed);
    });
    this.#watch(transport);
    return transport;
  }

  /** Starts ICE anew when a transport is away for long; gives up when that does not help. */
  #watch(transport: types.Transport): void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let restarting = false;
    const giveUp = () => {
      if (!this.#closed) {
        this.emit('failed', undefined);
      }
    };
    const restart = async () => {
      if (restarting || this.#closed) {
        return;
      }
      restarting = true;
      clearTimeout(timer);
      timer = setTimeout(giveUp, LAST_PATIENCE);
      try {
        const iceParameters = await this.#signalling.request('restartIce', { transportId: transport.id });
        await transport.restartIce({ iceParameters });
      } catch {
        // The connection to the server is gone as well, and is what has to come back first; or the time runs out.
      } finally {
        restarting = false;
      }
    };
    transport.on('connectionstatechange', (state) => {
      if (state === 'connected') {
        clearTimeout(timer);
        this.#note(transport, true);
      } else if (state === 'disconnected') {
        clearTimeout(timer);
        timer = setTimeout(() => void restart(), PATIENCE);
        this.#note(transport, false);
      } else if (state === 'failed') {
        this.#note(transport, false);
        void restart();
      } else if (state === 'closed') {
        clearTimeout(timer);
      }
    });
  }

  #note(transport: types.Transport, works: boolean): void {
    if (works) {
      this.#interrupted.delete(transport);
    } else {
      this.#interrupted.add(transport);
    }
    this.emit('interrupted', this.#interrupted.size > 0);
  }
}
