//! The rate at which packets arrive, as far as their receiver has told.

use std::collections::VecDeque;

/// What is measured at once, in microseconds: more before there is anything.
const FIRST_WINDOW: i64 = 500_000;
const WINDOW: i64 = 150_000;
/// How much a sample that differs from what is known is doubted; more after a time in which little was sent.
const DOUBT: f64 = 10.0;
const DOUBT_AFTER_PAUSE: f64 = 200.0;
/// By how much certainty decreases from sample to sample.
const DRIFT: f64 = 5.0;
/// Variance at the beginning.
const FIRST_VARIANCE: f64 = 50.0;
/// Samples of which the mean is what arrived lately.
const LATELY: usize = 2;

/// Estimates the rate at which packets arrive: a mean of samples that gives more weight to those it expects.
#[derive(Debug, Default)]
pub struct Throughput {
    /// In kbit/s, with its variance.
    estimate: Option<(f64, f64)>,
    samples: VecDeque<f64>,
    bytes: u64,
    elapsed: i64,
    last: Option<i64>,
    /// Less than allowed was being sent until lately.
    after_pause: bool,
}

impl Throughput {
    /// Takes a packet that arrived at `arrived` microseconds. So many bytes arrived `untold`, at times that are not
    /// known, since the one before it.
    pub fn add(&mut self, arrived: i64, bytes: u32, untold: u32) {
        let window = if self.estimate.is_none() { FIRST_WINDOW } else { WINDOW };
        let step = self.last.map_or(0, |last| arrived - last);
        if step < -WINDOW {
            // Its clock was set back.
            (self.bytes, self.elapsed) = (0, 0);
        }
        self.elapsed += step.max(0);
        self.bytes += u64::from(untold);
        if step > window && untold == 0 {
            // Nothing for longer than a window: what there was does not tell a rate.
            (self.bytes, self.elapsed) = (0, self.elapsed % window);
        }
        self.last = Some(
            self.last
                .map_or(arrived, |last| if step < -WINDOW { arrived } else { last.max(arrived) }),
        );
        if self.elapsed >= window {
            let sample = 8.0 * self.bytes as f64 * 1000.0 / self.elapsed as f64;
            (self.bytes, self.elapsed) = (0, 0);
            self.sample(sample);
        }
        self.bytes += u64::from(bytes);
    }

    fn sample(&mut self, sample: f64) {
        if self.samples.len() == LATELY {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let Some((estimate, variance)) = self.estimate else {
            self.estimate = Some((sample, FIRST_VARIANCE));
            return;
        };
        let doubt = DOUBT * (estimate - sample).abs() / estimate.max(1.0);
        let mut sample_variance = doubt * doubt;
        if std::mem::take(&mut self.after_pause) {
            sample_variance += DOUBT_AFTER_PAUSE;
        }
        let variance = variance + DRIFT;
        let sum = sample_variance + variance;
        self.estimate = Some((
            (sample_variance * estimate + variance * sample) / sum,
            sample_variance * variance / sum,
        ));
    }

    /// From now on all that is allowed is sent again.
    pub fn end_pause(&mut self) {
        self.after_pause = true;
    }

    /// Bits per second, once known.
    pub fn rate(&self) -> Option<f64> {
        self.estimate.map(|(estimate, _)| estimate * 1000.0)
    }

    /// Bits per second of the last moments alone.
    pub fn lately(&self) -> Option<f64> {
        (self.samples.len() == LATELY).then(|| self.samples.iter().sum::<f64>() / LATELY as f64 * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(throughput: &mut Throughput, at: &mut i64, rate: i64, millis: i64) {
        let end = *at + millis * 1000;
        while *at < end {
            *at += 8 * 1000 * 1_000_000 / rate;
            throughput.add(*at, 1000, 0);
        }
    }

    #[test]
    fn it_finds_the_rate_and_follows_it() {
        let (mut throughput, mut at) = (Throughput::default(), 5_000_000);
        run(&mut throughput, &mut at, 1_000_000, 400);
        assert_eq!(throughput.rate(), None);
        run(&mut throughput, &mut at, 1_000_000, 3000);
        let rate = throughput.rate().unwrap_or_default();
        assert!((950_000.0..1_050_000.0).contains(&rate), "{rate}");
        run(&mut throughput, &mut at, 300_000, 400);
        let lately = throughput.lately().unwrap_or_default();
        assert!((250_000.0..450_000.0).contains(&lately), "{lately}");
        run(&mut throughput, &mut at, 300_000, 3000);
        let rate = throughput.rate().unwrap_or_default();
        assert!((270_000.0..350_000.0).contains(&rate), "{rate}");
    }

    /// Of every other tenth of a second nothing is told but how much was sent in it.
    #[test]
    fn what_is_not_told_counts_for_the_time_that_it_took() {
        let mut throughput = Throughput::default();
        let mut missing = 0;
        for index in 0..3000_i64 {
            let at = 5_000_000 + index * 8_000;
            if at / 100_000 % 2 == 1 {
                missing += 1000;
                continue;
            }
            throughput.add(at, 1000, std::mem::take(&mut missing));
            let rates = throughput.rate().into_iter().chain(throughput.lately());
            assert!(
                rates.into_iter().all(|rate| (850_000.0..1_150_000.0).contains(&rate)),
                "{throughput:?}"
            );
        }
    }

    #[test]
    fn no_times_break_it() {
        let mut throughput = Throughput::default();
        for step in 0..10_000_i64 {
            throughput.add((step * 7_777_777) % 100_000_000 - 50_000_000, 1200, 0);
            assert!(throughput.rate().is_none_or(|rate| rate.is_finite() && rate >= 0.0));
        }
    }
}
