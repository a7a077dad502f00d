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
