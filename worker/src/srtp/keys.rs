//! Session keys, their derivation, and the transforms on one packet.

use super::index::roc;
use super::{E_FLAG, MAX_PACKET, RTCP_HEADER, RTP_HEADER, SRTCP_TRAILER, SrtpError};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};
use channel_proto::srtp_parameters::SrtpCryptoSuite;

/// Bytes of the GCM tag. RFC 7714 defines no shorter one.
const GCM_TAG: usize = 16;

/// Bytes of the AES-CM session salt.
const CM_SALT: usize = 14;

/// Bytes of the GCM session salt.
const GCM_SALT: usize = 12;

/// Bytes of the HMAC-SHA1 key.
const MAC_KEY: usize = 20;

/// The session keys of one direction, expanded once.
pub(super) struct SessionKeys {
    /// For SRTP.
    pub(super) rtp: Protection,
    /// For SRTCP.
    pub(super) rtcp: Protection,
}

impl SessionKeys {
    /// Derives the session keys from master key and salt (RFC 3711 section 4.3, RFC 7714 section 11).
    pub(super) fn derive(suite: SrtpCryptoSuite, master: &[u8]) -> Result<Self, SrtpError> {
        let expected = suite.master_length();
        let wrong_length = SrtpError::KeyLength {
            expected,
            got: master.len(),
        };
        if master.len() != expected {
            return Err(wrong_length);
        }
        let (key_length, rtp_tag) = match suite {
            SrtpCryptoSuite::AeadAes256Gcm => (32, GCM_TAG),
            SrtpCryptoSuite::AeadAes128Gcm => (16, GCM_TAG),
            SrtpCryptoSuite::AesCm128HmacSha1_80 => (16, 10),
            SrtpCryptoSuite::AesCm128HmacSha1_32 => (16, 4),
        };
        let (key, salt) = master.split_at_checked(key_length).ok_or(wrong_length)?;
        let kdf = Derivation::new(key, salt)?;
        // The labels of RFC 3711 section 4.3.1 (SRTP) and 4.3.2 (SRTCP): cipher key, authentication key, salt.
        match suite {
            SrtpCryptoSuite::AeadAes256Gcm => Ok(Self {
                rtp: Protection::gcm(&kdf.output::<32>(0)?, kdf.output(2)?)?,
                rtcp: Protection::gcm(&kdf.output::<32>(3)?, kdf.output(5)?)?,
            }),
            SrtpCryptoSuite::AeadAes128Gcm => Ok(Self {
                rtp: Protection::gcm(&kdf.output::<16>(0)?, kdf.output(2)?)?,
                rtcp: Protection::gcm(&kdf.output::<16>(3)?, kdf.output(5)?)?,
            }),
            // SHA1_32 shortens only the RTP tag; RFC 3711 section 5.2 and RFC 5764 section 4.1.2 keep 80 bits for RTCP.
            SrtpCryptoSuite::AesCm128HmacSha1_80 | SrtpCryptoSuite::AesCm128HmacSha1_32 => Ok(Self {
                rtp: Protection::cm(&kdf.output(0)?, kdf.output(1)?, kdf.output(2)?, rtp_tag)?,
                rtcp: Protection::cm(&kdf.output(3)?, kdf.output(4)?, kdf.output(5)?, 10)?,
            }),
        }
    }
}

/// The key derivation function: AES in counter mode under the master key.
pub(super) struct Derivation {
    cipher: EncryptingKey,
    salt: u128,
}

impl Derivation {
    /// Salts of 96 bits are padded with zeros on the right to 112 (RFC 7714 section 11).
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        let mut block = [0; 16];
        block
            .iter_mut()
            .take(CM_SALT)
            .zip(salt)
            .for_each(|(to, from)| *to = *from);
        Ok(Self {
            cipher: counter_mode(key)?,
            salt: u128::from_be_bytes(block),
        })
    }

    /// `N` bytes for a label. With key derivation rate 0 the label is all that enters besides the salt.
    pub(super) fn output<const N: usize>(&self, label: u8) -> Result<[u8; N], SrtpError> {
        let mut output = [0; N];
        xor_keystream(&self.cipher, self.salt ^ u128::from(label) << 64, &mut output)?;
        Ok(output)
    }
}

/// The keys and parameters that protect RTP or RTCP.
///
/// There are two of these per direction and transport. The keys of AES-CM are in boxes as those of GCM are inside: else
/// a transport with GCM would have their kilobytes of room, unused.
pub(super) enum Protection {
    /// AES in counter mode with HMAC-SHA1 (RFC 3711 section 4).
    Cm {
        /// The expanded cipher key.
        cipher: Box<EncryptingKey>,
        /// The session salt in the upper 112 bits.
        salt: u128,
        /// The authentication key, with its pads already hashed.
        mac: Box<hmac::Key>,
        /// Bytes that are kept of the MAC.
        tag: usize,
    },
    /// AES-GCM (RFC 7714).
    Gcm {
        /// The expanded key.
        key: LessSafeKey,
        /// The session salt in the lower 96 bits.
        salt: u128,
    },
}

