//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, RFC 3611): reading compounds, writing reports and requests.
//!
//! Nothing here knows of routers or consumers. Compounds are walked by their length fields, so that one odd packet
//! does not cost the rest.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod build;
mod parse;
mod transport_feedback;

pub use build::{
    delay_since_last_receiver_reference, full_intra_request, generic_nack, ntp_time, picture_loss_indication,
    receiver_estimated_maximum_bitrate, receiver_reference_time, receiver_report, sender_report, source_description,
};
pub use parse::{Block, Compound, NackItems, RtcpPacket, parse};
pub use transport_feedback::{TransportFeedback, TransportFeedbackBuilder};

/// Room for one compound: an Ethernet payload less IP, UDP and SRTCP, so that it is never fragmented.
pub const MAX_COMPOUND: usize = 1200;

/// What a receiver tells about one stream (RFC 3550 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning: signed, 24 bits.
    pub cumulative_lost: i32,
    /// Highest sequence number with the count of its cycles above it.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report, 0 for none.
    pub last_sender_report: u32,
    /// Time since then in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

/// Answer to a receiver's reference time (RFC 3611 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelaySinceReference {
    /// Who sent the reference time.
    pub ssrc: u32,
    /// Middle 32 bits of that time.
    pub last_reference: u32,
    /// Time since then in 1/65536 s.
    pub delay: u32,
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
mod tests;
