//! One RTP stream as it is sent: what went out, and what the receiver reports about it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use channel_proto::reply::{RtpStreamDump, RtpStreamParams, RtpStreamStats, RtxStreamDump, RtxStreamParams};
use channel_proto::rtp_parameters::MediaKind;

use crate::rtcp::ReportBlock;
use crate::rtp::path_loss::{Lost, PathLoss};
use crate::rtp::rate::RateCounter;
use crate::rtp::retransmission::{ResendBudget, SentHistory, SentPacket};
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
    /// Requests for packets that came.
    pub nack_count: u64,
    /// Packets that they asked for.
    pub nack_packet_count: u64,
    /// What was sent, if the receiver can ask for it again.
    history: Option<Box<SentHistory>>,
    budget: ResendBudget,
    /// Sequence number of the next retransmission.
    rtx_sequence: u16,
    retransmitted: u64,
    repaired: u64,
    rate: RateCounter,
    score: Score,
    max_timestamp: Option<Newest>,
    packets_lost: i32,
    fraction_lost: u8,
    at_report: AtReport,
    path: PathLoss,
    round_trip_time: Option<f32>,
}

/// The newest packet sent, by its timestamp.
#[derive(Debug, Clone, Copy)]
struct Newest {
    timestamp: u32,
    /// When what is in it was captured, as far as known.
    captured_at: u64,
    sent_at: u64,
}

/// A stream that sent nothing for so many microseconds has nothing to report: where its timestamps would be is a guess.
const MAX_SILENCE: u64 = 2_000_000;

/// Figures at the last report of the receiver.
#[derive(Debug, Default, Clone, Copy)]
struct AtReport {
    packets: u64,
    lost: i32,
    repaired: u64,
    retransmitted: u64,
}

/// Least pause between two repetitions of a packet in microseconds, however short a receiver makes the round trip look.
const LEAST_PAUSE: u64 = 20_000;
/// The pause while the round-trip time is not known.
const DEFAULT_PAUSE: u64 = 100_000;

/// A packet that is to be sent again.
#[derive(Debug, Clone, Copy)]
pub struct Repetition {
    /// How it was sent.
    pub sent: SentPacket,
    /// Sequence number in the stream that repairs, if there is one.
    pub rtx: Option<u16>,
}

