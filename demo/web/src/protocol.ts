// What the page and the server say to each other: requests, and notifications of the server.

import type { types } from 'mediasoup-client';

/** What a peer runs on; `flag` is a short name in lower case. */
export interface DeviceInfo {
  flag: string;
  name: string;
  version?: string;
}

export interface PeerInfo {
  id: string;
  displayName: string;
  device: DeviceInfo;
}

export interface SctpCapabilities {
  numStreams: { OS: number; MIS: number };
}

/** Quality of what a consumer sends: `spatialLayer` for resolution, `temporalLayer` for frame rate, both from 0. */
export interface Layers {
  spatialLayer: number;
  temporalLayer: number;
}

/** Scores from 0 (nothing arrives) to 10. */
export interface ConsumerScore {
  score: number;
  producerScore: number;
  producerScores: number[];
}

/** A decision of a consumer or a transport in the server about what it sends, or several equal ones. */
export interface Decision {
  /** Milliseconds of the server's clock, of the first and of the last one. */
  timestamp: number;
  until: number;
  count: number;
  /** Of consumers "target", "switch", "keyFrameRequest", "drop"; of transports "raise", "lower", "probe", "limit", "allocate" */
  what: string;
  why: string;
  preferredLayers?: Layers;
  targetLayers?: Layers;
  currentLayers?: Layers;
  /** Whether a request for a key frame went out. */
  sent?: boolean;
  /** What is probed for, or the limit (0: none), in bits per second. */
  bitrate?: number;
  bandwidth?: Bandwidth;
}

/** What a transport in the server knew of the way to its peer; bits per second. */
export interface Bandwidth {
  /** What was thought possible before, and then. */
  before: number;
  estimate: number;
  /** What was allowed of it. */
  available: number;
  /** What consumers would have liked to send, and were allowed to. */
  desired: number;
  allocated: number;
  /** What a probe measured. */
  measured?: number;
  /** Milliseconds. */
  roundTrip?: number;
  /** Percent of the packets. */
  lost: number;
}

/** What spreading bursts of packets has cost; times in milliseconds. */
export interface Pacing {
  maxDelay: number;
  longestWait: number;
  packets: number;
}

/** One entry of a server's statistics. */
export type ServerStats = Record<string, unknown>;

/** What is asked with each request, and what is answered. */
export interface Requests {
  getRouterRtpCapabilities: [object, types.RtpCapabilities];
  join: [
    {
      displayName: string;
      device: DeviceInfo;
      rtpCapabilities: types.RtpCapabilities;
      sctpCapabilities?: SctpCapabilities;
    },
    { peers: PeerInfo[] },
  ];
  createWebRtcTransport: [
    { forceTcp: boolean; producing: boolean; consuming: boolean; sctpCapabilities?: SctpCapabilities },
    types.TransportOptions,
  ];
  connectWebRtcTransport: [{ transportId: string; dtlsParameters: types.DtlsParameters }, object];
  restartIce: [{ transportId: string }, types.IceParameters];
  produce: [
    { transportId: string; kind: types.MediaKind; rtpParameters: types.RtpParameters; appData: object },
    { id: string },
  ];
  closeProducer: [{ producerId: string }, object];
  pauseProducer: [{ producerId: string }, object];
  resumeProducer: [{ producerId: string }, object];
  pauseConsumer: [{ consumerId: string }, object];
  resumeConsumer: [{ consumerId: string }, object];
  setConsumerPreferredLayers: [{ consumerId: string; spatialLayer: number; temporalLayer?: number }, object];
  setConsumerPriority: [{ consumerId: string; priority: number }, object];
  requestConsumerKeyFrame: [{ consumerId: string }, object];
  produceData: [
    {
      transportId: string;
      sctpStreamParameters: types.SctpStreamParameters;
      label: string;
      protocol: string;
      appData: object;
    },
    { id: string },
  ];
  changeDisplayName: [{ displayName: string }, object];
  getTransportStats: [{ transportId: string }, ServerStats[]];
  getConsumerStats: [{ consumerId: string }, ServerStats[]];
  /** What the server knows of a consumer; of which the decisions matter here. */
  getConsumerDump: [{ consumerId: string }, { decisions?: Decision[] }];
  /** The same of a transport, and how bursts to this page are spread. */
  getTransportDump: [{ transportId: string }, { decisions?: Decision[]; pacing?: Pacing }];
}

/** What comes with each notification. */
export interface Notifications {
  newPeer: PeerInfo;
  peerClosed: { peerId: string };
  peerDisplayNameChanged: { peerId: string; displayName: string; oldDisplayName: string };
  downlinkBwe: { desiredBitrate: number; effectiveDesiredBitrate: number; availableBitrate: number };
  producerScore: { producerId: string; score: { ssrc: number; rid?: string; score: number }[] };
  consumerClosed: { consumerId: string };
  consumerPaused: { consumerId: string };
  consumerResumed: { consumerId: string };
  consumerLayersChanged: { consumerId: string; spatialLayer: number | null; temporalLayer: number | null };
  consumerScore: { consumerId: string; score: ConsumerScore };
  dataConsumerClosed: { dataConsumerId: string };
  /** The server gave up a transport of this peer. */
  transportClosed: { transportId: string };
  activeSpeaker: { peerId: string | null; volume?: number };
}

/** What comes with each request of the server. */
export interface Pushes {
  newConsumer: {
    peerId: string;
    producerId: string;
    id: string;
    kind: types.MediaKind;
    rtpParameters: types.RtpParameters;
    type: 'simple' | 'simulcast' | 'svc' | 'pipe';
    appData: { share?: boolean } | null;
    producerPaused: boolean;
  };
  newDataConsumer: {
    /** Null if it is the bot's. */
    peerId: string | null;
    dataProducerId: string;
    id: string;
    sctpStreamParameters: types.SctpStreamParameters;
    label: string;
    protocol: string;
    appData: object | null;
  };
}
