import type { Conference } from './conference';
import type { Monitor } from './monitor';

/** What a page sees, as plain data. */
export function observe(conference: Conference, monitor: Monitor) {
  const participants = [...conference.participants.values()].map(({ id, displayName, streams }) => ({
    id,
    displayName,
    streams: [...streams.values()].map((stream) => {
      const figures = monitor.streams.get(stream);
      const { source, paused, producerPaused, current, spatialLayers, temporalLayers, priority } = stream;
      return {
        source, paused, producerPaused, current, spatialLayers, temporalLayers, priority,
        consumerId: stream.consumer.id,
        bytes: figures?.now?.bytes ?? 0,
        framesDecoded: figures?.now?.frames ?? 0,
        audioEnergy: figures?.now?.audioEnergy ?? 0,
        codec: figures?.now?.codec ?? '',
        width: figures?.now?.width ?? 0,
        height: figures?.now?.height ?? 0,
      };
    }),
  }));
  return {
    status: conference.status,
    peerId: conference.peerId,
    openChannels: conference.session?.openChannels ?? { to: 0, from: 0 },
    speaker: conference.speaker,
    participants,
    sending: monitor.sending.last,
    receiving: monitor.receiving.last,
    roundTrip: monitor.roundTrip.last,
    protocol: monitor.protocol,
    sent: monitor.sent.map(({ kind, rid, width, height, frames }) => ({ kind, rid, width, height, frames })),
  };
}
