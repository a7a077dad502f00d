//! STUN messages (RFC 8489) as far as a side needs them that only answers ICE checks. Nothing here allocates.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

/// Bytes of the header.
const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const BINDING: u16 = 1;
/// What the CRC of a fingerprint is combined with (RFC 8489 section 14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554e;
/// Bytes of a fingerprint with its header.
const FINGERPRINT_LENGTH: usize = 8;
/// Bytes of a message integrity with its header.
const INTEGRITY_LENGTH: usize = 24;
/// Longest user name in bytes (RFC 8489 section 14.3).
const MAX_USERNAME: usize = 513;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const NOMINATION: u16 = 0x0030;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
/// What libwebrtc sends for [`NOMINATION`].
const NOMINATION_LIBWEBRTC: u16 = 0xc001;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// To be answered.
    Request,
    /// Not to be answered.
    Indication,
    /// A good answer.
    Success,
    /// A bad answer.
    Error,
}

/// An answer other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Something is missing (400).
    BadRequest,
    /// The peer wants to be controlled, which we are (487).
    RoleConflict,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StunError {
    /// No STUN header, or a length that does not fit.
    #[error("not a STUN message")]
    Header,
    /// An attribute exceeds the message or its type's size.
    #[error("STUN attribute of a wrong size")]
    Attribute,
    /// An attribute that counts occurs twice.
    #[error("STUN attribute given twice")]
    Repeated,
    /// Something follows the fingerprint.
    #[error("STUN fingerprint is not the last attribute")]
    Order,
    /// The fingerprint is wrong.
    #[error("wrong STUN fingerprint")]
    Fingerprint,
}

/// A message that was received. Its attributes are those before its integrity, which covers them.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Request or answer.
    pub class: Class,
    /// 1 is binding.
    pub method: u16,
    /// User name: ours, colon, the peer's.
    pub username: Option<&'a [u8]>,
    /// Priority of the peer's candidate.
    pub priority: Option<u32>,
    /// Whether the peer chooses this path.
    pub use_candidate: bool,
    /// Number of the choice; a higher one replaces a lower one.
    pub nomination: Option<u32>,
    /// Whether the peer says that we choose.
    pub controlled: bool,
    /// Whether it ends with a (good) fingerprint.
    pub fingerprint: bool,
    /// Where its integrity begins.
    integrity: Option<usize>,
}

/// Whether a datagram is meant to be a STUN message (RFC 7983 with the cookie of RFC 8489).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER
        && datagram.first().is_some_and(|first| *first < 3)
        && datagram.get(4..8) == Some(&MAGIC_COOKIE.to_be_bytes())
}

/// Attributes with their offsets; ends early where one does not fit.
struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(usize, u16, &'a [u8]), StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        if offset >= self.bytes.len() {
            return None;
        }
        let parsed = (|| {
            let &[t0, t1, l0, l1] = self.bytes.get(offset..)?.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let value = self.bytes.get(offset + 4..offset + 4 + length)?;
            let end = offset + 4 + length.next_multiple_of(4);
            (end <= self.bytes.len()).then_some((end, u16::from_be_bytes([t0, t1]), value))
        })();
        match parsed {
            Some((end, kind, value)) => {
                self.offset = end;
                Some(Ok((offset, kind, value)))
            }
            None => {
                self.offset = self.bytes.len();
                Some(Err(StunError::Attribute))
            }
        }
    }
}

fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { bytes, offset: HEADER }
}

/// The user fragment of ours that a message addresses, for finding the agent among many. Nothing is verified.
pub fn addressed_fragment(bytes: &[u8]) -> Option<&str> {
    let (_, _, name) = attributes(bytes)
        .map_while(Result::ok)
        .take_while(|(_, kind, _)| *kind != MESSAGE_INTEGRITY)
        .find(|(_, kind, _)| *kind == USERNAME)?;
    let name = name.get(..MAX_USERNAME.min(name.len()))?;
    let fragment = name.split(|byte| *byte == b':').next()?;
    std::str::from_utf8(fragment).ok()
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), StunError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(StunError::Repeated),
    }
}

