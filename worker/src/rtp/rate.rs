//! Rates over a sliding window.

/// Bytes and packets: totals since ever, bytes also over the last moments.
///
/// Times are microseconds of a monotonic clock. The ring is allocated with the first traffic.
#[derive(Debug, Clone)]
pub struct RateCounter {
    /// Microseconds of an item.
    step: u32,
    items: u32,
    ring: Box<[u32]>,
    /// Number of the newest item since the clock's start; it is at `newest % items` in the ring.
    newest: u64,
    /// Sum over the ring.
    in_window: u64,
    packets: u64,
    bytes: u64,
}

impl RateCounter {
    /// A counter over `window_ms` milliseconds in so many steps. Zeros count as ones; a window that does not divide into
    /// whole microseconds is that much shorter.
    pub fn new(window_ms: u32, items: u32) -> Self {
        let items = items.max(1);
        Self {
            step: (window_ms.saturating_mul(1000) / items).max(1),
            items,
            ring: Box::default(),
            newest: 0,
            in_window: 0,
            packets: 0,
            bytes: 0,
        }
    }

    /// Takes a packet of `bytes` bytes.
    pub fn update(&mut self, now: u64, bytes: usize) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let item = self.item(now);
        if self.ring.is_empty() {
            self.ring = vec![0; self.items as usize].into_boxed_slice();
            self.newest = item;
        }
        self.advance(item);
        // Older than the window: it is part of the totals only.
        if self.newest - item.min(self.newest) >= u64::from(self.items) {
            return;
        }
        if let Some(cell) = self.ring.get_mut((item % u64::from(self.items)) as usize) {
            let added = cell.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)) - *cell;
            *cell += added;
            self.in_window += u64::from(added);
        }
    }

    /// Bits per second over the window, rounded half up.
    pub fn bitrate(&mut self, now: u64) -> u32 {
        if self.ring.is_empty() {
            return 0;
        }
        self.advance(self.item(now));
        let window = u64::from(self.step) * u64::from(self.items);
        u32::try_from((self.in_window.saturating_mul(8_000_000) + window / 2) / window).unwrap_or(u32::MAX)
    }

    /// Packets since ever.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes since ever.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which item a time belongs to.
    fn item(&self, now: u64) -> u64 {
        now / u64::from(self.step)
    }

    /// Empties the cells between the newest item and `item`, which becomes the newest.
    fn advance(&mut self, item: u64) {
        let items = u64::from(self.items);
        let steps = item.saturating_sub(self.newest);
        if steps >= items {
            self.ring.fill(0);
            self.in_window = 0;
        } else {
            for step in 1..=steps {
                if let Some(cell) = self.ring.get_mut(((self.newest + step) % items) as usize) {
                    self.in_window -= u64::from(std::mem::take(cell));
                }
            }
        }
        self.newest = self.newest.max(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stream_has_its_rate() {
        let mut counter = RateCounter::new(1000, 100);
        assert_eq!(counter.bitrate(5), 0);
        for at in 0..300 {
            counter.update(at * 10_000, 125);
        }
        assert_eq!(counter.bitrate(2_995_000), 100_000);
        assert_eq!((counter.packets(), counter.bytes()), (300, 37_500));
        assert_eq!(counter.bitrate(3_495_000), 50_000);
        assert_eq!(counter.bitrate(9_000_000), 0);
        counter.update(1_000_000, 125);
        assert_eq!(counter.bitrate(9_000_000), 0);
        assert_eq!(counter.bytes(), 37_625);
    }

    #[test]
    fn late_data_within_the_window_counts() {
        let mut counter = RateCounter::new(1000, 100);
        counter.update(5_000_000, 100);
        counter.update(4_500_000, 100);
        assert_eq!(counter.bitrate(5_000_000), 1600);
        assert_eq!(counter.bitrate(5_600_000), 800);
    }

    proptest::proptest! {
        #[test]
        fn no_order_of_times_breaks_it(times: Vec<(u64, usize)>, window: u32, items in 0u32..200) {
            let mut counter = RateCounter::new(window, items);
            for (now, bytes) in times {
                counter.update(now, bytes);
                counter.bitrate(now.wrapping_mul(3));
            }
            let sum: u64 = counter.ring.iter().map(|cell| u64::from(*cell)).sum();
            proptest::prop_assert_eq!(sum, counter.in_window);
        }
    }
}
