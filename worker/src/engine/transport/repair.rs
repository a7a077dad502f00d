//! Asking senders for packets that are missing, and sending packets again to receivers that ask.

use channel_proto::event::TraceDirection;

use super::super::Context;
use super::super::keys::{ProducerKey, TransportKey};
use super::super::router::Router;
use super::super::timers::Wake;
use crate::bwe::{LostPacket, Outgoing};
use crate::rtcp::{self, MAX_COMPOUND, NackItems};
use crate::rtp::send_stream::{Repetition, SendStream};

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
        let round_trip = transport.outgoing.as_deref().and_then(Outgoing::round_trip);
        for sequence_number in items.flat_map(requested) {
            let find = |stream: &SendStream| stream.find(sequence_number, round_trip, now);
            if !self.send_again(key, (ssrc, sequence_number), find, context) {
                break;
            }
        }
        self.plan_bandwidth(key, context);
    }

    /// Sends packets again without being asked of which a receiver has told that they did not arrive. It asks for a packet
    /// once, or not at all, if it can go on without: Chromium forgets what is missing as soon as any later frame could be
    /// decoded, be it of a lower layer.
    pub(super) fn repeat_lost(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let now = context.now;
        let outgoing = |router: &mut Self| router.transports.get_mut(key)?.outgoing.as_deref_mut()?.take_lost(now);
        while let Some(LostPacket { carried, sent_at }) = outgoing(self) {
            let find = |stream: &SendStream| stream.find_lost(carried.sequence_number, sent_at);
            self.send_again(key, (carried.ssrc.get(), carried.sequence_number), find, context);
        }
        self.plan_bandwidth(key, context);
    }

    /// Sends a packet of a consumer again, if there is a reason to and it is still there. False: no more can be sent.
    fn send_again(
        &mut self,
        key: TransportKey,
        (ssrc, sequence_number): (u32, u16),
        find: impl Fn(&SendStream) -> Option<Repetition>,
        context: &mut Context<'_>,
    ) -> bool {
        let now = context.now;
        let Some(transport) = self.transports.get_mut(key) else {
            return false;
        };
        let Some(consumer) = transport.ssrcs.get(&ssrc).and_then(|key| self.consumers.get_mut(*key)) else {
            return true;
        };
        let Some(producer) = self.producers.get(consumer.producer).filter(|_| consumer.active) else {
            return true;
        };
        let Some(index) = consumer.streams.iter().position(|stream| stream.params.ssrc == ssrc) else {
            return true;
        };
        let Some(stream) = consumer.streams.get_mut(index) else {
            return true;
        };
        let Some(repetition) = find(stream) else {
            return true;
        };
        let Some((packet, bytes)) = producer.stored(repetition.sent.packet, now) else {
            return true;
        };
        if !stream.may_repeat(packet.size() + RTX_HEADER) {
            return false;
        }
        let Some(rewrite) = consumer.repeat(index, sequence_number, &repetition, (&packet, bytes), now) else {
            return true;
        };
        let sent = transport.send_rtp(&consumer.id, &packet, &rewrite, bytes, now, context.outbox);
        let Some(sent) = sent else { return true };
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
        true
    }
}

/// The sequence numbers that one item of a NACK asks for.
fn requested((first, bitmap): (u16, u16)) -> impl Iterator<Item = u16> {
    let following = (0..16_u16).filter(move |bit| bitmap & 1 << bit != 0);
    std::iter::once(first).chain(following.map(move |bit| first.wrapping_add(bit + 1)))
}
