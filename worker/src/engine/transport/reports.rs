//! RTCP of a transport: what comes in, and the reports that go out periodically.

use channel_proto::event::TraceDirection;
use channel_proto::reply::RtpStreamParams;
use channel_proto::rtp_parameters::MediaKind;
use rand::Rng as _;
use slotmap::SlotMap;

use super::super::Context;
use super::super::consumer::{Consumer, KeyFrameOf};
use super::super::decisions::Why;
use super::super::keys::{ConsumerKey, TransportKey};
use super::super::producer::Producer;
use super::super::router::Router;
use super::super::timers::Wake;
use super::ReferenceTime;
use crate::rtcp::{self, Block, DelaySinceReference, MAX_COMPOUND, ReportBlock, RtcpPacket};
use crate::rtp::clock::SenderClock;
use crate::rtp::send_stream::SendStream;

/// From connected to the first reports, in microseconds.
const FIRST_REPORT: u64 = 500_000;
/// Between reports; a random factor of 1 to 1.5 keeps participants from reporting in step (RFC 3550 6.2).
const REPORT_INTERVAL: u64 = 1_000_000;

/// Bytes of an answer to a reference time, and of what precedes the answers.
const ANSWER: usize = 12;
const ANSWER_HEADER: usize = 12;
/// Senders whose clocks are followed behind one transport.
const MAX_CLOCKS: usize = 64;

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
        let reference = transport.peer_reference_time;
        let ntp = rtcp::ntp_time(context.unix_micros(now));
        let mut compounds = Vec::new();
        let mut compound = SenderCompound::new(reference, now);
        let consumers = transport.consumers.values().filter_map(|key| self.consumers.get(*key));
        for stream in consumers.flat_map(|consumer| &consumer.streams) {
            if let Some(report) = stream.sender_report(now)
                && !compound.add(&stream.params, ntp, report)
            {
                compounds.push(compound.finish());
                compound = SenderCompound::new(reference, now);
                compound.add(&stream.params, ntp, report);
            }
        }
        compounds.push(compound.finish());
        // As many blocks as a compound holds beside our reference time.
        for blocks in blocks.chunks(31) {
            let mut compound = Vec::with_capacity(MAX_COMPOUND);
            rtcp::receiver_report(&mut compound, blocks);
            rtcp::receiver_reference_time(&mut compound, ntp);
            compounds.push(compound);
        }
        if let Some(transport) = self.transports.get_mut(key) {
            for compound in compounds.iter().filter(|compound| !compound.is_empty()) {
                transport.send_rtcp(compound, now, context.outbox);
            }
        }
    }

    /// Takes an RTCP datagram, plain and from the peer.
    pub fn receive_rtcp(&mut self, key: TransportKey, datagram: &[u8], context: &mut Context<'_>) {
        let now = context.now;
        let Some(compound) = rtcp::parse(datagram) else { return };
        let mut reported = false;
        for packet in compound {
            match packet {
                RtcpPacket::SenderReport {
                    ssrc,
                    ntp,
                    rtp_timestamp: timestamp,
                    reports,
                } => {
                    self.sender_report(key, ssrc, SenderClock { ntp, timestamp }, context);
                    reported = true;
                    reports.for_each(|block| self.receiver_report(key, &block, context));
                }
                RtcpPacket::ReceiverReport { reports, .. } => {
                    reported = true;
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
                                    transport.peer_reference_time = Some(ReferenceTime {
                                        ssrc,
                                        compact_ntp: (ntp >> 16) as u32,
                                        at: now,
                                    });
                                }
                            }
                            Block::Delay(delay) => self.round_trip(key, ssrc, &delay, context),
                        }
                    }
                }
                RtcpPacket::Nack { media_ssrc, items } => self.packets_requested(key, media_ssrc, items, context),
                RtcpPacket::TransportFeedback { body, .. } => self.arrivals_reported(key, body, context),
                RtcpPacket::MaximumBitrate { bitrate } => self.maximum_bitrate_told(key, bitrate, context),
                RtcpPacket::Other { .. } => {}
            }
        }
        if reported {
            self.losses_reported(key, context);
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
        let score_changed = stream.sender_report((clock.ntp >> 16) as u32, context.now);
        let (cname, round_trip) = (stream.params.cname.clone(), stream.round_trip());
        self.clock_sampled(key, cname, clock.ntp, round_trip, context.now);
        if score_changed {
            self.score_changed(producer_key, context);
        }
        if first {
            self.clock_known(producer_key, context);
        }
    }

    /// A sender told its time: all of its streams have the same clock.
    fn clock_sampled(&mut self, key: TransportKey, cname: String, ntp: u64, round_trip: u64, now: u64) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if transport.clocks.len() >= MAX_CLOCKS && !transport.clocks.contains_key(&cname) {
            return;
        }
        let clock = transport.clocks.entry(cname.clone()).or_default();
        clock.add(ntp, round_trip, now);
        let offset = clock.offset();
        for producer in transport.producers.values() {
            let streams = self
                .producers
                .get_mut(*producer)
                .into_iter()
                .flat_map(Producer::streams_mut);
            for stream in streams.filter(|stream| stream.params.cname == cname) {
                stream.clock_offset = offset;
            }
        }
    }

    fn receiver_report(&mut self, key: TransportKey, block: &ReportBlock, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
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
        if let Some(lost) = stream.lost(block)
            && stream.kind == MediaKind::Video
            && let Some(outgoing) = transport.outgoing.as_deref_mut()
        {
            outgoing.lost(&lost);
        }
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
            self.request_key_frame(consumer_key, KeyFrameOf::Current, Why::Receiver, context);
        }
    }
}

