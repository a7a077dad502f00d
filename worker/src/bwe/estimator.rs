//! What estimates how much can be sent to a receiver: a small trait, so that ways to do that can be exchanged.

use std::fmt::Debug;

use channel_proto::reply::DecisionReason;

/// What became of a packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When it left, in microseconds.
    pub sent_at: u64,
    /// When it arrived, in microseconds of the receiver's clock, if it did.
    pub arrived_at: Option<i64>,
    /// It arrived, but had been told to be lost.
    pub late: bool,
    /// Its bytes.
    pub size: u32,
    /// The probe that it was part of.
    pub cluster: Option<u8>,
}

/// What is known beside a receiver's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// From sending a packet to the report about it, in microseconds.
    pub round_trip: u64,
    /// Less is sent than is allowed.
    pub limited: bool,
    /// Bytes of packets sent before those of the report of which nothing will be told: a report was lost.
    pub unreported: u32,
    /// What a probe measured, in bits per second.
    pub probed: Option<u32>,
}

/// Estimates how much can be sent. It has no clock and sends nothing.
pub trait Estimator: Debug {
    /// Takes a report of the receiver: what became of packets, in the order in which they arrived, lost ones first.
    fn report(&mut self, outcomes: &[Outcome], circumstances: &Circumstances, now: u64);

    /// The receiver tells what it can take, in bits per second.
    fn told(&mut self, bitrate: u32);

    /// The receiver tells which share of packets it has lost lately, 0 to 1. For those who do not report arrivals.
    fn lost(&mut self, share: f64, now: u64);

    /// Packets are sent, and no report came for `silence` microseconds since the last one.
    fn unanswered(&mut self, silence: u64, now: u64);

    /// Bits per second that can be sent.
    fn estimate(&self) -> u32;

    /// Why it last changed.
    fn reason(&self) -> DecisionReason;

    /// When the path was last found to be full.
    fn full_at(&self) -> Option<u64>;

    /// Whether it is known at which rate it is full.
    fn knows_capacity(&self) -> bool;
}
