//! One RTP stream as it is received: what was negotiated, what arrived, what to report about it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use channel_proto::reply::{RtpStreamDump, RtpStreamParams, RtpStreamStats, RtxStreamDump, RtxStreamParams};
use channel_proto::rtp_parameters::MediaKind;

use crate::rtcp::ReportBlock;
use crate::rtp::clock::SenderClock;
use crate::rtp::codec::dependency::DependencyReader;
use crate::rtp::codec::{Codec, PayloadDescriptor};
use crate::rtp::jitter::Jitter;
use crate::rtp::layer_rates::LayerRates;
use crate::rtp::nack::NackGenerator;
use crate::rtp::packet::RtpHeader;
use crate::rtp::rate::RateCounter;
use crate::rtp::score::{Score, evaluate_received};
use crate::rtp::sequence::{SequenceTracker, SequenceUpdate};
use crate::rtp::silence::Silence;

/// What rates are measured over, and the age from which on a rate is guessed, in microseconds.
const RATE_WINDOW: u64 = 2_500_000;
const LEAST_AGE: u64 = 300_000;

/// What is said to be captured longer ago is not believed, in microseconds.
const MAX_CAPTURE_AGE: u64 = 10_000_000;

/// A received stream.
#[derive(Debug)]
pub struct RecvStream {
    /// What was negotiated for it.
    pub params: RtpStreamParams,
    /// Audio or video, by its MIME type.
    pub kind: MediaKind,
    /// Which payloads it carries.
    pub codec: Codec,
    /// Layers of its frames, of AV1.
    pub dependencies: DependencyReader,
    /// Key frame requests by PLI.
    pub pli_count: u64,
    /// Key frame requests by FIR.
    pub fir_count: u64,
    /// Sequence number of the last FIR.
    pub fir_sequence: u8,
    /// What time its timestamps mean, by the last sender report.
    pub clock: Option<SenderClock>,
    /// How far the clock of its sender is behind ours, in microseconds since 1900.
    pub clock_offset: Option<i64>,
    /// Spatial layers that consumers know to carry something.
    pub known_spatial_layers: u128,
    /// Bitrates of its layers, if it has several.
    layers: Option<Box<LayerRates>>,
    /// Requests for packets that were sent.
    pub nack_count: u64,
    /// Packets that they asked for.
    pub nack_packet_count: u64,
    /// Present if the sender knows NACK.
    pub nack: Option<Box<NackGenerator>>,
    rtx: Option<Box<RtxStream>>,
    sequence: SequenceTracker,
    /// The sender has begun anew, and nobody has been told yet.
    began_anew: bool,
    jitter: Jitter,
    /// Packets to forward: media, and retransmissions of what was missing.
    rate: RateCounter,
    /// Media packets since the stream began (anew): what losses are measured by.
    received: u64,
    retransmitted: u64,
    repaired: u64,
    score: Score,
    active: bool,
    /// Since when it is, in microseconds.
    active_since: u64,
    silence: Silence,
    report: Reported,
    evaluated: Evaluated,
    sender_report: Option<(u32, u64)>,
    round_trip_time: Option<f32>,
}

/// The stream that repairs another one (RFC 4588).
#[derive(Debug)]
struct RtxStream {
    params: RtxStreamParams,
    sequence: SequenceTracker,
    received: u64,
    report: Reported,
}

/// What of a stream has been reported.
#[derive(Debug, Default, Clone, Copy)]
struct Reported {
    expected: u64,
    received: u64,
    /// Lost at the last report, since the stream began (anew).
    lost: u64,
    /// All losses reported: does not begin anew, and holds those of receivers that we report as ours.
    cumulative: i64,
    fraction: u8,
}

impl Reported {
    /// The sender began anew: so do the figures that are differences.
    fn restart(&mut self) {
        *self = Self {
            cumulative: self.cumulative,
            fraction: self.fraction,
            ..Self::default()
        };
    }

    /// Counts up to now. If a receiver lost more (`worst`, in 1/256), its losses are reported (RFC 7587: with in-band
    /// FEC, that is what the sender should know).
    fn update(&mut self, expected: u64, received: u64, worst: u8) {
        let delta_expected = expected.saturating_sub(self.expected);
        let delta_received = received.saturating_sub(self.received);
        let delta_lost = delta_expected.saturating_sub(delta_received);
        // All lost is 256 / 256: one more than fits.
        let fraction = (256 * delta_lost + delta_expected / 2).checked_div(delta_expected);
        self.fraction = fraction.unwrap_or_default().min(255) as u8;
        let lost = expected.saturating_sub(received);
        self.cumulative += lost as i64 - self.lost as i64;
        if worst > self.fraction {
            self.fraction = worst;
            self.cumulative += ((u64::from(worst) * delta_expected) >> 8) as i64;
        }
        self.lost = lost;
        self.expected = expected;
        self.received = received;
    }

