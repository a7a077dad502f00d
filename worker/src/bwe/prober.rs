//! Sending probes, and measuring what became of them.

use std::collections::VecDeque;

use super::probe_plan::Probe;

/// A probe has at least so many packets.
const LEAST_PACKETS: u32 = 5;
/// Padding is sent in bursts of so many microseconds of the rate, and of as many bytes at least.
const BURST: u64 = 2_000;
const LEAST_BURST: u64 = 200;
/// How long a probe waits at most until the path is clear, in microseconds.
const PATIENCE: u64 = 100_000;
/// A probe that could not be sent within this time is given up, in microseconds.
const GIVE_UP: u64 = 5_000_000;
/// Probes that wait to be sent, and probes whose results are waited for.
const MAX_WAITING: usize = 4;
const MAX_CLUSTERS: usize = 8;
/// Share of a probe that must have arrived for a result.
const ENOUGH: f64 = 0.8;
/// Longest interval that tells a rate, in microseconds.
const LONGEST: i64 = 1_000_000;
/// A receiver cannot get it faster than this multiple of how it was sent.
const FASTEST: f64 = 2.0;
/// Below this share of the rate of sending the path was full: then it is used up to that share.
const FULL: f64 = 0.9;
const FULL_SHARE: f64 = 0.95;

/// Sends probes one after the other.
#[derive(Debug, Default)]
pub struct Prober {
    waiting: VecDeque<Probe>,
    active: Option<Active>,
    next_id: u8,
    clusters: VecDeque<Cluster>,
}

#[derive(Debug)]
struct Active {
    id: u8,
    rate: u64,
    duration: u64,
    /// Since when it is its turn, and when it began.
    since: u64,
    begun_at: Option<u64>,
    packets: u32,
    bytes: u64,
}

impl Active {
    fn wanted(&self) -> u64 {
        self.rate * self.duration / 8_000_000
    }

    fn is_done(&self) -> bool {
        self.packets >= LEAST_PACKETS && self.bytes >= self.wanted()
    }

    /// When it goes on, or begins.
    fn next_at(&self, clear_at: u64) -> u64 {
        match self.begun_at {
            Some(begun_at) => begun_at + self.bytes * 8_000_000 / self.rate.max(1),
            None => clear_at.clamp(self.since, self.since + PATIENCE),
        }
    }
}

#[derive(Debug)]
struct Cluster {
    id: u8,
    rate: u32,
    bytes_sent: u64,
    packets_sent: u32,
    packets: u32,
    bytes: u64,
    sent: Option<(u64, u64)>,
    arrived: Option<(i64, i64)>,
    last_sent_size: u64,
    first_arrived_size: u64,
}

impl Prober {
    /// Will send a probe.
    pub fn add(&mut self, probe: Probe, now: u64) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(probe);
        }
        self.start(now);
    }

    fn start(&mut self, now: u64) {
        if self.active.is_some() {
            return;
        }
        let Some(probe) = self.waiting.pop_front() else { return };
        self.next_id = self.next_id.wrapping_add(1);
        self.active = Some(Active {
            id: self.next_id,
            rate: probe.rate.into(),
            duration: probe.duration,
            since: now,
            begun_at: (!probe.alone).then_some(now),
            packets: 0,
            bytes: 0,
        });
        if self.clusters.len() == MAX_CLUSTERS {
            self.clusters.pop_front();
        }
        self.clusters.push_back(Cluster {
            id: self.next_id,
            rate: probe.rate,
            bytes_sent: 0,
            packets_sent: 0,
            packets: 0,
            bytes: 0,
            sent: None,
            arrived: None,
            last_sent_size: 0,
            first_arrived_size: 0,
        });
    }

    /// The probe that what is sent now is part of.
    pub fn cluster(&self) -> Option<u8> {
        let active = self.active.as_ref()?;
        active.begun_at.map(|_| active.id)
    }

    /// What a probe looked for, in bits per second, while its results are waited for.
    pub fn rate(&self, id: u8) -> Option<u32> {
        let cluster = self.clusters.iter().find(|cluster| cluster.id == id)?;
        Some(cluster.rate)
    }

    /// Bits per second of the probe that is being sent, 0 for none.
    pub fn active_rate(&self) -> u32 {
        let begun = self.active.as_ref().filter(|active| active.begun_at.is_some());
        let rate = begun.map_or(0, |active| active.rate);
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// A packet was sent.
    pub fn sent(&mut self, size: usize, now: u64) {
        let Some(active) = self.active.as_mut().filter(|active| active.begun_at.is_some()) else {
            return;
        };
        active.packets += 1;
        active.bytes += size as u64;
        if let Some(cluster) = self.clusters.back_mut() {
            cluster.packets_sent = active.packets;
            cluster.bytes_sent = active.bytes;
        }
        if active.is_done() {
            self.active = None;
            self.start(now);
        }
    }

    /// Bytes of padding that are to be sent now, 0 for none. `clear_at`: when the path will have taken all that was sent.
    pub fn due(&mut self, clear_at: u64, now: u64) -> usize {
        if let Some(active) = &self.active
            && now.saturating_sub(active.since) > GIVE_UP
        {
            self.active = None;
            self.waiting.clear();
        }
        let Some(active) = &mut self.active else { return 0 };
        if now < active.next_at(clear_at) {
            return 0;
        }
        active.begun_at.get_or_insert(now);
        (active.rate * BURST / 8_000_000).max(LEAST_BURST) as usize
    }

    /// When padding is to be sent next.
    pub fn next_at(&self, clear_at: u64) -> Option<u64> {
        self.active.as_ref().map(|active| active.next_at(clear_at))
    }

    /// A packet of a probe arrived. Returns what the probe has measured so far, in bits per second, if it is enough.
    pub fn arrived(&mut self, id: u8, size: u32, sent_at: u64, arrived_at: i64) -> Option<u32> {
        let cluster = self.clusters.iter_mut().find(|cluster| cluster.id == id)?;
        cluster.packets += 1;
        cluster.bytes += u64::from(size);
        let (first, last) = *cluster.sent.get_or_insert((sent_at, sent_at));
        if sent_at >= last {
            cluster.last_sent_size = size.into();
        }
        cluster.sent = Some((first.min(sent_at), last.max(sent_at)));
        if cluster.arrived.is_none_or(|(first, _)| arrived_at < first) {
            cluster.first_arrived_size = size.into();
        }
        let (first, last) = *cluster.arrived.get_or_insert((arrived_at, arrived_at));
        cluster.arrived = Some((first.min(arrived_at), last.max(arrived_at)));
        let still_sent = self.active.as_ref().is_some_and(|active| active.id == id);
        if still_sent
            || f64::from(cluster.packets) < ENOUGH * f64::from(cluster.packets_sent)
            || (cluster.bytes as f64) < ENOUGH * cluster.bytes_sent as f64
        {
            return None;
        }
        cluster.measured()
    }
}