impl Protection {
    pub(super) fn cm(key: &[u8; 16], mac: [u8; MAC_KEY], salt: [u8; CM_SALT], tag: usize) -> Result<Self, SrtpError> {
        let mut block = [0; 16];
        block.iter_mut().zip(salt).for_each(|(to, from)| *to = from);
        Ok(Self::Cm {
            cipher: Box::new(counter_mode(key)?),
            salt: u128::from_be_bytes(block),
            mac: Box::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &mac)),
            tag,
        })
    }

    pub(super) fn gcm(key: &[u8], salt: [u8; GCM_SALT]) -> Result<Self, SrtpError> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::Crypto)?;
        let salt = salt.into_iter().fold(0, |salt, byte| salt << 8 | u128::from(byte));
        Ok(Self::Gcm {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    /// Bytes of the tag.
    pub(super) fn tag_length(&self) -> usize {
        match self {
            Self::Cm { tag, .. } => *tag,
            Self::Gcm { .. } => GCM_TAG,
        }
    }

    /// Encrypts and authenticates the RTP packet from `start` to the end of `buffer`.
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        header_length: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        let packet = buffer.get_mut(start..).ok_or(SrtpError::TooShort)?;
        let (header, payload) = packet
            .split_at_mut_checked(header_length)
            .ok_or(SrtpError::HeaderLength)?;
        match self {
            Self::Cm { cipher, salt, mac, tag } => {
                xor_keystream(cipher, cm_block(*salt, ssrc, index), payload)?;
                let mac = authenticate(mac, packet, &roc(index).to_be_bytes());
                buffer.extend_from_slice(mac.as_ref().get(..*tag).ok_or(SrtpError::Crypto)?);
            }
            Self::Gcm { key, salt } => {
                let tag = key
                    .seal_in_place_separate_tag(gcm_nonce(*salt, ssrc, index), Aad::from(&*header), payload)
                    .map_err(|_| SrtpError::Crypto)?;
                buffer.extend_from_slice(tag.as_ref());
            }
        }
        Ok(())
    }

    /// Verifies and decrypts an RTP packet; the length of what remains.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_length: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let plain_length = packet.len().checked_sub(self.tag_length()).ok_or(SrtpError::TooShort)?;
        if header_length > plain_length {
            return Err(SrtpError::HeaderLength);
        }
        match self {
            Self::Cm { cipher, salt, mac, .. } => {
                let (body, tag) = packet.split_at_mut_checked(plain_length).ok_or(SrtpError::TooShort)?;
                verify(mac, body, &roc(index).to_be_bytes(), tag)?;
                let payload = body.get_mut(header_length..).ok_or(SrtpError::HeaderLength)?;
                xor_keystream(cipher, cm_block(*salt, ssrc, index), payload)?;
            }
            Self::Gcm { key, salt } => {
                let (header, sealed) = packet
                    .split_at_mut_checked(header_length)
                    .ok_or(SrtpError::HeaderLength)?;
                key.open_in_place(gcm_nonce(*salt, ssrc, index), Aad::from(&*header), sealed)
                    .map_err(|_| SrtpError::Authentication)?;
            }
        }
        Ok(plain_length)
    }

    /// Encrypts and authenticates the RTCP packet from `start` to the end of `buffer`, and appends index and tag in
    /// the suite's order: the tag comes last in RFC 3711, the index in RFC 7714.
    pub(super) fn seal_rtcp(&self, buffer: &mut Vec<u8>, start: usize, ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let trailer = (index | E_FLAG).to_be_bytes();
        let packet = buffer.get_mut(start..).ok_or(SrtpError::TooShort)?;
        let (header, payload) = packet
            .split_first_chunk_mut::<RTCP_HEADER>()
            .ok_or(SrtpError::TooShort)?;
        match self {
            Self::Cm { cipher, salt, mac, tag } => {
                xor_keystream(cipher, cm_block(*salt, ssrc, index.into()), payload)?;
                let mac = authenticate(mac, packet, &trailer);
                buffer.extend_from_slice(&trailer);
                buffer.extend_from_slice(mac.as_ref().get(..*tag).ok_or(SrtpError::Crypto)?);
            }
            Self::Gcm { key, salt } => {
                let associated = rtcp_associated(header, trailer);
                let tag = key
                    .seal_in_place_separate_tag(gcm_nonce(*salt, ssrc, index.into()), Aad::from(associated), payload)
                    .map_err(|_| SrtpError::Crypto)?;
                buffer.extend_from_slice(tag.as_ref());
                buffer.extend_from_slice(&trailer);
            }
        }
        Ok(())
    }

    /// The word with E flag and index of a received SRTCP packet, once its length has been found sufficient.
    pub(super) fn srtcp_word(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let length = check_length(packet.len(), RTCP_HEADER + SRTCP_TRAILER + self.tag_length())?;
        let end = match self {
            Self::Cm { tag, .. } => length - tag,
            Self::Gcm { .. } => length,
        };
        let word = packet
            .get(..end)
            .and_then(|packet| packet.last_chunk())
            .ok_or(SrtpError::TooShort)?;
        Ok(u32::from_be_bytes(*word))
    }

    /// Verifies and decrypts an SRTCP packet whose [`srtcp_word`](Self::srtcp_word) says that it is encrypted; the
    /// length of what remains.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<usize, SrtpError> {
        let index = u64::from(word & !E_FLAG);
        let overhead = SRTCP_TRAILER + self.tag_length();
        let plain_length = packet.len().checked_sub(overhead).ok_or(SrtpError::TooShort)?;
        match self {
            Self::Cm { cipher, salt, mac, .. } => {
                let signed = plain_length + SRTCP_TRAILER;
                let (signed, tag) = packet.split_at_mut_checked(signed).ok_or(SrtpError::TooShort)?;
                verify(mac, signed, &[], tag)?;
                let payload = signed.get_mut(RTCP_HEADER..plain_length).ok_or(SrtpError::TooShort)?;
                xor_keystream(cipher, cm_block(*salt, ssrc, index), payload)?;
            }
            Self::Gcm { key, salt } => {
                let sealed = packet.get_mut(..plain_length + GCM_TAG).ok_or(SrtpError::TooShort)?;
                let (header, sealed) = sealed
                    .split_first_chunk_mut::<RTCP_HEADER>()
                    .ok_or(SrtpError::TooShort)?;
                let associated = rtcp_associated(header, word.to_be_bytes());
                key.open_in_place(gcm_nonce(*salt, ssrc, index), Aad::from(associated), sealed)
                    .map_err(|_| SrtpError::Authentication)?;
            }
        }
        Ok(plain_length)
    }
}

