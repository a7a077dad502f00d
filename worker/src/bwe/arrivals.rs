//! When packets of a transport arrived, by their transport-wide sequence numbers.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;

use crate::rtcp::TransportFeedbackBuilder;
use crate::rtp::sequence::relative_to;

/// How long arrivals are kept, so that a packet that comes late can be told in its place.
const KEPT: u64 = 500_000;
/// Numbers that are kept at most, whatever a peer makes of them.
const MAX_KEPT: usize = 8192;
/// Where unwrapped numbers begin, so that earlier ones have room below.
const ORIGIN: u64 = 1 << 32;

/// Arrivals that were reported lately or are to be reported.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Arrival times of consecutive numbers; None for packets that did not arrive.
    times: VecDeque<Option<u64>>,
    /// Number of the first of them, or of the one after those forgotten; 0 before there was any.
    first: u64,
    /// Where the next report begins.
    next: u64,
    builder: TransportFeedbackBuilder,
}

/// What a report told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Packets it tells about.
    pub packets: usize,
    /// Those of them that did not arrive.
    pub lost: usize,
}

impl Arrivals {
    /// Takes a packet. Of one that comes twice, the first time counts.
    pub fn add(&mut self, number: u16, now: u64) {
        if self.first == 0 {
            self.first = ORIGIN + u64::from(number);
            self.next = self.first;
            self.times.push_back(Some(now));
            return;
        }
        let end = self.first + self.times.len() as u64;
        let number = relative_to::<16>(end - 1, number);
        if number < self.first {
            let missing = self.first - number - 1;
            if missing as usize + self.times.len() >= MAX_KEPT {
                return;
            }
            for _ in 0..missing {
                self.times.push_front(None);
            }
            self.times.push_front(Some(now));
            self.first = number;
        } else if number >= end {
            if number - end >= MAX_KEPT as u64 {
                // The sender began anew.
                self.times.clear();
                (self.first, self.next) = (number, number);
            } else {
                self.times.extend((end..number).map(|_| None));
            }
            self.times.push_back(Some(now));
        } else if let Some(time) = self.times.get_mut((number - self.first) as usize) {
            time.get_or_insert(now);
        }
        self.next = self.next.min(number);
        self.forget(now);
    }

