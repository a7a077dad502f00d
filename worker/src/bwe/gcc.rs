//! Google congestion control, the sender's side (draft-ietf-rmcat-gcc-02): what the delays of packets allow, bounded by
//! what losses allow, both relative to what arrives.

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

/// Estimates from the receiver's reports of arrivals.
#[derive(Debug)]
pub struct Gcc {
    trend: Trend,
    control: RateControl,
    throughput: Throughput,
    loss: LossLimit,
    standing: StandingQueue,
    /// What the last probe measured: all that is known of what arrives in the first moments.
    probed: Option<f64>,
    estimate: f64,
    was_limited: bool,
    lowered_in_silence: u64,
}

impl Gcc {
    /// Starts at so many bits per second.
    pub fn new(initial: u32) -> Self {
        let initial = f64::from(initial).clamp(RATES.0, RATES.1);
        Self {
            trend: Trend::new(),
            control: RateControl::new(Some(initial)),
            throughput: Throughput::default(),
            loss: LossLimit::new(),
            standing: StandingQueue::default(),
            probed: None,
            estimate: initial,
            was_limited: false,
            lowered_in_silence: 0,
        }
    }

    /// What arrives; while the path is full what came in the last moments, however much that differs from before.
    fn arriving(&self, usage: Usage) -> Option<f64> {
        let known = self.throughput.rate()?;
        match (usage, self.throughput.lately()) {
            (Usage::Over, Some(lately)) => Some(lately),
            _ => Some(known),
        }
    }

    fn delay_based(&mut self, usage: Usage, circumstances: &Circumstances, now: u64) {
        let probed = circumstances.probed.map(f64::from);
        self.probed = probed.or(self.probed);
        let arriving = self.arriving(usage).or(self.probed);
        let round_trip = circumstances.round_trip;
        if self.control.update(usage, arriving, round_trip, now) {
            let rate = self.control.rate();
            tracing::debug!(target: "bwe", ?rate, ?arriving, round_trip, "delays grow: lowered");
        }
        let rate = self.control.rate().map_or(0.0, f64::from);
        if let Some(probed) = probed
            && usage != Usage::Over
            && probed > rate
        {
            tracing::debug!(target: "bwe", rate, probed, "raised by a probe");
            self.control.set(probed, now);
            self.loss.passed(probed);
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
                .add(arrived_at, outcome.size + std::mem::take(&mut unreported));
            let sent_at = i64::try_from(outcome.sent_at).unwrap_or(i64::MAX);
            usage = self.trend.update(sent_at, arrived_at);
        }
        if outcomes.iter().all(|outcome| outcome.arrived_at.is_none()) {
            usage = self.trend.usage();
        }
        if self.standing.update(outcomes, now) {
            tracing::debug!(target: "bwe", "a queue stands");
            usage = Usage::Over;
        }
        self.delay_based(usage, circumstances, now);
        let delay_based = self.control.rate().map_or(RATES.0, f64::from);
        let was_limiting = self.loss.is_limiting();
        let allowed = self.loss.update(outcomes, delay_based, self.throughput.rate(), now);
        if self.loss.is_limiting() != was_limiting {
            let limiting = self.loss.is_limiting();
            tracing::debug!(target: "bwe", limiting, allowed, delay_based, "losses");
        }
        self.estimate = delay_based.min(allowed).clamp(RATES.0, RATES.1);
    }

    fn told(&mut self, _: u32) {}

    fn unanswered(&mut self, silence: u64, now: u64) {
        if silence < SILENCE || now.saturating_sub(self.lowered_in_silence) < SILENCE_STEP {
            return;
        }
        self.lowered_in_silence = now;
        self.estimate = (SILENCE_SHARE * self.estimate).max(RATES.0);
        self.control.set(self.estimate, now);
        tracing::debug!(target: "bwe", silence, estimate = self.estimate, "no reports: lowered");
    }

    fn estimate(&self) -> u32 {
        self.estimate as u32
    }

    fn full_at(&self) -> Option<u64> {
        self.control.reduced_at()
    }

    fn knows_capacity(&self) -> bool {
        self.control.knows_capacity()
    }
}
