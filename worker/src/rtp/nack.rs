//! Which packets of a received stream to ask for again (RFC 4585 6.2.1).
//!
//! Sequence numbers are unwrapped to ones that do not wrap, so that the order of what is kept is a real one whatever
//! a sender does. Times are microseconds of a monotonic clock.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;

use crate::rtp::sequence::relative_to;

/// Sequence numbers after which a packet is given up.
const MAX_AGE: u64 = 10_000;
/// Packets that are asked for at a time; with more missing, only a key frame helps.
const MAX_MISSING: usize = 1000;
/// Times that a packet is asked for.
const MAX_RETRIES: u8 = 10;
/// From a gap to the first request: packets that only overtook each other are not asked for.
const DELAY: u64 = 10_000;
/// Between two rounds of requests.
const ROUND: u64 = 40_000;
/// Round-trip time while none is known.
const DEFAULT_ROUND_TRIP: u64 = 100_000;
/// Key frames that are remembered. Only the order of magnitude matters: they say from where on packets are worth
/// asking for.
const MAX_KEY_FRAMES: usize = 64;
/// Where unwrapped numbers begin, so that earlier ones have room below.
const ORIGIN: u64 = 1 << 32;

/// Finds gaps in a stream and says when to ask for what.
#[derive(Debug, Default)]
pub struct NackGenerator {
    last: Option<u64>,
    /// Ascending.
    missing: VecDeque<Missing>,
    /// Packets of `missing` that nobody has been asked for yet.
    unasked: usize,
    /// Ascending.
    key_frames: VecDeque<u64>,
    key_frame_needed: bool,
    round_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    sequence: u64,
    noticed_at: u64,
    asked_at: Option<u64>,
    retries: u8,
}

/// Whom a round of requests is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Packets that nobody has been asked for.
    First,
    /// Also those whose answer is overdue.
    Overdue,
}

impl NackGenerator {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet. True: it is one that was missed, or one that came as a retransmission before it came at all.
    pub fn receive(&mut self, sequence_number: u16, is_key_frame: bool, retransmitted: bool, now: u64) -> bool {
        let Some(last) = self.last else {
            let sequence = ORIGIN + u64::from(sequence_number);
            self.last = Some(sequence);
            if is_key_frame {
                self.key_frames.push_back(sequence);
            }
            return false;
        };
        let sequence = relative_to::<16>(last, sequence_number);
        if sequence <= last {
            return self.found(sequence);
        }
        let oldest = sequence.saturating_sub(MAX_AGE);
        if is_key_frame {
            if self.key_frames.len() == MAX_KEY_FRAMES {
                self.key_frames.pop_front();
            }
            self.key_frames.push_back(sequence);
        }
        while self.key_frames.front().is_some_and(|first| *first < oldest) {
            self.key_frames.pop_front();
        }
        self.drop_below(oldest);
        self.add(last + 1, sequence, now);
        self.last = Some(sequence);
        retransmitted
    }

    /// A packet that is not new: true if it was missed.
    fn found(&mut self, sequence: u64) -> bool {
        let Ok(at) = self.missing.binary_search_by_key(&sequence, |missing| missing.sequence) else {
            return false;
        };
        if self
            .missing
            .remove(at)
            .is_some_and(|missing| missing.asked_at.is_none())
        {
            self.unasked -= 1;
        }
        true
    }

    /// Everything from `first` up to but not including `end` is missing.
    fn add(&mut self, first: u64, end: u64, now: u64) {
        let count = usize::try_from(end - first).unwrap_or(usize::MAX);
        if count == 0 {
            return;
        }
        // What precedes a key frame is not needed by who starts there.
        while self.missing.len().saturating_add(count) > MAX_MISSING {
            let Some(key_frame) = self.key_frames.pop_front() else {
                break;
            };
            self.drop_below(key_frame);
        }
        if self.missing.len().saturating_add(count) > MAX_MISSING {
            self.missing.clear();
            self.unasked = 0;
            self.key_frame_needed = true;
            return;
        }
        self.missing.extend((first..end).map(|sequence| Missing {
            sequence,
            noticed_at: now,
            asked_at: None,
            retries: 0,
        }));
        self.unasked += count;
        self.round_at = self.round_at.or(Some(now + ROUND));
    }

    fn drop_below(&mut self, sequence: u64) {
        while let Some(first) = self.missing.front().filter(|first| first.sequence < sequence) {
            self.unasked -= usize::from(first.asked_at.is_none());
            self.missing.pop_front();
        }
    }

    /// Whether [`take`](Self::take) or [`take_key_frame_needed`](Self::take_key_frame_needed) may have something,
    /// without waiting for the next round.
    pub fn is_waiting(&self) -> bool {
        self.unasked > 0 || self.key_frame_needed
    }

    /// After a packet: appends what is to be asked for the first time.
    pub fn take(&mut self, now: u64, out: &mut Vec<u16>) {
        if self.unasked > 0 {
            self.ask(Round::First, 0, now, out);
        }
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn next_round(&self) -> Option<u64> {
        self.round_at
    }

    /// Time has passed: appends what is to be asked for. The round-trip time to the sender is in microseconds, 0 if
    /// not known.
    pub fn on_timeout(&mut self, round_trip: u64, now: u64, out: &mut Vec<u16>) {
        if self.round_at.is_none_or(|at| at > now) {
            return;
        }
        self.ask(Round::Overdue, round_trip, now, out);
        self.round_at = (!self.missing.is_empty()).then_some(now + ROUND);
    }

    /// True once after so much went missing that only a key frame helps.
    pub fn take_key_frame_needed(&mut self) -> bool {
        std::mem::take(&mut self.key_frame_needed)
    }

    /// Forgets everything: the stream begins anew.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    fn ask(&mut self, round: Round, round_trip: u64, now: u64, out: &mut Vec<u16>) {
        let patience = if round_trip == 0 {
            DEFAULT_ROUND_TRIP
        } else {
            round_trip
        };
        let mut unasked = self.unasked;
        self.missing.retain_mut(|missing| {
            let due = match missing.asked_at {
                None => now.saturating_sub(missing.noticed_at) >= DELAY,
                Some(at) => round == Round::Overdue && now.saturating_sub(at) >= patience,
            };
            if due {
                unasked -= usize::from(missing.asked_at.is_none());
                missing.asked_at = Some(now);
                missing.retries += 1;
                out.push(missing.sequence as u16);
            }
            missing.retries < MAX_RETRIES
        });
        self.unasked = unasked;
    }
}

#[cfg(test)]
#[path = "nack_tests.rs"]
mod tests;
