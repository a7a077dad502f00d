//! SRTP keying for plain and pipe transports.

use serde::{Deserialize, Serialize};

/// An SRTP protection profile (RFC 3711, RFC 7714), spelled as in `srtpParameters.cryptoSuite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SrtpCryptoSuite {
    /// AES-256 in GCM mode, 16-byte tag (RFC 7714).
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
    /// AES-128 in GCM mode, 16-byte tag (RFC 7714).
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// AES-128 in counter mode, HMAC-SHA1 with a tag of 80 bits (RFC 3711).
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1_80,
    /// AES-128 in counter mode, HMAC-SHA1 with a tag of 32 bits for RTP and 80 bits for RTCP (RFC 3711).
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1_32,
}

impl SrtpCryptoSuite {
    /// All suites, in the order in which we prefer them.
    pub const ALL: [SrtpCryptoSuite; 4] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of this name, compared exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == name)
    }

    /// Bytes of master key plus master salt.
    pub fn master_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32 + 12,
            Self::AeadAes128Gcm => 16 + 12,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16 + 14,
        }
    }
}

/// Suite and key of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SrtpParameters {
    /// The protection profile.
    pub crypto_suite: SrtpCryptoSuite,
    /// Master key followed by master salt, base64 with padding.
    pub key_base64: String,
}
