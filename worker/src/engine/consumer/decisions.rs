//! What consumers take their decisions with.

use channel_proto::reply::{Decision as DecisionDump, DecisionStream};

use super::layers::{Layers, StreamFacts, layers_of};
use crate::engine::decisions::{self, Decision, Decisions, What, Why};

/// Streams whose facts are kept with a decision.
const STREAMS: usize = 4;

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

impl decisions::Inputs for Inputs {
    fn describe(&self, dump: &mut DecisionDump) {
        let known = self.streams.iter().rposition(Option::is_some);
        let streams = self.streams.iter().take(known.map_or(0, |last| last + 1));
        dump.preferred_layers = self.preferred.map(layers_of);
        dump.target_layers = self.target.map(layers_of);
        dump.current_layers = self.current.map(layers_of);
        dump.streams = streams
            .map(|stream| stream.map(|(score, clock)| DecisionStream { score, clock }))
            .collect();
    }
}

impl Decisions<Inputs> {
    /// Counts a decision that repeats one that is kept. False: it is another one, to be added.
    pub fn repeats(&mut self, what: What, why: Why, now: u64) -> bool {
        // Choices between layers are each of interest.
        !matches!(what, What::Target | What::Switch) && self.newest_first().any(|kept| kept.repeat(what, why, now))
    }
}

impl Decision<Inputs> {
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
            _ => tracing::debug!(target: "rtp", consumer, ?what, ?why, ?inputs, "decided"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_kept_one_by_one_and_a_storm_of_others_is_counted_however_they_alternate() {
        let mut decisions = Decisions::default();
        for at in 0..3 {
            assert!(!decisions.repeats(What::Target, Why::Started, at));
            decisions.add(What::Target, Why::Started, Inputs::default(), at);
        }
        for at in (0..10_000_000).step_by(20_000) {
            for why in [Why::Layer, Why::Late] {
                if !decisions.repeats(What::Drop, why, at) {
                    decisions.add(What::Drop, why, Inputs::default(), at);
                }
            }
        }
        let kept = decisions.dump();
        let kept: Vec<_> = kept.iter().map(|kept| (kept.why, kept.count)).collect();
        let (started, layer, late) = ((Why::Started, 1), (Why::Layer, 500), (Why::Late, 500));
        assert_eq!(kept, [started, started, started, layer, late]);
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
        assert!(size_of::<Decision<Inputs>>() <= 64);
    }
}
