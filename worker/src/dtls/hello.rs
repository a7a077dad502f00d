//! The ClientHello of a peer, read before the handshake begins, so that the SRTP suite can be chosen in our order.
//!
//! Browsers list AES-CM first, which costs four times as much for each packet as AES-GCM, and the protocol crate takes
//! the first of the peer's that is known. Knowing what the peer offers, it is configured with our choice alone.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use channel_proto::srtp_parameters::SrtpCryptoSuite;

/// Extension `use_srtp` (RFC 5764 section 4.1.1).
const USE_SRTP: u16 = 14;

/// Number of a suite in `use_srtp`.
fn suite(profile: u16) -> Option<SrtpCryptoSuite> {
    match profile {
        1 => Some(SrtpCryptoSuite::AesCm128HmacSha1_80),
        2 => Some(SrtpCryptoSuite::AesCm128HmacSha1_32),
        7 => Some(SrtpCryptoSuite::AeadAes128Gcm),
        8 => Some(SrtpCryptoSuite::AeadAes256Gcm),
        _ => None,
    }
}

/// The best suite that a ClientHello (RFC 6347 section 4.2.1, without handshake header) offers; None if it offers none
/// that is known.
pub fn best_suite(client_hello: &[u8]) -> Option<SrtpCryptoSuite> {
    let offered = offered_suites(client_hello)?;
    SrtpCryptoSuite::ALL.into_iter().find(|suite| offered.contains(suite))
}

/// Takes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<usize> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*byte))
    }

    fn long(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }
}

/// Suites that a ClientHello offers; None if it is malformed.
pub(super) fn offered_suites(message: &[u8]) -> Option<Vec<SrtpCryptoSuite>> {
    let mut hello = Reader(message);
    hello.take(2 + 32)?;
    let session_id = hello.short()?;
    hello.take(session_id)?;
    let cookie = hello.short()?;
    hello.take(cookie)?;
    let cipher_suites = hello.long()?;
    hello.take(usize::from(cipher_suites))?;
    let compression_methods = hello.short()?;
    hello.take(compression_methods)?;
    if hello.0.is_empty() {
        return Some(Vec::new());
    }
    let length = hello.long()?;
    let mut extensions = Reader(hello.take(usize::from(length))?);
    let mut suites = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.long()?;
        let length = extensions.long()?;
        let body = extensions.take(usize::from(length))?;
        if kind == USE_SRTP {
            let mut body = Reader(body);
            let length = body.long()?;
            let profiles = body.take(usize::from(length))?;
            let numbers = profiles.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
            suites.extend(numbers.filter_map(|pair| suite(u16::from_be_bytes(pair))));
        }
    }
    Some(suites)
}
