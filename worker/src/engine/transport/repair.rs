//! Asking senders for packets that are missing.

use channel_proto::event::TraceDirection;

use super::super::Context;
use super::super::keys::ProducerKey;
use super::super::router::Router;
use super::super::timers::Wake;
use crate::rtcp::{self, MAX_COMPOUND};

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
}
