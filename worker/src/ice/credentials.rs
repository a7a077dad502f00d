//! User fragment and password.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use aws_lc_rs::hmac;
use rand::{Rng as _, RngCore};

/// Characters of a user fragment and of a password: 165 bits, where RFC 8445 section 5.3 asks for 24 and 128.
const LENGTH: usize = 32;
/// Those of them that clients and proxies have always met.
const CHARACTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// User fragment and password of one side.
pub struct Credentials {
    fragment: String,
    password: String,
    /// The password as key: hashing it takes longer than the rest of an answer, so it is done once.
    key: hmac::Key,
}

impl Credentials {
    /// Random ones.
    pub fn random(rng: &mut dyn RngCore) -> Self {
        let mut text = || {
            (0..LENGTH)
                .filter_map(|_| CHARACTERS.get(rng.random_range(0..CHARACTERS.len())))
                .map(|character| char::from(*character))
                .collect()
        };
        Self::new(text(), text())
    }

    /// Chosen ones.
    pub fn new(fragment: String, password: String) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        Self {
            fragment,
            password,
            key,
        }
    }

    /// The user fragment.
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("fragment", &self.fragment)
            .finish_non_exhaustive()
    }
}
