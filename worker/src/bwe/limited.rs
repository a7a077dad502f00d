//! Whether less is sent than would be allowed: then what is sent tells nothing about what could be.

/// Share of the estimate that counts as all of it.
const USED: f64 = 0.8;
/// Over how long it is looked at, in microseconds.
const WINDOW: f64 = 500_000.0;
/// Budget that is left over, as a share of that of the window: above the one it is limited, below the other not any
/// more.
const LIMITED: f64 = 0.4;
const UNLIMITED: f64 = -0.6;

/// A budget that grows with the estimate and shrinks with what is sent.
#[derive(Debug, Default)]
pub struct ApplicationLimited {
    /// In bits.
    budget: f64,
    updated_at: u64,
    since: Option<u64>,
}

impl ApplicationLimited {
    /// Takes what has been sent since the last call, while so many bits per second were allowed.
    pub fn update(&mut self, bytes: usize, estimate: u32, now: u64) {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.updated_at, now)) as f64;
        let rate = USED * f64::from(estimate).max(1.0);
        let full = rate * WINDOW / 1e6;
        self.budget += rate * elapsed.min(WINDOW) / 1e6 - 8.0 * bytes as f64;
        self.budget = self.budget.clamp(-full, full);
        let share = self.budget / full;
        if share > LIMITED {
            self.since.get_or_insert(now);
        } else if share < UNLIMITED {
            self.since = None;
        }
    }

    /// Since when it has been so.
    pub fn since(&self) -> Option<u64> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_sends_less_than_it_may_is_limited() {
        let mut limited = ApplicationLimited::default();
        let mut run = |rate: u64, from: u64| {
            for step in 0..100_u64 {
                limited.update((rate / 800) as usize, 1_000_000, (from + step) * 10_000);
            }
            limited.since()
        };
        assert_eq!(run(1_000_000, 0), None);
        let since = run(300_000, 100);
        assert!(
            since.is_some_and(|at| (1_000_000..1_900_000).contains(&at)),
            "{since:?}"
        );
        assert_eq!(run(300_000, 200), since);
        assert_eq!(run(1_500_000, 300), None);
    }
}
