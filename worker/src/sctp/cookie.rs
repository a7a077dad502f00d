//! Authentication of state cookies.
//!
//! The cookie that an INIT ACK carries comes back in the COOKIE ECHO and makes the association (RFC 9260 5.1.3). The
//! stack takes any that looks right, which is enough over DTLS. Over plain UDP anybody could forge one, so ours carry
//! the time and a MAC, which are put in and taken out on the way. The MAC also covers the tag that came with the cookie,
//! and that the packet must carry which brings it back.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use aws_lc_rs::hmac;

use super::chunks::{
    COMMON_HEADER, COOKIE_ECHO, INIT_ACK, chunks, elements, has_valid_checksum, push_element, write_checksum,
};

/// How long a cookie is good, in microseconds (RFC 9260 16: Valid.Cookie.Life).
pub const LIFETIME: u64 = 60_000_000;
/// Time in microseconds.
const TIME: usize = 8;
/// Half of HMAC-SHA-256.
const MAC: usize = 16;
/// What precedes the parameters of an INIT ACK: chunk header, tag, window, streams, TSN.
const INIT_ACK_FIXED: usize = 20;
/// Type of the state cookie parameter.
const STATE_COOKIE: [u8; 2] = [0, 7];

/// Seals the cookies of one association.
pub struct CookieKey(hmac::Key);

impl CookieKey {
    /// A key from a secret that nobody else knows.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// An outgoing packet, with its cookie sealed if it carries one.
    pub fn seal(&self, packet: Vec<u8>, now: u64) -> Vec<u8> {
        let Some(init_ack) = chunks(&packet).next().filter(|chunk| chunk.kind == INIT_ACK) else {
            return packet;
        };
        let (Some(header), Some(fixed), Some(parameters)) = (
            packet.get(..COMMON_HEADER),
            init_ack.bytes.get(4..INIT_ACK_FIXED),
            init_ack.bytes.get(INIT_ACK_FIXED..),
        ) else {
            return packet;
        };
        let Some(tag) = fixed.get(..4) else {
            return packet;
        };
        let mut value = fixed.to_vec();
        for parameter in elements(parameters) {
            let (Some(kind), Some(body)) = (parameter.first_chunk::<2>(), parameter.get(4..)) else {
                continue;
            };
            if *kind == STATE_COOKIE {
                let time = now.to_be_bytes();
                push_element(&mut value, *kind, &[body, &time, &self.mac(body, &time, tag)]);
            } else {
                push_element(&mut value, *kind, &[body]);
            }
        }
        let checked = has_valid_checksum(&packet);
        let mut sealed = header.to_vec();
        push_element(&mut sealed, [INIT_ACK, 0], &[&value]);
        if checked {
            write_checksum(&mut sealed);
        }
        sealed
    }

    /// An incoming packet with the plain cookie in place of the sealed one. None: it carries a cookie that is not ours
    /// or too old.
    pub fn open(&self, packet: &[u8], now: u64) -> Option<Vec<u8>> {
        // Only a sum over the packet as it came says that it came unharmed.
        if !has_valid_checksum(packet) {
            return None;
        }
        let mut opened = packet.get(..COMMON_HEADER)?.to_vec();
        for chunk in chunks(packet) {
            let start = *chunk.bytes.first_chunk::<2>()?;
            if chunk.kind != COOKIE_ECHO {
                push_element(&mut opened, start, &[chunk.value()]);
                continue;
            }
            let value = chunk.value();
            let (body, seal) = value.split_at_checked(value.len().checked_sub(TIME + MAC)?)?;
            let (time, mac) = seal.split_first_chunk::<TIME>()?;
            let sealed_at = u64::from_be_bytes(*time);
            let ours = self.mac(body, time, packet.get(4..8)?);
            let genuine = bool::from(subtle::ConstantTimeEq::ct_eq(&ours[..], mac));
            if !genuine || now.saturating_sub(sealed_at) > LIFETIME {
                return None;
            }
            push_element(&mut opened, start, &[body]);
        }
        write_checksum(&mut opened);
        Some(opened)
    }

