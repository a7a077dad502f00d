//! A link that is too narrow: what is sent to those behind it waits, or is lost.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Bytes that a policer lets pass at once, beyond its rate.
const POLICER_BURST: f64 = 15_000.0;

/// Longest time between two stalls in microseconds.
const STALLS_APART: u64 = 400_000;

/// How wide a link is over time: from each time on (microseconds) so many bits per second.
#[derive(Debug, Clone)]
pub struct Capacity(pub Vec<(u64, u64)>);

impl Capacity {
    /// Always the same.
    pub fn steady(rate: u64) -> Self {
        Self(vec![(0, rate)])
    }

    /// Bits per second at a time.
    ///
    /// # Panics
    /// Nothing is said about that time.
    pub fn at(&self, time: u64) -> u64 {
        let steps = self.0.partition_point(|(from, _)| *from <= time);
        self.0[steps.checked_sub(1).expect("a capacity from the beginning on")].1
    }
}

/// What a link does to packets.
#[derive(Debug, Clone)]
pub struct Narrow {
    /// Its width.
    pub capacity: Capacity,
    /// Longest wait in microseconds; what would wait longer is lost.
    pub queue: u64,
    /// Way in microseconds, without waiting.
    pub delay: u64,
    /// Added to it at random, up to this, in microseconds.
    pub jitter: u64,
    /// Now and then nothing arrives for up to so many microseconds, and then all of it at once: a machine on the way is
    /// busy with something else, or a radio with somebody else.
    pub stalls: u64,
    /// Lost of 1,000 whatever is sent.
    pub loss: u32,
    /// What exceeds the capacity is lost at once instead of waiting.
    pub policer: bool,
    /// Whether a TCP download shares it, from which time on.
    pub rival_from: Option<u64>,
}

impl Default for Narrow {
    fn default() -> Self {
        Self {
            capacity: Capacity::steady(1_000_000),
            queue: 200_000,
            delay: 25_000,
            jitter: 0,
            stalls: 0,
            loss: 0,
            policer: false,
            rival_from: None,
        }
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When it came to the link, in microseconds since the link was opened.
    pub at: u64,
    /// How long it waited; None if it was lost.
    pub waited: Option<u64>,
    /// Its bytes.
    pub size: usize,
}

/// A narrow link.
#[derive(Debug)]
pub struct Bottleneck {
    /// What it does.
    pub narrow: Narrow,
    /// What became of each packet.
    pub log: Vec<Passed>,
    opened_at: u64,
    /// When it will have sent what waits, in nanoseconds since it was opened.
    free_at: u64,
    tokens: f64,
    filled_at: u64,
    rival: Rival,
    stalled_until: u64,
    next_stall: u64,
}

impl Bottleneck {
    /// An empty one.
    pub fn new(narrow: Narrow, now: u64) -> Self {
        Self {
            narrow,
            log: Vec::new(),
            opened_at: now,
            free_at: 0,
            tokens: POLICER_BURST,
            filled_at: 0,
            rival: Rival::default(),
            stalled_until: 0,
            next_stall: 0,
        }
    }

    /// A packet comes to it. Returns how long it takes to the other side, in microseconds; None if it is lost.
    pub fn pass(&mut self, size: usize, now: u64, rng: &mut ChaCha8Rng) -> Option<u64> {
        let at = now - self.opened_at;
        self.run_rival(at);
        let waited = self.enter(size, at, rng);
        self.log.push(Passed { at, waited, size });
        let jitter = rng.random_range(0..=self.narrow.jitter);
        waited.map(|_| {
            let arrives = at + self.leaves_after(at) + self.narrow.delay + jitter;
            self.stall(arrives, rng) - at
        })
    }

    /// When something arrives that would arrive at this time if nothing stalled.
    fn stall(&mut self, arrives: u64, rng: &mut ChaCha8Rng) -> u64 {
        while self.narrow.stalls > 0 && self.next_stall <= arrives {
            self.stalled_until = self.next_stall + rng.random_range(0..=self.narrow.stalls);
            self.next_stall = self.stalled_until + rng.random_range(0..=STALLS_APART);
        }
        arrives.max(self.stalled_until)
    }

    fn leaves_after(&self, at: u64) -> u64 {
        (self.free_at / 1000).saturating_sub(at)
    }

    /// How long a packet waits before it is sent.
    fn enter(&mut self, size: usize, at: u64, rng: &mut ChaCha8Rng) -> Option<u64> {
        let rate = self.narrow.capacity.at(at);
        if rng.random_range(0..1000) < self.narrow.loss {
            return None;
        }
        if self.narrow.policer {
            let filled = rate as f64 * (at - self.filled_at) as f64 / 8e6;
            self.filled_at = at;
            self.tokens = (self.tokens + filled).min(POLICER_BURST);
            self.free_at = at * 1000;
            if self.tokens < size as f64 {
                return None;
            }
            self.tokens -= size as f64;
            return Some(0);
        }
        let waits = self.leaves_after(at);
        if waits > self.narrow.queue {
            return None;
        }
        self.free_at = self.free_at.max(at * 1000) + size as u64 * 8_000_000_000 / rate;
        Some(waits)
    }

