//! RTP parameters: what a sender sends and a receiver receives, in ORTC terms.
//!
//! The structures serialise to the normal form that dumps show: absent means "not set", keys in camel case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Reads `null` like a field that is missing. Endpoints are written in languages that tell the two apart, and in others.
///
/// # Errors
/// It is neither `null` nor what is wanted.
pub fn null_is_missing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// Parameters of one RTP sender: codecs, header extensions, encodings, RTCP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpParameters {
    /// Value of the MID header extension (RFC 9143), at most 8 bytes when it is to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// Codecs that may be sent, media and retransmission alike.
    pub codecs: Vec<RtpCodecParameters>,
    /// Header extensions in use.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub header_extensions: Vec<RtpHeaderExtensionParameters>,
    /// Streams that are sent.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub encodings: Vec<RtpEncodingParameters>,
    /// RTCP settings; serialised as `{}` when they were not given.
    #[serde(default, serialize_with = "rtcp_or_empty", deserialize_with = "rtcp_unless_empty")]
    pub rtcp: Option<RtcpParameters>,
}

fn rtcp_or_empty<S: serde::Serializer>(rtcp: &Option<RtcpParameters>, serializer: S) -> Result<S::Ok, S::Error> {
    match rtcp {
        Some(rtcp) => rtcp.serialize(serializer),
        None => serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?),
    }
}

fn rtcp_unless_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<RtcpParameters>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Given {
        cname: Option<String>,
        ssrc: Option<u32>,
        reduced_size: Option<bool>,
        mux: Option<bool>,
    }
    let given = Option::<Given>::deserialize(deserializer)?;
    let given = given.filter(|given| {
        given.cname.is_some() || given.ssrc.is_some() || given.reduced_size.is_some() || given.mux.is_some()
    });
    Ok(given.map(|given| RtcpParameters {
        cname: given.cname,
        ssrc: given.ssrc,
        reduced_size: given.reduced_size.unwrap_or_else(yes),
        mux: given.mux,
    }))
}

/// One codec of a sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCodecParameters {
    /// `type/subtype`; the worker stores the canonical spelling, e.g. `video/VP8`.
    pub mime_type: String,
    /// RTP payload type.
    pub payload_type: u8,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels; dumped only if more than one.
    #[serde(default, skip_serializing_if = "one_or_none")]
    pub channels: Option<u8>,
    /// Codec-specific parameters (`fmtp`).
    #[serde(default, deserialize_with = "null_is_missing")]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// Feedback messages that may be used.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

fn one_or_none(channels: &Option<u8>) -> bool {
    channels.is_none_or(|channels| channels <= 1)
}

impl RtpCodecParameters {
    /// The part of the MIME type after the slash, lower-cased: `vp8`, `rtx`.
    pub fn subtype(&self) -> String {
        self.mime_type
            .split_once('/')
            .map(|(_, subtype)| subtype.to_ascii_lowercase())
            .unwrap_or_default()
    }

    /// Whether this is a media codec, as opposed to retransmission, FEC, comfort noise or telephone events.
    pub fn is_media(&self) -> bool {
        !matches!(
            self.subtype().as_str(),
            "rtx" | "ulpfec" | "flexfec" | "x-ulpfecuc" | "red" | "cn" | "telephone-event"
        )
    }

    /// Whether this is the retransmission format (RFC 4588).
    pub fn is_rtx(&self) -> bool {
        self.subtype() == "rtx"
    }

    /// Value of an integer parameter.
    pub fn integer_parameter(&self, name: &str) -> Option<i64> {
        match self.parameters.get(name) {
            Some(ParameterValue::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// Whether the feedback `type parameter` is present; an absent parameter is the empty string.
    pub fn has_feedback(&self, kind: &str, parameter: &str) -> bool {
        self.rtcp_feedback
            .iter()
            .any(|feedback| feedback.kind == kind && feedback.parameter == parameter)
    }
}

/// A codec or header extension parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    String(String),
    /// A list of whole numbers.
    Integers(Vec<i64>),
}

/// A feedback message a receiver may send (RFC 4585).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcpFeedback {
    /// `nack`, `ccm`, `goog-remb`, `transport-cc`, or anything else.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pli`, `fir`, or empty.
    #[serde(
        default,
        deserialize_with = "null_is_missing",
        skip_serializing_if = "String::is_empty"
    )]
    pub parameter: String,
}

/// A header extension in use (RFC 8285).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpHeaderExtensionParameters {
    /// What it is; the worker stores it lower-cased.
    pub uri: String,
    /// Id in packets, 1 to 255.
    pub id: u8,
    /// Stored, without effect.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub encrypt: bool,
    /// Extension-specific parameters.
    #[serde(default, deserialize_with = "null_is_missing")]
    pub parameters: BTreeMap<String, ParameterValue>,
}

/// One stream of a sender.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpEncodingParameters {
    /// SSRC of the media stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// Restriction identifier (RFC 8851).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Payload type of its media codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec_payload_type: Option<u8>,
    /// Its retransmission stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx: Option<RtxParameters>,
    /// Highest bitrate in bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<u32>,
    /// Highest frame rate in frames per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_framerate: Option<f64>,
    /// Whether discontinuous transmission is used.
    #[serde(
        default,
        deserialize_with = "null_is_missing",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub dtx: bool,
    /// Layers, as text such as `L1T3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalability_mode: Option<String>,
    /// What `scalability_mode` says; filled by the worker.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<ScalabilityLayers>,
}

