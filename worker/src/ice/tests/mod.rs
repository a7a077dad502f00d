//! Vectors of RFC 5769, hostile messages, and the agent's states in virtual time.

mod agent;
mod messages;

use aws_lc_rs::hmac;

/// Builds messages as a peer would.
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A binding request without attributes.
    pub(super) fn request() -> Self {
        Self::of_type(1)
    }

    /// A message of this type.
    pub(super) fn of_type(kind: u16) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0x21, 0x12, 0xa4, 0x42]);
        bytes.extend_from_slice(b"transaction!");
        Self { bytes }
    }

    /// Appends an attribute, and corrects the length of the message.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    fn set_length(&mut self, ahead: usize) {
        let length = (self.bytes.len() - 20 + ahead) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Appends what ICE wants, for these user fragments.
    pub(super) fn check(self, username: &str) -> Self {
        self.attribute(0x0006, username.as_bytes())
            .attribute(0x0024, &[0x6e, 0, 1, 0xff])
            .attribute(0x802a, &[1, 2, 3, 4, 5, 6, 7, 8])
    }

    /// Appends the integrity.
    pub(super) fn sign(mut self, password: &str) -> Self {
        self.set_length(24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &self.bytes);
        self.attribute(0x0008, tag.as_ref())
    }

    /// Appends the fingerprint.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.set_length(8);
        let crc = crc32fast::hash(&self.bytes) ^ 0x5354_554e;
        self.attribute(0x8028, &crc.to_be_bytes()).bytes
    }

    /// The message without a fingerprint.
    pub(super) fn unfinished(self) -> Vec<u8> {
        self.bytes
    }
}