    /// `tag`, of four bytes, is what the packets of the peer will carry.
    fn mac(&self, cookie: &[u8], time: &[u8; TIME], tag: &[u8]) -> [u8; MAC] {
        let mut context = hmac::Context::with_key(&self.0);
        [cookie, time, tag].iter().for_each(|part| context.update(part));
        let mut mac = [0; MAC];
        mac.iter_mut()
            .zip(context.sign().as_ref())
            .for_each(|(to, from)| *to = *from);
        mac
    }
}

/// Whether a packet carries a COOKIE ECHO.
pub fn has_cookie(packet: &[u8]) -> bool {
    chunks(packet).any(|chunk| chunk.kind == COOKIE_ECHO)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
mod tests {
    use super::*;

    fn init_ack(cookie: &[u8]) -> Vec<u8> {
        let mut value = vec![1; 16];
        push_element(&mut value, [0xc0, 0], &[]);
        push_element(&mut value, STATE_COOKIE, &[cookie]);
        let mut packet = vec![0x13, 0x88, 0x13, 0x88, 1, 2, 3, 4, 0, 0, 0, 0];
        push_element(&mut packet, [INIT_ACK, 0], &[&value]);
        write_checksum(&mut packet);
        packet
    }

    fn echo(cookie: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88, 1, 1, 1, 1, 0, 0, 0, 0];
        push_element(&mut packet, [COOKIE_ECHO, 0], &[cookie]);
        push_element(&mut packet, [0, 3], &[b"some data"]);
        write_checksum(&mut packet);
        packet
    }

    fn cookie_of(packet: &[u8]) -> Vec<u8> {
        let parameters = &chunks(packet).next().unwrap().bytes[INIT_ACK_FIXED..];
        let cookie = elements(parameters).find(|parameter| parameter[..2] == STATE_COOKIE);
        cookie.unwrap()[4..].to_vec()
    }

    #[test]
    fn a_sealed_cookie_comes_back_plain() {
        let key = CookieKey::new(&[7; 32]);
        let sealed = key.seal(init_ack(b"cookie"), 1_000_000);
        assert!(has_valid_checksum(&sealed));
        let cookie = cookie_of(&sealed);
        assert_eq!(cookie.len(), 6 + TIME + MAC);
        assert_eq!(key.open(&echo(&cookie), 1_000_000 + LIFETIME).unwrap(), echo(b"cookie"));
    }

    #[test]
    fn a_cookie_that_is_forged_altered_shortened_or_old_is_refused() {
        let key = CookieKey::new(&[7; 32]);
        let cookie = cookie_of(&key.seal(init_ack(b"cookie"), 0));
        assert!(key.open(&echo(&cookie), LIFETIME + 1).is_none());
        assert!(key.open(&echo(b"cookie"), 0).is_none());
        assert!(CookieKey::new(&[8; 32]).open(&echo(&cookie), 0).is_none());
        for length in 0..cookie.len() {
            assert!(key.open(&echo(&cookie[..length]), 0).is_none());
        }
        for bit in 0..cookie.len() * 8 {
            let mut altered = cookie.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&echo(&altered), 0).is_none(), "bit {bit}");
        }
        let mut other = echo(&cookie);
        other[4..8].copy_from_slice(&[1, 1, 1, 2]);
        write_checksum(&mut other);
        assert!(key.open(&other, 0).is_none(), "with another tag");
        let mut harmed = echo(&cookie);
        *harmed.last_mut().unwrap() ^= 1;
        assert!(key.open(&harmed, 0).is_none(), "wrong checksum");
    }

    #[test]
    fn other_packets_leave_as_they_are() {
        let packet = echo(b"cookie");
        assert_eq!(CookieKey::new(&[7; 32]).seal(packet.clone(), 5), packet);
    }
}