impl RtpEncodingParameters {
    /// Spatial layers, at least 1.
    pub fn spatial_layers(&self) -> u8 {
        self.layers.map_or(1, |layers| layers.spatial_layers)
    }

    /// Temporal layers, at least 1.
    pub fn temporal_layers(&self) -> u8 {
        self.layers.map_or(1, |layers| layers.temporal_layers)
    }
}

/// The layers of a scalability mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalabilityLayers {
    /// Spatial layers, 1 to 99.
    pub spatial_layers: u8,
    /// Temporal layers, 1 to 99.
    pub temporal_layers: u8,
    /// Whether spatial layers depend on each other in key frames only.
    pub ksvc: bool,
}

impl ScalabilityLayers {
    /// Reads `[LS]<spatial>T<temporal>`, each of one or two digits not starting with 0, then optionally `_KEY`.
    pub fn parse(mode: &str) -> Option<Self> {
        fn number(text: &str) -> Option<(u8, &str)> {
            let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
            let (number, rest) = text.split_at_checked(digits)?;
            if number.starts_with('0') {
                return None;
            }
            Some((number.parse().ok()?, rest))
        }
        let rest = mode.strip_prefix(['L', 'S'])?;
        let (spatial_layers, rest) = number(rest)?;
        let (temporal_layers, rest) = number(rest.strip_prefix('T')?)?;
        Some(Self {
            spatial_layers,
            temporal_layers,
            ksvc: rest.starts_with("_KEY"),
        })
    }
}

/// The retransmission stream of an encoding (RFC 4588).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtxParameters {
    /// Its SSRC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
}

/// RTCP settings of a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcpParameters {
    /// Canonical name (RFC 7022).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// Stored, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// Whether reduced-size RTCP (RFC 5506) is used.
    #[serde(default = "yes")]
    pub reduced_size: bool,
    /// Whether RTCP uses the port of RTP; for endpoints alone, the worker drops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mux: Option<bool>,
}

fn yes() -> bool {
    true
}

/// How a router renames what a producer sends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpMapping {
    /// Payload types.
    pub codecs: Vec<CodecMapping>,
    /// SSRCs; entry i belongs to encoding i.
    pub encodings: Vec<EncodingMapping>,
}

/// Payload type of the sender and inside the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecMapping {
    /// What the sender uses.
    pub payload_type: u8,
    /// What the router uses.
    pub mapped_payload_type: u8,
}

/// Stream of the sender and its SSRC inside the router. `rid` and `ssrc` are `null` in dumps when not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncodingMapping {
    /// RID of the stream.
    #[serde(default)]
    pub rid: Option<String>,
    /// SSRC of the stream.
    #[serde(default)]
    pub ssrc: Option<u32>,
    /// SSRC inside the router.
    pub mapped_ssrc: u32,
}

/// How many streams and layers a producer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProducerType {
    /// One stream with one layer.
    Simple,
    /// Several streams of the same source.
    Simulcast,
    /// One stream with several layers.
    Svc,
}

/// How a consumer follows its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerType {
    /// One stream with one layer.
    Simple,
    /// One of several streams.
    Simulcast,
    /// Some layers of one stream.
    Svc,
    /// All streams.
    Pipe,
}

/// Layers asked for or in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerLayers {
    /// Spatial layer, from 0; −1 in force means none.
    pub spatial_layer: i16,
    /// Temporal layer, from 0; absent in a request means the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporal_layer: Option<i16>,
}

/// What the encodings make of a producer.
///
/// # Errors
/// The codec of the first encoding cannot be sent that way.
pub fn producer_type(parameters: &RtpParameters) -> crate::command::Arguments<ProducerType> {
    let (kind, codecs): (_, &[&str]) = match parameters.encodings.as_slice() {
        [encoding] if encoding.spatial_layers() > 1 || encoding.temporal_layers() > 1 => {
            (ProducerType::Svc, &["video/VP9", "video/AV1", "video/H264-SVC"])
        }
        [_] => return Ok(ProducerType::Simple),
        _ => (ProducerType::Simulcast, &["video/VP8", "video/H264"]),
    };
    let codec = parameters
        .encodings
        .first()
        .and_then(|encoding| match encoding.codec_payload_type {
            Some(payload_type) => parameters
                .codecs
                .iter()
                .find(|codec| codec.payload_type == payload_type),
            None => parameters.codecs.iter().find(|codec| codec.is_media()),
        });
    match codec {
        Some(codec) if codecs.contains(&codec.mime_type.as_str()) => Ok(kind),
        Some(codec) => Err(crate::command::InvalidArguments::new(format!(
            "{} codec not supported for {}",
            codec.mime_type,
            if kind == ProducerType::Svc { "svc" } else { "simulcast" }
        ))),
        None => Err(crate::command::InvalidArguments::new("no media codecs found")),
    }
}
