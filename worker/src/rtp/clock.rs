//! What time the timestamps of a stream mean.

/// One instant in a sender's NTP time and in the timestamps of a stream, as its sender reports tell (RFC 3550 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderClock {
    /// Seconds since 1900, 32 bits of fraction.
    pub ntp: u64,
    /// RTP timestamp.
    pub timestamp: u32,
}

impl SenderClock {
    /// What to subtract from timestamps of a stream with this clock to get those of a stream with clock `reference`
    /// for the same instants.
    pub fn offset_from(&self, reference: &Self, clock_rate: u32) -> u32 {
        let elapsed = i128::from(self.ntp.wrapping_sub(reference.ntp).cast_signed());
        // Rounded, for two reports of the same instant may differ in the last bits.
        let ticks = (elapsed * i128::from(clock_rate) + (1 << 31)) >> 32;
        self.timestamp
            .wrapping_sub(ticks as u32)
            .wrapping_sub(reference.timestamp)
    }
}

impl SenderClock {
    /// The sender's time of a timestamp in microseconds since 1900, if it is not further from the report than its
    /// clock can be trusted.
    pub fn time_of(&self, timestamp: u32, clock_rate: u32) -> Option<i64> {
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
        let elapsed = (ticks * 1_000_000).checked_div(i64::from(clock_rate))?;
        (elapsed.abs() <= MAX_INTERPOLATION).then(|| micros(self.ntp) + elapsed)
    }
}

/// How far from a sender report its clock is trusted, in microseconds.
const MAX_INTERPOLATION: i64 = 10_000_000;

/// NTP time in microseconds.
fn micros(ntp: u64) -> i64 {
    ((u128::from(ntp) * 1_000_000) >> 32) as i64
}

/// Samples of a clock that are kept, and how many it takes for an answer.
const SAMPLES: usize = 7;
const LEAST_SAMPLES: usize = 3;

/// How far the clock of a sender is behind ours, from the arrival of its reports: the median, so that reports that took
/// long do not count.
#[derive(Debug, Clone, Default)]
pub struct ClockOffset {
    samples: [i64; SAMPLES],
    count: usize,
    next: usize,
    last_at: Option<u64>,
}

impl ClockOffset {
    /// Takes a report of this NTP time that arrived at `now` after half a round trip (all in microseconds but the
    /// former).
    pub fn add(&mut self, ntp: u64, round_trip: u64, now: u64) {
        // Reports of one moment took the same way: they are one sample. A sender without a clock says 0.
        if ntp == 0 || self.last_at == Some(now) {
            return;
        }
        self.last_at = Some(now);
        if let Some(sample) = self.samples.get_mut(self.next) {
            *sample = now.cast_signed() - micros(ntp) - (round_trip / 2).cast_signed();
        }
        self.next = (self.next + 1) % SAMPLES;
        self.count = (self.count + 1).min(SAMPLES);
    }

    /// What to add to the sender's time in microseconds since 1900 to get ours.
    pub fn offset(&self) -> Option<i64> {
        if self.count < LEAST_SAMPLES {
            return None;
        }
        let mut samples = self.samples;
        let samples = samples.get_mut(..self.count)?;
        samples.sort_unstable();
        samples.get(samples.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_the_median_of_the_last_samples() {
        let mut offset = ClockOffset::default();
        let ntp = |micros: u64| (((3_900_000_000_000_000 + u128::from(micros)) << 32) / 1_000_000) as u64 + 1;
        let ours =
            |remote: i64, offset: &ClockOffset| offset.offset().map(|offset| 3_900_000_000_000_000 + remote + offset);
        // Our clock is one second ahead of the sender's zero; a round trip takes 40 ms.
        for (step, delay) in [0, 300_000, 0].into_iter().enumerate() {
            assert_eq!(offset.offset(), None);
            let sent = step as u64 * 1_000_000;
            offset.add(ntp(sent), 40_000, 1_000_000 + sent + 20_000 + delay);
            offset.add(ntp(sent + 77), 40_000, 1_000_000 + sent + 20_000 + delay);
        }
        assert_eq!(ours(500_000, &offset), Some(1_500_000));
        offset.add(0, 0, 77);
        for step in 3..20 {
            offset.add(ntp(step * 1_000_000), 40_000, 2_000_000 + step * 1_000_000 + 20_000);
        }
        assert_eq!(ours(500_000, &offset), Some(2_500_000));
    }

    #[test]
    fn timestamps_have_times_near_a_report() {
        let clock = SenderClock {
            ntp: 3_900_000_000 << 32,
            timestamp: 4_294_967_000,
        };
        assert_eq!(clock.time_of(89_704, 90_000), Some(3_900_000_001_000_000));
        assert_eq!(clock.time_of(4_294_966_100, 90_000), Some(3_899_999_999_990_000));
        assert_eq!(clock.time_of(11 * 90_000, 90_000), None);
        assert_eq!(clock.time_of(0, 0), None);
    }

    #[test]
    fn the_same_instant_has_the_same_timestamp_afterwards() {
        let clock = |seconds: f64, timestamp| SenderClock {
            ntp: (seconds * 4_294_967_296.0) as u64,
            timestamp,
        };
        let (one, other) = (clock(100.0, 4_294_960_000), clock(101.5, 500_000));
        // One and a half seconds later the first stream is at 4294960000 + 135000.
        let offset = other.offset_from(&one, 90_000);
        assert_eq!(
            500_000_u32.wrapping_sub(offset),
            4_294_960_000_u32.wrapping_add(135_000)
        );
        let back = one.offset_from(&other, 90_000);
        assert_eq!(back, offset.wrapping_neg());
        assert_eq!(one.offset_from(&one, 90_000), 0);
    }
}
