//! Opus packets (RFC 6716 3.1).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// What the first byte of a packet and its length tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// All frames are empty: discontinuous transmission.
    pub is_dtx: bool,
}

impl Descriptor {
    /// Reads a payload; None if it is not valid.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let is_dtx = match (payload.first()? & 3, payload.len()) {
            (0 | 1, length) => length == 1,
            (_, 1) => return None,
            (2, length) => length == 2,
            _ => false,
        };
        Some(Self { is_dtx })
    }
}
