//! What rate to allow, given how the path is used (draft-ietf-rmcat-gcc-02 5.5): more and more of it until queues grow,
//! then less than what arrived.

use super::trend::Usage;

/// Least and highest rate that is allowed, in bits per second.
pub const RATES: (f64, f64) = (30_000.0, 1e9);
/// Share of the measured rate that is allowed after overuse.
const BACK_OFF: f64 = 0.85;
/// Growth per second while the limit of the path is not known, and the least of it in bits per second.
const GROWTH: (f64, f64) = (1.08, 1000.0);
/// Below this share of the limit that is known, the limit is not near.
const NEAR: f64 = 0.85;
/// Near the limit: least growth per second, in bits per second and as a share of the rate. The latter lets wide paths
/// recover as fast as narrow ones.
const LEAST_ADDITION: (f64, f64) = (4000.0, 0.01);
/// And the most, in bits per second and as a share: a packet more per round trip is much for a narrow path. The former
/// is the same for all, which is what makes flows on one path equal.
const MOST_ADDITION: (f64, f64) = (35_000.0, 0.03);
/// What is allowed beyond a multiple of what arrives, in bits per second.
const BEYOND: f64 = 10_000.0;
/// Frames and packets as senders make them: frames per second, bits of a packet.
const FRAMES: f64 = 30.0;
const PACKET_BITS: f64 = 9600.0;
/// What a receiver adds to the round trip before its report is here, in seconds.
const REPORT_DELAY: f64 = 0.1;
/// Between two reductions: a round trip, within these bounds, in microseconds.
const REDUCTION_PAUSE: (u64, u64) = (10_000, 200_000);
/// Without anything measured: pause and factor.
const BLIND_PAUSE: u64 = 200_000;
const BLIND: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// Raises and lowers the allowed rate.
#[derive(Debug)]
pub struct RateControl {
    rate: Option<f64>,
    beyond: f64,
    state: State,
    changed_at: u64,
    reduced_at: Option<u64>,
    full_at: Option<Full>,
}

impl RateControl {
    /// Starts with this rate, or with what will be measured first. What is measured is to be exceeded at most by the
    /// factor `beyond`.
    pub fn new(start: Option<f64>, beyond: f64) -> Self {
        Self {
            rate: start,
            beyond,
            state: State::Increase,
            changed_at: 0,
            reduced_at: None,
            full_at: None,
        }
    }

    /// The allowed rate, once something has been measured.
    pub fn rate(&self) -> Option<u32> {
        self.rate.map(|rate| rate as u32)
    }

    /// When the path was last found overused.
    pub fn reduced_at(&self) -> Option<u64> {
        self.reduced_at
    }

    /// Whether it is known at which rate the path is full.
    pub fn knows_capacity(&self) -> bool {
        self.full_at.is_some()
    }

    /// What may be allowed while so much arrives: what has not been tried is not known.
    fn allowed(&self, measured: f64) -> f64 {
        self.beyond * measured + BEYOND
    }

    /// Allows this rate, which was measured by other means.
    pub fn set(&mut self, rate: f64, now: u64) {
        self.rate = Some(rate.clamp(RATES.0, RATES.1));
        self.changed_at = now;
        if self.full_at.is_some_and(|full| full.is_below(rate)) {
            self.full_at = None;
        }
    }

    /// Takes what was measured: how the path is used, the rate that arrived if known, and the round-trip time in
    /// microseconds. True: the rate was lowered.
    pub fn update(&mut self, usage: Usage, measured: Option<f64>, round_trip: u64, now: u64) -> bool {
        let Some(rate) = self.rate else {
            self.rate = measured
                .filter(|measured| *measured > 0.0)
                .map(|measured| self.allowed(measured).max(RATES.0));
            self.changed_at = now;
            return false;
        };
        match usage {
            Usage::Over => return self.reduce(rate, measured, round_trip, now),
            // The queues of the path empty: wait for that.
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => {
                self.state = State::Increase;
                self.changed_at = now;
            }
            Usage::Normal => self.increase(rate, measured, round_trip, now),
        }
        false
    }

    fn reduce(&mut self, rate: f64, measured: Option<f64>, round_trip: u64, now: u64) -> bool {
        let pause = match measured {
            None => BLIND_PAUSE,
            // Far from what arrives: it has not been followed yet, or not enough.
            Some(measured) if measured < 0.5 * rate => REDUCTION_PAUSE.0,
            Some(_) => round_trip.clamp(REDUCTION_PAUSE.0, REDUCTION_PAUSE.1),
        };
        if self.reduced_at.is_some_and(|at| now.saturating_sub(at) < pause) {
            return false;
        }
        let lowered = match measured {
            None => BLIND * rate,
            Some(measured) => {
                self.remember(measured);
                match self.full_at {
                    // More arrives than is allowed: what the path can do at most is known better.
                    Some(full) if BACK_OFF * measured > rate => BACK_OFF * full.mean * 1000.0,
                    _ => BACK_OFF * measured,
                }
            }
        };
        let lowered = lowered.max(RATES.0).min(rate);
        self.rate = Some(lowered);
        self.state = State::Hold;
        (self.changed_at, self.reduced_at) = (now, Some(now));
        lowered < rate
    }

