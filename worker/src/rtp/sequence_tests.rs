use proptest::prelude::*;

use super::*;

#[test]
fn comparisons() {
    assert!(is_higher::<16>(0, 65535) && is_lower::<16>(65535, 0));
    assert!(is_higher::<16>(32767, 0) && !is_higher::<16>(32768, 0) && is_higher::<16>(0, 32768));
    assert!(is_higher::<8>(3, 250) && is_higher::<15>(1, 32767) && is_higher::<32>(5, u32::MAX));
    let mut unwrapper = Unwrapper::new();
    assert_eq!(
        [65534, 1, 65535, 2].map(|value| unwrapper.unwrap(value)),
        [131_070, 131_073, 131_071, 131_074]
    );
}

#[test]
fn tracking() {
    let mut tracker = SequenceTracker::new();
    assert_eq!(tracker.expected(), 0);
    assert_eq!(tracker.update(0, 10, 0), SequenceUpdate::Accepted { in_order: true });
    assert_eq!((tracker.expected(), tracker.extended_highest()), (1, 0));
    assert_eq!(
        tracker.update(65535, 9, 1),
        SequenceUpdate::Accepted { in_order: false }
    );
    assert_eq!(tracker.update(2999, 20, 2), SequenceUpdate::Accepted { in_order: true });
    assert_eq!(tracker.update(2999 + 3000, 30, 3), SequenceUpdate::Rejected);
    assert_eq!(tracker.update(2999 + 3002, 30, 3), SequenceUpdate::Rejected);
    assert_eq!(tracker.update(2999 + 3003, 31, 4), SequenceUpdate::Reset);
    assert_eq!((tracker.expected(), tracker.base(), tracker.discarded()), (1, 6002, 2));
    assert_eq!((tracker.max_timestamp(), tracker.max_arrival()), (31, 4));
}

#[test]
fn a_wrap_counts_a_cycle() {
    let mut tracker = SequenceTracker::new();
    tracker.update(65530, 0, 0);
    tracker.update(3, 0, 0);
    assert_eq!((tracker.extended_highest(), tracker.expected()), (65539, 10));
}

#[test]
fn drops_close_gaps_and_losses_leave_them() {
    let mut mapper = SequenceMapper::<16>::with_initial_offset(0);
    mapper.sync(65529);
    assert_eq!(mapper.input(65530), Some(1));
    mapper.drop(65531);
    assert_eq!(mapper.input(65531), None);
    assert_eq!(mapper.input(65533), Some(3));
    assert_eq!(mapper.input(65532), Some(2));
    mapper.drop(65532);
    assert_eq!(mapper.input(0), Some(6));
    mapper.sync(1000);
    assert_eq!(mapper.input(1001), Some(7));
    assert_eq!(mapper.max_output(), 7);
}

#[test]
fn drops_out_of_order() {
    let mut mapper = SequenceMapper::<16>::new();
    assert_eq!(mapper.input(1), Some(1));
    mapper.drop(4);
    mapper.drop(2);
    mapper.drop(3);
    assert_eq!(mapper.dropped, [(2, 4)].map(|(a, b)| (a + (1 << 32), b + (1 << 32))));
    assert_eq!(mapper.input(5), Some(2));
}

#[test]
fn what_came_before_a_sync_gets_no_number() {
    let mut mapper = SequenceMapper::<16>::with_initial_offset(999);
    mapper.sync(65_533);
    assert_eq!(
        [65_534, 65_535, 0].map(|value| mapper.input(value)),
        [Some(1000), Some(1001), Some(1002)]
    );
    mapper.leave_gap();
    mapper.sync(4);
    assert_eq!(
        [5, 3, 4, 0, 6].map(|value| mapper.input(value)),
        [Some(1004), None, None, None, Some(1005)]
    );
}

#[test]
fn memory_is_bounded() {
    let mut mapper = SequenceMapper::<16>::new();
    for value in 0..200_000u32 {
        if value % 2 == 0 {
            mapper.drop(value as u16);
        } else {
            assert_eq!(mapper.input(value as u16), Some((value / 2) as u16));
        }
    }
    assert!(mapper.dropped.len() <= 128);
}

