//! The way to a receiver: what can be sent over it, and what leaves when.
//!
//! A receiver that reports arrivals (transport-wide feedback) leaves the estimation to us; one that sends REMB is
//! followed. Probes look for more than is being sent as long as more is wanted; bursts are spread.

use channel_proto::event::{BandwidthInfo, BweType};

use super::estimator::{Circumstances, Estimator, Outcome};
use super::follower::Follower;
use super::gcc::Gcc;
use super::history::SentPackets;
use super::incoming::{Feedback, Losses};
use super::limited::ApplicationLimited;
use super::pacer::{Pacer, Pacing};
use super::probe_plan::{ProbePlan, Situation};
use super::prober::Prober;
use crate::rtcp::TransportFeedback;

/// Where an estimation starts if the parent does not say, in bits per second.
pub const INITIAL_BITRATE: u32 = 600_000;
/// Least estimate in bits per second.
pub const MIN_BITRATE: u32 = 30_000;
/// What is looked for, beyond what is desired: rates vary.
const HEADROOM: f64 = 1.35;
/// A change of that by less is ignored.
const HYSTERESIS: f64 = 0.1;
/// Share of its peak by which what is desired falls in a second.
const DESIRE_FALLS: f64 = 0.05;
/// Between two announcements of the estimate in microseconds, unless it falls or rises beyond these shares.
const ANNOUNCEMENT: u64 = 1_000_000;
const AT_ONCE: (f64, f64) = (0.75, 1.5);
/// Between two looks at whether to probe or to doubt, in microseconds; none of them once nothing is desired and
/// nothing was sent for so long.
const TICK: u64 = 100_000;
const IDLE: u64 = 5_000_000;
/// Round trip until one is measured, in microseconds.
const FIRST_ROUND_TRIP: u64 = 200_000;

/// What is known about the way to a receiver, and what waits to be sent on it.
#[derive(Debug)]
pub struct Outgoing {
    feedback: Feedback,
    initial: u32,
    limit: Option<u32>,
    estimator: Box<dyn Estimator>,
    sent: SentPackets,
    limited: ApplicationLimited,
    plan: ProbePlan,
    prober: Prober,
    pacer: Pacer,
    losses: Losses,
    outcomes: Vec<Outcome>,
    desired: Desired,
    max: u32,
    allocated: u32,
    allocated_at: u64,
    announced: Option<(u32, u64)>,
    round_trip: u64,
    reported_at: Option<u64>,
    sent_at: u64,
    next_tick: Option<u64>,
    planned: Option<u64>,
}

/// What is to be done after the receiver told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// The parent is to be told of the estimate.
    pub announce: bool,
    /// Layers are to be chosen anew.
    pub allocate: bool,
}

/// What consumers would like to send. It falls slowly: a source that pauses will be back.
#[derive(Debug, Default)]
struct Desired {
    now: u32,
    effective: f64,
    peak: f64,
    updated_at: u64,
}

impl Desired {
    fn set(&mut self, desired: u32, at_once: bool, now: u64) {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.updated_at, now)) as f64 / 1e6;
        self.now = desired;
        let desired = f64::from(desired);
        let fallen = self.effective - DESIRE_FALLS * self.peak * elapsed;
        if at_once || desired >= fallen {
            (self.effective, self.peak) = (desired, desired);
        } else {
            self.effective = fallen;
        }
    }
}

impl Outgoing {
    /// Nothing is known but where to start.
    pub fn new(feedback: Feedback, initial: u32, limit: Option<u32>, pacing: Pacing) -> Self {
        let initial = initial.max(MIN_BITRATE);
        let estimator: Box<dyn Estimator> = match feedback {
            Feedback::TransportCc => Box::new(Gcc::new(initial)),
            Feedback::Remb => Box::new(Follower::new(initial)),
        };
        Self {
            feedback,
            initial,
            limit,
            estimator,
            sent: SentPackets::default(),
            limited: ApplicationLimited::default(),
            plan: ProbePlan::default(),
            prober: Prober::default(),
            pacer: Pacer::new(pacing, initial),
            losses: Losses::default(),
            outcomes: Vec::new(),
            desired: Desired::default(),
            max: initial,
            allocated: 0,
            allocated_at: 0,
            announced: None,
            round_trip: FIRST_ROUND_TRIP,
            reported_at: None,
            sent_at: 0,
            next_tick: None,
            planned: None,
        }
    }

