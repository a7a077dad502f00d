//! SRTP and SRTCP (RFC 3711, RFC 7714): one [`SrtpSender`] and one [`SrtpReceiver`] per transport.
//!
//! Both are keyed once and then serve every SSRC of their direction. Packets are transformed in place. Once an SSRC is
//! known, handling its packets allocates nothing, except where the caller's buffer lacks room for the tag.
//!
//! Limits that follow from the profiles we negotiate: no MKI, key derivation rate 0, no unencrypted SRTCP.
//!
//! Everything here meets bytes from anyone on the network. No input may panic, and a packet that fails authentication
//! leaves no trace in the state.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod index;
mod keys;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;

pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;

/// Bytes of an RTP header without CSRCs and extensions.
const RTP_HEADER: usize = 12;

/// Bytes at the start of a (compound) RTCP packet that SRTCP leaves in the clear: the first header and sender's SSRC.
const RTCP_HEADER: usize = 8;

/// Bytes of the E flag and SRTCP index (RFC 3711 section 3.4).
const SRTCP_TRAILER: usize = 4;

/// The E flag: "this SRTCP packet is encrypted".
const E_FLAG: u32 = 1 << 31;

/// The longest packet that is processed. UDP cannot carry more, and it keeps AES-CM far below the 2^16 blocks after
/// which its counter would run into the packet index (RFC 3711 section 4.1.1).
const MAX_PACKET: usize = 65_535;

/// Why a packet or a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// The master key and salt together do not have the length that the suite wants.
    #[error("SRTP master key and salt have {got} bytes, the suite needs {expected}")]
    KeyLength {
        /// Bytes the suite needs.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// The packet cannot hold its header and, when received, what SRTP appends.
    #[error("packet too short for SRTP")]
    TooShort,
    /// The packet is longer than a UDP datagram can be.
    #[error("packet too long for SRTP")]
    TooLong,
    /// The header length is below the fixed RTP header, or reaches beyond the packet.
    #[error("RTP header length does not fit the packet")]
    HeaderLength,
    /// The tag does not match.
    #[error("SRTP authentication failed")]
    Authentication,
    /// The packet was received before, or is too old to tell.
    #[error("SRTP packet replayed or older than the replay window")]
    Replayed,
    /// An SRTCP packet without encryption, which we never accept.
    #[error("SRTCP packet is not encrypted")]
    Unencrypted,
    /// The packet would use an index that belongs to an earlier life of its SSRC, or lies before the first packet.
    #[error("SRTP index already spent under this key")]
    IndexSpent,
    /// All packet indices under this key have been used.
    #[error("SRTP key exhausted")]
    KeyExhausted,
    /// The sender already keeps the index of as many SSRCs as it may.
    #[error("too many SSRCs under one SRTP key")]
    TooManyStreams,
    /// The cryptographic library refused an operation, which no input should bring about.
    #[error("SRTP cryptographic operation failed")]
    Crypto,
}

/// SSRC of the RTP packet and its sequence number.
fn rtp_ids(packet: &[u8]) -> Result<(u32, u16), SrtpError> {
    let &[_, _, s0, s1, _, _, _, _, a, b, c, d] = packet.first_chunk::<RTP_HEADER>().ok_or(SrtpError::TooShort)?;
    Ok((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([s0, s1])))
}

/// SSRC of the sender of the RTCP packet.
fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let &[_, _, _, _, a, b, c, d] = packet.first_chunk::<RTCP_HEADER>().ok_or(SrtpError::TooShort)?;
    Ok(u32::from_be_bytes([a, b, c, d]))
}
