use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::*;

const MS: u64 = 1000;
const NONE: [u16; 0] = [];

fn taken(generator: &mut NackGenerator, now: u64) -> Vec<u16> {
    let mut out = Vec::new();
    generator.take(now, &mut out);
    out
}

fn round(generator: &mut NackGenerator, now: u64) -> Vec<u16> {
    let mut out = Vec::new();
    generator.on_timeout(0, now, &mut out);
    out
}

#[test]
fn a_gap_is_asked_for_after_a_while_and_again_after_a_round_trip() {
    let mut generator = NackGenerator::new();
    assert!(!generator.receive(65_534, true, false, 0));
    assert!(!generator.receive(2, false, false, 0));
    // Too early: they may only be late.
    assert_eq!(taken(&mut generator, 9 * MS), NONE);
    assert_eq!(round(&mut generator, 39 * MS), NONE);
    assert_eq!(generator.next_round(), Some(40 * MS));
    assert_eq!(round(&mut generator, 40 * MS), [65_535, 0, 1]);
    assert!(generator.receive(0, false, false, 50 * MS));
    assert!(!generator.receive(0, false, false, 50 * MS));
    assert_eq!(round(&mut generator, 80 * MS), NONE);
    assert_eq!(round(&mut generator, 120 * MS), NONE);
    assert_eq!(round(&mut generator, 160 * MS), [65_535, 1]);
    assert!(generator.receive(1, false, true, 161 * MS));
    assert!(generator.receive(65_535, false, true, 161 * MS));
    assert_eq!(round(&mut generator, 200 * MS), NONE);
    assert_eq!(generator.next_round(), None);
}

#[test]
fn a_packet_is_given_up_after_ten_requests() {
    let mut generator = NackGenerator::new();
    generator.receive(1, true, false, 0);
    generator.receive(3, false, false, 0);
    let mut asked = 0;
    for at in 1..1000 {
        asked += taken(&mut generator, at * 10 * MS).len() + round(&mut generator, at * 10 * MS).len();
    }
    assert_eq!(asked, usize::from(MAX_RETRIES));
    assert_eq!(generator.next_round(), None);
    assert!(!generator.is_waiting());
    assert!(!generator.receive(2, false, false, 0), "nobody waits for it any more");
}

#[test]
fn a_gap_that_is_too_long_asks_for_a_key_frame() {
    let mut generator = NackGenerator::new();
    generator.receive(0, true, false, 0);
    generator.receive(1001, false, false, 0);
    assert!(!generator.take_key_frame_needed(), "1000 can be asked for");
    generator.receive(2003, false, false, 0);
    assert!(generator.is_waiting() && generator.take_key_frame_needed() && !generator.take_key_frame_needed());
    assert_eq!(round(&mut generator, 100 * MS), NONE);
    assert_eq!(generator.next_round(), None);
}

#[test]
fn what_precedes_a_key_frame_makes_room() {
    let mut generator = NackGenerator::new();
    generator.receive(0, true, false, 0);
    generator.receive(600, false, false, 0);
    generator.receive(601, true, false, 0);
    generator.receive(1202, false, false, 0);
    assert!(!generator.take_key_frame_needed());
    let asked = round(&mut generator, 40 * MS);
    assert_eq!(asked, (602..1202).collect::<Vec<u16>>());
}

#[test]
fn a_retransmission_that_comes_first_goes_on_and_opens_a_gap() {
    let mut generator = NackGenerator::new();
    generator.receive(10, true, false, 0);
    assert!(generator.receive(13, false, true, 0));
    assert_eq!(round(&mut generator, 40 * MS), [11, 12]);
    assert!(
        !generator.receive(13, false, false, 41 * MS),
        "the original is late, not missing"
    );
}

/// What the generator is meant to do, without any care for time and space.
#[derive(Default)]
struct Model {
    last: Option<i64>,
    missing: BTreeMap<i64, (u64, Option<u64>, u8)>,
    key_frames: BTreeSet<i64>,
    key_frame_needed: bool,
}

impl Model {
    fn receive(&mut self, sequence: i64, is_key_frame: bool, retransmitted: bool, now: u64) -> bool {
        let Some(last) = self.last else {
            self.last = Some(sequence);
            self.key_frames.extend(is_key_frame.then_some(sequence));
            return false;
        };
        if sequence <= last {
            return self.missing.remove(&sequence).is_some();
        }
        self.key_frames.extend(is_key_frame.then_some(sequence));
        self.key_frames
            .retain(|key_frame| *key_frame >= sequence - MAX_AGE as i64);
        while self.key_frames.len() > MAX_KEY_FRAMES {
            self.key_frames.pop_first();
        }
        self.missing.retain(|missing, _| *missing >= sequence - MAX_AGE as i64);
        self.last = Some(sequence);
        let gap = last + 1..sequence;
        if gap.is_empty() {
            return retransmitted;
        }
        while self.missing.len() + gap.clone().count() > MAX_MISSING {
            let Some(key_frame) = self.key_frames.pop_first() else {
                break;
            };
            self.missing.retain(|missing, _| *missing >= key_frame);
        }
        if self.missing.len() + gap.clone().count() > MAX_MISSING {
            self.missing.clear();
            self.key_frame_needed = true;
        } else {
            self.missing.extend(gap.map(|sequence| (sequence, (now, None, 0))));
        }
        retransmitted
    }