    fn forget(&mut self, now: u64) {
        while self.times.len() > MAX_KEPT {
            self.times.pop_front();
            self.first += 1;
        }
        // What has been told, and is old.
        while self.first < self.next
            && self
                .times
                .front()
                .is_some_and(|time| time.is_none_or(|time| now.saturating_sub(time) > KEPT))
        {
            self.times.pop_front();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
    }

    /// Whether there is something to tell.
    pub fn is_waiting(&self) -> bool {
        self.next < self.first + self.times.len() as u64
    }

    /// Writes the next report of at most `room` bytes. None: there is nothing to tell.
    pub fn report(&mut self, out: &mut Vec<u8>, media_ssrc: u32, message_count: u8, room: usize) -> Option<Told> {
        let skipped = usize::try_from(self.next.checked_sub(self.first)?).ok()?;
        let mut waiting = self.times.iter().skip(skipped).copied();
        let base = self.next as u16;
        let mut packets = self
            .builder
            .write(out, media_ssrc, message_count, base, waiting.clone(), room);
        let mut lost = waiting.clone().take(packets).filter(Option::is_none).count();
        if packets == 0 {
            // A message full of losses: they are skipped, up to what did arrive.
            let missing = waiting.position(|time| time.is_some())?;
            let rest = self.times.iter().skip(skipped + missing).copied();
            let base = (self.next + missing as u64) as u16;
            packets = self
                .builder
                .write(out, media_ssrc, message_count, base, rest.clone(), room);
            lost = missing + rest.take(packets).filter(Option::is_none).count();
            packets += missing;
        }
        self.next += packets as u64;
        Some(Told { packets, lost })
    }

    /// Forgets everything: the transport begins anew.
    pub fn reset(&mut self) {
        self.times.clear();
        self.first = 0;
        self.next = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rtcp::TransportFeedback;

    const ROOM: usize = 1200;

    /// Numbers told, and of those that arrived when, in milliseconds.
    fn told(arrivals: &mut Arrivals) -> Vec<(u16, Option<i64>)> {
        let mut out = Vec::new();
        if arrivals.report(&mut out, 1, 0, ROOM).is_none() {
            return Vec::new();
        }
        let feedback = TransportFeedback::parse(&out[12..]).unwrap();
        feedback
            .packets()
            .map(|(number, at)| (number, at.map(|at| at / 1000)))
            .collect()
    }

    #[test]
    fn a_late_packet_moves_the_start_of_the_next_report_back() {
        let mut arrivals = Arrivals::default();
        arrivals.add(65_534, 10_000);
        arrivals.add(1, 20_000);
        let report = [(65_534, Some(10)), (65_535, None), (0, None), (1, Some(20))];
        assert_eq!(told(&mut arrivals), report);
        assert!(!arrivals.is_waiting() && told(&mut arrivals).is_empty());
        arrivals.add(2, 120_000);
        arrivals.add(65_535, 125_000);
        arrivals.add(1, 130_000);
        assert_eq!(
            told(&mut arrivals),
            [(65_535, Some(125)), (0, None), (1, Some(20)), (2, Some(120))]
        );
        // After a silence nothing is kept, but what is missing is still told.
        arrivals.add(3, 5_000_000);
        assert_eq!(told(&mut arrivals), [(3, Some(5000))]);
        arrivals.add(5, 10_000_000);
        assert_eq!(told(&mut arrivals), [(4, None), (5, Some(10_000))]);
    }

    #[test]
    fn numbers_all_over_the_place_stay_bounded() {
        let mut arrivals = Arrivals::default();
        for step in 0..3000_u64 {
            arrivals.add((step * 7919) as u16, step * 10);
            assert!(arrivals.times.len() <= MAX_KEPT);
            assert!(arrivals.first <= arrivals.next);
        }
        let mut reports = 0;
        while arrivals.is_waiting() {
            let mut out = Vec::new();
            assert!(arrivals.report(&mut out, 1, 0, ROOM).unwrap().packets > 0);
            reports += 1;
        }
        assert!(reports <= MAX_KEPT);
    }

    proptest! {
        #[test]
        fn every_arrival_is_told_once_or_again(
            steps in prop::collection::vec((-20i64..60, 0u64..20_000, 0u8..10), 1..400),
        ) {
            let mut arrivals = Arrivals::default();
            let mut first = BTreeMap::new();
            let mut reported = BTreeMap::new();
            let (mut number, mut now) = (100_000i64, 1_000_000_000);
            for (step, elapsed, report) in steps {
                number += step;
                now += elapsed;
                first.entry(number).or_insert(now);
                arrivals.add(number as u16, now);
                number = number.max(*first.last_key_value().unwrap().0 - 40);
                if report == 0 {
                    while arrivals.is_waiting() {
                        let mut out = Vec::new();
                        let told = arrivals.report(&mut out, 1, 0, ROOM).unwrap();
                        let feedback = TransportFeedback::parse(&out[12..]).unwrap();
                        prop_assert_eq!(told.packets, usize::from(feedback.status_count));
                        for (wire, at) in feedback.packets() {
                            if let Some(at) = at {
                                reported.insert(wire, at);
                            }
                        }
                    }
                    // Within the window each number is told, with its first arrival.
                    for (number, at) in &first {
                        let told = reported[&(*number as u16)];
                        let wrapped = (*at as i64).rem_euclid(64_000 << 24);
                        if now - at < 400_000 {
                            prop_assert!((told.rem_euclid(64_000 << 24) - wrapped).abs() <= 125, "{} {}", told, wrapped);
                        }
                    }
                }
            }
        }
    }
}
