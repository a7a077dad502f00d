//! Follows what receivers tell about themselves (REMB), for those who do not report arrivals.

use channel_proto::reply::DecisionReason;

use super::estimator::{Circumstances, Estimator, Outcome};

/// Allows what the receiver said last.
#[derive(Debug)]
pub struct Follower {
    estimate: u32,
}

impl Follower {
    /// Allows `initial` bits per second until the receiver says something.
    pub fn new(initial: u32) -> Self {
        Self { estimate: initial }
    }
}

impl Estimator for Follower {
    fn report(&mut self, _: &[Outcome], _: &Circumstances, _: u64) {}

    fn told(&mut self, bitrate: u32) {
        self.estimate = bitrate;
    }

    fn unanswered(&mut self, _: u64, _: u64) {}

    fn estimate(&self) -> u32 {
        self.estimate
    }

    fn reason(&self) -> DecisionReason {
        DecisionReason::Remb
    }

    fn full_at(&self) -> Option<u64> {
        None
    }

    fn knows_capacity(&self) -> bool {
        true
    }
}
