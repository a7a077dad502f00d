//! Decrypting what a worker sends over SRTP, and encrypting for it.

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::packets::is_rtcp;

/// Decrypts packets protected with one key.
pub struct Decryptor {
    context: Context,
}

/// Encrypts packets with one key.
pub struct Encryptor {
    context: Context,
}

impl Encryptor {
    /// For the suite and key of an `srtpParameters` object.
    ///
    /// # Errors
    /// The suite is unknown or the key does not fit it.
    pub fn new(suite: &str, key_base64: &str) -> anyhow::Result<Self> {
        let context = context(suite, key_base64)?;
        Ok(Self { context })
    }

    /// The protected packet.
    ///
    /// # Errors
    /// It is not an RTP or RTCP packet.
    pub fn encrypt(&mut self, packet: &[u8]) -> anyhow::Result<Vec<u8>> {
        let protected = if is_rtcp(packet) {
            self.context.encrypt_rtcp(packet)
        } else {
            self.context.encrypt_rtp(packet)
        };
        Ok(protected?.to_vec())
    }
}

fn context(suite: &str, key_base64: &str) -> anyhow::Result<Context> {
    let (profile, key_length, salt_length) = match suite {
        "AES_CM_128_HMAC_SHA1_80" => (ProtectionProfile::Aes128CmHmacSha1_80, 16, 14),
        "AES_CM_128_HMAC_SHA1_32" => (ProtectionProfile::Aes128CmHmacSha1_32, 16, 14),
        "AEAD_AES_128_GCM" => (ProtectionProfile::AeadAes128Gcm, 16, 12),
        "AEAD_AES_256_GCM" => (ProtectionProfile::AeadAes256Gcm, 32, 12),
        other => bail!("unknown suite {other}"),
    };
    let key = STANDARD.decode(key_base64)?;
    if key.len() != key_length + salt_length {
        bail!("a key of {} bytes for {suite}", key.len());
    }
    let (key, salt) = key.split_at(key_length);
    let provider = rtc_srtp::crypto::default_provider().context("a provider of cryptography")?;
    Ok(Context::new(key, salt, profile, None, None, provider.crypto())?)
}

impl Decryptor {
    /// For the suite and key of an `srtpParameters` object.
    ///
    /// # Errors
    /// The suite is unknown or the key does not fit it.
    pub fn new(suite: &str, key_base64: &str) -> anyhow::Result<Self> {
        let context = context(suite, key_base64)?;
        Ok(Self { context })
    }

    /// The packet in the clear, or None if it does not authenticate.
    pub fn decrypt(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let plain = if is_rtcp(packet) {
            self.context.decrypt_rtcp(packet)
        } else {
            self.context.decrypt_rtp(packet)
        };
        plain.ok().map(|plain| plain.to_vec())
    }
}
