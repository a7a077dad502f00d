import type { types } from 'mediasoup-client';
import { Emitter } from './emitter';
import type { Source } from './encodings';
import { reason } from './errors';
import { OwnMedia } from './own-media';
import type { ConsumerScore, DeviceInfo, Layers, PeerInfo, Pushes, Requests } from './protocol';
import { Session } from './session';
import { type Link, randomName, remember } from './settings';
import { Signalling } from './signalling';

/** How the conference is connected; "interrupted": to the server, but no media come through. */
export type Status = 'connecting' | 'connected' | 'interrupted' | 'reconnecting' | 'ended';

/** Why a conference is over. */
export type Ending =
  | { why: 'left' }
  | { why: 'closed' }
  | { why: 'unreachable' }
  | { why: 'refused'; reason: string };

/** Something that somebody else sends, and how it comes. */
export interface RemoteStream {
  readonly participant: Participant;
  readonly source: Source;
  readonly consumer: types.Consumer;
  /** How many layers there are to choose from. */
  readonly spatialLayers: number;
  readonly temporalLayers: number;
  /** Whoever sends it paused. */
  producerPaused: boolean;
  /** The user does not want to see it now. */
  paused: boolean;
  /** What comes; null if nothing does. */
  current: Layers | null;
  /** What is asked for; null: as much as the room on the screen needs. */
  preferred: Layers | null;
  /** What the server was last asked for. */
  asked: Layers;
  /** Which streams get bandwidth first, 1 to 255. */
  priority: number;
  score: ConsumerScore | undefined;
}

/** Somebody else in the room. */
export interface Participant {
  readonly id: string;
  displayName: string;
  device: DeviceInfo;
  readonly streams: Map<Source, RemoteStream>;
}

export interface ChatMessage {
  /** Who says it. */
  name: string;
  own: boolean;
  bot: boolean;
  text: string;
  at: Date;
}

export interface ConferenceEvents {
  status: Status;
  joined: Participant;
  left: Participant;
  /** Somebody has another name, or sends something else, or it comes in another way. */
  changed: Participant;
  /** Who speaks; null if nobody does, the user's own id if the user does. */
  speaker: string | null;
  /** Data channels are there, or gone. */
  data: boolean;
  chat: ChatMessage;
  error: string;
}

/** What somebody brings when entering. */
export interface Entrance {
  link: Link;
  displayName: string;
  microphone: MediaStreamTrack | undefined;
  camera: MediaStreamTrack | undefined;
}

/** A room that the user is in, over as many connections as it takes. */
export class Conference extends Emitter<ConferenceEvents> {
  readonly peerId = randomName(8);
  readonly link: Link;
  readonly participants = new Map<string, Participant>();
  readonly own: OwnMedia;
  displayName: string;
  /** What the server estimates that can be received; bits per second. */
  availableBitrate: number | undefined;
  /** Who speaks: an id, which may be the own one. */
  speaker: string | null = null;
  /** Why it is over, once it is. */
  ending: Ending | undefined;
  #status: Status = 'connecting';
  #signalling: Signalling;
  #session: Session | undefined;
  readonly #streams = new Map<string, RemoteStream>();

  constructor({ link, displayName, microphone, camera }: Entrance) {
    super();
    this.link = link;
    this.displayName = displayName;
    this.own = new OwnMedia({ microphone, camera });
    this.own.on('error', (text) => this.emit('error', text));
    this.#signalling = this.#connect();
  }

  get status(): Status {
    return this.#status;
  }

  get #inRoom(): boolean {
    return this.#status === 'connected' || this.#status === 'interrupted';
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Takes another name. */
  async rename(displayName: string): Promise<void> {
    this.displayName = displayName;
    remember({ displayName });
    await this.#ask('changeDisplayName', { displayName });
  }

  /** Asks for a quality; null for as much as the room on the screen needs. */
  async prefer(stream: RemoteStream, layers: Layers | null): Promise<void> {
    stream.preferred = layers;
    if (layers) {
      stream.asked = layers;
      await this.#ask('setConsumerPreferredLayers', { consumerId: stream.consumer.id, ...layers });
    }
    this.emit('changed', stream.participant);
  }

  /** Tells what the room on the screen needs, for streams that nothing else is asked of. */
  async fit(stream: RemoteStream, spatialLayer: number): Promise<void> {
    const layers = { spatialLayer, temporalLayer: stream.temporalLayers - 1 };
    const { asked } = stream;
    if (!stream.preferred && (asked.spatialLayer !== spatialLayer || asked.temporalLayer !== layers.temporalLayer)) {
      stream.asked = layers;
      // A server that cannot do it sends the best there is.
      await this.request('setConsumerPreferredLayers', { consumerId: stream.consumer.id, ...layers }).catch(() => undefined);
    }
  }