impl Cluster {
    fn measured(&self) -> Option<u32> {
        let ((first_sent, last_sent), (first_arrived, last_arrived)) = (self.sent?, self.arrived?);
        let sending = i64::try_from(last_sent - first_sent).ok()?;
        let arriving = last_arrived.checked_sub(first_arrived)?;
        if !(1..=LONGEST).contains(&sending) || !(1..=LONGEST).contains(&arriving) {
            return None;
        }
        let rate = |bytes: u64, interval: i64| bytes as f64 * 8e6 / interval as f64;
        let sent = rate(self.bytes - self.last_sent_size, sending);
        let arrived = rate(self.bytes - self.first_arrived_size, arriving);
        if arrived > FASTEST * sent {
            return None;
        }
        let measured = if arrived < FULL * sent {
            FULL_SHARE * arrived
        } else {
            sent.min(arrived)
        };
        Some(measured as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(rate: u32) -> Probe {
        Probe {
            rate,
            duration: 15_000,
            alone: false,
        }
    }

    /// Sends a probe over a path of this capacity; returns what was measured.
    fn probe(rate: u32, capacity: u64) -> Option<u32> {
        let mut prober = Prober::default();
        prober.add(short(rate), 1_000_000);
        let (mut now, mut free_at) = (1_000_000, 0);
        let mut measured = None;
        let mut packets = Vec::new();
        while let Some(at) = prober.next_at(0) {
            now = at.max(now);
            let mut left = prober.due(0, now);
            let id = prober.cluster()?;
            while left > 0 {
                let size = left.min(1200);
                left -= size;
                prober.sent(size, now);
                free_at = now.max(free_at) + size as u64 * 8_000_000 / capacity;
                packets.push((id, size as u32, now, free_at as i64));
            }
        }
        for (id, size, sent, arrived) in packets {
            measured = prober.arrived(id, size, sent, arrived).or(measured);
        }
        measured
    }

    #[test]
    fn a_probe_measures_the_path_or_what_it_was_sent_at() {
        for rate in [60_000, 600_000, 5_000_000, 40_000_000] {
            let free = probe(rate, 1_000_000_000).unwrap_or_default();
            assert!((rate * 8 / 10..rate * 12 / 10).contains(&free), "{free} of {rate}");
            let half = u64::from(rate) / 2;
            let full = u64::from(probe(rate, half).unwrap_or_default());
            assert!((half * 85 / 100..half * 101 / 100).contains(&full), "{full} of {half}");
        }
    }

    #[test]
    fn one_that_is_to_be_alone_begins_when_the_path_is_clear_or_after_a_while() {
        let begun = |clear_at: u64| {
            let mut prober = Prober::default();
            prober.add(
                Probe {
                    alone: true,
                    ..short(1_000_000)
                },
                1_000_000,
            );
            // What leaves before it begins is no part of it.
            prober.sent(1200, 1_000_000);
            assert_eq!(prober.cluster(), None);
            let at = prober.next_at(clear_at).unwrap_or_default();
            assert_eq!(prober.due(clear_at, at - 1), 0);
            assert!(prober.due(clear_at, at) > 0 && prober.cluster() == Some(1));
            at
        };
        assert_eq!(begun(1_020_000), 1_020_000);
        assert_eq!(begun(9_000_000), 1_000_000 + PATIENCE);
    }

    #[test]
    fn losses_spoil_it_and_it_is_given_up_in_time() {
        let mut prober = Prober::default();
        prober.add(short(1_000_000), 0);
        for index in 0..10 {
            prober.sent(300, index * 1500);
        }
        for index in 0..4 {
            assert_eq!(prober.arrived(1, 300, index * 1500, index as i64 * 1500), None);
        }
        prober.add(short(2_000_000), 1_000_000);
        assert!(prober.due(0, 1_000_000) > 0);
        assert_eq!(prober.due(0, 7_000_000), 0);
        assert_eq!(prober.next_at(0), None);
    }
}