    /// Whether packets are counted for the receiver.
    pub fn counts(&self) -> bool {
        self.feedback == Feedback::TransportCc
    }

    /// Number of the next packet.
    pub fn next_number(&self) -> u16 {
        self.sent.next()
    }

    /// Whether the next packet is to wait for its turn.
    pub fn must_wait(&mut self, now: u64) -> bool {
        self.pacer.must_wait(now)
    }

    /// The packet with the next number has left.
    pub fn left(&mut self, size: usize, now: u64) {
        self.sent.add(Some(now), size, self.prober.cluster());
        self.note_sent(size, now);
        self.pacer.left(size);
    }

    /// The packet with the next number waits.
    pub fn wait(&mut self, bytes: &[u8], now: u64) {
        let number = self.sent.next();
        self.sent.add(None, bytes.len(), None);
        self.pacer.push(bytes, number, now);
        self.next_tick.get_or_insert(now + TICK);
    }

    /// Appends the next packet that has waited long enough to `out`. False: none has.
    pub fn pop(&mut self, now: u64, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let Some(number) = self.pacer.pop(now, out) else {
            return false;
        };
        self.sent.left(number, now, self.prober.cluster());
        self.note_sent(out.len() - start, now);
        true
    }

    fn note_sent(&mut self, size: usize, now: u64) {
        self.sent_at = now;
        self.next_tick.get_or_insert(now + TICK);
        self.prober.sent(size, now);
        self.limited.update(size, self.available_bitrate(), now);
    }

    /// Forgets what waits: there is nowhere to send it.
    pub fn clear(&mut self) {
        self.pacer.clear();
    }

    /// Bytes of padding that are to be sent now, for a probe; 0 for none.
    pub fn padding(&mut self, now: u64) -> usize {
        // What waits has numbers before those of padding; and it is part of the probe itself.
        if self.pacer.is_waiting() {
            return 0;
        }
        self.prober.due(now)
    }

    /// The receiver tells what it can take (REMB).
    pub fn maximum_bitrate(&mut self, bitrate: u64) {
        self.estimator.told(u32::try_from(bitrate).unwrap_or(u32::MAX));
        self.pacer.set_estimate(self.available_bitrate());
    }