/// Sender reports of several streams in one datagram.
struct SenderCompound {
    bytes: Vec<u8>,
    ssrc: Option<u32>,
    answers: Vec<DelaySinceReference>,
    reference: Option<ReferenceTime>,
    now: u64,
}

impl SenderCompound {
    /// An empty one; it will answer that reference time.
    fn new(reference: Option<ReferenceTime>, now: u64) -> Self {
        Self {
            bytes: Vec::new(),
            ssrc: None,
            answers: Vec::new(),
            reference,
            now,
        }
    }

    /// Adds the reports of a stream. False: it does not fit.
    fn add(&mut self, params: &RtpStreamParams, ntp: u64, (timestamp, packets, octets): (u32, u32, u32)) -> bool {
        let before = self.bytes.len();
        rtcp::sender_report(&mut self.bytes, params.ssrc, ntp, timestamp, packets, octets);
        rtcp::source_description(&mut self.bytes, params.ssrc, &params.cname);
        let answers = self.answers.len() + 1;
        if before > 0 && self.bytes.len() + ANSWER_HEADER + answers * ANSWER > MAX_COMPOUND {
            self.bytes.truncate(before);
            return false;
        }
        self.ssrc = self.ssrc.or(Some(params.ssrc));
        // Who sends its time under its own SSRC waits for an answer to that. Workers have none: their answer goes to
        // the stream which they receive.
        if let Some(reference) = self.reference
            && (reference.ssrc == 0 || self.answers.is_empty())
        {
            self.answers.push(DelaySinceReference {
                ssrc: if reference.ssrc == 0 {
                    params.ssrc
                } else {
                    reference.ssrc
                },
                last_reference: reference.compact_ntp,
                delay: (self.now.saturating_sub(reference.at).saturating_mul(65_536) / 1_000_000) as u32,
            });
        }
        true
    }

    fn finish(mut self) -> Vec<u8> {
        if let Some(ssrc) = self.ssrc.filter(|_| !self.answers.is_empty()) {
            rtcp::delay_since_last_receiver_reference(&mut self.bytes, ssrc, &self.answers);
        }
        self.bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    fn params(ssrc: u32, cname: &str) -> RtpStreamParams {
        RtpStreamParams {
            encoding_idx: 0,
            ssrc,
            payload_type: 96,
            mime_type: "video/VP8".to_owned(),
            clock_rate: 90_000,
            rid: None,
            cname: cname.to_owned(),
            rtx_ssrc: None,
            rtx_payload_type: None,
            use_nack: false,
            use_pli: false,
            use_fir: false,
            use_in_band_fec: false,
            use_dtx: false,
            spatial_layers: 1,
            temporal_layers: 1,
        }
    }

    #[test]
    fn a_compound_takes_what_fits_and_answers_the_reference_time() {
        for asker in [0, 77] {
            let reference = ReferenceTime {
                ssrc: asker,
                compact_ntp: 5,
                at: 1_000_000,
            };
            let mut compound = SenderCompound::new(Some(reference), 1_500_000);
            let mut added = 0;
            while compound.add(&params(100 + added, "someone"), 1, (2, 3, 4)) {
                added += 1;
            }
            let bytes = compound.finish();
            assert!((10..40).contains(&added) && bytes.len() <= MAX_COMPOUND, "{added}");
            let packets: Vec<_> = rtcp::parse(&bytes).into_iter().flatten().collect();
            let reports = packets
                .iter()
                .filter(|packet| matches!(packet, RtcpPacket::SenderReport { .. }));
            assert_eq!(reports.count(), added as usize);
            let Some(RtcpPacket::ExtendedReport { ssrc: 100, blocks }) = packets.last() else {
                panic!("{packets:?}");
            };
            let answers: Vec<_> = blocks
                .map(|block| match block {
                    Block::Delay(answer) => answer,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(
                answers
                    .iter()
                    .all(|answer| (answer.last_reference, answer.delay) == (5, 32_768))
            );
            let asked: Vec<_> = answers.iter().map(|answer| answer.ssrc).collect();
            if asker == 0 {
                assert_eq!(asked, (100..100 + added).collect::<Vec<_>>());
            } else {
                assert_eq!(asked, [asker]);
            }
        }
    }

    #[test]
    fn a_stream_with_the_longest_name_fits_alone() {
        let mut compound = SenderCompound::new(None, 0);
        assert!(compound.add(&params(1, &"x".repeat(300)), 1, (2, 3, 4)));
        assert!(compound.finish().len() <= MAX_COMPOUND);
        assert!(SenderCompound::new(None, 0).finish().is_empty());
    }
}
