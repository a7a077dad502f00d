//! The last decisions of a consumer, for whoever wonders why it sends what it sends.

use std::collections::VecDeque;

use channel_proto::reply::{Decision as DecisionDump, DecisionStream};
pub use channel_proto::reply::{DecisionKind as What, DecisionReason as Why};

use super::layers::{Layers, StreamFacts, layers_of};

/// Decisions that are kept.
const KEPT: usize = 16;
/// Streams whose facts are kept with a decision.
const STREAMS: usize = 4;
/// Equal decisions with pauses up to this between them, in microseconds, are counted as one.
const PAUSE: u64 = 1_000_000;

/// One decision, or several equal ones. Times are microseconds of a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
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
    pub inputs: Inputs,
}

/// What a decision was taken with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs {
    /// What the parent prefers, of consumers with layers.
    pub preferred: Option<Layers>,
    /// What is aimed at from now on.
    pub target: Option<Layers>,
    /// What is sent.
    pub current: Option<Layers>,
    /// Score of each of the first streams and whether its clock is known; None if it was not there.
    pub streams: [Option<(u8, bool)>; STREAMS],
}

impl Inputs {
    /// Adds what the producer's streams are like.
    pub fn with_streams(self, facts: impl Fn(u8) -> Option<StreamFacts>) -> Self {
        let digest = |stream| facts(stream as u8).map(|facts| (facts.score, facts.clock.is_some()));
        Self {
            streams: std::array::from_fn(digest),
            ..self
        }
    }
}

impl Decision {
    /// Writes it to the log, under the tag of its subject. `svc`: its layers are those of SVC.
    pub fn log(&self, consumer: &str, svc: bool) {
        let Self { what, why, inputs, .. } = self;
        match what {
            What::Target | What::Switch if svc => {
                tracing::debug!(target: "svc", consumer, ?what, ?why, ?inputs, "decided");
            }
            What::Target | What::Switch => {
                tracing::debug!(target: "simulcast", consumer, ?what, ?why, ?inputs, "decided");
            }
            What::KeyFrameRequest { .. } => tracing::debug!(target: "rtcp", consumer, ?what, ?why, ?inputs, "decided"),
            What::Drop => tracing::debug!(target: "rtp", consumer, ?what, ?why, ?inputs, "decided"),
        }
    }

    /// As dumped.
    fn dump(&self) -> DecisionDump {
        let streams = self.inputs.streams.iter();
        let known = streams.clone().rposition(Option::is_some).map_or(0, |last| last + 1);
        DecisionDump {
            timestamp: self.at / 1000,
            until: self.until / 1000,
            count: self.count,
            what: self.what,
            why: self.why,
            preferred_layers: self.inputs.preferred.map(layers_of),
            target_layers: self.inputs.target.map(layers_of),
            current_layers: self.inputs.current.map(layers_of),
            streams: streams
                .take(known)
                .map(|stream| stream.map(|(score, clock)| DecisionStream { score, clock }))
                .collect(),
        }
    }
}

/// The newest decisions; the ring is allocated with the first one.
#[derive(Debug, Default)]
pub struct Decisions(VecDeque<Decision>);

impl Decisions {
    /// Counts a decision that repeats one that is kept. False: it is another one, to be added.
    pub fn repeats(&mut self, what: What, why: Why, now: u64) -> bool {
        // Choices between layers are each of interest.
        if matches!(what, What::Target | What::Switch) {
            return false;
        }
        let mut newest_first = self.0.iter_mut().rev();
        let Some(decision) =
            newest_first.find(|kept| kept.what == what && kept.why == why && now <= kept.until + PAUSE)
        else {
            return false;
        };
        decision.until = now;
        decision.count = decision.count.saturating_add(1);
        true
    }

    /// Adds one.
    pub fn add(&mut self, what: What, why: Why, inputs: Inputs, now: u64) -> &Decision {
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
        self.0.iter().map(Decision::dump).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut decisions = Decisions::default();
        for at in 0..100 {
            assert!(!decisions.repeats(What::Target, Why::Score, at));
            decisions.add(What::Target, Why::Score, Inputs::default(), at);
        }
        let times: Vec<u64> = decisions.0.iter().map(|decision| decision.at).collect();
        assert_eq!(times, (84..100).collect::<Vec<_>>());
        assert_eq!(decisions.0.capacity(), KEPT);
        assert!(size_of::<Decision>() * KEPT <= 1024);
    }

    #[test]
    fn a_storm_of_equal_ones_is_one_entry_that_others_do_not_interrupt() {
        let mut decisions = Decisions::default();
        decisions.add(What::Target, Why::Started, Inputs::default(), 0);
        let reasons = [Why::Layer, Why::Late];
        for at in (0..10 * PAUSE).step_by(PAUSE as usize / 50) {
            for why in reasons {
                if !decisions.repeats(What::Drop, why, at) {
                    decisions.add(What::Drop, why, Inputs::default(), at);
                }
            }
        }
        let kept: Vec<_> = decisions.0.iter().map(|kept| (kept.why, kept.count)).collect();
        assert_eq!(kept, [(Why::Started, 1), (Why::Layer, 500), (Why::Late, 500)]);
        let last = decisions.0[1].until;
        assert!(!decisions.repeats(What::Drop, Why::Layer, last + PAUSE + 1));
    }

    #[test]
    fn streams_are_dumped_up_to_the_last_one_that_was_there() {
        let facts = |stream| {
            (stream == 1).then_some(StreamFacts {
                score: 7,
                clock: None,
                spatial_layers: 0,
            })
        };
        let mut decisions = Decisions::default();
        decisions.add(What::Drop, Why::Layer, Inputs::default().with_streams(facts), 5000);
        let dump = decisions.dump();
        assert_eq!(dump[0].streams, [None, Some(DecisionStream { score: 7, clock: false })]);
        assert_eq!((dump[0].timestamp, dump[0].until), (5, 5));
    }
}