/// Accepts a length that is at least `minimum` and not above [`MAX_PACKET`].
pub(super) fn check_length(length: usize, minimum: usize) -> Result<usize, SrtpError> {
    match length {
        _ if length < minimum => Err(SrtpError::TooShort),
        _ if length > MAX_PACKET => Err(SrtpError::TooLong),
        _ => Ok(length),
    }
}

/// Accepts an RTP header length that fits a packet of `plain_length`.
pub(super) fn check_header(header_length: usize, plain_length: usize) -> Result<(), SrtpError> {
    if (RTP_HEADER..=plain_length).contains(&header_length) {
        Ok(())
    } else {
        Err(SrtpError::HeaderLength)
    }
}

fn counter_mode(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .map_err(|_| SrtpError::Crypto)
}

/// Encrypts or decrypts with AES in counter mode from this counter block on. The one-shot key works on its expanded
/// schedule and a counter block on the stack; the streaming one would allocate a context per packet.
fn xor_keystream(cipher: &EncryptingKey, block: u128, data: &mut [u8]) -> Result<(), SrtpError> {
    let context = EncryptionContext::Iv128(block.to_be_bytes().into());
    cipher
        .less_safe_encrypt(data, context)
        .map(drop)
        .map_err(|_| SrtpError::Crypto)
}

/// The first counter block (RFC 3711 section 4.1.1): salt, SSRC and index exclusive-or'ed, block count zero.
fn cm_block(salt: u128, ssrc: u32, index: u64) -> u128 {
    salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16
}

/// The nonce of RFC 7714 sections 8.1 and 9.1. An SRTP index is rollover counter and sequence number in one; an SRTCP
/// index leaves its upper 17 bits zero; so one layout serves both.
fn gcm_nonce(salt: u128, ssrc: u32, index: u64) -> Nonce {
    let [_, _, _, _, nonce @ ..] = (salt ^ u128::from(ssrc) << 48 ^ u128::from(index)).to_be_bytes();
    Nonce::assume_unique_for_key(nonce)
}

/// What GCM authenticates besides the encrypted part of RTCP (RFC 7714 section 9.2).
fn rtcp_associated(header: &[u8; RTCP_HEADER], trailer: [u8; SRTCP_TRAILER]) -> [u8; RTCP_HEADER + SRTCP_TRAILER] {
    let [a, b, c, d, e, f, g, h] = *header;
    let [i, j, k, l] = trailer;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn authenticate(key: &hmac::Key, packet: &[u8], suffix: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(suffix);
    context.sign()
}

/// Compares in constant time: how much of a forged tag is right must not show.
fn verify(key: &hmac::Key, packet: &[u8], suffix: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
    let expected = authenticate(key, packet, suffix);
    let expected = expected.as_ref().get(..tag.len()).ok_or(SrtpError::Authentication)?;
    constant_time::verify_slices_are_equal(expected, tag).map_err(|_| SrtpError::Authentication)
}
