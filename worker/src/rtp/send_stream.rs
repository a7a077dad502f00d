//! One RTP stream as it is sent: what went out, and what the receiver reports about it.

use channel_proto::reply::{RtpStreamDump, RtpStreamParams, RtpStreamStats, RtxStreamDump, RtxStreamParams};
use channel_proto::rtp_parameters::MediaKind;

use crate::rtcp::ReportBlock;
use crate::rtp::rate::RateCounter;
use crate::rtp::score::{Score, evaluate_sent};

/// A sent stream.
#[derive(Debug)]
pub struct SendStream {
    /// What was negotiated for it.
    pub params: RtpStreamParams,
    /// Payload type and SSRC of its retransmission stream with the codec's name and clock.
    pub rtx: Option<RtxStreamParams>,
    /// Audio or video, by its MIME type.
    pub kind: MediaKind,
    /// Key frame requests by PLI.
    pub pli_count: u64,
    /// Key frame requests by FIR.
    pub fir_count: u64,
    rate: RateCounter,
    score: Score,
    max_timestamp: Option<(u32, u64)>,
    packets_lost: i32,
    fraction_lost: u8,
    packets_at_report: u64,
    lost_at_report: i32,
    round_trip_time: Option<f32>,
}

impl SendStream {
    /// A stream that has not sent anything.
    pub fn new(params: RtpStreamParams, rtx: Option<RtxStreamParams>) -> Self {
        let kind = if params.mime_type.starts_with("audio/") {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        Self {
            params,
            rtx,
            kind,
            pli_count: 0,
            fir_count: 0,
            rate: RateCounter::new(2500, 100),
            score: Score::new(10),
            max_timestamp: None,
            packets_lost: 0,
            fraction_lost: 0,
            packets_at_report: 0,
            lost_at_report: 0,
            round_trip_time: None,
        }
    }

    /// Counts a packet that was sent.
    pub fn sent(&mut self, timestamp: u32, size: usize, now: u64) {
        self.rate.update(now, size);
        let newest = self
            .max_timestamp
            .is_none_or(|(max, _)| timestamp.wrapping_sub(max) < 0x8000_0000);
        if newest {
            self.max_timestamp = Some((timestamp, now));
        }
    }

    /// Forgets what the receiver reported so far.
    pub fn reset_score(&mut self) {
        self.score.reset(10);
    }

    /// What the receiver lost lately, in 1/256.
    pub fn fraction_lost(&self) -> u8 {
        self.fraction_lost
    }

    /// 0 to 10.
    pub fn score(&self) -> u8 {
        self.score.value()
    }

    /// Bits per second.
    pub fn bitrate(&mut self, now: u64) -> u32 {
        self.rate.bitrate(now)
    }

    /// RTP timestamp of this moment, packets and bytes sent: what a sender report tells. None before the first packet.
    pub fn sender_report(&self, now: u64) -> Option<(u32, u32, u32)> {
        let (timestamp, at) = self.max_timestamp?;
        let elapsed = now.saturating_sub(at).saturating_mul(u64::from(self.params.clock_rate)) / 1_000_000;
        Some((
            timestamp.wrapping_add(elapsed as u32),
            self.rate.packets() as u32,
            self.rate.bytes() as u32,
        ))
    }

    /// Takes a report of the receiver. True: the score changed.
    pub fn receiver_report(&mut self, block: &ReportBlock, compact_ntp_now: u32) -> bool {
        if block.last_sender_report != 0 && block.delay_since_last_sender_report != 0 {
            // Signed and modular: nothing odd happens when the compact time wraps, every 18 hours.
            let round_trip = compact_ntp_now
                .wrapping_sub(block.delay_since_last_sender_report)
                .wrapping_sub(block.last_sender_report) as i32;
            if (0..60 * 65_536).contains(&round_trip) {
                self.round_trip_time = Some(round_trip as f32 * 1000.0 / 65_536.0);
            }
        }
        self.packets_lost = block.cumulative_lost;
        self.fraction_lost = block.fraction_lost;
        let sent = self.rate.packets().saturating_sub(self.packets_at_report);
        let lost = block.cumulative_lost.saturating_sub(self.lost_at_report).max(0) as u64;
        self.packets_at_report = self.rate.packets();
        self.lost_at_report = block.cumulative_lost;
        self.score.push(evaluate_sent(sent, lost, 0, 0))
    }

    /// As dumped.
    pub fn dump(&self) -> RtpStreamDump {
        let rtx_stream = self.rtx.clone().map(|params| RtxStreamDump { params });
        RtpStreamDump {
            params: self.params.clone(),
            score: self.score.value(),
            rtx_stream,
        }
    }

    /// As in `consumer.getStats`.
    pub fn stats(&mut self, now: u64) -> RtpStreamStats {
        RtpStreamStats {
            stats_type: "outbound-rtp".to_owned(),
            timestamp: now / 1000,
            ssrc: self.params.ssrc,
            kind: self.kind,
            mime_type: self.params.mime_type.clone(),
            packets_lost: self.packets_lost.max(0) as u32,
            fraction_lost: self.fraction_lost,
            packets_discarded: 0,
            packets_retransmitted: 0,
            packets_repaired: 0,
            nack_count: 0,
            nack_packet_count: 0,
            pli_count: self.pli_count,
            fir_count: self.fir_count,
            score: self.score.value(),
            rid: self.params.rid.clone(),
            rtx_ssrc: self.params.rtx_ssrc,
            rtx_packets_discarded: self.params.rtx_ssrc.map(|_| 0),
            round_trip_time: self.round_trip_time,
            packet_count: self.rate.packets(),
            byte_count: self.rate.bytes(),
            bitrate: self.rate.bitrate(now),
            jitter: None,
            bitrate_by_layer: None,
        }
    }
}
