//! The way to a receiver: what can be sent over it, and what leaves when.
//!
//! A receiver that reports arrivals (transport-wide feedback) leaves the estimation to us; one that sends REMB is
//! followed. Probes look for more than is being sent as long as more is wanted; bursts are spread.

use std::cmp::Ordering;
use std::collections::VecDeque;

use channel_proto::event::{BandwidthInfo, BweType};
use channel_proto::reply::{DecisionBandwidth, DecisionKind, DecisionReason, PacingDump};
use smallvec::SmallVec;

use super::decision::Decision;
use super::estimator::{Circumstances, Estimator, Outcome};
use super::follower::{FEW, Follower};
use super::gcc::Gcc;
use super::history::{Carried, LostPacket, SentPackets};
use super::incoming::{Feedback, Losses};
use super::limited::ApplicationLimited;
use super::pacer::{Pacer, Pacing};
use super::probe_plan::{ProbePlan, Situation};
use super::prober::Prober;
use crate::rtcp::TransportFeedback;
use crate::rtp::path_loss::Lost;

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
/// Least packets for a share of losses in reports (RTCP), and how much more than it says a receiver that loses hardly
/// anything goes on being sent: what it says swings. To climb into that would fill its link.
const LEAST_REPORTED: u32 = 20;
const BENEFIT: f64 = 1.08;
/// A path that loses this share of packets loses reports about them too, and requests for them.
const LOSSY: f64 = 0.02;
/// A queue that is sent nothing more than what is asked for, in microseconds; how long after the path was found to be full
/// it drains.
const LONG_QUEUE: u64 = 100_000;
const DRAINS: u64 = 1_000_000;
/// How long after it was sent a lost packet is not worth to be sent again, in microseconds: a receiver that has not shown
/// anything for so long waits for a key frame.
const STALE: u64 = 1_000_000;
/// An estimate of this share of the most that is wanted is all of it.
const WIDE: f64 = 0.95;
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
    /// What reports told since losses were last looked at, and the factor that follows from it.
    reported: Lost,
    benefit: f64,
    outcomes: Vec<Outcome>,
    lost: VecDeque<LostPacket>,
    decisions: Vec<Decision>,
    desired: Desired,
    max: u32,
    allocated: u32,
    allocated_at: u64,
    next: Option<u32>,
    announced: Option<(u32, u64)>,
    round_trip: u64,
    shortest_round_trip: u64,
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

