//! Follows what receivers tell about themselves (REMB), for those who do not report arrivals: a rate, and in their RTCP
//! reports what they lost. Most find their rate by delays, and know nothing of a path that drops what is too much for
//! it without delaying the rest. So many losses lower what they may be sent (draft-ietf-rmcat-gcc-02 section 6).

use channel_proto::reply::DecisionReason;

use super::estimator::{Circumstances, Estimator, Outcome};
use super::rate_control::RATES;

/// Below this share of packets lost the limit rises, above the other it falls.
pub const FEW: f64 = 0.02;
const MANY: f64 = 0.1;
/// How it rises in a second: by this factor, and so many bits per second.
const RISE: (f64, f64) = (1.08, 1000.0);
/// Between two falls in microseconds: 300 ms, and a long round trip for the last one to be heard of.
const PAUSE: u64 = 500_000;

/// Allows what the receiver said last, as long as it does not lose much of it.
#[derive(Debug)]
pub struct Follower {
    told: u32,
    /// What losses allow, if that is less.
    limit: Option<f64>,
    reason: DecisionReason,
    lowered_at: Option<u64>,
    reported_at: u64,
}

impl Follower {
    /// Allows `initial` bits per second until the receiver says something.
    pub fn new(initial: u32) -> Self {
        Self {
            told: initial,
            limit: None,
            reason: DecisionReason::Remb,
            lowered_at: None,
            reported_at: 0,
        }
    }
}

impl Estimator for Follower {
    fn report(&mut self, _: &[Outcome], _: &Circumstances, _: u64) {}

    fn told(&mut self, bitrate: u32) {
        self.told = bitrate;
        self.reason = DecisionReason::Remb;
    }

    fn lost(&mut self, share: f64, now: u64) {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.reported_at, now));
        let elapsed = (elapsed as f64 / 1e6).min(1.0);
        let told = f64::from(self.told);
        let limit = self.limit.unwrap_or(told).min(told);
        if share > MANY && self.lowered_at.is_none_or(|at| now.saturating_sub(at) >= PAUSE) {
            self.lowered_at = Some(now);
            self.limit = Some((limit * (1.0 - 0.5 * share)).max(RATES.0));
            self.reason = DecisionReason::Loss;
        } else if share < FEW && self.limit.is_some() {
            let raised = limit * RISE.0.powf(elapsed) + RISE.1 * elapsed;
            self.limit = Some(raised).filter(|raised| *raised < told);
            self.reason = DecisionReason::Loss;
        }
    }

    fn unanswered(&mut self, _: u64, _: u64) {}

    fn estimate(&self) -> u32 {
        let limit = self.limit.map_or(u32::MAX, |limit| limit as u32);
        self.told.min(limit)
    }

    fn reason(&self) -> DecisionReason {
        self.reason
    }

    fn full_at(&self) -> Option<u64> {
        None
    }

    fn knows_capacity(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_losses_lower_what_the_receiver_said_and_few_let_it_recover() {
        let mut follower = Follower::new(600_000);
        follower.told(2_000_000);
        let mut now = 0;
        let mut lose = |follower: &mut Follower, share: f64| {
            now += 1_000_000;
            follower.lost(share, now);
            (follower.estimate(), follower.reason())
        };
        use DecisionReason::{Loss, Remb};
        assert_eq!(lose(&mut follower, 0.1), (2_000_000, Remb), "as many as are tolerated");
        assert_eq!(lose(&mut follower, 0.2), (1_800_000, Loss));
        assert_eq!(lose(&mut follower, 0.5), (1_350_000, Loss));
        assert_eq!(lose(&mut follower, 0.05), (1_350_000, Loss), "neither few nor many");
        assert_eq!(lose(&mut follower, 0.0), (1_459_000, Loss));
        // What it says is still the most.
        follower.told(500_000);
        assert_eq!((follower.estimate(), follower.reason()), (500_000, Remb));
        follower.told(3_000_000);
        assert_eq!(follower.estimate(), 1_459_000);
        let mut rounds = 0;
        while lose(&mut follower, 0.01).0 < 3_000_000 {
            rounds += 1;
        }
        assert!((8..11).contains(&rounds), "{rounds}");
        assert_eq!(follower.limit, None);
    }

    #[test]
    fn it_falls_no_more_often_than_it_hears_of_that_and_not_below_the_least() {
        let mut follower = Follower::new(1_000_000);
        for at in 0..10 {
            follower.lost(0.2, 1_000_000 + at * 50_000);
        }
        assert_eq!(follower.estimate(), 900_000);
        for at in 2..1000 {
            follower.lost(1.0, at * 1_000_000);
        }
        assert_eq!(follower.estimate(), 30_000);
    }
}