  /** Says which streams get bandwidth first, 1 to 255. */
  async prioritise(stream: RemoteStream, priority: number): Promise<void> {
    if (await this.#ask('setConsumerPriority', { consumerId: stream.consumer.id, priority })) {
      stream.priority = priority;
    }
    this.emit('changed', stream.participant);
  }

  /** Stops a stream from being sent here, or lets it come again. */
  async pause(stream: RemoteStream, paused: boolean): Promise<void> {
    stream.paused = paused;
    if (paused) {
      stream.consumer.pause();
    } else {
      stream.consumer.resume();
    }
    this.emit('changed', stream.participant);
    await this.#ask(paused ? 'pauseConsumer' : 'resumeConsumer', { consumerId: stream.consumer.id });
  }

  /** Asks for a picture that can be shown without those before it. */
  async requestKeyFrame(stream: RemoteStream): Promise<void> {
    await this.#ask('requestConsumerKeyFrame', { consumerId: stream.consumer.id });
  }

  /** Asks the server something about a stream. Throws what it answers. */
  request<Method extends keyof Requests>(method: Method, data: Requests[Method][0]): Promise<Requests[Method][1]> {
    return this.#signalling.request(method, data);
  }

  /** Says something to everybody, or to the bot if it begins with "@bot"; whether it was sent. */
  say(text: string): boolean {
    const toBot = /^@bot\s+/.exec(text);
    const sent = toBot
      ? this.#session?.sendText(text.slice(toBot[0].length), 'bot')
      : this.#session?.sendText(text, 'chat');
    if (sent) {
      this.emit('chat', { name: this.displayName, own: true, bot: false, text, at: new Date() });
    }
    return sent === true;
  }

  /** Leaves the room. */
  leave(): void {
    this.#end({ why: 'left' });
  }

