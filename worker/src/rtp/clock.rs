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

#[cfg(test)]
mod tests {
    use super::*;

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
