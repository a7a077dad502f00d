//! What transports decide about what can be sent to their peers, as they keep it.

use channel_proto::reply::{Decision as DecisionDump, DecisionBandwidth};

use crate::engine::decisions::{Decisions, Inputs, What, Why};

/// An estimate that differs from what was last noted by less than this share of it is not noted.
const NOTABLE: f64 = 0.05;

impl Inputs for DecisionBandwidth {
    fn describe(&self, dump: &mut DecisionDump) {
        dump.bandwidth = Some(*self);
    }
}

impl Decisions<DecisionBandwidth> {
    /// Keeps a decision of this transport for dumps, and writes it to the log; or counts it, or leaves it out, if it
    /// says nothing new.
    pub fn note(&mut self, transport: &str, what: What, why: Why, mut bandwidth: DecisionBandwidth, now: u64) {
        let of_estimate = |what: What| matches!(what, What::Raise | What::Lower);
        let known = if of_estimate(what) {
            // One after the other they tell how the estimate went. So what comes between two equal ones parts them.
            let last = self.newest_first().find(|kept| of_estimate(kept.what));
            if let Some(last) = &last {
                bandwidth.before = last.inputs.estimate;
            }
            let (before, estimate) = (f64::from(bandwidth.before), f64::from(bandwidth.estimate));
            match last.map(|last| (last.repeat(what, why, now), last)) {
                Some((true, last)) => {
                    bandwidth.before = last.inputs.before;
                    Some(last)
                }
                Some((false, _)) if (estimate - before).abs() < NOTABLE * before => return,
                _ => None,
            }
        } else if bandwidth.measured.is_some() {
            // It is told later than the probe, maybe several times: the last time it is known best.
            self.newest_first().find(|kept| kept.what == what)
        } else {
            // What follows from another estimate comes after it.
            let parted = |kept: What| what == What::Allocate && of_estimate(kept);
            let mut since = self.newest_first().take_while(|kept| !parted(kept.what));
            since.find_map(|kept| kept.repeat(what, why, now).then_some(kept))
        };
        if let Some(known) = known {
            known.inputs = bandwidth;
        } else if bandwidth.measured.is_none() {
            self.add(what, why, bandwidth, now);
            tracing::debug!(target: "bwe", transport, ?what, ?why, ?bandwidth, "decided");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bandwidth(before: u32, estimate: u32) -> DecisionBandwidth {
        DecisionBandwidth {
            before,
            estimate,
            ..DecisionBandwidth::default()
        }
    }

    /// What, why, how often, and from where to where.
    fn kept(decisions: &Decisions<DecisionBandwidth>) -> Vec<(What, Why, u32, u32, u32)> {
        let dump = decisions.dump();
        let kept = dump.iter().map(|decision| {
            let bandwidth = decision.bandwidth.unwrap_or_default();
            let (what, why) = (decision.what, decision.why);
            (what, why, decision.count, bandwidth.before, bandwidth.estimate)
        });
        kept.collect()
    }

    #[test]
    fn a_steady_rise_is_one_entry_and_what_hardly_matters_is_none() {
        let mut decisions = Decisions::default();
        let mut now = 0;
        let mut estimate = 600_000;
        let mut change = |what, why, to: u32| {
            now += 100_000;
            let before = std::mem::replace(&mut estimate, to);
            decisions.note("t", what, why, bandwidth(before, to), now);
        };
        for step in 1..=500 {
            change(What::Raise, Why::Room, 600_000 + 1000 * step);
        }
        change(What::Lower, Why::Delay, 1_090_000);
        for step in 1..=50 {
            change(What::Raise, Why::Room, 1_090_000 + 1000 * step);
        }
        change(What::Lower, Why::Delay, 900_000);
        change(What::Raise, Why::Room, 910_000);
        change(What::Lower, Why::Delay, 880_000);
        change(What::Lower, Why::Loss, 870_000);
        assert_eq!(
            kept(&decisions),
            [
                (What::Raise, Why::Room, 550, 600_000, 1_140_000),
                (What::Lower, Why::Delay, 2, 1_140_000, 880_000),
            ]
        );
    }

    #[test]
    fn a_probe_is_one_entry_with_what_it_measured() {
        let mut decisions = Decisions::default();
        let probe = |bitrate| What::Probe { bitrate };
        for (at, bitrate) in [(0, 1_800_000), (0, 3_600_000)] {
            decisions.note("t", probe(bitrate), Why::Desired, bandwidth(0, 600_000), at);
        }
        let measured = |rate| DecisionBandwidth {
            measured: Some(rate),
            ..bandwidth(0, 600_000)
        };
        for rate in [1_700_000, 1_750_000] {
            decisions.note("t", probe(1_800_000), Why::Desired, measured(rate), 9_000_000);
        }
        // Of one that is not kept any more.
        decisions.note("t", probe(900_000), Why::Desired, measured(900_000), 9_000_000);
        let dump = decisions.dump();
        let told: Vec<_> = dump
            .iter()
            .map(|decision| {
                (
                    decision.what,
                    decision.count,
                    decision.bandwidth.and_then(|of| of.measured),
                )
            })
            .collect();
        assert_eq!(
            told,
            [(probe(1_800_000), 1, Some(1_750_000)), (probe(3_600_000), 1, None)]
        );
    }

    #[test]
    fn others_are_counted_while_they_repeat() {
        let mut decisions = Decisions::default();
        for at in 0..30 {
            let now = at * 500_000;
            if at == 10 {
                decisions.note("t", What::Raise, Why::Probe, bandwidth(1, 2), now);
            }
            decisions.note("t", What::Allocate, Why::Bandwidth, bandwidth(0, at as u32), now);
            decisions.note("t", What::Limit { bitrate: 5 }, Why::Parent, bandwidth(0, 0), now);
        }
        decisions.note("t", What::Limit { bitrate: 6 }, Why::Parent, bandwidth(0, 0), 0);
        let told: Vec<_> = kept(&decisions).iter().map(|kept| (kept.0, kept.2, kept.4)).collect();
        assert_eq!(
            told,
            [
                (What::Allocate, 10, 9),
                (What::Limit { bitrate: 5 }, 30, 0),
                (What::Raise, 1, 2),
                (What::Allocate, 20, 29),
                (What::Limit { bitrate: 6 }, 1, 0),
            ]
        );
    }
}
