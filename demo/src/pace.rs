//! How fast somebody may ask: a token bucket.

use tokio::time::Instant;

/// What may be asked at once, in seconds of the allowed rate: a page that enters a large room asks for much.
const BURST: f64 = 10.0;

/// Counts what is asked against what is allowed.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second * BURST,
            at: Instant::now(),
        }
    }

    /// One more; whether it is allowed.
    pub(crate) fn allows(&mut self) -> bool {
        let now = Instant::now();
        let earned = (now - self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second * BURST);
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_and_then_so_much_a_second() {
        let mut pace = Pace::new(3);
        let count = |pace: &mut Pace| (0..100).filter(|_| pace.allows()).count();
        assert_eq!(count(&mut pace), 30);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(count(&mut pace), 6);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(count(&mut pace), 30);
    }
}
