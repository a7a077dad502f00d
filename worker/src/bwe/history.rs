//! Packets that were sent, by their transport-wide sequence numbers, until their receiver tells what became of them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::num::NonZeroU32;

use super::estimator::Outcome;
use crate::rtcp::TransportFeedback;
use crate::rtp::sequence::relative_to;

/// Packets that are kept at most: those of 1.6 s at 50 Mbit/s.
const MAX_KEPT: usize = 8192;
/// Room for packets that is not given back.
const MIN_ROOM: usize = 256;
/// How long a packet is kept that nothing is told about, in microseconds.
const KEPT: u64 = 4_000_000;
/// Packets that one report may tell about; more than any receiver gets between two of them.
const MAX_TOLD: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It waits to be sent, or never was.
    Unsent,
    Unknown,
    Lost,
    Arrived,
    /// A report tells of later ones.
    Unreported,
}

/// What a packet brought, or repeated: a packet of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Of its stream.
    pub ssrc: NonZeroU32,
    /// In its stream.
    pub sequence_number: u16,
    /// It had been sent before.
    pub again: bool,
}

/// A packet that did not arrive, or that may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostPacket {
    /// What it brought.
    pub carried: Carried,
    /// When it left, in microseconds.
    pub sent_at: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    carried: Option<Carried>,
    size: u16,
    cluster: Option<u8>,
    fate: Fate,
}

impl Sent {
    fn lost(&self) -> Option<LostPacket> {
        let (carried, sent_at) = (self.carried?, self.at);
        Some(LostPacket { carried, sent_at })
    }
}

/// There are thousands of them.
const _: () = assert!(size_of::<Sent>() <= 24);

/// Packets on their way.
#[derive(Debug)]
pub struct SentPackets {
    /// Consecutive ones.
    packets: VecDeque<Sent>,
    /// Number of the one before the first of them, unwrapped.
    before: u64,
}

impl Default for SentPackets {
    /// None; room below for numbers that were never given.
    fn default() -> Self {
        Self {
            packets: VecDeque::new(),
            before: 1 << 32,
        }
    }
}

impl SentPackets {
    /// The number of the next packet: 1 for the first one.
    pub fn next(&self) -> u16 {
        (self.before + self.packets.len() as u64 + 1) as u16
    }

    /// Adds the packet that got the [`next`](Self::next) number; `at` is None if it waits for being sent, `carried` if it
    /// is padding.
    pub fn add(&mut self, at: Option<u64>, size: usize, carried: Option<Carried>, cluster: Option<u8>) {
        if self.packets.len() >= MAX_KEPT {
            self.packets.pop_front();
            self.before += 1;
        }
        self.packets.push_back(Sent {
            at: at.unwrap_or_default(),
            carried,
            size: u16::try_from(size).unwrap_or(u16::MAX),
            cluster,
            fate: if at.is_some() { Fate::Unknown } else { Fate::Unsent },
        });
    }

    /// A packet that waited leaves.
    pub fn left(&mut self, number: u16, now: u64, cluster: Option<u8>) {
        if let Some(packet) = self.get_mut(number) {
            packet.at = now;
            packet.fate = Fate::Unknown;
            packet.cluster = cluster;
        }
    }

    fn get_mut(&mut self, number: u16) -> Option<&mut Sent> {
        let newest = self.before + self.packets.len() as u64;
        let number = relative_to::<16>(newest, number);
        let index = number.checked_sub(self.before + 1)?;
        self.packets.get_mut(usize::try_from(index).ok()?)
    }

    /// Appends what a report tells for the first time, and to `lost` what therefore should be sent again. Returns the
    /// bytes of the packets before those of which nothing was told.
    ///
    /// If a report was lost, packets that it told about may have been too: those that were sent again are taken for lost,
    /// for nobody may ask for them a second time; if `lossy`, all are.
    pub fn resolve(
        &mut self,
        feedback: &TransportFeedback<'_>,
        now: u64,
        outcomes: &mut Vec<Outcome>,
        lossy: bool,
        lost: &mut VecDeque<LostPacket>,
    ) -> u32 {
        let unreported = self.skip_to(feedback.base, lossy, lost);
        for (number, arrived_at) in feedback.packets().take(MAX_TOLD) {
            let Some(packet) = self.get_mut(number) else { continue };
            let news = match packet.fate {
                Fate::Unsent | Fate::Arrived | Fate::Unreported => false,
                Fate::Unknown => true,
                // It came late; that it was missing has been told.
                Fate::Lost => arrived_at.is_some(),
            };
            if news {
                let late = packet.fate == Fate::Lost;
                packet.fate = if arrived_at.is_some() {
                    Fate::Arrived
                } else {
                    Fate::Lost
                };
                if arrived_at.is_none() {
                    lost.extend(packet.lost());
                }
                outcomes.push(Outcome {
                    sent_at: packet.at,
                    arrived_at,
                    late,
                    size: packet.size.into(),
                    cluster: packet.cluster,
                });
            }
        }
        while let Some(oldest) = self.packets.front()
            && (matches!(oldest.fate, Fate::Arrived | Fate::Unreported)
                || (oldest.fate == Fate::Lost && now.saturating_sub(oldest.at) > KEPT))
        {
            self.packets.pop_front();
            self.before += 1;
        }
        // There were many of them once.
        if self.packets.capacity() > MIN_ROOM && self.packets.len() < self.packets.capacity() / 4 {
            self.packets.shrink_to(self.packets.capacity() / 2);
        }
        unreported
    }

