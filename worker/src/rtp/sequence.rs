//! Counters that wrap: comparing, unwrapping, tracking what arrives and renumbering what is sent.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;

const fn mask(bits: u32) -> u32 {
    u32::MAX >> (32 - bits)
}

/// Whether `a` comes after `b` on a ring of `BITS` (1 to 32) bits. Of two values exactly half a ring apart the smaller
/// one is higher.
pub const fn is_higher<const BITS: u32>(a: u32, b: u32) -> bool {
    let half = mask(BITS) / 2;
    let (a, b) = (a & mask(BITS), b & mask(BITS));
    (a > b && a - b <= half) || (b > a && b - a > half)
}

/// Whether `a` comes before `b` on a ring of `BITS` bits: [`is_higher`] with its arguments exchanged.
pub const fn is_lower<const BITS: u32>(a: u32, b: u32) -> bool {
    is_higher::<BITS>(b, a)
}

/// Makes numbers that do not wrap of 16-bit ones, each relative to the highest so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// The first value is taken as of the second cycle, so that older ones stay positive.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The value as a number that is comparable with all others from here.
    pub fn unwrap(&mut self, value: u16) -> u64 {
        let unwrapped = match self.highest {
            None => 0x1_0000 + u64::from(value),
            Some(highest) => relative_to::<16>(highest, value),
        };
        self.highest = self.highest.max(Some(unwrapped));
        unwrapped
    }
}

/// The number nearest to `reference` of which `value` is the low bits.
pub(crate) const fn relative_to<const BITS: u32>(reference: u64, value: u16) -> u64 {
    let distance = (value as u32).wrapping_sub(reference as u32) & mask(BITS);
    if distance <= mask(BITS) / 2 {
        reference.saturating_add(distance as u64)
    } else {
        // Saturation needs a sender that goes back half a ring again and again without going forward.
        reference.saturating_sub((mask(BITS) - distance) as u64 + 1)
    }
}

/// What became of a packet's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceUpdate {
    /// Fine.
    Accepted {
        /// It is the highest so far. Otherwise it is late, or a duplicate.
        in_order: bool,
    },
    /// Too far away: to be dropped.
    Rejected,
    /// The second of two packets far away: the sender has begun anew, and so have the figures. Accepted.
    Reset,
}

/// Follows the sequence numbers of a received stream (RFC 3550 A.1, without probation).
#[derive(Debug, Clone, Default)]
pub struct SequenceTracker {
    started: bool,
    base: u16,
    /// Cycles and highest sequence number.
    highest: u64,
    /// What a sender that begins anew would continue with.
    expected_after_jump: Option<u16>,
    max_timestamp: u32,
    max_arrival: u64,
    discarded: u64,
}

impl SequenceTracker {
    const MAX_DROPOUT: u16 = 3000;
    const MAX_MISORDER: u16 = 1500;

    /// Nothing has arrived yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet that arrived at `now`, in microseconds of a monotonic clock.
    pub fn update(&mut self, sequence_number: u16, timestamp: u32, now: u64) -> SequenceUpdate {
        if !self.started {
            self.restart(sequence_number, timestamp, now);
            return SequenceUpdate::Accepted { in_order: true };
        }
        let distance = sequence_number.wrapping_sub(self.highest as u16);
        if distance == 0 || distance > Self::MAX_MISORDER.wrapping_neg() {
            return SequenceUpdate::Accepted { in_order: false };
        }
        if distance < Self::MAX_DROPOUT {
            self.highest += u64::from(distance);
            // The timestamp is taken even if it goes back: senders that change their source do that.
            self.max_timestamp = timestamp;
            self.max_arrival = now;
            return SequenceUpdate::Accepted { in_order: true };
        }
        if self.expected_after_jump == Some(sequence_number) {
            self.restart(sequence_number, timestamp, now);
            return SequenceUpdate::Reset;
        }
        self.expected_after_jump = Some(sequence_number.wrapping_add(1));
        self.discarded += 1;
        SequenceUpdate::Rejected
    }

    fn restart(&mut self, sequence_number: u16, timestamp: u32, now: u64) {
        *self = Self {
            started: true,
            base: sequence_number,
            highest: u64::from(sequence_number),
            expected_after_jump: None,
            max_timestamp: timestamp,
            max_arrival: now,
            discarded: self.discarded,
        };
    }

    /// Highest sequence number, cycles above its 16 bits.
    pub fn extended_highest(&self) -> u64 {
        self.highest
    }

    /// Packets from the first one, or the last reset, to the highest one.
    pub fn expected(&self) -> u64 {
        if self.started {
            self.highest - u64::from(self.base) + 1
        } else {
            0
        }
    }

    /// First sequence number since the start or the last reset.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// Timestamp of the highest packet.
    pub fn max_timestamp(&self) -> u32 {
        self.max_timestamp
    }

    /// When the highest packet arrived.
    pub fn max_arrival(&self) -> u64 {
        self.max_arrival
    }

    /// Packets rejected.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }
}

/// Renumbers a counter of `BITS` (at most 16) bits so that what is dropped on purpose leaves no gap, while what is
/// missing still does.
#[derive(Debug, Clone, Default)]
pub struct SequenceMapper<const BITS: u32> {
    /// Added to every input.
    base: u16,
    /// Highest input, forwarded or dropped; does not wrap.
    max_in: Option<u64>,
    max_forwarded: Option<u64>,
    max_dropped: Option<u64>,
    max_out: u16,
    initial_offset: u16,
    /// Dropped inputs as (first, last), ascending, not adjacent. They do not wrap.
    dropped: VecDeque<(u64, u64)>,
    /// Inputs below this one are refused: the drops among them are forgotten.
    floor: u64,
    /// How many inputs `dropped` holds.
    dropped_count: u64,
}

