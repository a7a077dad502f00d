//! What the sender of a transport is told about its bandwidth.

use channel_proto::rtp_parameters::RtpParameters;

use super::arrivals::Arrivals;
use super::remote::RemoteEstimator;
use crate::rtcp::{self, MAX_COMPOUND};
use crate::rtp::extensions::HeaderExtensionKind;

/// From a packet to the report of its arrival.
const REPORT_INTERVAL: u64 = 100_000;
/// Between two messages of a limit.
const LIMIT_INTERVAL: u64 = 1_500_000;
/// Messages that tell the end of a limit: one may get lost.
const END_OF_LIMIT: u8 = 4;
/// Reports whose losses make up the figure.
const LOSSES: usize = 24;

/// How a sender learns what it can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It is told when its packets arrived.
    TransportCc,
    /// It is told a rate.
    Remb,
}

impl Feedback {
    /// What a stream with these parameters wants, if anything.
    pub fn of(parameters: &RtpParameters) -> Option<Self> {
        let has = |kind: HeaderExtensionKind, feedback: &str| {
            let mut extensions = parameters.header_extensions.iter();
            extensions.any(|extension| HeaderExtensionKind::from_uri(&extension.uri) == Some(kind))
                && parameters.codecs.iter().any(|codec| codec.has_feedback(feedback, ""))
        };
        if has(HeaderExtensionKind::TransportWideCc, "transport-cc") {
            Some(Self::TransportCc)
        } else if has(HeaderExtensionKind::AbsSendTime, "goog-remb") {
            Some(Self::Remb)
        } else {
            None
        }
    }
}

/// Watches what comes in over a transport.
#[derive(Debug)]
pub struct Incoming {
    /// Bits per second that the parent allows, 0 for any.
    limit: u32,
    limit_told_at: Option<u64>,
    /// Messages left that tell the end of the last limit.
    unlimited: u8,
    media_ssrc: u32,
    /// Whether a report is in the timers.
    planned: bool,
    losses: Losses,
    way: Way,
}

#[derive(Debug)]
enum Way {
    TransportCc { arrivals: Arrivals, messages: u8 },
    Remb(Box<RemoteEstimator>),
}

/// A packet that came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its stream.
    pub ssrc: u32,
    /// Its number among all packets of the transport.
    pub wide_sequence_number: Option<u16>,
    /// When it was sent, 24 bits.
    pub abs_send_time: Option<u32>,
    /// Its bytes.
    pub size: usize,
}

impl Incoming {
    /// Nothing has arrived; `limit` is what the parent allows, 0 for anything.
    pub fn new(feedback: Feedback, limit: u32) -> Self {
        Self {
            limit,
            limit_told_at: None,
            unlimited: 0,
            media_ssrc: 0,
            planned: false,
            losses: Losses::default(),
            way: match feedback {
                Feedback::TransportCc => Way::TransportCc {
                    arrivals: Arrivals::default(),
                    messages: 0,
                },
                Feedback::Remb => Way::Remb(Box::default()),
            },
        }
    }

    /// Takes a packet; what is to be sent at once is appended to `out`. Returns when [`report`](Self::report) is to be
    /// called, if that has not been told yet.
    pub fn add(&mut self, packet: Arrival, now: u64, out: &mut Vec<u8>) -> Option<u64> {
        self.media_ssrc = packet.ssrc;
        match &mut self.way {
            Way::TransportCc { arrivals, .. } => {
                arrivals.add(packet.wide_sequence_number?, now);
                let limited = self.limit > 0 || self.unlimited > 0;
                if limited
                    && self
                        .limit_told_at
                        .is_none_or(|at| now.saturating_sub(at) >= LIMIT_INTERVAL)
                {
                    self.limit_told_at = Some(now);
                    if self.limit == 0 {
                        self.unlimited -= 1;
                    }
                    rtcp::receiver_estimated_maximum_bitrate(out, self.limit.into(), &[packet.ssrc]);
                }
                (!std::mem::replace(&mut self.planned, true)).then_some(now + REPORT_INTERVAL)
            }
            Way::Remb(estimator) => {
                if estimator.add(packet.ssrc, packet.abs_send_time?, packet.size, now)
                    && let Some(estimate) = estimator.estimate()
                {
                    let bitrate = if self.limit > 0 {
                        estimate.min(self.limit)
                    } else {
                        estimate
                    };
                    rtcp::receiver_estimated_maximum_bitrate(out, bitrate.into(), &estimator.ssrcs(now));
                }
                None
            }
        }
    }

    /// The time for a report has come. Returns messages, each to be sent by itself; one is enough nearly always.
    pub fn report(&mut self) -> Vec<Vec<u8>> {
        self.planned = false;
        let mut reports = Vec::new();
        let Way::TransportCc { arrivals, messages } = &mut self.way else {
            return reports;
        };
        while arrivals.is_waiting() {
            let mut report = Vec::new();
            let Some(told) = arrivals.report(&mut report, self.media_ssrc, *messages, MAX_COMPOUND) else {
                break;
            };
            *messages = messages.wrapping_add(1);
            reports.push(report);
            self.losses.add(told.lost as f64 / told.packets.max(1) as f64);
        }
        reports
    }

