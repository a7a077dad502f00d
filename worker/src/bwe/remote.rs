//! An estimate of what a sender can send, made by its receiver (draft-ietf-rmcat-gcc-02, with the receiver's side
//! of it here). It needs the time of sending in each packet (abs-send-time).

use smallvec::SmallVec;

use super::rate_control::RateControl;
use super::trend::{Trend, Usage};
use crate::rtp::rate::RateCounter;

/// A sender may send so much more than what it sends: it alone decides whether to try that.
const BEYOND: f64 = 1.5;
/// Streams that are named in a message at most.
const MAX_STREAMS: usize = 16;
/// Silence after which a stream is not named any more.
const STREAM_TIMEOUT: u64 = 2_000_000;
/// What has to be measured before the first estimate.
const FIRST_MEASUREMENT: u64 = 100_000;
/// Between two messages to the sender.
const INTERVALS: (u64, u64) = (200_000, 1_000_000);
/// Bits of a message with its headers.
const MESSAGE_BITS: u64 = 640;
/// Round trip that is assumed, in microseconds: the sender alone knows.
const ROUND_TRIP: u64 = 200_000;
/// Time of sending: 24 bits of 2^-18 s.
const WRAP: i64 = 1 << 24;

/// Estimates what the sender of a transport can send.
#[derive(Debug)]
pub struct RemoteEstimator {
    trend: Trend,
    control: RateControl,
    rate: RateCounter,
    first_at: Option<u64>,
    /// Unwrapped time of sending of the last packet.
    sent: Option<i64>,
    updated_at: u64,
    told_at: u64,
    streams: SmallVec<[(u32, u64); 4]>,
}

impl Default for RemoteEstimator {
    fn default() -> Self {
        Self::new()
    }
}

impl RemoteEstimator {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self {
            trend: Trend::new(),
            control: RateControl::new(None, BEYOND),
            rate: RateCounter::new(1000, 100),
            first_at: None,
            sent: None,
            updated_at: 0,
            told_at: 0,
            streams: SmallVec::new(),
        }
    }

    /// Takes a packet of so many bytes. True: the sender is to be told the estimate now.
    pub fn add(&mut self, ssrc: u32, abs_send_time: u32, size: usize, now: u64) -> bool {
        self.note_stream(ssrc, now);
        self.rate.update(now, size);
        let wire = i64::from(abs_send_time) & (WRAP - 1);
        let sent = match self.sent {
            None => wire,
            Some(before) => {
                let step = (wire - before).rem_euclid(WRAP);
                before + if step >= WRAP / 2 { step - WRAP } else { step }
            }
        };
        self.sent = Some(self.sent.map_or(sent, |before| before.max(sent)));
        let usage = self.trend.update(
            i64::try_from((i128::from(sent) * 1_000_000) >> 18).unwrap_or_default(),
            i64::try_from(now).unwrap_or(i64::MAX),
        );
        let first_at = *self.first_at.get_or_insert(now);
        let measured_for = now.saturating_sub(first_at);
        if measured_for < FIRST_MEASUREMENT {
            return false;
        }
        if usage != Usage::Over && now.saturating_sub(self.updated_at) < INTERVALS.0 {
            return false;
        }
        // After backing off, the path gets time to show what that did.
        if now.saturating_sub(self.updated_at) < INTERVALS.0 / 2 {
            return false;
        }
        self.updated_at = now;
        let measured = self.measured(measured_for, now);
        let lowered = self.control.update(usage, Some(f64::from(measured)), ROUND_TRIP, now);
        let Some(rate) = self.control.rate() else { return false };
        let interval = (MESSAGE_BITS * 1_000_000 * 20 / u64::from(rate).max(1)).clamp(INTERVALS.0, INTERVALS.1);
        if lowered || now.saturating_sub(self.told_at) >= interval {
            self.told_at = now;
            return true;
        }
        false
    }

    /// The rate that arrived lately; shortly after the beginning, since then.
    fn measured(&mut self, measured_for: u64, now: u64) -> u32 {
        let rate = u64::from(self.rate.bitrate(now));
        u32::try_from(rate * 1_000_000 / measured_for.clamp(1, 1_000_000)).unwrap_or(u32::MAX)
    }

    fn note_stream(&mut self, ssrc: u32, now: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|(known, _)| *known == ssrc) {
            stream.1 = now;
            return;
        }
        self.streams.retain(|(_, at)| now.saturating_sub(*at) < STREAM_TIMEOUT);
        if self.streams.len() < MAX_STREAMS {
            self.streams.push((ssrc, now));
        }
    }

    /// The estimate, if there is one.
    pub fn estimate(&self) -> Option<u32> {
        self.control.rate()
    }

    /// The streams that it is for.
    pub fn ssrcs(&self, now: u64) -> SmallVec<[u32; 4]> {
        let alive = self
            .streams
            .iter()
            .filter(|(_, at)| now.saturating_sub(*at) < STREAM_TIMEOUT);
        alive.map(|(ssrc, _)| *ssrc).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::extensions::abs_send_time;

    /// A sender that sends as it is told over a link of so many bits per second with a queue of `queue` microseconds;
    /// the mean rate over the last third of `seconds`.
    fn run(capacity: u64, queue: u64, seconds: u64) -> u64 {
        let mut estimator = RemoteEstimator::new();
        let (mut now, mut free_at, mut target) = (10_000_000_u64, 0_u64, 300_000_u64);
        let mut deliveries = std::collections::VecDeque::new();
        let (mut bits, end) = (0, now + seconds * 1_000_000);
        let mut told = 0;
        while now < end {
            now += 9_600_000_000 / target;
            free_at = free_at.max(now) + 9_600_000_000 / capacity;
            if free_at - now <= queue {
                deliveries.push_back((free_at + 20_000, abs_send_time(now)));
            } else {
                free_at -= 9_600_000_000 / capacity;
            }
            while let Some((at, sent)) = deliveries.pop_front_if(|(at, _)| *at <= now) {
                bits += if at > end - seconds * 1_000_000 / 3 { 9600 } else { 0 };
                if estimator.add(7, sent, 1200, at) {
                    told += 1;
                    target = u64::from(estimator.estimate().unwrap_or_default()).max(50_000);
                }
            }
        }
        assert!(told > seconds / 2, "{told} messages in {seconds} s");
        assert_eq!(estimator.ssrcs(now).as_slice(), [7]);
        bits * 3 / seconds
    }

    #[test]
    fn a_sender_uses_its_link_and_does_not_overrun_it() {
        for capacity in [200_000, 1_000_000, 3_000_000] {
            let rate = run(capacity, 300_000, 60);
            assert!(
                rate > capacity * 6 / 10 && rate <= capacity * 101 / 100,
                "{rate} of {capacity}"
            );
        }
    }

    #[test]
    fn any_time_of_sending_is_survived() {
        let mut estimator = RemoteEstimator::new();
        for step in 0..100_000_u64 {
            estimator.add(step as u32, (step * 7_654_321) as u32, 1200, step * 777);
            assert!(estimator.streams.len() <= MAX_STREAMS);
        }
    }
}
