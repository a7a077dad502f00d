//! Whether the path is filling up, by the delays of packets (draft-ietf-rmcat-gcc-02 5.1 to 5.4).
//!
//! The filter of the draft is replaced by a regression line over the last delays, which reacts faster: its slope is how
//! fast the queues of the path grow.

use std::collections::VecDeque;

/// Packets that left within so many microseconds count as one.
const GROUP: i64 = 5_000;
/// So do packets that the path delivers within as much although they left further apart: it had held them back.
const BURST: (i64, i64) = (5_000, 100_000);
/// A longer silence begins anew.
const TIMEOUT: i64 = 2_000_000;
/// So does a delay that jumps by as much: a clock was set.
const JUMP: i64 = 3_000_000;
/// Groups that the line goes through.
const WINDOW: usize = 20;
/// Share of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// The slope is multiplied by the number of groups, at most by this, and by the gain before it is compared.
const MAX_GROUPS: u32 = 60;
const GAIN: f64 = 4.0;
/// The threshold starts here, in ms, and stays within these bounds.
const FIRST_THRESHOLD: f64 = 12.5;
const THRESHOLDS: (f64, f64) = (6.0, 600.0);
/// Speed of the threshold upwards and downwards, per ms.
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;
/// A value so far above the threshold is a spike that it does not follow.
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
    /// Arrival of the first group, in ms.
    first_arrived: Option<f64>,
    /// Sum of all changes of the delay, in ms, and the same smoothed.
    delay: f64,
    smoothed: f64,
    /// Arrival and smoothed delay of the last groups.
    points: VecDeque<(f64, f64)>,
    slope: f64,
    groups: u32,
    threshold: f64,
    overused_for: Option<f64>,
    overuses: u32,
    usage: Usage,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: i64,
    sent: i64,
    first_arrived: i64,
    arrived: i64,
}

impl Group {
    fn new(sent: i64, arrived: i64) -> Self {
        Self {
            first_sent: sent,
            sent,
            first_arrived: arrived,
            arrived,
        }
    }

    fn takes(&self, sent: i64, arrived: i64) -> bool {
        let later = arrived - self.arrived;
        let caught_up = later - (sent - self.sent) < 0;
        sent - self.first_sent <= GROUP
            || (caught_up && (0..=BURST.0).contains(&later) && arrived - self.first_arrived < BURST.1)
    }
}

impl Trend {
    pub fn new() -> Self {
        Self {
            current: None,
            previous: None,
            first_arrived: None,
            delay: 0.0,
            smoothed: 0.0,
            points: VecDeque::new(),
            slope: 0.0,
            groups: 0,
            threshold: FIRST_THRESHOLD,
            overused_for: None,
            overuses: 0,
            usage: Usage::Normal,
        }
    }

    /// What the last packets said.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes a packet that left at `sent` and arrived at `arrived`, each in microseconds from a zero of its own.
    pub fn update(&mut self, sent: i64, arrived: i64) -> Usage {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::new(sent, arrived));
            return self.usage;
        };
        let (sent_after, arrived_after) = (sent - group.sent, arrived - group.arrived);
        if arrived_after.abs() > TIMEOUT || (arrived_after - sent_after).abs() > JUMP {
            *self = Self::new();
            return self.update(sent, arrived);
        }
        // Out of order: it says nothing about queues.
        if sent < group.first_sent {
            return self.usage;
        }
        if group.takes(sent, arrived) {
            group.sent = group.sent.max(sent);
            group.arrived = group.arrived.max(arrived);
            return self.usage;
        }
        let complete = *group;
        self.current = Some(Group::new(sent, arrived));
        if let Some(previous) = self.previous.replace(complete) {
            self.compare(&previous, &complete);
        }
        self.usage
    }

    fn compare(&mut self, previous: &Group, complete: &Group) {
        let sent = (complete.sent - previous.sent) as f64 / 1000.0;
        let arrived = (complete.arrived - previous.arrived) as f64 / 1000.0;
        self.groups = self.groups.saturating_add(1);
        self.delay += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let at = complete.arrived as f64 / 1000.0;
        let first = *self.first_arrived.get_or_insert(at);
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back((at - first, self.smoothed));
        let before = self.slope;
        if self.points.len() == WINDOW {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        self.detect(sent, before);
    }

    fn detect(&mut self, elapsed: f64, slope_before: f64) {
        let elapsed = elapsed.clamp(0.0, 100.0);
        let value = self.slope * f64::from(self.groups.min(MAX_GROUPS)) * GAIN;
        if value > self.threshold {
            let time = self.overused_for.map_or(elapsed / 2.0, |time| time + elapsed);
            self.overused_for = Some(time);
            self.overuses += 1;
            // A slope that falls again will be below the threshold soon.
            if time > OVERUSE_TIME && self.overuses > 1 && self.slope >= slope_before {
                self.overused_for = Some(0.0);
                self.overuses = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.overused_for = None;
            self.overuses = 0;
            self.usage = if value < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        if value.abs() <= self.threshold + SPIKE {
            let speed = if value.abs() < self.threshold { DOWN } else { UP };
            self.threshold += speed * (value.abs() - self.threshold) * elapsed;
            self.threshold = self.threshold.clamp(THRESHOLDS.0, THRESHOLDS.1);
        }
    }
}

/// Slope of the line through these points with the least squares. None: they are at one time.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |sum, point| {
        let dx = point.0 - x;
        (sum.0 + dx * (point.1 - y), sum.1 + dx * dx)
    });
    (below > 0.0).then(|| above / below)
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
