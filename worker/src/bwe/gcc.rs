//! Google congestion control, the sender's side (draft-ietf-rmcat-gcc-02): what the delays of packets allow, bounded by
//! what losses allow, both relative to what arrives.

use channel_proto::reply::DecisionReason;

use super::estimator::{Circumstances, Estimator, Outcome};
use super::loss::LossLimit;
use super::rate_control::{RATES, RateControl};
use super::standing::StandingQueue;
use super::throughput::Throughput;
use super::trend::{Trend, Usage};

/// Silence of the receiver after which the rate is lowered, how often, and to what share, in microseconds.
const SILENCE: u64 = 3_000_000;
const SILENCE_STEP: u64 = 1_000_000;
const SILENCE_SHARE: f64 = 0.8;

/// Share of what arrives that is allowed without a probe that has tried it.
const BEYOND: f64 = 1.1;
/// Share of what arrives that a path carries that was not full for so long, in microseconds.
const PROVEN: f64 = 0.85;
const PROOF: u64 = 2_000_000;
/// How long what a probe measured counts more than what arrived lately, in microseconds: while the source follows, less
/// arrives than the path can take.
const PROBE_COUNTS: u64 = 600_000;

/// Estimates from the receiver's reports of arrivals.
#[derive(Debug)]
pub struct Gcc {
    trend: Trend,
    control: RateControl,
    throughput: Throughput,
    loss: LossLimit,
    standing: StandingQueue,
    /// What the last probe measured, and when: all that is known of what arrives in the first moments.
    probed: Option<(f64, u64)>,
    estimate: f64,
    reason: DecisionReason,
    was_limited: bool,
    lowered_in_silence: u64,
}

impl Gcc {
    /// Starts at so many bits per second.
    pub fn new(initial: u32) -> Self {
        let initial = f64::from(initial).clamp(RATES.0, RATES.1);
        Self {
            trend: Trend::new(),
            control: RateControl::new(Some(initial), BEYOND),
            throughput: Throughput::default(),
            loss: LossLimit::new(),
            standing: StandingQueue::default(),
            probed: None,
            estimate: initial,
            reason: DecisionReason::Room,
            was_limited: false,
            lowered_in_silence: 0,
        }
    }

    /// What arrives; while the path is full what came in the last moments, however much that differs from before,
    /// or in a probe just now.
    fn arriving(&self, usage: Usage, now: u64) -> Option<f64> {
        let Some(known) = self.throughput.rate() else {
            return self.probed.map(|(rate, _)| rate);
        };
        match (usage, self.throughput.lately()) {
            (Usage::Over, Some(lately)) => {
                let probed = self.probed.filter(|(_, at)| now.saturating_sub(*at) < PROBE_COUNTS);
                Some(probed.map_or(lately, |(rate, _)| rate.max(lately)))
            }
            _ => Some(known),
        }
    }

    /// What a path that is not full, and was not lately, evidently carries, if more is sent than is allowed: not all that
    /// is sent can be chosen.
    fn proven(&self, usage: Usage, now: u64) -> Option<f64> {
        let reduced_at = self.control.reduced_at();
        if usage != Usage::Normal || reduced_at.is_some_and(|at| now.saturating_sub(at) < PROOF) {
            return None;
        }
        Some(PROVEN * self.throughput.rate()?.min(self.throughput.lately()?))
    }

    /// Raises or lowers what delays allow; tells why.
    fn delay_based(&mut self, usage: Usage, circumstances: &Circumstances, now: u64) -> DecisionReason {
        let probed = circumstances.probed.map(f64::from);
        self.probed = probed.map(|rate| (rate, now)).or(self.probed);
        let arriving = self.arriving(usage, now);
        let lowered = self.control.update(usage, arriving, circumstances.round_trip, now);
        let mut rate = self.control.rate().map_or(0.0, f64::from);
        if let Some(proven) = self.proven(usage, now).filter(|proven| *proven > rate) {
            rate = proven;
            self.control.set(rate, now);
        }
        if let Some(probed) = probed
            && usage != Usage::Over
            && probed > rate
        {
            self.control.set(probed, now);
            self.loss.passed(probed);
            return DecisionReason::Probe;
        }
        if lowered {
            DecisionReason::Delay
        } else {
            DecisionReason::Room
        }
    }
}

impl Estimator for Gcc {
    fn report(&mut self, outcomes: &[Outcome], circumstances: &Circumstances, now: u64) {
        if self.was_limited && !circumstances.limited {
            self.throughput.end_pause();
        }
        self.was_limited = circumstances.limited;
        let mut usage = Usage::Normal;
        // What nothing is told about has arrived like the rest, as far as anybody knows.
        let mut unreported = circumstances.unreported;
        for outcome in outcomes {
            let Some(arrived_at) = outcome.arrived_at else { continue };
            self.throughput
                .add(arrived_at, outcome.size, std::mem::take(&mut unreported));
            let sent_at = i64::try_from(outcome.sent_at).unwrap_or(i64::MAX);
            usage = self.trend.update(sent_at, arrived_at);
        }
        if outcomes.iter().all(|outcome| outcome.arrived_at.is_none()) {
            usage = self.trend.usage();
        }
        let stands = self.standing.update(outcomes, now);
        if stands {
            usage = Usage::Over;
        }
        let delays = self.delay_based(usage, circumstances, now);
        if stands && delays == DecisionReason::Delay {
            self.standing.acted(now);
        }
        let delay_based = self.control.rate().map_or(RATES.0, f64::from);
        let was_limiting = self.loss.is_limiting();
        let allowed = self.loss.update(outcomes, delay_based, self.throughput.rate(), now);
        self.reason = match delays {
            _ if was_limiting || self.loss.is_limiting() => DecisionReason::Loss,
            DecisionReason::Delay if stands => DecisionReason::Queue,
            other => other,
        };
        self.estimate = delay_based.min(allowed).clamp(RATES.0, RATES.1);
    }

