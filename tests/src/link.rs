//! How packets fare on their way, as a seeded generator wants it: the same in virtual time and in [`relay`](crate::relay).

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// How packets fare on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Lost of 1,000.
    pub loss: u32,
    /// Delivered twice of 1,000.
    pub duplicates: u32,
    /// Shortest way in microseconds.
    pub min_delay: u64,
    /// Longest way in microseconds; above the shortest, packets overtake each other.
    pub max_delay: u64,
    /// Packets that are lost in a row, on average; 1 or 0 for losses that know nothing of each other.
    pub burst: u32,
    /// Bits per second to or from one address, 0 for any number. What is more waits.
    pub rate: u64,
}

/// Bytes that wait before a link with a rate; what is more is lost.
const MAX_WAITING: u64 = 100_000;

impl Default for Link {
    /// 20 ms, nothing lost.
    fn default() -> Self {
        Self {
            min_delay: 20_000,
            max_delay: 20_000,
            ..Self::PERFECT
        }
    }
}

impl Link {
    /// Nothing is lost, and nothing takes time.
    pub const PERFECT: Self = Self {
        loss: 0,
        duplicates: 0,
        min_delay: 0,
        max_delay: 0,
        burst: 1,
        rate: 0,
    };

    /// Whether packets fare by what became of those before them.
    pub fn remembers(&self) -> bool {
        self.burst > 1 || self.rate > 0
    }
}

/// What a link of one address and direction remembers.
#[derive(Debug, Default)]
pub struct Way {
    /// Packets that are still to be lost.
    losing: u32,
    /// When it will have sent what waits.
    busy_until: u64,
}

impl Way {
    /// After how many microseconds each copy of a packet of `size` bytes arrives that is sent at `now`; none if it is lost.
    pub fn deliver(
        &mut self,
        link: &Link,
        size: usize,
        now: u64,
        rng: &mut ChaCha8Rng,
    ) -> impl Iterator<Item = u64> + use<> {
        let mut arrivals = [None; 2];
        if !self.loses(link, rng)
            && let Some(waits) = self.queue(link, size, now)
        {
            let twice = rng.random_range(0..1000) < link.duplicates;
            for arrival in arrivals.iter_mut().take(1 + usize::from(twice)) {
                *arrival = Some(waits + rng.random_range(link.min_delay..=link.max_delay));
            }
        }
        arrivals.into_iter().flatten()
    }

    /// Whether this one is lost. A burst has at least one packet and twice the average at most.
    fn loses(&mut self, link: &Link, rng: &mut ChaCha8Rng) -> bool {
        let burst = link.burst.max(1);
        let begins = rng.random_range(0..1000 * burst) < link.loss;
        if burst == 1 {
            return begins;
        }
        let length = rng.random_range(1..2 * burst);
        if self.losing == 0 && begins {
            self.losing = length;
        }
        let lost = self.losing > 0;
        self.losing = self.losing.saturating_sub(1);
        lost
    }

    /// How long a packet waits before it leaves; None if there is no room.
    pub fn queue(&mut self, link: &Link, size: usize, now: u64) -> Option<u64> {
        if link.rate == 0 {
            return Some(0);
        }
        let waits = self.busy_until.saturating_sub(now);
        if waits * link.rate / 8_000_000 > MAX_WAITING {
            return None;
        }
        let waits = waits + size as u64 * 8_000_000 / link.rate;
        self.busy_until = now + waits;
        Some(waits)
    }
}
