//! What a receiver lost on its way from us: less than its reports say, for they count what never came to us, too.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::rtcp::ReportBlock;
use crate::rtp::sequence::Unwrapper;

/// More packets than this between two reports: the receiver has begun anew.
const MOST_EXPECTED: u32 = 1 << 16;

/// Follows the sequence numbers of a stream that is sent, and the reports about it.
#[derive(Debug, Default)]
pub struct PathLoss {
    numbers: Unwrapper,
    /// First and highest number sent, and how many packets.
    range: Option<(u64, u64)>,
    packets: u64,
    reported: Option<Reported>,
    /// Packets that were missing before they came to us, of which the receiver has not told yet.
    untold: i64,
}

/// How things were at the last report.
#[derive(Debug, Clone, Copy)]
struct Reported {
    highest: u32,
    lost: i32,
    missing: i64,
}

/// What became of packets that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// How many were sent.
    pub sent: u32,
    /// How many of them were lost.
    pub lost: u32,
}

impl PathLoss {
    /// A packet was sent.
    pub fn sent(&mut self, sequence_number: u16) {
        let number = self.numbers.unwrap(sequence_number);
        self.packets += 1;
        let (first, highest) = self.range.unwrap_or((number, number));
        self.range = Some((first, highest.max(number)));
    }

    /// Numbers that were left out: the packets never came to us, or nothing was to be sent under them.
    fn missing(&self) -> i64 {
        let numbers = self.range.map_or(0, |(first, highest)| highest - first + 1);
        numbers.cast_signed() - self.packets.cast_signed()
    }

    /// Takes a report. Returns what became of the packets since the last one, if there was one.
    pub fn report(&mut self, block: &ReportBlock) -> Option<Lost> {
        let now = Reported {
            highest: block.highest_sequence,
            lost: block.cumulative_lost,
            missing: self.missing(),
        };
        let before = self.reported.replace(now)?;
        let expected = now.highest.wrapping_sub(before.highest);
        if expected > MOST_EXPECTED {
            self.untold = 0;
            return None;
        }
        let told = i64::from(now.lost) - i64::from(before.lost);
        let new = now.missing - before.missing;
        let missing = new + self.untold;
        // What is missing now may be told with the next report only, but not later.
        self.untold = (missing - told).clamp(0, new.max(0));
        let expected = i64::from(expected);
        let sent = (expected - missing.min(told).max(0)).max(0);
        let lost = (told - missing).clamp(0, sent);
        Some(Lost {
            sent: u32::try_from(sent).unwrap_or_default(),
            lost: u32::try_from(lost).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends 1000 packets, of which some do not come to us and others not to the receiver; it reports after each 100,
    /// `delay` packets late. Returns what was found.
    fn run(to_us: impl Fn(u32) -> bool, from_us: impl Fn(u32) -> bool, delay: u32) -> Vec<Lost> {
        let mut path = PathLoss::default();
        let (mut received, mut found) = (0, Vec::new());
        let mut blocks = std::collections::VecDeque::new();
        for number in 0..1000_u32 {
            if to_us(number) {
                path.sent((number as u16).wrapping_add(65_000));
                received += i32::from(from_us(number));
            }
            if number % 100 == 99 {
                let block = ReportBlock {
                    highest_sequence: 65_000 + number,
                    cumulative_lost: number as i32 + 1 - received,
                    ..ReportBlock::default()
                };
                blocks.push_back((number + delay, block));
            }
            while let Some((_, block)) = blocks.pop_front_if(|(at, _)| *at <= number) {
                found.extend(path.report(&block));
            }
        }
        found
    }

    #[test]
    fn what_never_came_to_us_is_not_lost_on_our_way() {
        assert_eq!(run(|_| true, |_| true, 0), [Lost { sent: 100, lost: 0 }; 9]);
        assert_eq!(
            run(|_| true, |number| number % 10 != 0, 0),
            [Lost { sent: 100, lost: 10 }; 9]
        );
        assert_eq!(
            run(|number| number % 5 != 0, |_| true, 0),
            [Lost { sent: 80, lost: 0 }; 9]
        );
        let both = run(|number| number % 5 != 0, |number| number % 10 != 1, 0);
        assert_eq!(both, [Lost { sent: 80, lost: 10 }; 9]);
    }

    #[test]
    fn reports_come_late() {
        let both = run(|number| number % 5 != 0, |number| number % 10 != 1, 30);
        assert!(both.iter().all(|lost| *lost == Lost { sent: 80, lost: 10 }), "{both:?}");
        // 40 packets in a row that did not come to us, just before a report of what was before.
        let hole = run(|number| !(410..450).contains(&number), |_| true, 60);
        assert!(hole.iter().all(|found| found.lost == 0), "{hole:?}");
        let later = run(|number| !(410..450).contains(&number), |number| number < 600, 60);
        assert!(later.iter().any(|found| found.lost == 100), "{later:?}");
    }

    #[test]
    fn a_receiver_that_begins_anew_and_one_that_lies_are_survived() {
        let mut path = PathLoss::default();
        assert_eq!(path.report(&ReportBlock::default()), None);
        for number in 0..100 {
            path.sent(number);
        }
        let block = |highest_sequence, cumulative_lost| ReportBlock {
            highest_sequence,
            cumulative_lost,
            ..ReportBlock::default()
        };
        assert_eq!(path.report(&block(50, 1_000_000)), Some(Lost { sent: 50, lost: 50 }));
        assert_eq!(path.report(&block(5, 0)), None);
        assert_eq!(path.report(&block(5, -100)), Some(Lost { sent: 0, lost: 0 }));
        assert_eq!(path.report(&block(u32::MAX, i32::MAX)), None);
        assert_eq!(path.report(&block(10, i32::MIN)), Some(Lost { sent: 11, lost: 0 }));
    }
}