    /// Nothing more will be told of packets before this one that nothing has been told of: a report was lost.
    fn skip_to(&mut self, base: u16, lossy: bool, lost: &mut VecDeque<LostPacket>) -> u32 {
        let newest = self.before + self.packets.len() as u64;
        let base = relative_to::<16>(newest, base);
        let count = base.saturating_sub(self.before + 1);
        let mut unreported = 0_u32;
        for packet in self
            .packets
            .iter_mut()
            .take(usize::try_from(count).unwrap_or(usize::MAX))
        {
            match packet.fate {
                Fate::Unknown => {
                    unreported = unreported.saturating_add(packet.size.into());
                    lost.extend(packet.lost().filter(|lost| lossy || lost.carried.again));
                }
                // Packets leave in order: what would have waited until now is gone.
                Fate::Unsent => {}
                Fate::Lost | Fate::Arrived | Fate::Unreported => continue,
            }
            packet.fate = Fate::Unreported;
        }
        unreported
    }

    /// When the newest packet left, if any is on its way.
    pub fn last_sent(&self) -> Option<u64> {
        let newest = self.packets.iter().rev().find(|packet| packet.fate == Fate::Unknown)?;
        Some(newest.at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::rtcp::TransportFeedbackBuilder;

    fn report(base: u16, arrivals: &[Option<u64>]) -> Vec<u8> {
        let mut out = Vec::new();
        TransportFeedbackBuilder::new().write(&mut out, 1, 0, base, arrivals.iter().copied(), 4000);
        out
    }

    fn resolve(sent: &mut SentPackets, base: u16, arrivals: &[Option<u64>], now: u64) -> Vec<(u64, bool)> {
        let message = report(base, arrivals);
        let mut outcomes = Vec::new();
        sent.resolve(
            &TransportFeedback::parse(&message[12..]).unwrap(),
            now,
            &mut outcomes,
            false,
            &mut VecDeque::new(),
        );
        outcomes
            .iter()
            .map(|outcome| (outcome.sent_at, outcome.arrived_at.is_some()))
            .collect()
    }

    #[test]
    fn each_fate_is_told_once_and_a_late_arrival_after_a_loss() {
        let mut sent = SentPackets::default();
        for at in 1..=5 {
            assert_eq!(sent.next(), at as u16);
            sent.add((at != 4).then_some(at), 1200, None, None);
        }
        let arrived = Some(70_000);
        assert_eq!(
            resolve(&mut sent, 1, &[arrived, None, arrived], 100),
            [(1, true), (2, false), (3, true)]
        );
        assert_eq!(resolve(&mut sent, 1, &[arrived, None, arrived], 100), []);
        assert_eq!(
            resolve(&mut sent, 2, &[arrived, arrived, None, arrived], 100),
            [(2, true), (5, true)]
        );
        assert_eq!(sent.packets.len(), 2, "one that waits, and one after it");
        sent.left(4, 50, None);
        assert_eq!(resolve(&mut sent, 4, &[arrived], 100), [(50, true)]);
        assert!(sent.packets.is_empty());
        assert_eq!(sent.next(), 6);
    }

    #[test]
    fn it_wraps_and_stays_bounded_whatever_is_told() {
        let mut sent = SentPackets::default();
        for round in 0..40_000_u64 {
            let number = sent.next();
            assert_eq!(number, (round + 1) as u16);
            sent.add(Some(round * 200), 1200, None, None);
            if round % 5000 == 4999 {
                let arrivals = vec![Some(70_000); 100];
                resolve(&mut sent, number.wrapping_sub(99), &arrivals, round * 200);
                resolve(&mut sent, number.wrapping_add(9000), &arrivals, round * 200);
            }
            assert!(sent.packets.len() <= MAX_KEPT);
        }
        assert_eq!(sent.last_sent(), None, "a report told of packets after all of them");
    }
}