impl SendStream {
    /// A stream that has not sent anything; `rtx_sequence` is where the numbers of its retransmission stream start.
    pub fn new(params: RtpStreamParams, rtx: Option<RtxStreamParams>, rtx_sequence: u16) -> Self {
        let kind = if params.mime_type.starts_with("audio/") {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        // Without a stream for repetitions these go out as they first did.
        let history = params.use_nack.then(|| Box::new(SentHistory::new(rtx.is_none())));
        Self {
            params,
            rtx,
            kind,
            pli_count: 0,
            fir_count: 0,
            nack_count: 0,
            nack_packet_count: 0,
            history,
            budget: ResendBudget::default(),
            rtx_sequence,
            retransmitted: 0,
            repaired: 0,
            rate: RateCounter::new(2500, 100),
            score: Score::new(10),
            max_timestamp: None,
            packets_lost: 0,
            fraction_lost: 0,
            at_report: AtReport::default(),
            path: PathLoss::default(),
            round_trip_time: None,
        }
    }

    /// Whether packets are to be kept for it.
    pub fn can_repair(&self) -> bool {
        self.history.is_some()
    }

    /// Whether this sequence number has been sent: a packet that came twice.
    pub fn has_sent(&self, sequence_number: u16) -> bool {
        self.history
            .as_ref()
            .is_some_and(|history| history.contains(sequence_number))
    }

    /// Remembers a packet that was sent. `oldest` is the oldest packet that is kept.
    pub fn remember(&mut self, sequence_number: u16, sent: SentPacket, oldest: u32) {
        if let Some(history) = &mut self.history {
            history.add(sequence_number, sent, oldest);
        }
    }

    /// A packet to send again, if there is reason to. `round_trip`: that of the path as it is now, in microseconds, if
    /// it is known: on a path that has just become full what was repeated is on its way for longer than before.
    pub fn find(&self, sequence_number: u16, round_trip: Option<u64>, now: u64) -> Option<Repetition> {
        let reported = self.round_trip_time.map(|milliseconds| (milliseconds * 1000.0) as u64);
        let pause = reported.max(round_trip).unwrap_or(DEFAULT_PAUSE).max(LEAST_PAUSE);
        self.repetition(sequence_number, now.saturating_sub(pause))
    }

    /// A packet to send again since it did not arrive as it was sent at `sent_at`: not if it has been repeated later than
    /// that, and only if repetitions are told from each other, for else nothing is known of what became of them.
    pub fn find_lost(&self, sequence_number: u16, sent_at: u64) -> Option<Repetition> {
        self.repetition(sequence_number, sent_at)
            .filter(|repetition| repetition.rtx.is_some())
    }

    fn repetition(&self, sequence_number: u16, since: u64) -> Option<Repetition> {
        Some(Repetition {
            sent: self.history.as_ref()?.find(sequence_number, since)?,
            rtx: self.rtx.as_ref().map(|_| self.rtx_sequence),
        })
    }

    /// Whether the receiver may cause so many bytes to be sent again; if so, they are counted.
    pub fn may_repeat(&mut self, bytes: usize) -> bool {
        self.budget.spend(bytes)
    }

    /// Counts a packet that was sent again.
    pub fn repeated(&mut self, sequence_number: u16, now: u64) {
        self.retransmitted += 1;
        if self.rtx.is_some() {
            self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        }
        if let Some(history) = &mut self.history
            && history.resent(sequence_number, now)
        {
            self.repaired += 1;
        }
    }

    /// Counts a packet that was sent, with content captured at that time.
    pub fn sent(&mut self, (sequence_number, timestamp): (u16, u32), captured_at: u64, size: usize, now: u64) {
        self.path.sent(sequence_number);
        self.rate.update(now, size);
        self.budget.earn(size);
        let newest = self
            .max_timestamp
            .is_none_or(|newest| timestamp.wrapping_sub(newest.timestamp) < 0x8000_0000);
        if newest {
            self.max_timestamp = Some(Newest {
                timestamp,
                captured_at: captured_at.min(now),
                sent_at: now,
            });
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

    /// RTP timestamp of this moment, packets and bytes sent: what a sender report tells. None if nothing was sent, or
    /// not lately.
    pub fn sender_report(&self, now: u64) -> Option<(u32, u32, u32)> {
        let Newest {
            timestamp,
            captured_at,
            sent_at,
        } = self.max_timestamp?;
        if now.saturating_sub(sent_at) > MAX_SILENCE {
            return None;
        }
        let elapsed = now
            .saturating_sub(captured_at)
            .saturating_mul(u64::from(self.params.clock_rate))
            / 1_000_000;
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
        let before = self.at_report;
        self.at_report = AtReport {
            packets: self.rate.packets(),
            lost: block.cumulative_lost,
            repaired: self.repaired,
            retransmitted: self.retransmitted,
        };
        let lost = block.cumulative_lost.saturating_sub(before.lost).max(0) as u64;
        self.score.push(evaluate_sent(
            self.at_report.packets.saturating_sub(before.packets),
            lost,
            self.at_report.repaired.saturating_sub(before.repaired),
            self.at_report.retransmitted.saturating_sub(before.retransmitted),
        ))
    }

    /// What became of what was sent since the report before this one, as far as that is known.
    pub fn lost(&mut self, block: &ReportBlock) -> Option<Lost> {
        self.path.report(block)
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
            packets_retransmitted: self.retransmitted,
            packets_repaired: self.repaired,
            nack_count: self.nack_count,
            nack_packet_count: self.nack_packet_count,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> SendStream {
        let params = RtpStreamParams {
            encoding_idx: 0,
            ssrc: 5,
            payload_type: 96,
            mime_type: "video/VP8".to_owned(),
            clock_rate: 90_000,
            rid: None,
            cname: String::new(),
            rtx_ssrc: None,
            rtx_payload_type: None,
            use_nack: true,
            use_pli: false,
            use_fir: false,
            use_in_band_fec: false,
            use_dtx: false,
            spatial_layers: 1,
            temporal_layers: 1,
        };
        SendStream::new(params, None, 1000)
    }

    /// Reports must not inherit the jitter of the way to us: lips and voice would drift.
    #[test]
    fn a_report_tells_when_the_newest_was_captured() {
        let mut stream = stream();
        assert_eq!(stream.sender_report(0), None);
        stream.sent((1, 9000), 1_000_000, 100, 1_070_000);
        assert_eq!(stream.sender_report(1_100_000), Some((18_000, 1, 100)));
        // Late, and older; then one whose capture cannot lie ahead.
        stream.sent((2, 6000), 1_000_000, 100, 1_110_000);
        stream.sent((3, 12_000), 9_000_000, 100, 1_120_000);
        assert_eq!(stream.sender_report(1_120_000), Some((12_000, 3, 300)));
        assert_eq!(stream.sender_report(3_120_001), None, "a guess by now");
    }

    #[test]
    fn losses_that_were_repaired_cost_less() {
        let report = |lost: i32| ReportBlock {
            cumulative_lost: lost,
            ..ReportBlock::default()
        };
        let scores = [false, true].map(|repair| {
            let mut stream = stream();
            for number in 0..100_u16 {
                stream.sent((number, u32::from(number)), 0, 100, 0);
                let sent = SentPacket {
                    packet: u32::from(number),
                    timestamp_offset: 0,
                    marker: None,
                    vp8_offsets: None,
                    exact: None,
                };
                stream.remember(number, sent, 0);
            }
            for number in 0..20 {
                if repair && stream.find(number, None, 0).is_some() && stream.may_repeat(100) {
                    stream.repeated(number, 0);
                }
            }
            stream.receiver_report(&report(20), 0);
            stream.score()
        });
        assert!(scores[0] < scores[1], "{scores:?}");
    }

    /// Compact NTP wraps every 18 hours.
    #[test]
    fn the_round_trip_time_is_modular_and_believed_only_if_it_can_be() {
        let mut stream = stream();
        let block = |last_sender_report: u32, delay: u32| ReportBlock {
            last_sender_report,
            delay_since_last_sender_report: delay,
            ..ReportBlock::default()
        };
        stream.receiver_report(&block(u32::MAX - 1000, 2000), 2000);
        let measured = stream.round_trip_time;
        assert_eq!(measured, Some(1001.0 * 1000.0 / 65_536.0));
        // Negative, or longer than anything.
        stream.receiver_report(&block(5000, 2000), 2000);
        stream.receiver_report(&block(1, 1), 0x7000_0000);
        assert_eq!(stream.round_trip_time, measured);
    }

    #[test]
    fn what_was_repeated_is_not_repeated_again_before_it_can_have_arrived() {
        let mut stream = stream();
        stream.sent((1, 0), 0, 100, 0);
        let sent = SentPacket {
            packet: 1,
            timestamp_offset: 0,
            marker: None,
            vp8_offsets: None,
            exact: None,
        };
        stream.remember(1, sent, 0);
        let again = |stream: &SendStream, round_trip, now| stream.find(1, round_trip, now).is_some();
        assert!(again(&stream, Some(500_000), 1_000_000));
        stream.repeated(1, 1_000_000);
        assert!(!again(&stream, None, 1_090_000) && again(&stream, None, 1_110_000));
        // The queue of the path has grown.
        assert!(!again(&stream, Some(500_000), 1_490_000) && again(&stream, Some(500_000), 1_510_000));
    }
}
