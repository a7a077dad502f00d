//! DTLS 1.2 (RFC 6347) as WebRTC uses it: both sides show a self-signed certificate, whose fingerprint the signalling
//! has announced, and the handshake yields the keys of SRTP (RFC 5764).
//!
//! The protocol itself is the `rtc-dtls` crate. What stands here around it: a certificate with its fingerprints,
//! packets checked and bounded before the crate gets them, our order of SRTP suites instead of the peer's, and
//! retransmission that backs off. There are no sockets and no clock: datagrams and time are told, datagrams and events
//! are asked for.

mod association;
mod certificate;
mod flight;
mod hello;
mod records;
#[cfg(test)]
mod tests;

pub use association::{Association, Connected, Event};
pub use certificate::{Certificate, CertificateError, PeerCertificate};

/// Part of one side in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Begins.
    Client,
    /// Waits for the other side to begin.
    Server,
}