    /// Sets what the parent allows; what is to be sent at once is appended to `out`.
    pub fn set_limit(&mut self, limit: u32, out: &mut Vec<u8>) {
        let lifted = self.limit > 0 && limit == 0;
        self.limit = limit;
        if lifted {
            match &self.way {
                Way::TransportCc { .. } => self.unlimited = END_OF_LIMIT,
                Way::Remb(_) => rtcp::receiver_estimated_maximum_bitrate(out, 0, &[]),
            }
        } else {
            self.limit_told_at = None;
        }
    }

    /// The rate that the sender is told, if it is told one.
    pub fn available_bitrate(&self) -> Option<u32> {
        match &self.way {
            Way::TransportCc { .. } => None,
            Way::Remb(estimator) => estimator.estimate(),
        }
    }

    /// Share of packets lost lately, 0 to 1.
    pub fn packet_loss(&self) -> f64 {
        self.losses.mean()
    }

    /// The transport begins anew.
    pub fn reset(&mut self) {
        match &mut self.way {
            Way::TransportCc { arrivals, .. } => arrivals.reset(),
            Way::Remb(estimator) => **estimator = RemoteEstimator::new(),
        }
    }
}

/// Shares of packets lost, of the last reports.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// A ring; `next` is where the oldest is, once it is full.
    shares: [f32; LOSSES],
    count: usize,
    next: usize,
}

impl Losses {
    pub(super) fn add(&mut self, share: f64) {
        if let Some(slot) = self.shares.get_mut(self.next) {
            *slot = share as f32;
        }
        self.next = (self.next + 1) % LOSSES;
        self.count = (self.count + 1).min(LOSSES);
    }

    /// Newer ones weigh more.
    pub(super) fn mean(&self) -> f64 {
        let (mut weights, mut sum) = (0.0, 0.0);
        for age in 0..self.count {
            let weight = (self.count - age) as f64;
            let share = self.shares.get((self.next + LOSSES - 1 - age) % LOSSES).copied();
            sum += weight * f64::from(share.unwrap_or_default());
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, TransportFeedback};

    fn bitrates(out: &[u8]) -> Vec<u64> {
        let packets = rtcp::parse(out).into_iter().flatten();
        let bitrates = packets.map(|packet| match packet {
            RtcpPacket::MaximumBitrate { bitrate } => bitrate,
            other => panic!("{other:?}"),
        });
        bitrates.collect()
    }

    fn packet(number: u16) -> Arrival {
        Arrival {
            ssrc: 7,
            wide_sequence_number: Some(number),
            abs_send_time: None,
            size: 1200,
        }
    }

    #[test]
    fn arrivals_are_reported_every_100_ms_while_there_are_some() {
        let mut incoming = Incoming::new(Feedback::TransportCc, 0);
        let mut out = Vec::new();
        assert_eq!(incoming.add(packet(1), 1_000_000, &mut out), Some(1_100_000));
        assert_eq!(incoming.add(packet(4), 1_050_000, &mut out), None);
        assert!(out.is_empty());
        let reports = incoming.report();
        assert_eq!(reports.len(), 1);
        let packets: Vec<_> = rtcp::parse(&reports[0]).into_iter().flatten().collect();
        let [RtcpPacket::TransportFeedback { media_ssrc: 7, body }] = packets[..] else {
            panic!("{packets:?}");
        };
        let feedback = TransportFeedback::parse(body);
        assert_eq!(
            feedback.map(|feedback| (feedback.base, feedback.message_count)),
            Some((1, 0))
        );
        assert!((incoming.packet_loss() - 0.5).abs() < 1e-6);
        assert!(incoming.report().is_empty(), "nothing came since");
        assert_eq!(incoming.add(packet(5), 1_500_000, &mut out), Some(1_600_000));
        assert_eq!(incoming.report().len(), 1);
        assert!(
            (incoming.packet_loss() - 0.5 / 3.0).abs() < 1e-6,
            "newer ones weigh more"
        );
    }

    #[test]
    fn a_limit_is_repeated_and_its_end_is_told_four_times() {
        let mut incoming = Incoming::new(Feedback::TransportCc, 200_000);
        let mut told = Vec::new();
        for number in 0..400_u16 {
            if number == 200 {
                incoming.set_limit(0, &mut Vec::new());
            }
            let mut out = Vec::new();
            incoming.add(packet(number), u64::from(number) * 50_000, &mut out);
            told.extend(bitrates(&out));
        }
        let limited = [200_000; 7];
        assert_eq!(told[..7], limited);
        assert_eq!(told[7..], [0; 4]);
    }

    #[test]
    fn what_is_told_stays_below_the_limit() {
        let mut incoming = Incoming::new(Feedback::Remb, 123_000);
        let mut out = Vec::new();
        for step in 0..100_u64 {
            let now = 5_000_000 + step * 20_000;
            let arrival = Arrival {
                abs_send_time: Some(crate::rtp::extensions::abs_send_time(now)),
                size: 400,
                ..packet(0)
            };
            assert_eq!(incoming.add(arrival, now, &mut out), None);
        }
        let told = bitrates(&out);
        assert!(
            told.len() > 5 && told.iter().all(|bitrate| *bitrate == 123_000),
            "{told:?}"
        );
        assert!(incoming.available_bitrate().is_some_and(|bitrate| bitrate > 160_000));
        out.clear();
        incoming.set_limit(0, &mut out);
        assert_eq!(bitrates(&out), [0]);
    }
}
