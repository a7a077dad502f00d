//! Spreads bursts: a key frame that left at once would fill the queue of a narrow path, and lose what did not fit.

use std::collections::VecDeque;

use channel_proto::reply::PacingDump;

/// What may leave at once, in microseconds of the estimate: about half of a frame that fills the path, and at least so many
/// bytes. On a path that takes all that is wanted, frames of most streams leave whole, which costs less.
const BURST: u64 = 15_000;
const BURST_IF_WIDE: u64 = 40_000;
const LEAST_BURST: u64 = 2_000;
/// What is beyond leaves at this multiple of the estimate.
const FACTOR: f64 = 2.5;
/// Between two times at which waiting packets leave, in microseconds.
const STEP: u64 = 5_000;
/// Room for waiting bytes that is kept while nothing waits.
const KEPT: usize = 4_096;
/// Bytes that wait at most; what comes then leaves at once.
const MAX_WAITING: usize = 1 << 20;

/// How bursts are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Longest time that a packet waits, in microseconds; 0 for no pacing at all.
    pub max_delay: u64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { max_delay: 100_000 }
    }
}

/// Packets that wait for their turn, and what has left lately.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    estimate: u32,
    /// All that is wanted is possible.
    wide: bool,
    /// Bits per second of a probe that is being sent, 0 for none.
    probe: u32,
    /// Bytes that left beyond what the path has taken since.
    debt: f64,
    updated_at: u64,
    waiting: VecDeque<Waiting>,
    bytes: VecDeque<u8>,
    /// Longest time that a packet has waited, in microseconds, and how many have.
    longest: u64,
    waited: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    length: usize,
    number: u16,
    since: u64,
}

impl Pacer {
    /// Nothing waits.
    pub fn new(pacing: Pacing, estimate: u32) -> Self {
        Self {
            pacing,
            estimate,
            wide: false,
            probe: 0,
            debt: 0.0,
            updated_at: 0,
            waiting: VecDeque::new(),
            bytes: VecDeque::new(),
            longest: 0,
            waited: 0,
        }
    }

    /// So many bits per second are thought possible from now on; `wide`: and that is all that is wanted.
    pub fn set_estimate(&mut self, estimate: u32, wide: bool) {
        (self.estimate, self.wide) = (estimate, wide);
    }

    /// What leaves from now on is part of a probe at this rate, and is not held back beyond it; 0: of none any more.
    pub fn set_probe(&mut self, rate: u32) {
        self.probe = rate;
    }

    /// Bits per second at which what waits leaves.
    fn rate(&self) -> f64 {
        (FACTOR * f64::from(self.estimate)).max(self.probe.into())
    }

