//! How much a receiver can take, as far as it tells.
//!
//! A receiver that sends REMB is followed. One that reports arrivals instead (transport-wide feedback) leaves the
//! estimation to us; until there is an estimator its reports tell the loss, and the estimation stays where the parent
//! started it.

use super::incoming::Losses;
use crate::rtcp::TransportFeedback;

/// Where an estimation starts if the parent does not say, in bits per second.
pub const INITIAL_BITRATE: u32 = 600_000;

/// What is known about the way to a receiver.
#[derive(Debug)]
pub struct Outgoing {
    initial: u32,
    /// What the receiver said last.
    told: Option<u32>,
    losses: Losses,
}

impl Outgoing {
    /// Nothing is known but where to start.
    pub fn new(initial: u32) -> Self {
        Self {
            initial,
            told: None,
            losses: Losses::default(),
        }
    }

    /// The receiver tells what it can take (REMB).
    pub fn maximum_bitrate(&mut self, bitrate: u64) {
        self.told = Some(u32::try_from(bitrate).unwrap_or(u32::MAX));
    }

    /// The receiver tells which packets arrived.
    pub fn transport_feedback(&mut self, feedback: &TransportFeedback<'_>) {
        let (mut told, mut lost) = (0_u32, 0_u32);
        for (_, arrived) in feedback.packets() {
            told += 1;
            lost += u32::from(arrived.is_none());
        }
        if told > 0 {
            self.losses.add(f64::from(lost) / f64::from(told));
        }
    }

    /// Bits per second that can be sent, at most `limit` if there is one.
    pub fn available_bitrate(&self, limit: Option<u32>) -> u32 {
        let estimated = self.told.unwrap_or(self.initial);
        limit
            .filter(|limit| *limit > 0)
            .map_or(estimated, |limit| estimated.min(limit))
    }

    /// Share of packets lost lately, 0 to 1; newer reports weigh more.
    pub fn packet_loss(&self) -> f64 {
        self.losses.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{self, RtcpPacket, TransportFeedbackBuilder};

    #[test]
    fn what_the_receiver_says_replaces_where_it_started_and_the_limit_caps_both() {
        let mut outgoing = Outgoing::new(INITIAL_BITRATE);
        assert_eq!(outgoing.available_bitrate(None), 600_000);
        assert_eq!(outgoing.available_bitrate(Some(100_000)), 100_000);
        outgoing.maximum_bitrate(2_500_000);
        assert_eq!(outgoing.available_bitrate(Some(0)), 2_500_000);
        assert_eq!(outgoing.available_bitrate(Some(1_000_000)), 1_000_000);
        outgoing.maximum_bitrate(u64::MAX);
        assert_eq!(outgoing.available_bitrate(None), u32::MAX);
    }

    #[test]
    fn reports_of_arrivals_tell_the_loss() {
        let mut outgoing = Outgoing::new(INITIAL_BITRATE);
        let mut message = Vec::new();
        let arrivals = (0..20).map(|index| (index % 4 != 1).then_some(1_000_000 + index * 1000));
        TransportFeedbackBuilder::new().write(&mut message, 1, 0, 100, arrivals, 1000);
        for packet in rtcp::parse(&message).into_iter().flatten() {
            if let RtcpPacket::TransportFeedback { body, .. } = packet {
                outgoing.transport_feedback(&TransportFeedback::parse(body).expect("a report"));
            }
        }
        assert!(
            (outgoing.packet_loss() - 0.25).abs() < 1e-6,
            "{}",
            outgoing.packet_loss()
        );
    }
}
