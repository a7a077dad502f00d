//! Asking senders for packets that are missing, and sending packets again to receivers that ask.

use channel_proto::event::TraceDirection;

use super::super::Context;
use super::super::keys::{ProducerKey, TransportKey};
use super::super::router::Router;
use super::super::timers::Wake;
use crate::bwe::Outgoing;
use crate::rtcp::{self, MAX_COMPOUND, NackItems};

/// Bytes by which a retransmission is longer than what it repeats (RFC 4588 4).
const RTX_HEADER: usize = 2;

impl Router {
    /// Asks for packets of a producer that turned out to be missing, and plans to ask again.
    pub fn request_missing(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let now = context.now;
        self.request_packets(key, false, context);
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        let next = producer
            .streams_mut()
            .filter_map(|stream| stream.nack.as_ref()?.next_round())
            .min();
        if let Some(at) = next
            && producer.nack_wake.is_none_or(|planned| planned > at)
        {
            producer.nack_wake = Some(at);
            context.timers.wake_at(at.max(now), Wake::Nack(self.key, key));
        }
    }

    /// Asks again for packets of a producer that are still missing.
    pub fn repeat_requests(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if producer.nack_wake.is_some_and(|planned| planned <= context.now) {
            producer.nack_wake = None;
        }
        self.request_packets(key, true, context);
        self.request_missing(key, context);
    }

    /// Sends NACKs for what is due: for the first time, or (`again`) in a new round.
    fn request_packets(&mut self, key: ProducerKey, again: bool, context: &mut Context<'_>) {
        let now = context.now;
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        let mut missing = Vec::new();
        let mut key_frames = Vec::new();
        let mut requests = Vec::new();
        for stream in producer.streams_mut() {
            let round_trip = stream.round_trip();
            let Some(nack) = &mut stream.nack else { continue };
            missing.clear();
            if again {
                nack.on_timeout(round_trip, now, &mut missing);
            } else {
                nack.take(now, &mut missing);
            }
            if nack.take_key_frame_needed() {
                key_frames.push(stream.params.ssrc);
            }
            let mut rest = missing.as_slice();
            while !rest.is_empty() {
                let mut request = Vec::new();
                let asked = rtcp::generic_nack(&mut request, stream.params.ssrc, rest, MAX_COMPOUND);
                rest = rest.get(asked..).unwrap_or_default();
                stream.nack_count += 1;
                stream.nack_packet_count += asked as u64;
                requests.push(request);
            }
        }
        for request in requests {
            if let Some(event) = producer.trace.nack(TraceDirection::Out, now) {
                context.outbox.notify(&producer.id, event);
            }
            if let Some(transport) = self.transports.get_mut(producer.transport) {
                transport.send_rtcp(&request, now, context.outbox);
            }
        }
        // Too much is missing to ask for packets: this is not to wait for requests that were sent before.
        for ssrc in key_frames {
            self.send_key_frame_request(key, ssrc, context);
        }
    }

    /// A receiver asks for packets of a consumer again.
    pub(super) fn packets_requested(
        &mut self,
        key: TransportKey,
        ssrc: u32,
        items: NackItems<'_>,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(consumer) = transport.ssrcs.get(&ssrc).and_then(|key| self.consumers.get_mut(*key)) else {
            return;
        };
        let Some(index) = consumer.streams.iter().position(|stream| stream.params.ssrc == ssrc) else {
            return;
        };
        if let Some(stream) = consumer.streams.get_mut(index) {
            stream.nack_count += 1;
            stream.nack_packet_count += items.packets();
        }
        if let Some(event) = consumer.trace.nack(TraceDirection::In, now) {
            context.outbox.notify(&consumer.id, event);
        }
        let Some(producer) = self.producers.get(consumer.producer).filter(|_| consumer.active) else {
            return;
        };
        let round_trip = transport.outgoing.as_deref().and_then(Outgoing::round_trip);
        for sequence_number in items.flat_map(requested) {
            let Some(stream) = consumer.streams.get_mut(index) else {
                return;
            };
            let Some(repetition) = stream.find(sequence_number, round_trip, now) else {
                continue;
            };
            let Some((packet, bytes)) = producer.stored(repetition.sent.packet, now) else {
                continue;
            };
            if !stream.may_repeat(packet.size() + RTX_HEADER) {
                return;
            }
            let Some(rewrite) = consumer.repeat(index, sequence_number, &repetition, (&packet, bytes), now) else {
                continue;
            };
            let sent = transport.send_rtp(&consumer.id, &packet, &rewrite, bytes, now, context.outbox);
            let Some(sent) = sent else { continue };
            if let Some(stream) = consumer.streams.get_mut(index) {
                stream.repeated(sequence_number, now);
            }
            if consumer.trace.any() {
                let info = consumer.packet_info(&packet, &rewrite, &sent);
                if let Some(event) = consumer.trace.packet(info, TraceDirection::Out, now) {
                    context.outbox.notify(&consumer.id, event);
                }
            }
            context.outbox.flush_if_full(context.ports);
        }
        self.plan_bandwidth(key, context);
    }
}

/// The sequence numbers that one item of a NACK asks for.
fn requested((first, bitmap): (u16, u16)) -> impl Iterator<Item = u16> {
    let following = (0..16_u16).filter(move |bit| bitmap & 1 << bit != 0);
    std::iter::once(first).chain(following.map(move |bit| first.wrapping_add(bit + 1)))
}
