//! Whether the path to us is filling up, by the delays of packets (draft-ietf-rmcat-gcc-02 5.1 to 5.4).

/// Packets that left within so many microseconds count as one.
const GROUP: i64 = 5_000;
/// A longer silence begins anew.
const TIMEOUT: i64 = 2_000_000;
/// Noise of the state per group, in ms².
const STATE_NOISE: f64 = 1e-3;
/// Share of a new measurement in the variance of noise.
const NOISE_SHARE: f64 = 0.05;
/// Groups by which the estimated gradient is multiplied at most before it is compared.
const MAX_GAIN: f64 = 60.0;
/// The threshold starts here, in ms, and stays within these bounds.
const FIRST_THRESHOLD: f64 = 12.5;
const THRESHOLDS: (f64, f64) = (6.0, 600.0);
/// Speed of the threshold upwards and downwards, per ms.
const UP: f64 = 0.01;
const DOWN: f64 = 0.000_18;
/// A gradient so far above the threshold is a spike that it does not follow.
const SPIKE: f64 = 15.0;
/// How long the path must look overused, in ms.
const OVERUSE_TIME: f64 = 10.0;

/// What delays say about the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Queues are stable.
    Normal,
    /// Queues grow.
    Over,
    /// Queues drain.
    Under,
}

/// Follows the delays of packets.
#[derive(Debug)]
pub struct Trend {
    current: Option<Group>,
    previous: Option<Group>,
    gradient: f64,
    gradient_variance: f64,
    noise_variance: f64,
    groups: u32,
    threshold: f64,
    overused_for: Option<f64>,
    usage: Usage,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: i64,
    sent: i64,
    arrived: i64,
}

impl Trend {
    pub fn new() -> Self {
        Self {
            current: None,
            previous: None,
            gradient: 0.0,
            gradient_variance: 0.1,
            noise_variance: 50.0,
            groups: 0,
            threshold: FIRST_THRESHOLD,
            overused_for: None,
            usage: Usage::Normal,
        }
    }

    /// Takes a packet that left at `sent` and arrived at `arrived`, each in microseconds from a zero of its own.
    pub fn update(&mut self, sent: i64, arrived: i64) -> Usage {
        let Some(group) = &mut self.current else {
            self.current = Some(Group {
                first_sent: sent,
                sent,
                arrived,
            });
            return self.usage;
        };
        if arrived - group.arrived > TIMEOUT || arrived < group.arrived {
            *self = Self::new();
            return self.update(sent, arrived);
        }
        // Out of order: it says nothing about queues.
        if sent < group.first_sent {
            return self.usage;
        }
        if sent - group.first_sent <= GROUP {
            group.sent = group.sent.max(sent);
            group.arrived = arrived;
            return self.usage;
        }
        let complete = *group;
        self.current = Some(Group {
            first_sent: sent,
            sent,
            arrived,
        });
        if let Some(previous) = self.previous.replace(complete) {
            let sent = (complete.sent - previous.sent) as f64 / 1000.0;
            let arrived = (complete.arrived - previous.arrived) as f64 / 1000.0;
            self.filter(arrived - sent);
            self.detect(sent);
        }
        self.usage
    }

    /// Kalman filter of the delay gradient.
    fn filter(&mut self, difference: f64) {
        self.groups = self.groups.saturating_add(1);
        let innovation = difference - self.gradient;
        let bound = 3.0 * self.noise_variance.sqrt();
        let limited = innovation.clamp(-bound, bound);
        self.noise_variance = ((1.0 - NOISE_SHARE) * self.noise_variance + NOISE_SHARE * limited * limited).max(1.0);
        let variance = self.gradient_variance + STATE_NOISE;
        let gain = variance / (self.noise_variance + variance);
        self.gradient_variance = (1.0 - gain) * variance;
        self.gradient += gain * innovation;
    }

    fn detect(&mut self, elapsed: f64) {
        let elapsed = elapsed.clamp(0.0, 100.0);
        let before = self.usage;
        let gradient = self.gradient * f64::from(self.groups).min(MAX_GAIN);
        if gradient > self.threshold {
            let time = self.overused_for.map_or(elapsed / 2.0, |time| time + elapsed);
            self.overused_for = Some(time);
            if time > OVERUSE_TIME && self.groups > 1 {
                self.usage = Usage::Over;
            }
        } else {
            self.overused_for = None;
            self.usage = if gradient < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        if before == Usage::Over && self.usage == Usage::Over {
            self.overused_for = Some(0.0);
        }
        if gradient.abs() <= self.threshold + SPIKE {
            let speed = if gradient.abs() < self.threshold { DOWN } else { UP };
            self.threshold += speed * (gradient.abs() - self.threshold) * elapsed;
            self.threshold = self.threshold.clamp(THRESHOLDS.0, THRESHOLDS.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 10 ms whose delay grows by `growth` microseconds each.
    fn run(trend: &mut Trend, packets: i64, growth: i64, at: &mut (i64, i64)) -> Usage {
        let mut usage = Usage::Normal;
        for _ in 0..packets {
            *at = (at.0 + 10_000, at.1 + 10_000 + growth);
            usage = trend.update(at.0, at.1);
        }
        usage
    }

    #[test]
    fn growing_delays_are_overuse_and_falling_ones_underuse() {
        let mut trend = Trend::new();
        let mut at = (0, 5_000_000);
        assert_eq!(run(&mut trend, 200, 0, &mut at), Usage::Normal);
        assert_eq!(run(&mut trend, 100, 2000, &mut at), Usage::Over);
        assert_eq!(run(&mut trend, 400, -2000, &mut at), Usage::Under);
        assert_eq!(run(&mut trend, 1000, 0, &mut at), Usage::Normal);
    }

    #[test]
    fn clocks_may_jump() {
        let mut trend = Trend::new();
        for (sent, arrived) in [(0, 0), (i64::from(u32::MAX), 5), (-5, 6), (7, -8), (9, 1 << 40)] {
            trend.update(sent, arrived);
        }
    }
}