    fn increase(&mut self, rate: f64, measured: Option<f64>, round_trip: u64, now: u64) {
        let elapsed = (now.saturating_sub(self.changed_at) as f64 / 1e6).min(1.0);
        self.changed_at = now;
        let Some(measured) = measured else { return };
        if self.full_at.is_some_and(|full| full.is_below(measured)) {
            // The path has become wider.
            self.full_at = None;
        }
        let near = self.full_at.is_some_and(|full| rate > NEAR * full.mean * 1000.0);
        let raised = if near {
            // About a packet per response time.
            let frame = rate / FRAMES;
            let packet = frame / (frame / PACKET_BITS).ceil().max(1.0);
            let response = round_trip as f64 / 1e6 + REPORT_DELAY;
            let addition = (packet / response).min(MOST_ADDITION.0).min(MOST_ADDITION.1 * rate);
            rate + elapsed * addition.max(LEAST_ADDITION.0).max(LEAST_ADDITION.1 * rate)
        } else {
            rate + (rate * (GROWTH.0.powf(elapsed) - 1.0)).max(GROWTH.1 * elapsed)
        };
        // What is not used says nothing about the path.
        self.rate = Some(raised.min(self.allowed(measured)).max(rate).min(RATES.1));
    }

    fn remember(&mut self, measured: f64) {
        // It may have become narrower.
        if self.full_at.is_some_and(|full| full.is_above(measured)) {
            self.full_at = None;
        }
        let full = self.full_at.get_or_insert(Full {
            mean: measured / 1000.0,
            variance: 0.4,
        });
        full.add(measured / 1000.0);
    }
}

/// The rate at which the path was full, in kbit/s.
#[derive(Debug, Clone, Copy)]
struct Full {
    mean: f64,
    /// Relative to the mean.
    variance: f64,
}

impl Full {
    fn add(&mut self, rate: f64) {
        self.mean = 0.95 * self.mean + 0.05 * rate;
        let error = (self.mean - rate) * (self.mean - rate) / self.mean.max(1.0);
        self.variance = (0.95 * self.variance + 0.05 * error).clamp(0.4, 2.5);
    }

    fn deviation(&self) -> f64 {
        (self.variance * self.mean).sqrt()
    }

    fn is_above(&self, rate: f64) -> bool {
        rate / 1000.0 < self.mean - 3.0 * self.deviation()
    }

    fn is_below(&self, rate: f64) -> bool {
        rate / 1000.0 > self.mean + 3.0 * self.deviation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: u64 = 200_000;

    #[test]
    fn it_grows_while_used_and_backs_off() {
        let mut control = RateControl::new(None, 1.5);
        assert!(!control.update(Usage::Normal, Some(100_000.0), ROUND_TRIP, 0));
        assert_eq!(control.rate(), Some(160_000));
        // Only 100 kbit/s arrive: there is no reason to allow more.
        for second in 1..20 {
            control.update(Usage::Normal, Some(100_000.0), ROUND_TRIP, second * 1_000_000);
        }
        assert_eq!(control.rate(), Some(160_000));
        for second in 20..40 {
            let used = control.rate().map(f64::from);
            control.update(Usage::Normal, used, ROUND_TRIP, second * 1_000_000);
        }
        let grown = control.rate().unwrap_or_default();
        assert!(grown > 700_000, "{grown}");
        assert!(control.update(Usage::Over, Some(500_000.0), ROUND_TRIP, 40_000_000));
        assert_eq!(control.rate(), Some(425_000));
        control.update(Usage::Under, Some(425_000.0), ROUND_TRIP, 40_200_000);
        assert_eq!(control.rate(), Some(425_000));
    }

    #[test]
    fn overuse_halves_what_nothing_is_known_about() {
        let mut control = RateControl::new(Some(1_000_000.0), 1.5);
        assert!(control.update(Usage::Over, None, ROUND_TRIP, 1_000_000));
        assert!(!control.update(Usage::Over, None, ROUND_TRIP, 1_100_000));
        assert!(control.update(Usage::Over, None, ROUND_TRIP, 1_200_000));
        assert_eq!(control.rate(), Some(250_000));
        for second in 0..100 {
            control.update(Usage::Over, Some(0.0), ROUND_TRIP, (2 + second) * 1_000_000);
        }
        assert_eq!(control.rate(), Some(RATES.0 as u32));
    }
}