    /// Lets the download go on up to a time.
    fn run_rival(&mut self, until: u64) {
        let Some(from) = self.narrow.rival_from else { return };
        while let Some(at) = self.rival.next(from).filter(|at| *at <= until) {
            self.rival.step(at);
            while self.rival.may_send() {
                let rate = self.narrow.capacity.at(at);
                let waits = self.leaves_after(at);
                let lost = waits > self.narrow.queue;
                if !lost {
                    self.free_at = self.free_at.max(at * 1000) + Rival::PACKET * 8_000_000_000 / rate;
                }
                self.rival.sent(at, waits + 2 * self.narrow.delay, lost);
            }
        }
    }
}

/// A download over TCP without end: it fills the queue until something is lost, then halves what it has on its way.
#[derive(Debug)]
struct Rival {
    window: f64,
    threshold: f64,
    /// When it learns what became of each packet, and whether it was lost.
    flying: std::collections::BTreeMap<(u64, u64), bool>,
    recovered_at: u64,
    count: u64,
    now: u64,
}

impl Default for Rival {
    fn default() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            flying: std::collections::BTreeMap::new(),
            recovered_at: 0,
            count: 0,
            now: 0,
        }
    }
}

impl Rival {
    const PACKET: u64 = 1500;

    fn next(&self, from: u64) -> Option<u64> {
        match self.flying.first_key_value() {
            Some(((at, _), _)) => Some(*at),
            None => Some(from.max(self.now)),
        }
    }

    fn step(&mut self, at: u64) {
        self.now = at;
        let Some(entry) = self.flying.first_entry() else { return };
        if entry.remove() {
            if at >= self.recovered_at {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                // Whatever else was lost of this window counts as one loss.
                self.recovered_at = self.flying.last_key_value().map_or(at, |((at, _), _)| *at);
            }
        } else if self.window < self.threshold {
            self.window += 1.0;
        } else {
            self.window += 1.0 / self.window;
        }
    }

    fn may_send(&self) -> bool {
        (self.flying.len() as f64) < self.window
    }

    fn sent(&mut self, at: u64, round_trip: u64, lost: bool) {
        self.count += 1;
        self.flying.insert((at + round_trip + 1, self.count), lost);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Sends packets of 1,000 bytes at a rate for ten seconds; returns the share that passed and the longest wait.
    fn send(narrow: Narrow, rate: u64) -> (f64, u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut bottleneck = Bottleneck::new(narrow, 1000);
        let packets = rate * 10 / 8000;
        for index in 0..packets {
            bottleneck.pass(1000, 1000 + index * 8_000_000_000 / rate, &mut rng);
        }
        let passed = bottleneck.log.iter().filter(|passed| passed.waited.is_some());
        let longest = bottleneck.log.iter().filter_map(|passed| passed.waited).max();
        (passed.count() as f64 / packets as f64, longest.unwrap_or_default())
    }

    #[test]
    fn it_passes_what_it_can_and_no_more() {
        let (share, longest) = send(Narrow::default(), 900_000);
        assert!(share > 0.999 && longest < 1000, "{share}, {longest}");
        let (share, longest) = send(Narrow::default(), 2_000_000);
        assert!(
            (0.5..0.55).contains(&share) && (190_000..=200_000).contains(&longest),
            "{share}, {longest}"
        );
        let policer = Narrow {
            policer: true,
            ..Narrow::default()
        };
        let (share, longest) = send(policer, 2_000_000);
        assert!((0.49..0.53).contains(&share) && longest == 0, "{share}, {longest}");
        let lossy = Narrow {
            loss: 100,
            ..Narrow::default()
        };
        let (share, _) = send(lossy, 500_000);
        assert!((0.85..0.95).contains(&share), "{share}");
        // A download takes what nobody else uses, and fills the queue with it.
        let shared = Narrow {
            rival_from: Some(0),
            ..Narrow::default()
        };
        let (share, longest) = send(shared, 500_000);
        assert!(
            (0.9..1.0).contains(&share) && (190_000..=200_000).contains(&longest),
            "{share}, {longest}"
        );
    }

    #[test]
    fn a_stall_holds_packets_back_and_keeps_their_order() {
        let narrow = Narrow {
            capacity: Capacity::steady(100_000_000),
            stalls: 60_000,
            delay: 25_000,
            ..Narrow::default()
        };
        let (mut rng, mut bottleneck) = (ChaCha8Rng::seed_from_u64(1), Bottleneck::new(narrow, 0));
        let arrivals: Vec<_> = (0..10_000_u64)
            .map(|index| index * 1000 + bottleneck.pass(1000, index * 1000, &mut rng).expect("it passes"))
            .collect();
        assert!(arrivals.is_sorted());
        let late = (0..)
            .zip(&arrivals)
            .map(|(index, arrival)| arrival - index * 1000 - 25_000);
        let (held, longest) = late.fold((0, 0), |(held, longest), late| {
            (held + u32::from(late > 1000), late.max(longest))
        });
        assert!(
            (500..3000).contains(&held) && (40_000..61_000).contains(&longest),
            "{held}, {longest}"
        );
    }
}
