//! One RTP stream as it is received: what was negotiated, what arrived, what to report about it.

use channel_proto::reply::{RtpStreamDump, RtpStreamParams, RtpStreamStats};
use channel_proto::rtp_parameters::MediaKind;

use crate::rtcp::ReportBlock;
use crate::rtp::clock::SenderClock;
use crate::rtp::codec::{Codec, PayloadDescriptor};
use crate::rtp::jitter::Jitter;
use crate::rtp::layer_rates::LayerRates;
use crate::rtp::packet::RtpHeader;
use crate::rtp::rate::RateCounter;
use crate::rtp::score::{Score, evaluate_received};
use crate::rtp::sequence::{SequenceTracker, SequenceUpdate};

/// Silence after which a stream counts as inactive (score 0), in microseconds.
const INACTIVITY: u64 = 1_500_000;
/// The same when the sender may use discontinuous transmission.
const INACTIVITY_DTX: u64 = 5_000_000;

/// A received stream.
#[derive(Debug)]
pub struct RecvStream {
    /// What was negotiated for it.
    pub params: RtpStreamParams,
    /// Audio or video, by its MIME type.
    pub kind: MediaKind,
    /// Which payloads it carries.
    pub codec: Codec,
    /// Key frame requests by PLI.
    pub pli_count: u64,
    /// Key frame requests by FIR.
    pub fir_count: u64,
    /// Sequence number of the last FIR.
    pub fir_sequence: u8,
    /// What time its timestamps mean, by the last sender report.
    pub clock: Option<SenderClock>,
    /// Spatial layers that consumers know to carry something.
    pub known_spatial_layers: u128,
    /// Bitrates of its layers, if it has several.
    layers: Option<Box<LayerRates>>,
    sequence: SequenceTracker,
    jitter: Jitter,
    rate: RateCounter,
    score: Score,
    active: bool,
    last_packet_at: u64,
    report: Reported,
    evaluated: Evaluated,
    sender_report: Option<(u32, u64)>,
    round_trip_time: Option<f32>,
}

/// Figures at the last receiver report.
#[derive(Debug, Default, Clone, Copy)]
struct Reported {
    expected: u64,
    received: u64,
    lost: i64,
    fraction: u8,
}

