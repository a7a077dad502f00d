//! The last decisions of a layered consumer, for whoever wonders why it sends what it sends.

use std::collections::VecDeque;

use super::layers::{Layers, StreamFacts};

/// Decisions that are kept.
const KEPT: usize = 16;
/// Streams whose facts are kept with a decision.
const STREAMS: usize = 4;

/// What made a consumer decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It became able to send: connected, resumed, or its producer was.
    Started,
    /// It is paused, or its producer, or not connected.
    Stopped,
    /// The parent set preferred layers.
    Preferred,
    /// A stream appeared.
    NewStream,
    /// The score of a stream changed.
    Score,
    /// The first sender report of a stream came.
    Clock,
    /// Other spatial layers of the stream carry something.
    SpatialLayers,
    /// The target arrived: a switch took place.
    Switched,
    /// A switch was put off, for its timestamps do not fit.
    Timestamps,
}

/// One decision.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Microseconds of a monotonic clock.
    pub at: u64,
    /// What made it necessary.
    pub why: Why,
    /// What was decided.
    pub target: Option<Layers>,
    /// What was sent then.
    pub current: Option<Layers>,
    /// What the parent prefers.
    pub preferred: Layers,
    /// Score of each of the first streams and whether its clock is known; None if it was not there.
    pub streams: [Option<(u8, bool)>; STREAMS],
}

/// The newest decisions; the ring is allocated with the first one.
#[derive(Debug, Default)]
pub struct Decisions(VecDeque<Decision>);

impl Decisions {
    /// Adds one.
    pub fn add(&mut self, decision: Decision) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        if self.0.capacity() == 0 {
            self.0.reserve_exact(KEPT);
        }
        self.0.push_back(decision);
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.0.iter()
    }
}

/// The part of the facts that a decision keeps.
pub fn digest(facts: impl Fn(u8) -> Option<StreamFacts>) -> [Option<(u8, bool)>; STREAMS] {
    std::array::from_fn(|stream| facts(stream as u8).map(|facts| (facts.score, facts.clock.is_some())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut decisions = Decisions::default();
        for at in 0..100 {
            decisions.add(Decision {
                at,
                why: Why::Score,
                target: None,
                current: None,
                preferred: Layers {
                    spatial: 0,
                    temporal: 0,
                },
                streams: digest(|_| None),
            });
        }
        let times: Vec<u64> = decisions.iter().map(|decision| decision.at).collect();
        assert_eq!(times, (84..100).collect::<Vec<_>>());
        assert_eq!(decisions.0.capacity(), KEPT);
    }
}
