//! When to probe for more than is being sent, and for how much.

use smallvec::SmallVec;

/// First probes, as multiples of the estimate.
const FIRST: [f64; 2] = [3.0, 6.0];
/// A probe that measured more than this share of what it probed for is followed by one for this multiple.
const SUCCESS: f64 = 0.7;
const FURTHER: f64 = 2.0;
/// How long the result of a probe is waited for, in microseconds.
const WAIT: u64 = 1_000_000;
/// Between two probes without other reason, in microseconds: while less is sent than allowed, and while all of it is
/// sent, the path has not been full for as long, and it has turned out to be wider than it was then.
const PERIOD: u64 = 5_000_000;
/// Before the path has been full for the first time.
const EARLY_PERIOD: u64 = 1_500_000;
const GROWING: f64 = 1.5;
/// The share of it that must have been measured for a further one: the path is not just a little wider.
const GROWN: f64 = 0.9;
/// The period is longer by up to this share, so that senders that share a path do not probe at once.
const SPREAD: f64 = 0.5;
/// A fall of the estimate by more than this share is looked into again, at this share of what was.
const DROP: f64 = 0.34;
const RECOVERY: f64 = 0.85;
/// The most that is wanted has risen by so much: that alone is a reason.
const RISE: f64 = 1.1;
/// An estimate that reaches this share of the most that is wanted needs no probe.
const ENOUGH: f64 = 0.97;

/// How long probes take at least, in microseconds. One beside a full stream takes long enough to meet the frames of
/// others on the path: between them it would find the path empty.
const SHORT: u64 = 15_000;
const LONG: u64 = 100_000;

/// A probe that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Bits per second, with the media that is sent meanwhile.
    pub rate: u32,
    /// Least duration in microseconds.
    pub duration: u64,
}

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// Bits per second that are thought possible.
    pub estimate: u32,
    /// Most that is wanted of it.
    pub wanted: u32,
    /// Since when less is sent than is possible.
    pub limited_since: Option<u64>,
    /// When the path was last found to be full.
    pub full_at: Option<u64>,
    /// Whether it is known at which rate it is full.
    pub known: bool,
}

/// Decides on probes.
#[derive(Debug, Default)]
pub struct ProbePlan {
    started: bool,
    wanted: f64,
    /// What the estimate has to exceed for the next probe to follow at once, and until when.
    waiting: Option<(f64, u64)>,
    probed_at: u64,
    estimate: f64,
    /// The estimate before it fell, and when it did.
    dropped: Option<(f64, u64)>,
}

impl ProbePlan {
    /// Probes to send now.
    pub fn update(&mut self, situation: &Situation, now: u64) -> SmallVec<[Probe; 2]> {
        let estimate = f64::from(situation.estimate);
        if estimate < (1.0 - DROP) * self.estimate {
            self.dropped = Some((self.estimate, now));
        }
        self.estimate = estimate;
        let wanted = f64::from(situation.wanted);
        let rising = wanted > RISE * self.wanted;
        if let Some((threshold, until)) = self.waiting {
            if estimate > threshold {
                self.waiting = None;
                return self.probe(&[FURTHER * estimate], (SUCCESS, SHORT), wanted, now);
            }
            if now < until {
                return SmallVec::new();
            }
            self.waiting = None;
        }
        if rising || wanted < self.wanted {
            self.wanted = wanted;
        }
        if estimate >= ENOUGH * wanted {
            return SmallVec::new();
        }
        if !self.started {
            self.started = true;
            return self.probe(&FIRST.map(|factor| factor * estimate), (SUCCESS, SHORT), wanted, now);
        }
        let period = match situation.full_at {
            None => EARLY_PERIOD,
            Some(_) => self.period(),
        };
        let paused = now.saturating_sub(self.probed_at) >= period;
        if let Some((before, at)) = self.dropped.filter(|(_, at)| now.saturating_sub(*at) < PERIOD)
            && paused
            && situation.limited_since.is_some_and(|since| since <= at)
        {
            self.dropped = None;
            return self.probe(&[RECOVERY * before], (SUCCESS, SHORT), wanted, now);
        }
        let limited = situation.limited_since.is_some();
        let calm = !situation.known && situation.full_at.is_none_or(|at| now.saturating_sub(at) >= PERIOD);
        match (limited, paused) {
            (_, _) if rising => self.probe(&[FURTHER * estimate], (SUCCESS, SHORT), wanted, now),
            (true, true) => self.probe(&[FURTHER * estimate], (SUCCESS, SHORT), wanted, now),
            (false, true) if calm => self.probe(&[GROWING * estimate], (GROWN, LONG), wanted, now),
            _ => SmallVec::new(),
        }
    }

