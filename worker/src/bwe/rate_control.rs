//! What rate to allow, given how the path is used (draft-ietf-rmcat-gcc-02 5.5).

use super::trend::Usage;

/// Least and highest rate that is allowed.
const MIN_RATE: f64 = 30_000.0;
const MAX_RATE: f64 = 1e9;
/// Bits of a packet as senders make them.
const PACKET_BITS: f64 = 9600.0;
/// Share of the measured rate that is allowed after overuse.
const BACK_OFF: f64 = 0.85;
/// Growth per second while the limit of the path is not known.
const GROWTH: f64 = 1.08;
/// Response time of a sender without its round-trip time, in seconds.
const RESPONSE: f64 = 0.3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// Raises and lowers the allowed rate.
#[derive(Debug)]
pub struct RateControl {
    rate: Option<f64>,
    state: State,
    changed_at: u64,
    full_at: Option<Full>,
}

impl RateControl {
    pub fn new() -> Self {
        Self {
            rate: None,
            state: State::Increase,
            changed_at: 0,
            full_at: None,
        }
    }

    /// The allowed rate, once something has been measured.
    pub fn rate(&self) -> Option<u32> {
        self.rate.map(|rate| rate as u32)
    }

    /// Takes what was measured: how the path is used, and the rate that arrived. True: the rate was lowered.
    pub fn update(&mut self, usage: Usage, measured: u32, now: u64) -> bool {
        let measured = f64::from(measured);
        let Some(rate) = self.rate else {
            self.rate = (measured > 0.0).then(|| (1.5 * measured + 10_000.0).max(MIN_RATE));
            self.changed_at = now;
            return false;
        };
        let elapsed = (now.saturating_sub(self.changed_at) as f64 / 1e6).min(1.0);
        self.changed_at = now;
        match usage {
            Usage::Over => {
                let lowered = (BACK_OFF * measured).max(MIN_RATE).min(rate);
                self.remember(measured);
                self.rate = Some(lowered);
                self.state = State::Hold;
                return lowered < rate;
            }
            // The queues of the path empty: wait for that.
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => self.state = State::Increase,
            Usage::Normal => {
                let raised = match self.full_at {
                    Some(full) if full.is_near(measured) => {
                        // About a packet per response time.
                        let packets = 0.5 * (elapsed / RESPONSE).min(1.0);
                        rate + (PACKET_BITS * packets).max(1000.0 * elapsed)
                    }
                    _ => rate * GROWTH.powf(elapsed),
                };
                if self.full_at.is_some_and(|full| full.is_below(measured)) {
                    // The path has become wider.
                    self.full_at = None;
                }
                // What is not used says nothing about the path.
                self.rate = Some(raised.min(1.5 * measured + 10_000.0).max(rate).min(MAX_RATE));
            }
        }
        false
    }

    fn remember(&mut self, measured: f64) {
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

    fn is_near(&self, measured: f64) -> bool {
        (measured / 1000.0 - self.mean).abs() <= 3.0 * self.deviation()
    }

    fn is_below(&self, measured: f64) -> bool {
        measured / 1000.0 > self.mean + 3.0 * self.deviation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_used_and_backs_off() {
        let mut control = RateControl::new();
        assert!(!control.update(Usage::Normal, 100_000, 0));
        assert_eq!(control.rate(), Some(160_000));
        // Only 100 kbit/s arrive: there is no reason to allow more.
        for second in 1..20 {
            control.update(Usage::Normal, 100_000, second * 1_000_000);
        }
        assert_eq!(control.rate(), Some(160_000));
        for second in 20..40 {
            let used = control.rate().unwrap_or_default();
            control.update(Usage::Normal, used, second * 1_000_000);
        }
        let grown = control.rate().unwrap_or_default();
        assert!(grown > 700_000, "{grown}");
        assert!(control.update(Usage::Over, 500_000, 40_000_000));
        assert_eq!(control.rate(), Some(425_000));
        control.update(Usage::Under, 425_000, 40_200_000);
        assert_eq!(control.rate(), Some(425_000));
    }
}