fn number(value: &[u8]) -> Result<u32, StunError> {
    value
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| StunError::Attribute)
}

fn sized(value: &[u8], length: usize) -> Result<(), StunError> {
    if value.len() == length {
        Ok(())
    } else {
        Err(StunError::Attribute)
    }
}

impl<'a> Message<'a> {
    /// Reads a message and checks its fingerprint, if it has one. Its integrity is for [`verify`](Self::verify).
    ///
    /// # Errors
    /// The bytes break a rule of RFC 8489.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let &[t0, t1, l0, l1] = bytes.first_chunk().ok_or(StunError::Header)?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !is_stun(bytes) || bytes.len() != HEADER + length || !length.is_multiple_of(4) {
            return Err(StunError::Header);
        }
        let kind = u16::from_be_bytes([t0, t1]);
        let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        };
        let mut message = Self {
            bytes,
            class,
            method: (kind & 0x000f) | ((kind & 0x00e0) >> 1) | ((kind & 0x3e00) >> 2),
            username: None,
            priority: None,
            use_candidate: false,
            nomination: None,
            controlled: false,
            fingerprint: false,
            integrity: None,
        };
        let (mut standard_nomination, mut use_candidate, mut controlled, mut controlling) = (None, None, None, None);
        for attribute in attributes(bytes) {
            let (offset, kind, value) = attribute?;
            if message.fingerprint {
                return Err(StunError::Order);
            }
            // What follows the integrity is not covered by it and does not count (RFC 8489 section 14.5).
            if message.integrity.is_some() && kind != FINGERPRINT && kind != MESSAGE_INTEGRITY {
                continue;
            }
            match kind {
                USERNAME if value.len() > MAX_USERNAME => return Err(StunError::Attribute),
                USERNAME => set_once(&mut message.username, value)?,
                MESSAGE_INTEGRITY => {
                    sized(value, INTEGRITY_LENGTH - 4)?;
                    set_once(&mut message.integrity, offset)?;
                }
                PRIORITY => set_once(&mut message.priority, number(value)?)?,
                USE_CANDIDATE => {
                    sized(value, 0)?;
                    set_once(&mut use_candidate, ())?;
                }
                NOMINATION => set_once(&mut standard_nomination, number(value)?)?,
                NOMINATION_LIBWEBRTC => set_once(&mut message.nomination, number(value)?)?,
                ICE_CONTROLLED => {
                    sized(value, 8)?;
                    set_once(&mut controlled, ())?;
                }
                ICE_CONTROLLING => {
                    sized(value, 8)?;
                    set_once(&mut controlling, ())?;
                }
                FINGERPRINT => {
                    let covered = bytes.get(..offset).ok_or(StunError::Attribute)?;
                    if number(value)? != crc32fast::hash(covered) ^ FINGERPRINT_MASK {
                        return Err(StunError::Fingerprint);
                    }
                    message.fingerprint = true;
                }
                _ => {}
            }
        }
        message.use_candidate = use_candidate.is_some();
        message.controlled = controlled.is_some();
        message.nomination = standard_nomination.or(message.nomination);
        Ok(message)
    }

    /// Whether it is a binding message.
    pub fn is_binding(&self) -> bool {
        self.method == BINDING
    }

    /// Whether its user name begins with this fragment of ours.
    pub fn addresses(&self, fragment: &str) -> bool {
        self.username
            .and_then(|name| name.strip_prefix(fragment.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&b':'))
    }

    /// Whether its integrity was made with this key. A message without one was not.
    pub fn verify(&self, key: &hmac::Key) -> bool {
        let Some(offset) = self.integrity else {
            return false;
        };
        let (Some(kind), Some(rest), Some(tag)) = (
            self.bytes.get(..2),
            self.bytes.get(4..offset),
            self.bytes.get(offset + 4..offset + INTEGRITY_LENGTH),
        ) else {
            return false;
        };
        // The length counts as if the message ended with its integrity (RFC 8489 section 14.5).
        let Ok(length) = u16::try_from(offset + INTEGRITY_LENGTH - HEADER) else {
            return false;
        };
        let mut context = hmac::Context::with_key(key);
        context.update(kind);
        context.update(&length.to_be_bytes());
        context.update(rest);
        constant_time::verify_slices_are_equal(context.sign().as_ref(), tag).is_ok()
    }

    /// Appends the good answer: where the request came from, signed.
    pub fn write_success(&self, source: SocketAddr, key: &hmac::Key, answer: &mut Vec<u8>) {
        let address_length = match source.ip() {
            IpAddr::V4(_) => 8,
            IpAddr::V6(_) => 20,
        };
        let start = answer.len();
        // Up to the integrity for now; the fingerprint comes last.
        self.write_header(0x0100, 4 + address_length + INTEGRITY_LENGTH as u16, answer);
        put_header(XOR_MAPPED_ADDRESS, address_length, answer);
        let port = source.port() ^ (MAGIC_COOKIE >> 16) as u16;
        match source.ip() {
            IpAddr::V4(ip) => {
                answer.extend_from_slice(&[0, 1]);
                answer.extend_from_slice(&port.to_be_bytes());
                answer.extend_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            }
            IpAddr::V6(ip) => {
                answer.extend_from_slice(&[0, 2]);
                answer.extend_from_slice(&port.to_be_bytes());
                // Cookie and transaction lie behind each other in the header.
                let mask = self.bytes.get(4..HEADER).unwrap_or_default();
                answer.extend(ip.octets().iter().zip(mask).map(|(octet, mask)| octet ^ mask));
            }
        }
        let mut context = hmac::Context::with_key(key);
        context.update(answer.get(start..).unwrap_or_default());
        let tag = context.sign();
        put_header(MESSAGE_INTEGRITY, INTEGRITY_LENGTH as u16 - 4, answer);
        answer.extend_from_slice(tag.as_ref());
        finish(start, answer);
    }

    /// Appends an error. Only to be sent to a peer that has proved to know the password.
    pub fn write_error(&self, code: ErrorCode, answer: &mut Vec<u8>) {
        let start = answer.len();
        self.write_header(0x0110, 8, answer);
        put_header(ERROR_CODE, 4, answer);
        answer.extend_from_slice(match code {
            ErrorCode::BadRequest => &[0, 0, 4, 0],
            ErrorCode::RoleConflict => &[0, 0, 4, 87],
        });
        finish(start, answer);
    }

    fn write_header(&self, class: u16, length: u16, answer: &mut Vec<u8>) {
        let method = ((self.method & 0x0f80) << 2) | ((self.method & 0x0070) << 1) | (self.method & 0x000f);
        answer.extend_from_slice(&(class | method).to_be_bytes());
        answer.extend_from_slice(&length.to_be_bytes());
        answer.extend_from_slice(self.bytes.get(4..HEADER).unwrap_or_default());
    }
}

fn put_header(kind: u16, length: u16, answer: &mut Vec<u8>) {
    answer.extend_from_slice(&kind.to_be_bytes());
    answer.extend_from_slice(&length.to_be_bytes());
}

/// Appends the fingerprint of the message that begins at `start`.
fn finish(start: usize, answer: &mut Vec<u8>) {
    let length = answer.len().saturating_sub(start + HEADER) + FINGERPRINT_LENGTH;
    if let Some(field) = answer.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&(length as u16).to_be_bytes());
    }
    let crc = crc32fast::hash(answer.get(start..).unwrap_or_default()) ^ FINGERPRINT_MASK;
    put_header(FINGERPRINT, 4, answer);
    answer.extend_from_slice(&crc.to_be_bytes());
}