  /** Enters again, over a new connection: nothing else helps. */
  #startAnew(): void {
    this.emit('error', 'Sound and pictures do not get through. Connecting again.');
    const old = this.#signalling;
    this.#signalling = this.#connect();
    this.#setStatus('reconnecting');
    old.close();
    this.#forget();
  }

  #connect(): Signalling {
    const query = new URLSearchParams({ roomId: this.link.roomId, peerId: this.peerId });
    const url = `${location.protocol === 'http:' ? 'ws' : 'wss'}://${location.host}/?${query}`;
    const signalling = new Signalling(url, {
      newConsumer: (data) => this.#consume(data),
      newDataConsumer: async (data) => this.#session?.consumeData(data),
    });
    const current = () => this.#signalling === signalling;
    signalling.on('open', () => void this.#enter());
    signalling.on('disconnected', () => {
      this.#setStatus('reconnecting');
      this.#forget();
    });
    signalling.on('failed', () => {
      if (this.#status === 'connecting') {
        this.#setStatus('reconnecting');
      }
    });
    signalling.on('closed', ({ byServer }) => {
      if (current()) {
        this.#end({ why: byServer ? 'closed' : 'unreachable' });
      }
    });
    signalling.on('newPeer', (peer) => this.emit('joined', this.#meet(peer)));
    signalling.on('peerClosed', ({ peerId }) => this.#lose(peerId));
    signalling.on('peerDisplayNameChanged', ({ peerId, displayName }) => {
      const participant = this.participants.get(peerId);
      if (participant) {
        participant.displayName = displayName;
        this.emit('changed', participant);
      }
    });
    signalling.on('transportClosed', ({ transportId }) => {
      if (this.#session?.uses(transportId)) {
        this.#startAnew();
      }
    });
    signalling.on('activeSpeaker', ({ peerId }) => this.#setSpeaker(peerId));
    signalling.on('downlinkBwe', ({ availableBitrate }) => {
      this.availableBitrate = availableBitrate;
    });
    this.#followConsumers(signalling);
    return signalling;
  }

  #followConsumers(signalling: Signalling): void {
    const change = (consumerId: string, what: (stream: RemoteStream) => void) => {
      const stream = this.#streams.get(consumerId);
      if (stream) {
        what(stream);
        this.emit('changed', stream.participant);
      }
    };
    signalling.on('consumerPaused', ({ consumerId }) => change(consumerId, (stream) => (stream.producerPaused = true)));
    signalling.on('consumerResumed', ({ consumerId }) => change(consumerId, (stream) => (stream.producerPaused = false)));
    signalling.on('consumerScore', ({ consumerId, score }) => change(consumerId, (stream) => (stream.score = score)));
    signalling.on('consumerLayersChanged', ({ consumerId, spatialLayer, temporalLayer }) =>
      change(consumerId, (stream) => {
        stream.current = spatialLayer === null ? null : { spatialLayer, temporalLayer: temporalLayer ?? 0 };
      }),
    );
    signalling.on('consumerClosed', ({ consumerId }) =>
      change(consumerId, (stream) => {
        this.#streams.delete(consumerId);
        stream.consumer.close();
        if (stream.participant.streams.get(stream.source) === stream) {
          stream.participant.streams.delete(stream.source);
        }
      }),
    );
  }

  /** Enters the room over a connection that has just been opened. */
  async #enter(): Promise<void> {
    const session = new Session(this.#signalling, this.link, this.peerId);
    this.#session?.close();
    this.#session = session;
    session.on('interrupted', (interrupted) => {
      if (this.#inRoom) {
        this.#setStatus(interrupted ? 'interrupted' : 'connected');
      }
    });
    session.on('failed', () => this.#startAnew());
    session.on('text', ({ peerId, text }) => this.#hear(peerId, text));
    try {
      await session.open();
      const peers = await session.join(this.displayName);
      peers.forEach((peer) => this.#meet(peer));
      this.#setStatus('connected');
      await this.own.sendOver(session);
      if (session.hasData) {
        await session.openData();
      }
      this.emit('data', session.hasData);
    } catch (error) {
      // A session that was replaced or closed fails at whatever it was about; that is nobody's business.
      if (this.#session === session && !session.closed) {
        this.#end({ why: 'refused', reason: reason(error) });
      }
    }
  }

  async #consume(offer: Pushes['newConsumer']): Promise<void> {
    const session = this.#session;
    if (!session) {
      throw new Error('not connected');
    }
    const consumer = await session.consume(offer);
    const source: Source = offer.kind === 'audio' ? 'microphone' : offer.appData?.share ? 'screen' : 'camera';
    const layers = /^[LS](\d+)T(\d+)/.exec(offer.rtpParameters.encodings?.[0]?.scalabilityMode ?? '');
    const participant =
      this.participants.get(offer.peerId) ??
      this.#meet({ id: offer.peerId, displayName: offer.peerId, device: { flag: 'unknown', name: '' } });
    const [spatialLayers, temporalLayers] = [Number(layers?.[1] ?? 1), Number(layers?.[2] ?? 1)];
    const stream: RemoteStream = {
      participant,
      source,
      consumer,
      spatialLayers,
      temporalLayers,
      producerPaused: offer.producerPaused,
      paused: false,
      current: null,
      preferred: null,
      asked: { spatialLayer: spatialLayers - 1, temporalLayer: temporalLayers - 1 },
      priority: 1,
      score: undefined,
    };
    this.#streams.set(consumer.id, stream);
    participant.streams.set(source, stream);
    this.emit('changed', participant);
  }

  /** Asks the server for something that the user wants; whether it was done. */
  async #ask<Method extends keyof Requests>(method: Method, data: Requests[Method][0]): Promise<boolean> {
    try {
      await this.#signalling.request(method, data);
      return true;
    } catch (error) {
      this.emit('error', `The server did not do that: ${reason(error)}`);
      return false;
    }
  }

  #meet({ id, displayName, device }: PeerInfo): Participant {
    let participant = this.participants.get(id);
    if (participant) {
      Object.assign(participant, { displayName, device });
    } else {
      participant = { id, displayName, device, streams: new Map() };
      this.participants.set(id, participant);
    }
    this.emit('changed', participant);
    return participant;
  }

  #lose(peerId: string): void {
    const participant = this.participants.get(peerId);
    if (participant) {
      this.participants.delete(peerId);
      for (const stream of participant.streams.values()) {
        this.#streams.delete(stream.consumer.id);
        stream.consumer.close();
      }
      this.emit('left', participant);
    }
  }

  #hear(peerId: string | null, text: string): void {
    const name = peerId === null ? 'Bot' : (this.participants.get(peerId)?.displayName ?? peerId);
    this.emit('chat', { name, own: false, bot: peerId === null, text, at: new Date() });
  }

  /** Lets go of what a connection brought. */
  #forget(): void {
    this.#session?.close();
    this.#session = undefined;
    this.#streams.clear();
    this.availableBitrate = undefined;
    for (const id of [...this.participants.keys()]) {
      const participant = this.participants.get(id);
      this.participants.delete(id);
      if (participant) {
        this.emit('left', participant);
      }
    }
    this.#setSpeaker(null);
    this.emit('data', false);
  }

  #end(ending: Ending): void {
    if (this.ending) {
      return;
    }
    this.ending = ending;
    this.#setStatus('ended');
    this.#signalling.close();
    this.#forget();
    this.own.stop();
  }

  #setSpeaker(peerId: string | null): void {
    this.speaker = peerId;
    this.emit('speaker', peerId);
  }

  #setStatus(status: Status): void {
    if (this.#status !== status) {
      this.#status = status;
      this.emit('status', status);
    }
  }
}
