//! From the packets of a batch to what consumers send.

use channel_proto::event::TraceDirection;
use smallvec::SmallVec;

use super::Context;
use super::consumer::Consumer;
use super::decisions::{What, Why};
use super::keys::{ConsumerKey, ProducerKey, RouterKey};
use super::mangle::ForwardedPacket;
use super::producer::Producer;
use super::router::Router;
use super::timers::Wake;
use super::transport::Transport;
use crate::rtp::codec::Details;
use crate::rtp::retransmission::{Exact, SentPacket};

/// A packet of the batch at hand that its producer's consumers are to get.
#[derive(Debug)]
pub struct Pending {
    pub(super) router: RouterKey,
    pub(super) producer: ProducerKey,
    /// Which datagram of the batch it came in.
    pub(super) datagram: usize,
    pub(super) packet: ForwardedPacket,
    /// Its number among the packets that its producer keeps.
    pub(super) stored: Option<u32>,
}

impl Pending {
    /// What belongs together gets together by this, in the order in which it came.
    pub fn order(&self) -> (RouterKey, ProducerKey, usize) {
        (self.router, self.producer, self.datagram)
    }
}

impl Router {
    /// Sends the packets of a batch, sorted by [`Pending::order`], to consumers.
    ///
    /// Consumer by consumer, not packet by packet: what one consumer gets of a burst lies together in the outbox and
    /// leaves in one system call, and its state is touched once.
    pub fn forward<'a>(
        &mut self,
        batch: &mut [Pending],
        datagram: impl Fn(usize) -> &'a [u8],
        context: &mut Context<'_>,
    ) {
        let mut wanted: SmallVec<[(ConsumerKey, usize, Why); 4]> = SmallVec::new();
        for burst in batch.chunk_by_mut(|one, other| one.producer == other.producer) {
            self.keep(burst, &datagram, context.now);
            let Some(producer) = burst.first().and_then(|first| self.producers.get(first.producer)) else {
                continue;
            };
            for key in &producer.consumers {
                let Some(consumer) = self.consumers.get_mut(*key).filter(|consumer| consumer.active) else {
                    continue;
                };
                let Some(transport) = self.transports.get_mut(consumer.transport) else {
                    continue;
                };
                for pending in &*burst {
                    let received = datagram(pending.datagram);
                    let began = send_to(
                        consumer,
                        transport,
                        producer,
                        &pending.packet,
                        received,
                        pending.stored,
                        context,
                    );
                    // Packets of the frame with which it begins may have come before its first one.
                    if began && let Some(stored) = pending.stored {
                        let overtakers = producer.overtakers(&pending.packet, stored, context.now);
                        for (_, number) in overtakers {
                            if let Some((packet, bytes)) = producer.stored_whole(number, context.now) {
                                send_to(consumer, transport, producer, &packet, bytes, Some(number), context);
                            }
                        }
                    }
                }
                if let Some(outgoing) = transport.outgoing.as_deref_mut()
                    && let Some(at) = outgoing.plan_wake()
                {
                    let wake = Wake::Bandwidth(self.key, consumer.transport);
                    context.timers.wake_at(at, wake);
                }
                wanted.extend(
                    consumer
                        .take_wanted_key_frame()
                        .map(|(encoding, why)| (*key, encoding, why)),
                );
                context.outbox.flush_if_full(context.ports);
            }
        }
        for (consumer, encoding, why) in wanted {
            self.request_key_frames(consumer, &[encoding], why, None, context);
        }
    }

    /// Keeps the packets of a burst of one producer, if any of those who get them can ask for them again.
    fn keep<'a>(&mut self, burst: &mut [Pending], datagram: &impl Fn(usize) -> &'a [u8], now: u64) {
        let Some(producer) = burst.first().and_then(|first| self.producers.get_mut(first.producer)) else {
            return;
        };
        let mut consumers = producer.consumers.iter().filter_map(|key| self.consumers.get(*key));
        if consumers.any(|consumer| consumer.active && consumer.can_repair()) {
            for pending in burst {
                pending.stored = producer.store(&pending.packet, datagram(pending.datagram), now);
            }
        } else {
            producer.clear_store();
        }
    }
}

/// Sends a packet to one consumer if it is to get it. True: it is the first one since the consumer began or switched.
fn send_to(
    consumer: &mut Consumer,
    transport: &mut Transport,
    producer: &Producer,
    packet: &ForwardedPacket,
    received: &[u8],
    stored: Option<u32>,
    context: &mut Context<'_>,
) -> bool {
    let now = context.now;
    let Some(rewrite) = consumer.forward(packet, producer, now, context.outbox) else {
        return false;
    };
    let began = consumer.take_began();
    let repeated = consumer.streams.get(rewrite.stream);
    if repeated.is_some_and(|stream| stream.has_sent(rewrite.sequence_number)) {
        consumer.note(What::Drop, Why::Repeated, Some(producer), now);
        return began;
    }
    let Some(sent) = transport.send_rtp(&consumer.id, packet, &rewrite, received, now, context.outbox) else {
        consumer.note(What::Drop, Why::Transport, Some(producer), now);
        return began;
    };
    if let Some(stream) = consumer.streams.get_mut(rewrite.stream) {
        let named = (rewrite.sequence_number, rewrite.timestamp);
        stream.sent(named, packet.captured_at, sent.size, now);
        if let Some(stored) = stored {
            let vp8_offsets = match (&rewrite.vp8, &packet.descriptor.details) {
                (Some(vp8), Details::Vp8(payload)) => vp8.offsets_from(payload),
                _ => None,
            };
            let sent = SentPacket {
                packet: stored,
                timestamp_offset: rewrite.timestamp.wrapping_sub(packet.timestamp),
                marker: (rewrite.marker != packet.marker).then_some(rewrite.marker),
                vp8_offsets,
                // In the clear, and not counted, a packet is itself again by what is kept of it.
                exact: (sent.tail.is_some() || sent.wide_sequence_number > 0).then_some(Exact {
                    wide_sequence_number: sent.wide_sequence_number,
                    tail: sent.tail.unwrap_or_default(),
                }),
            };
            stream.remember(rewrite.sequence_number, sent, producer.oldest_stored());
        }
    }
    if consumer.trace.any() {
        let info = consumer.packet_info(packet, &rewrite, &sent);
        if let Some(event) = consumer.trace.packet(info, TraceDirection::Out, now) {
            context.outbox.notify(&consumer.id, event);
        }
    }
    began
}