    /// The receiver tells which packets arrived.
    pub fn transport_feedback(&mut self, feedback: &TransportFeedback<'_>, now: u64) {
        if !self.counts() {
            return;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        outcomes.clear();
        let unreported = self.sent.resolve(feedback, now, &mut outcomes);
        outcomes.sort_unstable_by_key(|outcome| outcome.arrived_at);
        self.report(&outcomes, unreported, now);
        self.outcomes = outcomes;
    }

    fn report(&mut self, outcomes: &[Outcome], unreported: u32, now: u64) {
        if outcomes.is_empty() {
            return;
        }
        let lost = outcomes.iter().filter(|outcome| outcome.arrived_at.is_none()).count();
        self.losses.add(lost as f64 / outcomes.len() as f64);
        self.reported_at = Some(now);
        let mut probed = None;
        let mut newest = None;
        for outcome in outcomes {
            let Some(arrived_at) = outcome.arrived_at else { continue };
            newest = newest.max(Some(outcome.sent_at));
            if let Some(cluster) = outcome.cluster {
                let measured = self.prober.arrived(cluster, outcome.size, outcome.sent_at, arrived_at);
                probed = measured.or(probed);
            }
        }
        if let Some(newest) = newest {
            self.round_trip = now.saturating_sub(newest);
        }
        self.limited.update(0, self.available_bitrate(), now);
        let circumstances = Circumstances {
            round_trip: self.round_trip,
            limited: self.limited.since().is_some(),
            unreported,
            probed,
        };
        self.estimator.report(outcomes, &circumstances, now);
        self.pacer.set_estimate(self.available_bitrate());
        self.plan_probes(now);
    }

    fn plan_probes(&mut self, now: u64) {
        if !self.counts() || self.desired.effective <= 0.0 {
            return;
        }
        // Not before it has turned out that the receiver tells what becomes of probes; unless nothing else is sent, for
        // nothing fits into what is known to be possible.
        if self.reported_at.is_none() && self.allocated > 0 {
            return;
        }
        let situation = Situation {
            estimate: self.estimator.estimate(),
            wanted: self.max,
            limited_since: self.limited.since(),
            full_at: self.estimator.full_at(),
            known: self.estimator.knows_capacity(),
        };
        for probe in self.plan.update(&situation, now) {
            tracing::debug!(target: "bwe", ?probe, estimate = situation.estimate, wanted = situation.wanted, "probes");
            self.prober.add(probe, now);
        }
    }

    /// Lets time pass; returns what follows from that.
    pub fn handle_timeout(&mut self, now: u64) -> Change {
        // An earlier one was planned since this one: it has come and gone.
        self.planned = self.planned.filter(|planned| *planned > now);
        if self.next_tick.is_none_or(|at| now < at) {
            return Change::default();
        }
        let idle = self.desired.now == 0 && now.saturating_sub(self.sent_at) >= IDLE;
        self.next_tick = (!idle).then_some(now + TICK);
        self.limited.update(0, self.available_bitrate(), now);
        self.plan_probes(now);
        let due = Change {
            // What it begins with is told too.
            announce: self.announced.is_none() && self.take_change(now).announce,
            // Rates change without anybody telling.
            allocate: now.saturating_sub(self.allocated_at) >= ANNOUNCEMENT,
        };
        let Some(reported_at) = self.reported_at.filter(|_| self.counts()) else {
            return due;
        };
        // Nothing that was sent long enough ago is waited for.
        if self.sent.last_sent().is_none_or(|sent_at| sent_at <= reported_at) {
            return due;
        }
        self.estimator.unanswered(now.saturating_sub(reported_at), now);
        self.pacer.set_estimate(self.available_bitrate());
        self.take_change(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout), [`pop`](Self::pop) and [`padding`](Self::padding) are to be
    /// called, if that is not planned yet.
    pub fn plan_wake(&mut self) -> Option<u64> {
        let probe = self.prober.next_at().filter(|_| !self.pacer.is_waiting());
        let wishes = [self.pacer.next_at(), probe, self.next_tick];
        let at = wishes.into_iter().flatten().min()?;
        if self.planned.is_some_and(|planned| planned <= at) {
            return None;
        }
        self.planned = Some(at);
        Some(at)
    }

    /// Consumers would like to send so many bits per second, and send so many of them. `at_once`: one of them stopped.
    pub fn set_desired(&mut self, desired: u32, allocated: u32, at_once: bool, now: u64) {
        self.desired.set(desired, at_once, now);
        (self.allocated, self.allocated_at) = (allocated, now);
        if desired > 0 {
            self.next_tick.get_or_insert(now + TICK);
        }
        self.update_max();
    }

    /// The parent allows so many bits per second at most, if it said so.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
        self.update_max();
    }

    fn update_max(&mut self) {
        let wanted = (HEADROOM * self.desired.effective).max(self.initial.into());
        let change = (wanted - f64::from(self.max)).abs();
        let unlimited = if change > HYSTERESIS * f64::from(self.max) {
            wanted.min(f64::from(u32::MAX)) as u32
        } else {
            self.max
        };
        self.max = self.limited_to(unlimited);
        self.pacer.set_estimate(self.available_bitrate());
    }

    fn limited_to(&self, bitrate: u32) -> u32 {
        self.limit
            .filter(|limit| *limit > 0)
            .map_or(bitrate, |limit| bitrate.min(limit))
    }

    /// Bits per second that can be sent.
    pub fn available_bitrate(&self) -> u32 {
        let estimate = self.estimator.estimate();
        match self.feedback {
            Feedback::TransportCc => estimate.min(self.max),
            Feedback::Remb => self.limited_to(estimate),
        }
    }

    /// What follows from the estimate as it is.
    pub fn take_change(&mut self, now: u64) -> Change {
        let available = self.available_bitrate();
        let announce = self.announced.is_none_or(|(announced, at)| {
            let (low, high) = (AT_ONCE.0 * f64::from(announced), AT_ONCE.1 * f64::from(announced));
            now.saturating_sub(at) >= ANNOUNCEMENT || f64::from(available) < low || f64::from(available) > high
        });
        if announce {
            self.announced = Some((available, now));
            tracing::debug!(target: "bwe", available, max = self.max, desired = self.desired.now, allocated = self.allocated, "estimate");
        }
        Change {
            announce,
            allocate: announce || available < self.allocated,
        }
    }

    /// What a trace tells.
    pub fn info(&self) -> BandwidthInfo {
        BandwidthInfo {
            bwe_type: match self.feedback {
                Feedback::TransportCc => BweType::TransportCc,
                Feedback::Remb => BweType::Remb,
            },
            desired_bitrate: self.desired.now,
            effective_desired_bitrate: self.desired.effective as u32,
            min_bitrate: MIN_BITRATE,
            max_bitrate: self.max,
            start_bitrate: self.initial,
            // There is none between probes.
            max_padding_bitrate: 0,
            available_bitrate: self.available_bitrate(),
        }
    }

    /// Share of packets lost lately, 0 to 1; newer reports weigh more.
    pub fn packet_loss(&self) -> f64 {
        self.losses.mean()
    }

    /// Longest time that a packet has waited for its turn, in microseconds.
    pub fn longest_wait(&self) -> u64 {
        self.pacer.longest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{self, RtcpPacket, TransportFeedbackBuilder};

    fn outgoing(feedback: Feedback) -> Outgoing {
        Outgoing::new(feedback, INITIAL_BITRATE, None, Pacing::default())
    }

    #[test]
    fn what_the_receiver_says_replaces_where_it_started_and_the_limit_caps_both() {
        let mut outgoing = outgoing(Feedback::Remb);
        assert_eq!(outgoing.available_bitrate(), 600_000);
        outgoing.set_limit(Some(100_000));
        assert_eq!(outgoing.available_bitrate(), 100_000);
        outgoing.maximum_bitrate(2_500_000);
        outgoing.set_limit(Some(0));
        assert_eq!(outgoing.available_bitrate(), 2_500_000);
        outgoing.set_limit(Some(1_000_000));
        assert_eq!(outgoing.available_bitrate(), 1_000_000);
        outgoing.maximum_bitrate(u64::MAX);
        outgoing.set_limit(None);
        assert_eq!(outgoing.available_bitrate(), u32::MAX);
    }

    #[test]
    fn reports_of_arrivals_tell_the_loss() {
        let mut outgoing = outgoing(Feedback::TransportCc);
        for at in 0..20 {
            outgoing.left(1000, 1_000_000 + at);
        }
        let mut message = Vec::new();
        let arrivals = (0..20).map(|index| (index % 4 != 1).then_some(1_000_000 + index * 1000));
        TransportFeedbackBuilder::new().write(&mut message, 1, 0, 1, arrivals, 1000);
        for packet in rtcp::parse(&message).into_iter().flatten() {
            if let RtcpPacket::TransportFeedback { body, .. } = packet {
                outgoing.transport_feedback(&TransportFeedback::parse(body).expect("a report"), 1_100_000);
            }
        }
        assert!(
            (outgoing.packet_loss() - 0.25).abs() < 1e-6,
            "{}",
            outgoing.packet_loss()
        );
    }

    #[test]
    fn the_estimate_is_announced_once_a_second_or_when_it_jumps() {
        let mut outgoing = outgoing(Feedback::Remb);
        assert!(outgoing.take_change(0).announce);
        assert!(!outgoing.take_change(900_000).announce);
        assert!(outgoing.take_change(1_000_000).announce);
        outgoing.maximum_bitrate(500_000);
        assert_eq!(outgoing.take_change(1_100_000), Change::default());
        outgoing.set_desired(900_000, 550_000, false, 1_100_000);
        let expected = Change {
            announce: false,
            allocate: true,
        };
        assert_eq!(outgoing.take_change(1_200_000), expected);
        outgoing.maximum_bitrate(440_000);
        assert!(outgoing.take_change(1_300_000).announce);
        outgoing.maximum_bitrate(700_000);
        assert!(outgoing.take_change(1_400_000).announce);
    }

    #[test]
    fn where_it_starts_is_announced_once_before_the_receiver_tells_anything() {
        let mut outgoing = outgoing(Feedback::TransportCc);
        outgoing.left(1000, 0);
        let announced = (1..20).filter(|tick| outgoing.handle_timeout(tick * TICK).announce);
        assert_eq!(announced.collect::<Vec<_>>(), [1]);
        assert_eq!(outgoing.info().available_bitrate, INITIAL_BITRATE);
    }

    #[test]
    fn what_is_desired_rises_at_once_and_falls_slowly() {
        let mut desired = Desired::default();
        desired.set(1_000_000, false, 0);
        desired.set(200_000, false, 1_000_000);
        assert!((desired.effective - 950_000.0).abs() < 1.0);
        desired.set(200_000, false, 30_000_000);
        assert!((desired.effective - 200_000.0).abs() < 1.0);
        desired.set(0, true, 30_000_000);
        assert!(desired.effective.abs() < 1.0);
    }
}