    /// Between two probes without other reason. As good as random: the time of a probe depends on when reports came.
    fn period(&self) -> u64 {
        let spread = self.probed_at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        PERIOD + (PERIOD as f64 * SPREAD * spread as f64 / f64::from(u32::MAX)) as u64
    }

    fn probe(&mut self, rates: &[f64], (success, duration): (f64, u64), wanted: f64, now: u64) -> SmallVec<[Probe; 2]> {
        let mut probes = SmallVec::new();
        self.probed_at = now;
        for rate in rates {
            let rate = rate.min(wanted);
            if rate <= self.estimate || probes.last().is_some_and(|last: &Probe| last.rate == rate as u32) {
                continue;
            }
            probes.push(Probe {
                rate: rate as u32,
                duration,
            });
            // More than is wanted is not looked for.
            let threshold = if rate < wanted { success * rate } else { f64::INFINITY };
            self.waiting = Some((threshold.max(self.estimate), now + WAIT));
        }
        probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(estimate: u32, wanted: u32) -> Situation {
        Situation {
            estimate,
            wanted,
            limited_since: None,
            full_at: None,
            known: false,
        }
    }

    #[test]
    fn probes_double_until_what_is_wanted_is_reached() {
        let mut plan = ProbePlan::default();
        assert!(plan.update(&situation(600_000, 600_000), 0).is_empty());
        let rates = |probes: SmallVec<[Probe; 2]>| probes.iter().map(|probe| probe.rate).collect::<Vec<_>>();
        let first = plan.update(&situation(600_000, 10_000_000), 1000);
        assert_eq!(rates(first), [1_800_000, 3_600_000]);
        assert!(plan.update(&situation(1_500_000, 10_000_000), 100_000).is_empty());
        let second = plan.update(&situation(3_000_000, 10_000_000), 200_000);
        assert_eq!(rates(second), [6_000_000]);
        let third = plan.update(&situation(6_000_000, 10_000_000), 300_000);
        assert_eq!(rates(third), [10_000_000]);
        assert!(plan.update(&situation(9_800_000, 10_000_000), 9_000_000).is_empty());
    }

    #[test]
    fn a_full_path_is_left_alone_and_a_limited_sender_looks_every_five_seconds() {
        let mut plan = ProbePlan::default();
        plan.update(&situation(600_000, 10_000_000), 0);
        let mut times = Vec::new();
        for step in 1..400_u64 {
            let now = step * 100_000;
            let full = Situation {
                full_at: Some(now.min(19_900_000)),
                known: step < 250,
                limited_since: (step > 300).then_some(1),
                ..situation(700_000, 10_000_000)
            };
            for probe in plan.update(&full, now) {
                assert!(now >= 5_000_000 + times.last().map_or(0, |(at, _, _)| *at));
                times.push((now, probe.rate, probe.duration));
            }
        }
        let long = times
            .iter()
            .filter(|(_, rate, duration)| (*rate, *duration) == (1_050_000, LONG));
        let short = times
            .iter()
            .filter(|(_, rate, duration)| (*rate, *duration) == (1_400_000, SHORT));
        assert!(times.iter().all(|(at, _, _)| *at >= 25_000_000), "{times:?}");
        assert_eq!((long.count() > 0, short.count() > 0), (true, true), "{times:?}");
    }
}