    fn told(&mut self, _: u32) {}

    fn lost(&mut self, _: f64, _: u64) {}

    fn unanswered(&mut self, silence: u64, now: u64) {
        if silence < SILENCE || now.saturating_sub(self.lowered_in_silence) < SILENCE_STEP {
            return;
        }
        self.lowered_in_silence = now;
        self.estimate = (SILENCE_SHARE * self.estimate).max(RATES.0);
        self.control.set(self.estimate, now);
        self.reason = DecisionReason::Silence;
    }

    fn estimate(&self) -> u32 {
        self.estimate as u32
    }

    fn reason(&self) -> DecisionReason {
        self.reason
    }

    fn full_at(&self) -> Option<u64> {
        self.control.reduced_at()
    }

    fn knows_capacity(&self) -> bool {
        self.control.knows_capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends 10 packets of 1200 bytes a tenth of a second, which take `delay(now)` or are lost, and reports them.
    /// Returns the reasons of changes, each once as they come.
    fn run(gcc: &mut Gcc, seconds: std::ops::Range<u64>, delay: impl Fn(u64) -> Option<u64>) -> Vec<DecisionReason> {
        let mut reasons = Vec::new();
        for round in 10 * seconds.start..10 * seconds.end {
            let sent = (0..10).map(|index| 100_000 * round + 10_000 * index);
            let mut outcomes: Vec<_> = sent
                .map(|sent_at| Outcome {
                    sent_at,
                    arrived_at: delay(sent_at).map(|delay| (sent_at + delay) as i64),
                    late: false,
                    size: 1200,
                    cluster: None,
                })
                .collect();
            outcomes.sort_by_key(|outcome| outcome.arrived_at);
            let circumstances = Circumstances {
                round_trip: 100_000,
                limited: false,
                unreported: 0,
                probed: (round == 5).then_some(900_000),
            };
            let before = gcc.estimate();
            gcc.report(&outcomes, &circumstances, 100_000 * (round + 1));
            if gcc.estimate() != before {
                reasons.push(gcc.reason());
            }
        }
        reasons.dedup();
        reasons
    }

    #[test]
    fn more_than_is_allowed_is_sent_and_arrives() {
        let mut gcc = Gcc::new(200_000);
        run(&mut gcc, 20..23, |_| Some(20_000));
        // 960 kbit/s.
        assert!((800_000..1_070_000).contains(&gcc.estimate()), "{}", gcc.estimate());
    }

    #[test]
    fn a_probe_that_measured_less_than_what_arrives_lowers_nothing() {
        let mut gcc = Gcc::new(200_000);
        run(&mut gcc, 20..23, |_| Some(20_000));
        // As if only now more were sent than is allowed.
        gcc.control.set(200_000.0, 23_000_000);
        let circumstances = Circumstances {
            round_trip: 100_000,
            limited: false,
            unreported: 0,
            probed: Some(300_000),
        };
        gcc.delay_based(Usage::Normal, &circumstances, 23_100_000);
        assert!(gcc.control.rate() > Some(700_000), "{:?}", gcc.control.rate());
    }

    #[test]
    fn changes_have_reasons() {
        use DecisionReason::{Delay, Loss, Probe, Queue, Room, Silence};
        let mut gcc = Gcc::new(600_000);
        assert_eq!(run(&mut gcc, 0..3, |_| Some(20_000)), [Probe, Room]);
        // Longer by 5 % of the time: more is sent than arrives.
        let growing = run(&mut gcc, 3..5, |at| Some(20_000 + (at - 3_000_000) / 20));
        assert!(growing.contains(&Delay), "{growing:?}");
        run(&mut gcc, 5..10, |_| Some(20_000));
        // Longer by 1 % of the time: no trend tells that.
        let standing = run(&mut gcc, 10..20, |at| Some(20_000 + (at - 10_000_000) / 100));
        assert!(standing.contains(&Queue), "{standing:?}");
        run(&mut gcc, 20..30, |_| Some(20_000));
        let lossy = run(&mut gcc, 30..40, |at| (at % 50_000 > 10_000).then_some(20_000));
        assert!(lossy.ends_with(&[Loss]), "{lossy:?}");
        let before = gcc.estimate();
        gcc.unanswered(SILENCE, 43_000_000);
        assert!(gcc.estimate() < before);
        assert_eq!(gcc.reason(), Silence);
    }
}