/// Figures at the last evaluation of the score.
#[derive(Debug, Default, Clone, Copy)]
struct Evaluated {
    expected: u64,
    received: u64,
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
            known_spatial_layers: 0,
            params,
            kind,
            pli_count: 0,
            fir_count: 0,
            fir_sequence: 0,
            sequence: SequenceTracker::new(),
            jitter: Jitter::new(),
            rate,
            score: Score::new(10),
            active: true,
            last_packet_at: now,
            report: Reported::default(),
            evaluated: Evaluated::default(),
            sender_report: None,
            round_trip_time: None,
        }
    }

    /// Takes a packet of `size` bytes. False: its sequence number is out of the way, drop it.
    pub fn receive(&mut self, header: &RtpHeader, size: usize, now: u64) -> bool {
        match self.sequence.update(header.sequence_number, header.timestamp, now) {
            SequenceUpdate::Rejected => return false,
            // The sender began anew: so do the figures that are differences.
            SequenceUpdate::Reset => {
                self.report = Reported {
                    lost: self.report.lost,
                    ..Reported::default()
                };
                self.evaluated = Evaluated::default();
                self.jitter = Jitter::new();
            }
            SequenceUpdate::Accepted { .. } => {}
        }
        self.jitter.update(header.timestamp, self.params.clock_rate, now);
        self.rate.update(now, size);
        if header.payload_length > 0 {
            self.last_packet_at = now;
        }
        true
    }

    /// Counts a packet of `size` bytes for its layer.
    pub fn count_layers(&mut self, descriptor: &PayloadDescriptor, size: usize, now: u64) {
        if let Some(layers) = &mut self.layers {
            layers.update(descriptor.spatial_layer, descriptor.temporal_layer, size, now);
        }
    }

    /// Bit i: spatial layer i carries something.
    pub fn active_spatial_layers(&mut self, now: u64) -> u128 {
        match &mut self.layers {
            Some(layers) => layers.active_spatial_layers(now),
            None => u128::from(self.rate.bitrate(now) > 0),
        }
    }

    /// Whether a packet wakes the stream up; then its score is 10 again.
    pub fn reactivate(&mut self) -> bool {
        if self.active {
            return false;
        }
        self.active = true;
        self.score.reset(10);
        true
    }

    /// When the stream has to be looked at for silence.
    pub fn inactive_at(&self) -> Option<u64> {
        let patience = if self.params.use_dtx {
            INACTIVITY_DTX
        } else {
            INACTIVITY
        };
        self.active.then_some(self.last_packet_at + patience)
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

    /// Silence while paused does not count, nor does jitter.
    pub fn resume(&mut self, now: u64) {
        self.last_packet_at = now;
        self.jitter = Jitter::new();
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
        let expected = self.sequence.expected().saturating_sub(self.evaluated.expected);
        let received = self.rate.packets().saturating_sub(self.evaluated.received);
        self.evaluated = Evaluated {
            expected: self.sequence.expected(),
            received: self.rate.packets(),
        };
        self.score.push(evaluate_received(expected, received, 0, 0, false))
    }

    /// Takes the round trip time that the sender's answer to our reference time tells, in milliseconds.
    pub fn set_round_trip_time(&mut self, milliseconds: f32) {
        self.round_trip_time = Some(milliseconds);
    }

    /// The report block for the sender (RFC 3550 6.4.1).
    pub fn report_block(&mut self, now: u64) -> ReportBlock {
        let expected = self.sequence.expected();
        let received = self.rate.packets();
        let delta_expected = expected.saturating_sub(self.report.expected);
        let delta_received = received.saturating_sub(self.report.received);
        let delta_lost = delta_expected.saturating_sub(delta_received);
        // All lost is 256 / 256: one more than fits.
        let fraction = (256 * delta_lost + delta_expected / 2).checked_div(delta_expected);
        self.report.fraction = fraction.unwrap_or_default().min(255) as u8;
        self.report.lost = expected.saturating_sub(received) as i64;
        self.report.expected = expected;
        self.report.received = received;
        let (last_sender_report, delay) = match self.sender_report {
            Some((ntp, at)) => (ntp, (now.saturating_sub(at).saturating_mul(65_536) / 1_000_000) as u32),
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.params.ssrc,
            fraction_lost: self.report.fraction,
            cumulative_lost: self.report.lost.min(0x7f_ffff) as i32,
            highest_sequence: self.sequence.extended_highest() as u32,
            jitter: self.jitter.value(),
            last_sender_report,
            delay_since_last_sender_report: delay,
        }
    }

    /// As dumped.
    pub fn dump(&self) -> RtpStreamDump {
        RtpStreamDump {
            params: self.params.clone(),
            score: self.score.value(),
            rtx_stream: None,
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
            packets_lost: self.report.lost.max(0) as u32,
            fraction_lost: self.report.fraction,
            packets_discarded: self.sequence.discarded(),
            packets_retransmitted: 0,
            packets_repaired: 0,
            nack_count: 0,
            nack_packet_count: 0,
            pli_count: self.pli_count,
            fir_count: self.fir_count,
            score: self.score.value(),
            rid: self.params.rid.clone(),
            rtx_ssrc: self.params.rtx_ssrc,
            rtx_packets_discarded: None,
            round_trip_time: self.round_trip_time,
            packet_count: self.rate.packets(),
            byte_count: self.rate.bytes(),
            bitrate: self.rate.bitrate(now),
            jitter: Some(self.jitter.value()),
            bitrate_by_layer: self.layers.as_mut().map(|layers| layers.by_layer(now)),
        }
    }
}
