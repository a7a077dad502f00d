//! Interarrival jitter (RFC 3550 6.4.1, A.8).

/// Estimates jitter in units of the RTP clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jitter {
    transit: Option<u32>,
    jitter: f64,
}

impl Jitter {
    /// Nothing has arrived yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet that arrived at `now`, in microseconds of a monotonic clock.
    pub fn update(&mut self, timestamp: u32, clock_rate: u32, now: u64) {
        let arrival = u128::from(now) * u128::from(clock_rate) / 1_000_000;
        // Only differences of transit times mean anything: the wrapped value is enough.
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            self.jitter += (f64::from(difference) - self.jitter) / 16.0;
        }
    }

    /// The estimate, rounded down as reports carry it.
    pub fn value(&self) -> u32 {
        self.jitter as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_stream_has_none_and_a_late_packet_counts_a_sixteenth() {
        let mut jitter = Jitter::new();
        for packet in 0..100u64 {
            jitter.update(
                (u32::MAX - 5000).wrapping_add(packet as u32 * 960),
                48_000,
                packet * 20_000,
            );
        }
        assert_eq!(jitter.value(), 0);
        jitter.update((u32::MAX - 5000).wrapping_add(96_000), 48_000, 2_000_000 + 10_000);
        assert_eq!(jitter.value(), 30);
    }
}
