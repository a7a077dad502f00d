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
/// As long as the next layers do not fit, and the path has not been full for as long.
const NEXT_PERIOD: u64 = 2_500_000;
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
    /// It is to begin when what was sent before has passed: otherwise it would arrive faster than it was sent.
    pub alone: bool,
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
    /// What has to be possible for more to be sent: until then that does not grow with the estimate.
    pub next: Option<u32>,
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
    /// Whether more is sent only if so much more is possible that a probe has to tell.
    below_next: bool,
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
        let since_full = situation.full_at.map_or(u64::MAX, |at| now.saturating_sub(at));
        let limited = situation.limited_since.is_some();
        let below_next = situation.next.is_some_and(|next| next > situation.estimate);
        self.below_next = below_next && (limited || since_full >= NEXT_PERIOD);
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
        let period = match (situation.full_at, self.below_next) {
            (None, _) => EARLY_PERIOD,
            (Some(_), true) => self.spread(NEXT_PERIOD),
            (Some(_), false) => self.spread(PERIOD),
        };
        let paused = now.saturating_sub(self.probed_at) >= period;
        if let Some((before, at)) = self.dropped.filter(|(_, at)| now.saturating_sub(*at) < PERIOD)
            && paused
            && situation.limited_since.is_some_and(|since| since <= at)
        {
            self.dropped = None;
            return self.probe(&[RECOVERY * before], (SUCCESS, SHORT), wanted, now);
        }
        let calm = !situation.known && since_full >= PERIOD;
        match (limited || self.below_next, paused) {
            (_, _) if rising => self.probe(&[FURTHER * estimate], (SUCCESS, SHORT), wanted, now),
            (true, true) => self.probe(&[FURTHER * estimate], (SUCCESS, SHORT), wanted, now),
            (false, true) if calm => self.probe(&[GROWING * estimate], (GROWN, LONG), wanted, now),
            _ => SmallVec::new(),
        }
    }

    /// A period, longer by a share that is as good as random: the time of a probe depends on when reports came.
    fn spread(&self, period: u64) -> u64 {
        let spread = self.probed_at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        period + (period as f64 * SPREAD * spread as f64 / f64::from(u32::MAX)) as u64
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
                alone: self.below_next,
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
            next: None,
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

    /// Probes in 40 s of a situation that depends on the time, looked at every 100 ms: when each was decided on.
    fn probes(situation: impl Fn(u64) -> Situation) -> Vec<(u64, Probe)> {
        let mut plan = ProbePlan::default();
        plan.update(&self::situation(600_000, 10_000_000), 0);
        let times = (1..400_u64).map(|step| step * 100_000);
        times
            .flat_map(|now| {
                plan.update(&situation(now), now)
                    .into_iter()
                    .map(move |probe| (now, probe))
            })
            .collect()
    }

    fn apart(probes: &[(u64, Probe)]) -> u64 {
        let times = probes.windows(2).map(|two| two[1].0 - two[0].0);
        times.min().unwrap_or(u64::MAX)
    }

    #[test]
    fn a_full_path_is_left_alone_and_a_limited_sender_looks_every_five_seconds() {
        let probes = probes(|now| Situation {
            full_at: Some(now.min(19_900_000)),
            known: now < 25_000_000,
            limited_since: (now > 30_000_000).then_some(1),
            ..situation(700_000, 10_000_000)
        });
        let (limited, all_sent): (Vec<_>, Vec<_>) = probes.iter().partition(|(at, _)| *at > 30_000_000);
        let probe = |rate, duration| Probe {
            rate,
            duration,
            alone: false,
        };
        assert!(
            all_sent
                .iter()
                .all(|(at, of)| *at >= 25_000_000 && *of == probe(1_050_000, LONG)),
            "{probes:?}"
        );
        assert!(
            limited.iter().all(|(_, of)| *of == probe(1_400_000, SHORT)),
            "{probes:?}"
        );
        assert_eq!((all_sent.is_empty(), limited.is_empty()), (false, false), "{probes:?}");
        assert!(apart(&probes) >= PERIOD, "{probes:?}");
    }

    #[test]
    fn who_cannot_send_a_little_more_looks_more_often_once_the_path_is_not_full() {
        let before_next = |next, limited: bool| {
            probes(move |now| Situation {
                full_at: Some(now.min(19_900_000)),
                known: true,
                limited_since: (limited && now > 30_000_000).then_some(1),
                next: Some(next),
                ..situation(700_000, 10_000_000)
            })
        };
        for limited in [false, true] {
            let probes = before_next(800_000, limited);
            assert!(probes.len() >= 4 && apart(&probes) >= NEXT_PERIOD, "{probes:?}");
            let since_full = |(at, probe): &(u64, Probe)| *at >= 19_900_000 + NEXT_PERIOD && probe.alone;
            assert!(probes.iter().all(since_full), "{probes:?}");
        }
        assert_eq!(before_next(600_000, false), [], "it may climb without");
    }
}
