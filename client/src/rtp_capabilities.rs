//! What an endpoint or a router can send and receive.

use std::collections::BTreeMap;

use channel_proto::rtp_parameters::{MediaKind, ParameterValue, RtcpFeedback, null_is_missing};
use serde::{Deserialize, Serialize};

/// Codecs and header extensions of an endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCapabilities {
    /// Media codecs and their retransmission formats.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub codecs: Vec<RtpCodecCapability>,
    /// Header extensions.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub header_extensions: Vec<RtpHeaderExtension>,
}

/// A codec that can be sent or received.
///
/// ```
/// use client::RtpCodecCapability;
///
/// let h264 = RtpCodecCapability::video("video/H264")
///     .with_parameter("packetization-mode", 1)
///     .with_parameter("profile-level-id", "42e01f");
/// assert_eq!(h264.clock_rate, 90_000);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCodecCapability {
    /// Audio or video. What counts is the MIME type; normalisation sets this from it.
    #[serde(default = "audio")]
    pub kind: MediaKind,
    /// `type/subtype`, e.g. `audio/opus`.
    pub mime_type: String,
    /// Payload type to use if possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_payload_type: Option<u8>,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Channels of an audio codec; 1 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Codec-specific parameters (`fmtp`): text or numbers.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// Feedback messages that may be used.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

fn audio() -> MediaKind {
    MediaKind::Audio
}

impl RtpCodecCapability {
    /// An audio codec with a number of channels and nothing else.
    pub fn audio(mime_type: impl Into<String>, clock_rate: u32, channels: u8) -> Self {
        Self::new(MediaKind::Audio, mime_type.into(), clock_rate, Some(channels))
    }

    /// A video codec with a clock of 90 kHz and nothing else.
    pub fn video(mime_type: impl Into<String>) -> Self {
        Self::new(MediaKind::Video, mime_type.into(), 90_000, None)
    }

    fn new(kind: MediaKind, mime_type: String, clock_rate: u32, channels: Option<u8>) -> Self {
        Self {
            kind,
            mime_type,
            preferred_payload_type: None,
            clock_rate,
            channels,
            parameters: BTreeMap::new(),
            rtcp_feedback: Vec::new(),
        }
    }

    /// The same codec with a parameter more.
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<Parameter>) -> Self {
        self.parameters.insert(name.into(), value.into().0);
        self
    }

    /// The same codec that prefers a payload type.
    pub fn with_payload_type(mut self, payload_type: u8) -> Self {
        self.preferred_payload_type = Some(payload_type);
        self
    }
}

/// A codec parameter, from a number or a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter(pub ParameterValue);

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Self(ParameterValue::Integer(value))
    }
}

impl From<&str> for Parameter {
    fn from(value: &str) -> Self {
        Self(ParameterValue::String(value.to_owned()))
    }
}

/// A header extension that can be sent or received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpHeaderExtension {
    /// Which media it goes with.
    pub kind: MediaKind,
    /// What it is.
    pub uri: String,
    /// Id to use.
    pub preferred_id: u8,
    /// Whether to encrypt it.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub preferred_encrypt: bool,
    /// Which way it may go, as seen by whose capabilities these are.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub direction: RtpHeaderExtensionDirection,
}

/// Which way a header extension may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtpHeaderExtensionDirection {
    /// Both ways.
    #[default]
    SendRecv,
    /// Only sent.
    SendOnly,
    /// Only received.
    RecvOnly,
    /// Not used.
    Inactive,
}