proptest! {
    /// Against the definition: an input less the number of drops below it, in order of arrival, over several cycles.
    #[test]
    fn in_order_outputs_are_consecutive(start: u16, kept in prop::collection::vec(any::<bool>(), 1..2000)) {
        let mut narrow = SequenceMapper::<8>::new();
        let mut wide = SequenceMapper::<15>::new();
        narrow.sync(start.wrapping_sub(1));
        wide.sync(start.wrapping_sub(1));
        let mut out = 0u16;
        for (at, keep) in kept.iter().enumerate() {
            let value = start.wrapping_add(at as u16);
            if *keep {
                out += 1;
                prop_assert_eq!(narrow.input(value), Some(out & 0xff));
                prop_assert_eq!(wide.input(value), Some(out));
            } else {
                narrow.drop(value);
                wide.drop(value);
            }
        }
    }

    #[test]
    fn nothing_panics(steps: Vec<(u8, u16)>) {
        let mut mapper = SequenceMapper::<15>::new();
        let mut tracker = SequenceTracker::new();
        for (what, value) in steps {
            match what % 8 {
                0 => mapper.sync(value),
                1..=3 => mapper.drop(value),
                _ => { mapper.input(value); }
            }
            tracker.update(value, 0, 0);
            let sum: u64 = mapper.dropped.iter().map(|(first, last)| last - first + 1).sum();
            prop_assert_eq!(sum, mapper.dropped_count);
        }
    }
}

/// The mapper as it is defined, without any cleverness: every number counts on beyond its bits, everything is kept.
struct Model {
    /// Inputs up to this one were sent under other numbers.
    synced: i64,
    /// Output of that one.
    base: i64,
    highest_output: i64,
    highest: i64,
    highest_forwarded: i64,
    dropped: std::collections::BTreeSet<i64>,
}

impl Model {
    fn new() -> Self {
        Self {
            synced: 0,
            base: 0,
            highest_output: 0,
            highest: 0,
            highest_forwarded: 0,
            dropped: std::collections::BTreeSet::new(),
        }
    }

    fn sync(&mut self, value: i64) {
        (self.synced, self.highest, self.highest_forwarded) = (value, value, value);
        self.base = self.highest_output;
        self.dropped.clear();
    }

    /// Counts unless something above went out, whose number stands.
    fn drop(&mut self, value: i64) {
        let newest_was_dropped = self.dropped.contains(&self.highest);
        if value > self.highest || (newest_was_dropped && value > self.highest_forwarded) {
            self.dropped.insert(value);
        }
        self.highest = self.highest.max(value);
    }

    fn input(&mut self, value: i64) -> Option<i64> {
        if value <= self.synced || self.dropped.contains(&value) {
            return None;
        }
        let left_out = self.dropped.iter().filter(|dropped| **dropped < value).count() as i64;
        let output = self.base + value - self.synced - left_out;
        self.highest = self.highest.max(value);
        self.highest_forwarded = self.highest_forwarded.max(value);
        self.highest_output = self.highest_output.max(output);
        Some(output)
    }
}

/// Compares a mapper of so many bits with the model. A step is what happens and how far from the newest number.
fn follows_the_model<const BITS: u32>(start: u16, offset: u16, steps: &[(u8, i64, u16)]) -> Result<(), TestCaseError> {
    let mut mapper = SequenceMapper::<BITS>::with_initial_offset(offset);
    let mut model = Model::new();
    let cut = |value: i64| value as u16 & mask(BITS) as u16;
    let mut used = std::collections::BTreeSet::new();
    mapper.sync(start);
    model.sync(1 << 20 | i64::from(start));
    for (what, by, fresh) in steps {
        let value = model.highest + by;
        match what {
            0 => {
                mapper.sync(*fresh);
                model.sync(1 << 20 | i64::from(*fresh));
            }
            1 => {
                mapper.leave_gap();
                model.highest_output += 1;
            }
            2..8 => {
                mapper.drop(value as u16);
                model.drop(value);
            }
            _ => {
                let known = model.highest;
                let expected = model.input(value);
                prop_assert_eq!(
                    mapper.input(value as u16),
                    expected.map(|output| cut(output + i64::from(offset)))
                );
                if let Some(output) = expected.filter(|_| value > known) {
                    prop_assert!(used.insert(output), "{} was used twice", output);
                }
            }
        }
        prop_assert_eq!(mapper.max_output(), cut(model.highest_output + i64::from(offset)));
        prop_assert_eq!(
            mapper.max_input().map(|input| input & mask(BITS) as u16),
            Some(cut(model.highest))
        );
    }
    Ok(())
}

proptest! {
    /// Gaps, late packets, drops out of order and switches, over wraps.
    #[test]
    fn as_a_slow_model(start: u16, offset: u16, steps in prop::collection::vec((0..20_u8, -20..12_i64, any::<u16>()), 1..200)) {
        follows_the_model::<16>(start, offset, &steps)?;
        follows_the_model::<15>(start, offset, &steps)?;
    }

    #[test]
    fn as_a_slow_model_with_few_bits(start: u16, offset: u16, steps in prop::collection::vec((0..20_u8, -20..12_i64, any::<u16>()), 1..60)) {
        follows_the_model::<8>(start, offset, &steps)?;
    }
}