    fn update(&mut self, now: u64) {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.updated_at, now));
        let rate = if self.waiting.is_empty() {
            self.estimate.max(self.probe).into()
        } else {
            self.rate()
        };
        let taken = rate * elapsed as f64 / 8e6;
        self.debt = (self.debt - taken).max(0.0);
    }

    fn burst(&self) -> f64 {
        let duration = if self.wide { BURST_IF_WIDE } else { BURST };
        (u64::from(self.estimate) * duration / 8_000_000).max(LEAST_BURST) as f64
    }

    /// Whether the next packet has to wait.
    pub fn must_wait(&mut self, now: u64) -> bool {
        self.update(now);
        self.pacing.max_delay > 0
            && (!self.waiting.is_empty() || self.debt >= self.burst())
            && self.bytes.len() < MAX_WAITING
    }

    /// A packet left without waiting.
    pub fn left(&mut self, size: usize) {
        self.debt += size as f64;
    }

    /// A packet waits.
    pub fn push(&mut self, bytes: &[u8], number: u16, now: u64) {
        self.bytes.extend(bytes);
        self.waiting.push_back(Waiting {
            length: bytes.len(),
            number,
            since: now,
        });
    }

    /// Appends the next packet whose turn it is to `out`; returns its number.
    pub fn pop(&mut self, now: u64, out: &mut Vec<u8>) -> Option<u16> {
        self.update(now);
        let next = *self.waiting.front()?;
        let waited = now.saturating_sub(next.since);
        if self.debt >= self.step() && waited < self.pacing.max_delay && !self.is_late(now) {
            return None;
        }
        self.waiting.pop_front();
        self.longest = self.longest.max(waited);
        self.waited += 1;
        self.take(next.length, out);
        self.debt += next.length as f64;
        Some(next.number)
    }

    /// Moves the first bytes to `out`. What a key frame took is given back once all of it has left.
    fn take(&mut self, length: usize, out: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let in_front = length.min(front.len());
        out.extend_from_slice(front.get(..in_front).unwrap_or_default());
        out.extend_from_slice(back.get(..length - in_front).unwrap_or_default());
        self.bytes.drain(..length);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            (self.bytes, self.waiting) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// Bytes that leave in one step.
    fn step(&self) -> f64 {
        self.rate() * STEP as f64 / 8e6
    }

    /// Whether what waits would not leave in time, at the rate that is meant.
    fn is_late(&self, now: u64) -> bool {
        let Some(last) = self.waiting.back() else { return false };
        let left = (last.since + self.pacing.max_delay).saturating_sub(now).max(STEP);
        let possible = self.rate() * left as f64 / 8e6;
        self.bytes.len() as f64 + self.debt - self.step() > possible
    }

    /// Whether a packet waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`pop`](Self::pop) is to be called next.
    pub fn next_at(&self) -> Option<u64> {
        let next = self.waiting.front()?;
        Some((self.updated_at + STEP).min(next.since + self.pacing.max_delay))
    }

    /// When the path will have taken what has left, at the rate that is thought possible.
    pub fn clear_at(&self) -> u64 {
        let takes = self.debt * 8e6 / f64::from(self.estimate.max(1));
        self.updated_at.saturating_add(takes.ceil() as u64)
    }

    /// What it has cost. Times are rounded up to milliseconds.
    pub fn dump(&self) -> PacingDump {
        PacingDump {
            max_delay: self.pacing.max_delay.div_ceil(1000) as u32,
            longest_wait: self.longest.div_ceil(1000) as u32,
            packets: self.waited,
        }
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a burst; returns when each packet left.
    fn burst(packets: usize, estimate: u32, max_delay: u64) -> Vec<u64> {
        let mut pacer = Pacer::new(Pacing { max_delay }, estimate);
        let (mut now, mut times) = (1_000_000, Vec::new());
        for number in 0..packets {
            if pacer.must_wait(now) {
                pacer.push(&[7; 1000], number as u16, now);
            } else {
                pacer.left(1000);
                times.push(now);
            }
        }
        while let Some(at) = pacer.next_at() {
            assert!(at > now);
            now = at;
            let mut out = Vec::new();
            while pacer.pop(now, &mut out).is_some() {
                times.push(now);
            }
        }
        assert!(pacer.bytes.is_empty());
        let left_at_once = times.iter().filter(|at| **at == 1_000_000).count();
        let longest = times.iter().max().map_or(0, |at| at - 1_000_000);
        let expected = PacingDump {
            max_delay: (max_delay / 1000) as u32,
            longest_wait: longest.div_ceil(1000) as u32,
            packets: (packets - left_at_once) as u64,
        };
        assert_eq!(pacer.dump(), expected);
        assert!(longest <= max_delay);
        times.iter().map(|at| at - 1_000_000).collect()
    }

    #[test]
    fn a_frame_leaves_at_once_and_a_key_frame_is_spread() {
        assert!(burst(10, 5_000_000, 100_000).iter().all(|at| *at == 0));
        let times = burst(40, 1_000_000, 200_000);
        assert_eq!(times.len(), 40);
        assert_eq!(times.iter().filter(|at| **at == 0).count(), 2);
        let last = times.last().copied().unwrap_or_default();
        // 38,000 bytes at 2.5 Mbit/s.
        assert!((100_000..140_000).contains(&last), "{last}");
    }

    #[test]
    fn a_frame_leaves_whole_where_all_that_is_wanted_is_possible() {
        let mut pacer = Pacer::new(Pacing::default(), 2_500_000);
        for wide in [true, false] {
            pacer.set_estimate(2_500_000, wide);
            pacer.update(pacer.updated_at + 1_000_000);
            let now = pacer.updated_at;
            let whole = (0..10).all(|_| {
                let at_once = !pacer.must_wait(now);
                pacer.left(1000);
                at_once
            });
            assert_eq!(whole, wide);
        }
    }

    #[test]
    fn packets_leave_as_they_came_and_what_they_took_is_given_back() {
        let mut pacer = Pacer::new(Pacing::default(), 100_000);
        let packets: Vec<_> = (0..100_u8)
            .map(|index| vec![index; 100 + usize::from(index) * 7])
            .collect();
        let mut left = Vec::new();
        for round in 0..3 {
            for (number, packet) in (0..).zip(&packets) {
                pacer.push(packet, number, 1_000_000 * round);
            }
            let mut out = Vec::new();
            while pacer.pop(1_000_000 * round + 500_000, &mut out).is_some() {
                left.push(std::mem::take(&mut out));
            }
        }
        assert_eq!(left, [packets.clone(), packets.clone(), packets].concat());
        assert!(pacer.bytes.capacity() <= KEPT && pacer.waiting.capacity() <= 100);
    }

    #[test]
    fn what_is_part_of_a_probe_leaves_at_its_rate() {
        let mut pacer = Pacer::new(Pacing::default(), 500_000);
        pacer.set_probe(10_000_000);
        let (mut now, mut left) = (1_000_000, 0);
        for number in 0..100 {
            if pacer.must_wait(now) {
                pacer.push(&[7; 1000], number, now);
            } else {
                pacer.left(1000);
            }
        }
        while let Some(at) = pacer.next_at() {
            now = at;
            while pacer.pop(now, &mut Vec::new()).is_some() {
                left = now - 1_000_000;
            }
        }
        // 98,000 bytes at 10 Mbit/s instead of 1.25.
        assert!((70_000..90_000).contains(&left), "{left}");
    }

    #[test]
    fn nothing_waits_longer_than_allowed() {
        for (packets, estimate) in [(200, 300_000), (500, 30_000), (40, 10_000_000)] {
            let times = burst(packets, estimate, 50_000);
            assert_eq!(times.len(), packets);
            assert!(times.iter().all(|at| *at <= 50_000));
        }
        assert!(burst(100, 30_000, 0).iter().all(|at| *at == 0));
    }
}
