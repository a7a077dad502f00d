//! The last decisions of a consumer or a transport, for whoever wonders why it sends what it sends.

use std::collections::VecDeque;

use channel_proto::reply::Decision as DecisionDump;
pub use channel_proto::reply::{DecisionKind as What, DecisionReason as Why};

/// Decisions that are kept.
const KEPT: usize = 16;
/// Equal decisions with pauses up to this between them, in microseconds, are counted as one.
const PAUSE: u64 = 1_000_000;

/// One decision, or several equal ones. Times are microseconds of a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Decision<I> {
    /// When the first one was taken.
    pub at: u64,
    /// When the last one was.
    pub until: u64,
    /// How many.
    pub count: u32,
    /// What was decided.
    pub what: What,
    /// What made it necessary.
    pub why: Why,
    /// What it was decided with.
    pub inputs: I,
}

/// What decisions of a kind of object are taken with.
pub trait Inputs {
    /// Adds it to a decision as dumped.
    fn describe(&self, dump: &mut DecisionDump);
}

impl<I> Decision<I> {
    /// Counts one that comes soon after, and is equal. False: it is another one.
    pub fn repeat(&mut self, what: What, why: Why, now: u64) -> bool {
        let repeats = self.what == what && self.why == why && now <= self.until + PAUSE;
        if repeats {
            self.until = now;
            self.count = self.count.saturating_add(1);
        }
        repeats
    }
}

/// The newest decisions; the ring is allocated with the first one.
#[derive(Debug)]
pub struct Decisions<I>(VecDeque<Decision<I>>);

impl<I> Default for Decisions<I> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<I: Inputs> Decisions<I> {
    /// Those that are kept, the newest first.
    pub fn newest_first(&mut self) -> impl Iterator<Item = &mut Decision<I>> {
        self.0.iter_mut().rev()
    }

    /// Adds one.
    pub fn add(&mut self, what: What, why: Why, inputs: I, now: u64) -> &Decision<I> {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        if self.0.capacity() == 0 {
            self.0.reserve_exact(KEPT);
        }
        self.0.push_back(Decision {
            at: now,
            until: now,
            count: 1,
            what,
            why,
            inputs,
        });
        &self.0[self.0.len() - 1]
    }

    /// As dumped, from the oldest to the newest.
    pub fn dump(&self) -> Vec<DecisionDump> {
        let dump = |decision: &Decision<I>| {
            let mut dump = DecisionDump {
                timestamp: decision.at / 1000,
                until: decision.until / 1000,
                count: decision.count,
                what: decision.what,
                why: decision.why,
                preferred_layers: None,
                target_layers: None,
                current_layers: None,
                streams: Vec::new(),
                bandwidth: None,
            };
            decision.inputs.describe(&mut dump);
            dump
        };
        self.0.iter().map(dump).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that stands for what decisions are taken with.
    impl Inputs for u32 {
        fn describe(&self, dump: &mut DecisionDump) {
            dump.count += self;
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let mut decisions = Decisions::default();
        for at in 0..100 {
            decisions.add(What::Target, Why::Score, 7_u32, at);
        }
        let times: Vec<u64> = decisions.0.iter().map(|decision| decision.at).collect();
        assert_eq!(times, (84..100).collect::<Vec<_>>());
        assert_eq!(decisions.0.capacity(), KEPT);
        assert_eq!(decisions.newest_first().next().map(|newest| newest.at), Some(99));
        let dump = decisions.dump();
        assert_eq!((dump.len(), dump[0].count), (KEPT, 8));
    }

    #[test]
    fn equal_ones_are_counted_while_they_follow_soon() {
        let mut decisions = Decisions::default();
        decisions.add(What::Drop, Why::Late, 0_u32, 5000);
        let mut repeat = |what, why, now| decisions.newest_first().any(|kept| kept.repeat(what, why, now));
        assert!(repeat(What::Drop, Why::Late, 5000 + PAUSE));
        assert!(!repeat(What::Drop, Why::Layer, 5000 + PAUSE));
        assert!(!repeat(What::Target, Why::Late, 5000 + PAUSE));
        assert!(repeat(What::Drop, Why::Late, 5000 + 2 * PAUSE));
        assert!(!repeat(What::Drop, Why::Late, 5001 + 3 * PAUSE));
        let dump = decisions.dump();
        assert_eq!((dump[0].timestamp, dump[0].until, dump[0].count), (5, 2005, 3));
    }
}
