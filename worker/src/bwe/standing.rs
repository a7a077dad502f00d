//! A queue that stands: delays are long, but do not grow, so that their trend tells nothing.

use super::estimator::Outcome;

/// The shortest delay of two such windows (microseconds) is what the path takes without a queue.
const WINDOW: u64 = 10_000_000;
/// Beyond that, a delay of so many microseconds for so long is a queue that stands.
const EXCESS: i64 = 25_000;
const DURATION: u64 = 250_000;
/// What was done about it has so much time to help. If it did not, others fill the queue, and it is left alone.
const HELP: u64 = 2_000_000;
const GIVE_UP: u64 = 60_000_000;

/// Watches the shortest delays.
#[derive(Debug, Default)]
pub struct StandingQueue {
    /// Shortest delay of this window and of the one before.
    shortest: Option<i64>,
    before: Option<i64>,
    window_ends: u64,
    since: Option<u64>,
    acted_at: Option<u64>,
    quiet_until: u64,
}

impl StandingQueue {
    /// Takes a report. True: something is to be done about a queue that stands, until [`acted`](Self::acted).
    pub fn update(&mut self, outcomes: &[Outcome], now: u64) -> bool {
        let delays = outcomes.iter().filter_map(|outcome| {
            let sent_at = i64::try_from(outcome.sent_at).ok()?;
            outcome.arrived_at?.checked_sub(sent_at)
        });
        let Some(delay) = delays.min() else { return false };
        if now >= self.window_ends {
            self.window_ends = now + WINDOW;
            self.before = self.shortest.take();
        }
        self.shortest = Some(self.shortest.map_or(delay, |shortest| shortest.min(delay)));
        let base = self.shortest.into_iter().chain(self.before).min().unwrap_or(delay);
        if delay.saturating_sub(base) < EXCESS {
            self.since = None;
            self.acted_at = None;
            return false;
        }
        let stands = now.saturating_sub(*self.since.get_or_insert(now)) >= DURATION;
        if !stands || now < self.quiet_until {
            return false;
        }
        match self.acted_at {
            Some(at) if now.saturating_sub(at) < HELP => false,
            Some(_) => {
                self.acted_at = None;
                self.quiet_until = now + GIVE_UP;
                false
            }
            None => true,
        }
    }

    /// Something has been done about it.
    pub fn acted(&mut self, now: u64) {
        self.acted_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports a delay every 100 ms, given in milliseconds by the number of the report; returns when something was to
    /// be done.
    fn run(delay: impl Fn(u64) -> i64, reports: u64) -> Vec<u64> {
        let mut queue = StandingQueue::default();
        let reports = (0..reports).filter(|report| {
            let outcome = Outcome {
                sent_at: report * 100_000,
                arrived_at: Some(*report as i64 * 100_000 - 77_000_000 + delay(*report) * 1000),
                late: false,
                size: 1000,
                cluster: None,
            };
            let stands = queue.update(&[outcome], report * 100_000);
            if stands {
                queue.acted(report * 100_000);
            }
            stands
        });
        reports.collect()
    }

    #[test]
    fn what_stands_is_told_once_and_again_only_if_that_helped() {
        let times = run(|report| if report % 100 < 85 { 10 } else { 100 }, 200);
        assert_eq!(times, [88, 188]);
        // A burst passes.
        assert_eq!(run(|report| if report % 50 < 3 { 200 } else { 20 }, 500), [0; 0]);
        // It does not help: others fill the queue. After a while the path seems to be longer.
        assert_eq!(run(|report| if report < 50 { 10 } else { 100 }, 600), [53]);
    }
}