/// What consumers want, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// What they would like to send.
    pub desired: u32,
    /// What they send.
    pub allocated: u32,
    /// What must be possible for any of them to send more than that, if they want to and cannot send a little more.
    pub next: Option<u32>,
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
            reported: Lost::default(),
            benefit: 1.0,
            outcomes: Vec::new(),
            lost: VecDeque::new(),
            decisions: Vec::new(),
            desired: Desired::default(),
            max: initial,
            allocated: 0,
            allocated_at: 0,
            next: None,
            announced: None,
            round_trip: FIRST_ROUND_TRIP,
            shortest_round_trip: u64::MAX,
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
        self.pacer.set_probe(self.prober.active_rate());
        self.pacer.must_wait(now)
    }

    /// The packet with the next number has left; it carried nothing if it was padding.
    pub fn left(&mut self, size: usize, carried: Option<Carried>, now: u64) {
        self.sent.add(Some(now), size, carried, self.prober.cluster());
        self.note_sent(size, now);
        self.pacer.left(size);
    }

    /// The packet with the next number waits.
    pub fn wait(&mut self, bytes: &[u8], carried: Option<Carried>, now: u64) {
        let number = self.sent.next();
        self.sent.add(None, bytes.len(), carried, None);
        self.pacer.push(bytes, number, now);
        self.next_tick.get_or_insert(now + TICK);
    }

    /// Appends the next packet that has waited long enough to `out`. False: none has.
    pub fn pop(&mut self, now: u64, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.pacer.set_probe(self.prober.active_rate());
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
        self.prober.due(self.pacer.clear_at(), now)
    }

    /// The receiver tells what it can take (REMB).
    pub fn maximum_bitrate(&mut self, bitrate: u64) {
        let before = self.estimator.estimate();
        self.estimator.told(u32::try_from(bitrate).unwrap_or(u32::MAX));
        self.estimate_changed(before);
    }

    /// The receiver reports (RTCP) what it lost of a stream.
    pub fn lost(&mut self, lost: &Lost) {
        self.reported.sent = self.reported.sent.saturating_add(lost.sent);
        self.reported.lost = self.reported.lost.saturating_add(lost.lost);
    }

    /// The receiver has reported what it lost of all streams. False: that tells nothing new.
    pub fn losses_told(&mut self, now: u64) -> bool {
        if self.counts() || self.reported.sent < LEAST_REPORTED {
            return false;
        }
        let Lost { sent, lost } = std::mem::take(&mut self.reported);
        let share = f64::from(lost) / f64::from(sent);
        self.losses.add(share);
        self.benefit = if share < FEW { BENEFIT } else { 1.0 };
        let before = self.estimator.estimate();
        self.estimator.lost(share, now);
        self.estimate_changed(before);
        true
    }

    /// The receiver tells which packets arrived. Those that did not are to be [taken](Self::take_lost).
    pub fn transport_feedback(&mut self, feedback: &TransportFeedback<'_>, now: u64) {
        if !self.counts() {
            return;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        outcomes.clear();
        let lossy = self.losses.mean() >= LOSSY;
        let unreported = self.sent.resolve(feedback, now, &mut outcomes, lossy, &mut self.lost);
        outcomes.sort_unstable_by_key(|outcome| outcome.arrived_at);
        self.report(&outcomes, unreported, now);
        // Into a queue that is full only what is asked for is sent again. That is a long one: trends are seen in noise too.
        let queue = self.round_trip.saturating_sub(self.shortest_round_trip);
        if queue > LONG_QUEUE
            && self
                .estimator
                .full_at()
                .is_some_and(|at| now.saturating_sub(at) < DRAINS)
        {
            self.lost.clear();
        }
        self.outcomes = outcomes;
    }

    fn report(&mut self, outcomes: &[Outcome], unreported: u32, now: u64) {
        if outcomes.is_empty() {
            return;
        }
        let lost = outcomes.iter().filter(|outcome| outcome.arrived_at.is_none()).count();
        self.losses.add(lost as f64 / outcomes.len() as f64);
        self.reported_at = Some(now);
        let mut probed: SmallVec<[(u8, u32); 2]> = SmallVec::new();
        let mut newest = None;
        for outcome in outcomes {
            let Some(arrived_at) = outcome.arrived_at else { continue };
            newest = newest.max(Some(outcome.sent_at));
            if let Some(cluster) = outcome.cluster
                && let Some(measured) = self.prober.arrived(cluster, outcome.size, outcome.sent_at, arrived_at)
            {
                // What is measured with more of its packets is better.
                probed.retain(|(of, _)| *of != cluster);
                probed.push((cluster, measured));
            }
        }
        for (cluster, measured) in &probed {
            self.probe_measured(*cluster, *measured);
        }
        if let Some(newest) = newest {
            self.round_trip = now.saturating_sub(newest);
            self.shortest_round_trip = self.shortest_round_trip.min(self.round_trip);
        }
        self.limited.update(0, self.available_bitrate(), now);
        let circumstances = Circumstances {
            round_trip: self.round_trip,
            limited: self.limited.since().is_some(),
            unreported,
            probed: probed.last().map(|(_, measured)| *measured),
        };
        let before = self.estimator.estimate();
        self.estimator.report(outcomes, &circumstances, now);
        self.estimate_changed(before);
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
            next: self.next,
            full_at: self.estimator.full_at(),
            known: self.estimator.knows_capacity(),
        };
        for probe in self.plan.update(&situation, now) {
            let what = DecisionKind::Probe { bitrate: probe.rate };
            self.decide(what, DecisionReason::Desired, self.facts());
            self.prober.add(probe, now);
        }
    }

    fn probe_measured(&mut self, cluster: u8, measured: u32) {
        if let Some(bitrate) = self.prober.rate(cluster) {
            let facts = DecisionBandwidth {
                measured: Some(measured),
                ..self.facts()
            };
            self.decide(DecisionKind::Probe { bitrate }, DecisionReason::Desired, facts);
        }
    }

    /// The estimate may be another one than before.
    fn estimate_changed(&mut self, before: u32) {
        self.update_pacer();
        let what = match self.estimator.estimate().cmp(&before) {
            Ordering::Greater => DecisionKind::Raise,
            Ordering::Less => DecisionKind::Lower,
            Ordering::Equal => return,
        };
        let facts = DecisionBandwidth { before, ..self.facts() };
        self.decide(what, self.estimator.reason(), facts);
    }

    fn decide(&mut self, what: DecisionKind, why: DecisionReason, facts: DecisionBandwidth) {
        self.decisions.push(Decision { what, why, facts });
    }

    /// The next packet that turned out to be lost, of those that still help.
    pub fn take_lost(&mut self, now: u64) -> Option<LostPacket> {
        loop {
            let lost = self.lost.pop_front()?;
            if now.saturating_sub(lost.sent_at) < STALE {
                return Some(lost);
            }
        }
    }

    /// What was decided since the last call.
    pub fn decisions(&mut self) -> impl Iterator<Item = Decision> {
        self.decisions.drain(..)
    }

    /// What is known now.
    pub fn facts(&self) -> DecisionBandwidth {
        let estimate = self.estimator.estimate();
        DecisionBandwidth {
            before: estimate,
            estimate,
            available: self.available_bitrate(),
            desired: self.desired.now,
            allocated: self.allocated,
            measured: None,
            round_trip: self.reported_at.map(|_| (self.round_trip / 1000) as u32),
            lost: (100.0 * self.packet_loss()).round() as u8,
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
        let before = self.estimator.estimate();
        self.estimator.unanswered(now.saturating_sub(reported_at), now);
        self.estimate_changed(before);
        self.take_change(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout), [`pop`](Self::pop) and [`padding`](Self::padding) are to be
    /// called, if that is not planned yet.
    pub fn plan_wake(&mut self) -> Option<u64> {
        let probe = self.prober.next_at(self.pacer.clear_at());
        let probe = probe.filter(|_| !self.pacer.is_waiting());
        let wishes = [self.pacer.next_at(), probe, self.next_tick];
        let at = wishes.into_iter().flatten().min()?;
        if self.planned.is_some_and(|planned| planned <= at) {
            return None;
        }
        self.planned = Some(at);
        Some(at)
    }

    /// What consumers would like to send has changed, or what they send. `at_once`: one of them stopped.
    pub fn set_demand(&mut self, demand: &Demand, at_once: bool, now: u64) {
        self.desired.set(demand.desired, at_once, now);
        (self.allocated, self.allocated_at) = (demand.allocated, now);
        self.next = demand.next;
        if demand.desired > 0 {
            self.next_tick.get_or_insert(now + TICK);
        }
        self.update_max();
    }

    /// The parent allows so many bits per second at most, if it said so.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
        self.update_max();
    }

    fn update_pacer(&mut self) {
        let wide = f64::from(self.estimator.estimate()) >= WIDE * f64::from(self.max);
        self.pacer.set_estimate(self.available_bitrate(), wide);
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
        self.update_pacer();
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

    /// Bits per second up to which consumers keep what they send. It is a little more than is available if a receiver
    /// that says a rate loses hardly anything.
    pub fn keepable_bitrate(&self) -> u32 {
        let keepable = self.benefit * f64::from(self.available_bitrate());
        self.limited_to(keepable as u32)
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
            allocate: announce || self.keepable_bitrate() < self.allocated,
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

    /// From sending a packet to the report about it, as it was last, in microseconds.
    pub fn round_trip(&self) -> Option<u64> {
        self.reported_at.map(|_| self.round_trip)
    }

    /// Share of packets lost lately, 0 to 1; newer reports weigh more.
    pub fn packet_loss(&self) -> f64 {
        self.losses.mean()
    }

    /// What spreading bursts has cost.
    pub fn pacing(&self) -> PacingDump {
        self.pacer.dump()
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
