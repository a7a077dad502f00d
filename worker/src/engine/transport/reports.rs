//! RTCP of a transport: what comes in, and the reports that go out periodically.

use channel_proto::event::TraceDirection;
use rand::Rng as _;
use slotmap::SlotMap;

use super::super::Context;
use super::super::consumer::{Consumer, KeyFrameOf};
use super::super::keys::{ConsumerKey, TransportKey};
use super::super::producer::Producer;
use super::super::router::Router;
use super::super::timers::Wake;
use crate::rtcp::{self, Block, DelaySinceReference, MAX_COMPOUND, ReportBlock, RtcpPacket};
use crate::rtp::clock::SenderClock;
use crate::rtp::send_stream::SendStream;

/// From connected to the first reports, in microseconds.
const FIRST_REPORT: u64 = 500_000;
/// Between reports; a random factor of 1 to 1.5 keeps participants from reporting in step (RFC 3550 6.2).
const REPORT_INTERVAL: u64 = 1_000_000;

impl Router {
    /// Starts periodic reports of a transport that has become connected.
    pub fn start_reports(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if !transport.reporting {
            transport.reporting = true;
            context
                .timers
                .wake_at(context.now + FIRST_REPORT, Wake::Rtcp(self.key, key));
        }
    }

    /// Sends the reports of a transport and plans the next ones.
    pub fn send_reports(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let now = context.now;
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let next = now + REPORT_INTERVAL + context.rng.random_range(0..REPORT_INTERVAL / 2);
        context.timers.wake_at(next, Wake::Rtcp(self.key, key));
        let mut blocks: Vec<ReportBlock> = Vec::new();
        for producer in transport.producers.values() {
            let Some(producer) = self.producers.get_mut(*producer) else {
                continue;
            };
            let worst = worst_fraction_lost(&self.consumers, producer);
            for stream in producer.streams_mut() {
                blocks.push(stream.report_block(worst, now));
                blocks.extend(stream.rtx_report_block());
            }
        }
        let consumers: Vec<ConsumerKey> = transport.consumers.values().copied().collect();
        let answer = transport
            .peer_reference_time
            .map(|(last_reference, at)| DelaySinceReference {
                ssrc: 0,
                last_reference,
                delay: (now.saturating_sub(at) * 65_536 / 1_000_000) as u32,
            });
        let ntp = rtcp::ntp_time(context.unix_micros(now));
        let mut compound = Vec::with_capacity(MAX_COMPOUND);
        for consumer in consumers {
            let Some(consumer) = self.consumers.get(consumer) else {
                continue;
            };
            for stream in &consumer.streams {
                let Some((timestamp, packets, octets)) = stream.sender_report(now) else {
                    continue;
                };
                let params = &stream.params;
                compound.clear();
                rtcp::sender_report(&mut compound, params.ssrc, ntp, timestamp, packets, octets);
                rtcp::source_description(&mut compound, params.ssrc, &params.cname);
                if let Some(answer) = &answer {
                    rtcp::delay_since_last_receiver_reference(&mut compound, params.ssrc, answer);
                }
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.send_rtcp(&compound, now, context.outbox);
                }
            }
        }
        // As many blocks as a compound holds beside our reference time.
        for blocks in blocks.chunks(31) {
            compound.clear();
            rtcp::receiver_report(&mut compound, blocks);
            rtcp::receiver_reference_time(&mut compound, ntp);
            if let Some(transport) = self.transports.get_mut(key) {
                transport.send_rtcp(&compound, now, context.outbox);
            }
        }
    }

    /// Takes an RTCP datagram, plain and from the peer.
    pub fn receive_rtcp(&mut self, key: TransportKey, datagram: &[u8], context: &mut Context<'_>) {
        let now = context.now;
        let Some(compound) = rtcp::parse(datagram) else { return };
        for packet in compound {
            match packet {
                RtcpPacket::SenderReport {
                    ssrc,
                    ntp,
                    rtp_timestamp: timestamp,
                    reports,
                } => {
                    self.sender_report(key, ssrc, SenderClock { ntp, timestamp }, context);
                    reports.for_each(|block| self.receiver_report(key, &block, context));
                }
                RtcpPacket::ReceiverReport { reports, .. } => {
                    reports.for_each(|block| self.receiver_report(key, &block, context));
                }
                RtcpPacket::PictureLossIndication { media_ssrc } => {
                    self.key_frame_requested(key, media_ssrc, "pli", context);
                }
                RtcpPacket::FullIntraRequest { items } => {
                    for item in items.chunks_exact(8) {
                        let ssrc = item
                            .get(..4)
                            .and_then(|ssrc| ssrc.try_into().ok())
                            .map(u32::from_be_bytes);
                        self.key_frame_requested(key, ssrc.unwrap_or_default(), "fir", context);
                    }
                }
                RtcpPacket::ExtendedReport { ssrc, blocks } => {
                    for block in blocks {
                        match block {
                            Block::ReferenceTime(ntp) => {
                                if let Some(transport) = self.transports.get_mut(key) {
                                    transport.peer_reference_time = Some(((ntp >> 16) as u32, now));
                                }
                            }
                            Block::Delay(delay) => self.round_trip(key, ssrc, &delay, context),
                        }
                    }
                }
                RtcpPacket::Nack { media_ssrc, items } => self.packets_requested(key, media_ssrc, items, context),
                RtcpPacket::TransportFeedback { .. } | RtcpPacket::MaximumBitrate { .. } | RtcpPacket::Other { .. } => {
                }
            }
        }
    }

    fn sender_report(&mut self, key: TransportKey, ssrc: u32, clock: SenderClock, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some((producer_key, _)) = transport.listener.find(ssrc, None, None, None) else {
            return;
        };
        let Some(producer) = self.producers.get_mut(producer_key) else {
            return;
        };
        let Some(stream) = producer.stream_by_ssrc(ssrc) else {
            return;
        };
        // A sender without a clock of its own says 0 (RFC 3550 6.4.1).
        let first = clock.ntp != 0 && stream.clock.replace(clock).is_none();
        if stream.sender_report((clock.ntp >> 16) as u32, context.now) {
            self.score_changed(producer_key, context);
        }
        if first {
            self.clock_known(producer_key, context);
        }
    }

    fn receiver_report(&mut self, key: TransportKey, block: &ReportBlock, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some(consumer) = transport.ssrcs.get(&block.ssrc) else {
            return;
        };
        let Some(consumer) = self.consumers.get_mut(*consumer) else {
            return;
        };
        let compact = (rtcp::ntp_time(context.unix_micros(context.now)) >> 16) as u32;
        let Some(stream) = consumer.stream_by_ssrc(block.ssrc) else {
            return;
        };
        if stream.receiver_report(block, compact)
            && !consumer.is_pipe()
            && let Some(producer) = self.producers.get(consumer.producer)
        {
            context.outbox.notify(&consumer.id, consumer.score_event(producer));
        }
    }

    fn round_trip(&mut self, key: TransportKey, sender: u32, delay: &DelaySinceReference, context: &Context<'_>) {
        if delay.last_reference == 0 || delay.delay == 0 {
            return;
        }
        let ssrc = if delay.ssrc == 0 { sender } else { delay.ssrc };
        let compact = (rtcp::ntp_time(context.unix_micros(context.now)) >> 16) as u32;
        let round_trip = compact
            .wrapping_sub(delay.delay)
            .wrapping_sub(delay.last_reference)
            .cast_signed();
        if !(0..60 * 65_536).contains(&round_trip) {
            return;
        }
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some((producer, _)) = transport.listener.find(ssrc, None, None, None) else {
            return;
        };
        if let Some(stream) = self
            .producers
            .get_mut(producer)
            .and_then(|producer| producer.stream_by_any_ssrc(ssrc))
        {
            stream.set_round_trip_time(round_trip as f32 * 1000.0 / 65_536.0);
        }
    }

    fn key_frame_requested(&mut self, key: TransportKey, ssrc: u32, kind: &str, context: &mut Context<'_>) {
        let Some(consumer_key) = self
            .transports
            .get(key)
            .and_then(|transport| transport.ssrcs.get(&ssrc))
        else {
            return;
        };
        let consumer_key = *consumer_key;
        let Some(consumer) = self.consumers.get_mut(consumer_key) else {
            return;
        };
        if let Some(stream) = consumer.stream_by_ssrc(ssrc) {
            if kind == "pli" {
                stream.pli_count += 1;
            } else {
                stream.fir_count += 1;
            }
        }
        if let Some(event) = consumer.trace.request(kind, ssrc, TraceDirection::In, context.now) {
            context.outbox.notify(&consumer.id, event);
        }
        if consumer.active {
            self.request_key_frame(consumer_key, KeyFrameOf::Current, context);
        }
    }
}

/// What the receiver that lost most of a producer's audio has lost, in 1/256. Only audio has in-band FEC, and only one
/// stream of it.
fn worst_fraction_lost(consumers: &SlotMap<ConsumerKey, Consumer>, producer: &Producer) -> u8 {
    let active = producer.consumers.iter().filter_map(|key| consumers.get(*key));
    active
        .filter(|consumer| consumer.active)
        .flat_map(|consumer| consumer.streams.iter().map(SendStream::fraction_lost))
        .max()
        .unwrap_or_default()
}