impl<const BITS: u32> SequenceMapper<BITS> {
    /// Ranges of drops that are remembered. A stream of which every other packet is dropped reaches back twice as far.
    const MAX_RANGES: usize = 128;
    const MASK: u16 = mask(BITS) as u16;
    /// Unwrapped counting begins here, so that earlier values have room below.
    const ORIGIN: u64 = 1 << 32;

    /// Outputs equal inputs until something is dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first output after [`sync`](Self::sync) is `offset + 1`.
    pub fn with_initial_offset(offset: u16) -> Self {
        Self {
            initial_offset: offset,
            ..Self::default()
        }
    }

    fn unwrapped(&self, value: u16) -> u64 {
        match self.max_in {
            Some(max) => relative_to::<BITS>(max, value & Self::MASK),
            None => Self::ORIGIN + u64::from(value & Self::MASK),
        }
    }

    /// Begins anew: the input after `value` becomes the output after the highest one so far. Inputs up to `value` are
    /// refused from now on, for their outputs are taken by what went out before.
    pub fn sync(&mut self, value: u16) {
        self.base = self.max_out.wrapping_sub(value);
        let value = Self::ORIGIN + u64::from(value & Self::MASK);
        self.max_in = Some(value);
        self.max_forwarded = Some(value);
        self.max_dropped = None;
        self.dropped.clear();
        self.dropped_count = 0;
        self.floor = value + 1;
    }

    /// Leaves an output out: the receiver sees a gap.
    pub fn leave_gap(&mut self) {
        self.max_out = self.max_out.wrapping_add(1) & Self::MASK;
    }

    /// Closes the gap that an input would leave. Does nothing if a later input went out, for that has its number.
    pub fn drop(&mut self, value: u16) {
        let value = self.unwrapped(value);
        if self.max_in.is_none_or(|max| value > max) {
            self.max_in = Some(value);
            self.max_dropped = Some(value);
        } else if self.max_in != self.max_dropped || self.max_forwarded.is_some_and(|max| value <= max) {
            return;
        }
        self.insert(value);
        self.forget();
    }

    /// The output for an input; None if that input was dropped, or may have been.
    pub fn input(&mut self, value: u16) -> Option<u16> {
        let value = self.unwrapped(value);
        if value < self.floor {
            return None;
        }
        let mut below = self.dropped_count;
        // From the newest: in order, there is nothing above.
        for (first, last) in self.dropped.iter().rev() {
            if *last < value {
                break;
            }
            if *first <= value {
                return None;
            }
            below -= last - first + 1;
        }
        self.max_in = self.max_in.max(Some(value));
        self.max_forwarded = self.max_forwarded.max(Some(value));
        let out = (value as u16).wrapping_add(self.base).wrapping_sub(below as u16) & Self::MASK;
        if is_higher::<BITS>(u32::from(out), u32::from(self.max_out)) {
            self.max_out = out;
        }
        self.forget();
        Some(out.wrapping_add(self.initial_offset) & Self::MASK)
    }

    /// The highest output so far.
    pub fn max_output(&self) -> u16 {
        self.max_out.wrapping_add(self.initial_offset) & Self::MASK
    }

    /// The highest input so far.
    pub fn max_input(&self) -> Option<u16> {
        self.max_in.map(|max| max as u16 & Self::MASK)
    }

    fn insert(&mut self, value: u64) {
        // Nearly always at the end.
        let at = self
            .dropped
            .iter()
            .rposition(|(first, _)| *first <= value)
            .map_or(0, |at| at + 1);
        let before = at.checked_sub(1).and_then(|before| self.dropped.get(before)).copied();
        if before.is_some_and(|(_, last)| last >= value) {
            return;
        }
        self.dropped_count += 1;
        let joins_before = before.is_some_and(|(_, last)| last + 1 == value);
        let joins_after = self.dropped.get(at).copied().filter(|(first, _)| *first == value + 1);
        match (joins_before, joins_after) {
            (true, after) => {
                if let Some(range) = self.dropped.get_mut(at - 1) {
                    range.1 = after.map_or(value, |(_, last)| last);
                }
                if after.is_some() {
                    self.dropped.remove(at);
                }
            }
            (false, Some(_)) => {
                if let Some(range) = self.dropped.get_mut(at) {
                    range.0 = value;
                }
            }
            (false, None) => self.dropped.insert(at, (value, value)),
        }
    }

    /// Forgets drops that no input can refer to any more, and the oldest if there are too many of them.
    fn forget(&mut self) {
        let oldest = self
            .max_in
            .unwrap_or_default()
            .saturating_sub(u64::from(mask(BITS) / 2) + 1);
        while let Some((first, last)) = self.dropped.front().copied() {
            if last >= oldest && self.dropped.len() <= Self::MAX_RANGES {
                break;
            }
            self.dropped.pop_front();
            let count = last - first + 1;
            self.dropped_count -= count;
            self.base = self.base.wrapping_sub(count as u16);
            self.floor = self.floor.max(last + 1);
        }
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