    fn ask(&mut self, overdue: bool, now: u64) -> Vec<u16> {
        let mut asked = Vec::new();
        for (sequence, (noticed, last, retries)) in &mut self.missing {
            let due = match *last {
                None => now - *noticed >= DELAY,
                Some(at) => overdue && now - at >= DEFAULT_ROUND_TRIP,
            };
            if due {
                *last = Some(now);
                *retries += 1;
                asked.push(*sequence as u16);
            }
        }
        self.missing.retain(|_, (_, _, retries)| *retries < MAX_RETRIES);
        asked
    }
}

proptest! {
    #[test]
    fn it_does_what_the_slow_model_does(
        start: u16,
        steps in prop::collection::vec((-40i64..60, 0u64..30_000, any::<bool>(), 0u8..20), 1..400),
        jumps in prop::collection::vec(0usize..400, 0..4),
    ) {
        let mut generator = NackGenerator::new();
        let mut model = Model::default();
        let (mut at, mut now) = (1_000_000 + i64::from(start), 0);
        for (index, (step, elapsed, retransmitted, kind)) in steps.into_iter().enumerate() {
            now += elapsed;
            // Mostly a little ahead, now and then as far as trackers let through.
            at += if jumps.contains(&index) { 2900 } else { step.max(-20) };
            let is_key_frame = kind == 0;
            let repaired = generator.receive(at as u16, is_key_frame, retransmitted, now);
            prop_assert_eq!(repaired, model.receive(at, is_key_frame, retransmitted, now));
            prop_assert_eq!(taken(&mut generator, now), model.ask(false, now));
            let due = generator.next_round().is_some_and(|due| due <= now);
            let asked = round(&mut generator, now);
            if due {
                prop_assert_eq!(asked, model.ask(true, now));
            } else {
                prop_assert_eq!(asked, Vec::<u16>::new());
            }
            prop_assert_eq!(generator.take_key_frame_needed(), std::mem::take(&mut model.key_frame_needed));
            prop_assert!(generator.missing.len() <= MAX_MISSING);
            prop_assert!(!model.missing.is_empty() || generator.missing.is_empty());
            prop_assert!(generator.missing.is_empty() || generator.next_round().is_some());
            at = at.max(model.last.unwrap_or_default() - 1000);
        }
    }

    #[test]
    fn no_sequence_breaks_it(packets: Vec<(u16, bool, bool, u32)>) {
        let mut generator = NackGenerator::new();
        for (sequence_number, is_key_frame, retransmitted, now) in packets {
            generator.receive(sequence_number, is_key_frame, retransmitted, now.into());
            let mut out = Vec::new();
            generator.take(now.into(), &mut out);
            generator.on_timeout(1, now.into(), &mut out);
            prop_assert!(generator.missing.len() <= MAX_MISSING);
            let unasked = generator.missing.iter().filter(|missing| missing.asked_at.is_none()).count();
            prop_assert_eq!(generator.unasked, unasked);
        }
    }
}

/// A sender that answers after 30 ms over a link that loses packets both ways: nothing stays missing.
#[test]
fn a_lossy_link_is_repaired() {
    for seed in 0..20 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut generator = NackGenerator::new();
        let mut answers = VecDeque::new();
        let mut received = BTreeSet::new();
        for at in 0..4000_u64 {
            let now = at * 5 * MS;
            let sequence_number = (at as u16).wrapping_add(64_000);
            // The end arrives, so that there is no gap nobody can see.
            if at >= 3000 {
                generator.receive(sequence_number, false, false, now);
                received.insert(sequence_number);
            } else if !rng.random_bool(0.1) {
                generator.receive(sequence_number, at == 0, false, now);
                received.insert(sequence_number);
            }
            let mut asked = taken(&mut generator, now);
            asked.extend(round(&mut generator, now));
            let lost = |rng: &mut ChaCha12Rng| rng.random_bool(0.2);
            answers.extend(
                asked
                    .into_iter()
                    .filter(|_| !lost(&mut rng))
                    .map(|asked| (now + 30 * MS, asked)),
            );
            while let Some((_, sequence_number)) = answers.pop_front_if(|(due, _)| *due <= now) {
                generator.receive(sequence_number, false, true, now);
                received.insert(sequence_number);
            }
        }
        // The first may be lost: the stream began with the next one then.
        assert!(received.len() >= 3990, "{} with seed {seed}", received.len());
        assert!(generator.missing.is_empty());
    }
}