    fn block(&self, ssrc: u32, highest_sequence: u64) -> ReportBlock {
        ReportBlock {
            ssrc,
            fraction_lost: self.fraction,
            cumulative_lost: self.cumulative.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: highest_sequence as u32,
            ..ReportBlock::default()
        }
    }
}

/// Figures at the last evaluation of the score.
#[derive(Debug, Default, Clone, Copy)]
struct Evaluated {
    expected: u64,
    received: u64,
    repaired: u64,
    retransmitted: u64,
}

impl RecvStream {
    /// A stream that is about to get its first packet.
    pub fn new(params: RtpStreamParams, now: u64) -> Self {
        let kind = if params.mime_type.starts_with("audio/") {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        let rate = if params.use_dtx {
            RateCounter::new(6000, 100)
        } else {
            RateCounter::new(2500, 100)
        };
        let several = params.spatial_layers > 1 || params.temporal_layers > 1;
        let layers = several.then(|| LayerRates::new(params.spatial_layers, params.temporal_layers));
        Self {
            codec: Codec::from_mime_type(&params.mime_type),
            layers: layers.map(Box::new),
            clock: None,
            clock_offset: None,
            known_spatial_layers: 0,
            nack: params.use_nack.then(Box::default),
            params,
            kind,
            dependencies: DependencyReader::default(),
            pli_count: 0,
            fir_count: 0,
            fir_sequence: 0,
            nack_count: 0,
            nack_packet_count: 0,
            rtx: None,
            sequence: SequenceTracker::new(),
            began_anew: false,
            jitter: Jitter::new(),
            rate,
            received: 0,
            retransmitted: 0,
            repaired: 0,
            score: Score::new(10),
            active: true,
            active_since: now,
            silence: Silence::new(now),
            report: Reported::default(),
            evaluated: Evaluated::default(),
            sender_report: None,
            round_trip_time: None,
        }
    }

    /// Takes a media packet of `size` bytes. False: its sequence number is out of the way, drop it.
    pub fn receive(&mut self, header: &RtpHeader, size: usize, now: u64) -> bool {
        if !self.track(header, now) {
            return false;
        }
        self.jitter.update(header.timestamp, self.params.clock_rate, now);
        self.received += 1;
        self.count(header, size, now);
        if header.marker && header.payload_length > 0 {
            self.silence.picture(now);
        }
        true
    }

    fn track(&mut self, header: &RtpHeader, now: u64) -> bool {
        match self.sequence.update(header.sequence_number, header.timestamp, now) {
            SequenceUpdate::Rejected => return false,
            SequenceUpdate::Reset => {
                self.began_anew = true;
                self.report.restart();
                self.received = 0;
                self.evaluated.expected = 0;
                self.evaluated.received = 0;
                self.reset_repair();
            }
            SequenceUpdate::Accepted { .. } => {}
        }
        true
    }

    /// True once after the sender began anew: with sequence numbers far from those before.
    pub fn take_began_anew(&mut self) -> bool {
        std::mem::take(&mut self.began_anew)
    }

    fn count(&mut self, header: &RtpHeader, size: usize, now: u64) {
        self.rate.update(now, size);
        // Packets of padding only probe the path: they are no sign of life.
        if header.payload_length > 0 {
            self.silence.end(now);
        }
    }

    /// After [`receive`](Self::receive), with what the payload tells: looks for gaps before the packet.
    pub fn note_arrival(&mut self, sequence_number: u16, is_key_frame: bool, now: u64) {
        let Some(nack) = &mut self.nack else { return };
        let missed = nack.receive(sequence_number, is_key_frame, false, now);
        // Without a stream for them, retransmissions come as what they repeat.
        if missed && self.rtx.is_none() {
            self.retransmitted += 1;
            self.repaired += 1;
        }
    }

    /// Gives the stream another one that repairs it. False: it has one.
    pub fn attach_rtx(&mut self, params: RtxStreamParams) -> bool {
        if self.rtx.is_some() {
            return false;
        }
        self.params.rtx_ssrc = Some(params.ssrc);
        self.params.rtx_payload_type = Some(params.payload_type);
        self.rtx = Some(Box::new(RtxStream {
            params,
            sequence: SequenceTracker::new(),
            received: 0,
            report: Reported::default(),
        }));
        true
    }

    /// Counts a packet of `size` bytes for its layer.
    pub fn count_layers(&mut self, descriptor: &PayloadDescriptor, size: usize, now: u64) {
        if let Some(layers) = &mut self.layers {
            layers.update(descriptor.spatial_layer, descriptor.temporal_layer, size, now);
        }
    }

    /// A picture is complete, of which the last packet is yet to be counted for its layer. True: a spatial layer has been
    /// missing for too long.
    pub fn note_picture(&mut self) -> bool {
        self.layers.as_mut().is_some_and(|layers| layers.picture())
    }

    /// Bit i: spatial layer i carries something.
    pub fn active_spatial_layers(&mut self, now: u64) -> u128 {
        match &mut self.layers {
            Some(layers) => layers.active_spatial_layers(now),
            None => u128::from(self.rate.bitrate(now) > 0),
        }
    }

    /// Since when it has not been silent.
    pub fn active_since(&self) -> u64 {
        self.active_since
    }

    /// Bits per second of one layer alone. Of a stream that has just begun it is guessed from what has come.
    pub fn layer_bitrate(&mut self, spatial: u8, temporal: u8, now: u64) -> u32 {
        let measured = match &mut self.layers {
            Some(layers) => layers.rate(spatial, temporal, now),
            None if (spatial, temporal) == (0, 0) => self.rate.bitrate(now),
            None => 0,
        };
        let age = now.saturating_sub(self.active_since).clamp(LEAST_AGE, RATE_WINDOW);
        u32::try_from(u64::from(measured) * RATE_WINDOW / age).unwrap_or(u32::MAX)
    }

    /// Takes a packet of the stream that repairs this one; returns the header of what it repeats, whose payload begins
    /// two bytes later, or None if there is nothing in it.
    pub fn receive_rtx(&mut self, header: &RtpHeader, packet: &[u8], now: u64) -> Option<RtpHeader> {
        let rtx = self.rtx.as_mut()?;
        if !self.params.use_nack || header.payload_type != rtx.params.payload_type {
            return None;
        }
        if rtx.sequence.update(header.sequence_number, header.timestamp, now) == SequenceUpdate::Rejected {
            return None;
        }
        rtx.received += 1;
        // Empty ones are probes.
        let (original, _) = header.payload(packet).split_first_chunk::<2>()?;
        let header = RtpHeader {
            payload_type: self.params.payload_type,
            sequence_number: u16::from_be_bytes(*original),
            ssrc: self.params.ssrc,
            payload_offset: header.payload_offset + 2,
            payload_length: header.payload_length - 2,
            padding_length: 0,
            ..*header
        };
        self.track(&header, now).then_some(header)
    }

    /// After [`receive_rtx`](Self::receive_rtx), with the header that it returned, the size of the packet without what
    /// makes it a retransmission, and what the payload tells. True: it had been missing, go on with it as media.
    pub fn repair(&mut self, header: &RtpHeader, size: usize, is_key_frame: bool, now: u64) -> bool {
        self.retransmitted += 1;
        let Some(nack) = &mut self.nack else { return false };
        if !nack.receive(header.sequence_number, is_key_frame, true, now) {
            return false;
        }
        self.repaired += 1;
        self.count(header, size, now);
        true
    }

    /// SSRC of the stream that repairs it, once that has been seen.
    pub fn rtx_ssrc(&self) -> Option<u32> {
        self.rtx.as_ref().map(|rtx| rtx.params.ssrc)
    }

    /// Whether a packet wakes the stream up; then its score is 10 again.
    pub fn reactivate(&mut self, now: u64) -> bool {
        if self.active {
            return false;
        }
        self.active = true;
        self.active_since = now;
        self.score.reset(10);
        true
    }

    /// Another stream of the same source has sent a picture. True: this one has been silent for too long meanwhile.
    pub fn note_picture_of_another(&mut self, now: u64) -> bool {
        self.silence.picture_of_another();
        self.inactive_at().is_some_and(|at| at <= now)
    }

    /// When the stream has to be looked at for silence.
    pub fn inactive_at(&self) -> Option<u64> {
        self.active.then_some(self.silence.too_long_at(self.params.use_dtx))
    }

    /// Whether the stream has just become silent; then its score is 0.
    pub fn deactivate_if_silent(&mut self, now: u64) -> bool {
        if self.inactive_at().is_none_or(|at| at > now) {
            return false;
        }
        self.active = false;
        self.score.reset(0);
        true
    }

    /// What is missing while paused is not asked for.
    pub fn pause(&mut self) {
        self.reset_repair();
    }

    /// Silence while paused does not count, nor does jitter.
    pub fn resume(&mut self, now: u64) {
        self.silence.end(now);
        self.reset_repair();
    }

    fn reset_repair(&mut self) {
        self.jitter = Jitter::new();
        if let Some(nack) = &mut self.nack {
            nack.reset();
        }
    }

    /// When what has this timestamp was captured, in our time; if that is not known, or cannot be, `now`.
    pub fn captured_at(&self, timestamp: u32, now: u64) -> u64 {
        let captured = self.clock.zip(self.clock_offset).and_then(|(clock, offset)| {
            let remote = clock.time_of(timestamp, self.params.clock_rate)?;
            u64::try_from(remote.checked_add(offset)?).ok()
        });
        let possible = now.saturating_sub(MAX_CAPTURE_AGE)..=now;
        captured.filter(|captured| possible.contains(captured)).unwrap_or(now)
    }

    /// Round-trip time to the sender in microseconds, 0 if not known.
    pub fn round_trip(&self) -> u64 {
        self.round_trip_time
            .map_or(0, |milliseconds| (milliseconds * 1000.0) as u64)
    }

    /// Share of packets lost at the last report, in 1/256.
    pub fn fraction_lost(&self) -> u8 {
        self.report.fraction
    }

    /// 0 to 10.
    pub fn score(&self) -> u8 {
        self.score.value()
    }

    /// Bits per second.
    pub fn bitrate(&mut self, now: u64) -> u32 {
        self.rate.bitrate(now)
    }

    /// Takes a sender report. True: the score changed.
    pub fn sender_report(&mut self, compact_ntp: u32, now: u64) -> bool {
        self.sender_report = Some((compact_ntp, now));
        if !self.active {
            return false;
        }
        let before = self.evaluated;
        self.evaluated = Evaluated {
            expected: self.sequence.expected(),
            received: self.received,
            repaired: self.repaired,
            retransmitted: self.retransmitted,
        };
        self.score.push(evaluate_received(
            self.evaluated.expected.saturating_sub(before.expected),
            self.evaluated.received.saturating_sub(before.received),
            self.evaluated.repaired.saturating_sub(before.repaired),
            self.evaluated.retransmitted.saturating_sub(before.retransmitted),
            self.rtx.is_some(),
        ))
    }

    /// Takes the round trip time that the sender's answer to our reference time tells, in milliseconds.
    pub fn set_round_trip_time(&mut self, milliseconds: f32) {
        self.round_trip_time = Some(milliseconds);
    }

    /// The report block for the sender (RFC 3550 6.4.1). `worst` is what the receiver that lost most has lost, in
    /// 1/256; the sender is to know it if it sends in-band FEC.
    pub fn report_block(&mut self, worst: u8, now: u64) -> ReportBlock {
        let worst = if self.params.use_in_band_fec { worst } else { 0 };
        self.report.update(self.sequence.expected(), self.received, worst);
        let (last_sender_report, delay) = match self.sender_report {
            Some((ntp, at)) => (ntp, (now.saturating_sub(at).saturating_mul(65_536) / 1_000_000) as u32),
            None => (0, 0),
        };
        ReportBlock {
            jitter: self.jitter.value(),
            last_sender_report,
            delay_since_last_sender_report: delay,
            ..self.report.block(self.params.ssrc, self.sequence.extended_highest())
        }
    }

    /// The report block of the stream that repairs it.
    pub fn rtx_report_block(&mut self) -> Option<ReportBlock> {
        let rtx = self.rtx.as_mut()?;
        rtx.report.update(rtx.sequence.expected(), rtx.received, 0);
        Some(rtx.report.block(rtx.params.ssrc, rtx.sequence.extended_highest()))
    }

    /// As dumped.
    pub fn dump(&self) -> RtpStreamDump {
        RtpStreamDump {
            params: self.params.clone(),
            score: self.score.value(),
            rtx_stream: self.rtx.as_ref().map(|rtx| RtxStreamDump {
                params: rtx.params.clone(),
            }),
        }
    }

    /// As in `producer.getStats`.
    pub fn stats(&mut self, now: u64) -> RtpStreamStats {
        RtpStreamStats {
            stats_type: "inbound-rtp".to_owned(),
            timestamp: now / 1000,
            ssrc: self.params.ssrc,
            kind: self.kind,
            mime_type: self.params.mime_type.clone(),
            packets_lost: self.report.cumulative.max(0) as u32,
            fraction_lost: self.report.fraction,
            packets_discarded: self.sequence.discarded(),
            packets_retransmitted: self.retransmitted,
            packets_repaired: self.repaired,
            nack_count: self.nack_count,
            nack_packet_count: self.nack_packet_count,
            pli_count: self.pli_count,
            fir_count: self.fir_count,
            score: self.score.value(),
            rid: self.params.rid.clone(),
            rtx_ssrc: self.params.rtx_ssrc,
            rtx_packets_discarded: self.rtx.as_ref().map(|rtx| rtx.sequence.discarded()),
            round_trip_time: self.round_trip_time,
            packet_count: self.rate.packets(),
            byte_count: self.rate.bytes(),
            bitrate: self.rate.bitrate(now),
            jitter: Some(self.jitter.value()),
            bitrate_by_layer: self.layers.as_mut().map(|layers| layers.by_layer(now)),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#[path = "recv_stream_tests.rs"]
mod tests;
