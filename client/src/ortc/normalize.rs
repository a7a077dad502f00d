//! Checks of what callers bring, and its normal form. All failures are of the kind `TypeError`.

use std::collections::BTreeMap;

use channel_proto::rtp_parameters::{
    MediaKind, ParameterValue, RtcpFeedback, RtcpParameters, RtpCodecParameters, RtpParameters,
};

use crate::error::{Error, Result};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability};

/// Capabilities with defaults filled in.
pub fn normalize_capabilities(capabilities: &RtpCapabilities) -> Result<RtpCapabilities> {
    let codecs = capabilities.codecs.iter().enumerate().map(|(index, codec)| {
        normalize_codec_capability(codec).map_err(|error| within(&error, &format!("codecs[{index}]")))
    });
    let codecs = codecs.collect::<Result<_>>()?;
    for (index, extension) in capabilities.header_extensions.iter().enumerate() {
        if extension.uri.is_empty() {
            return Err(Error::Type(format!("headerExtensions[{index}]: empty uri")));
        }
    }
    Ok(RtpCapabilities {
        codecs,
        header_extensions: capabilities.header_extensions.clone(),
    })
}

/// A codec with defaults filled in.
pub(super) fn normalize_codec_capability(codec: &RtpCodecCapability) -> Result<RtpCodecCapability> {
    let kind = kind_of(&codec.mime_type)?;
    check_parameters(&codec.parameters)?;
    check_feedback(&codec.rtcp_feedback)?;
    Ok(RtpCodecCapability {
        kind,
        channels: normal_channels(kind, codec.channels),
        ..codec.clone()
    })
}

/// Parameters of a sender with defaults filled in.
pub fn normalize_parameters(parameters: &RtpParameters) -> Result<RtpParameters> {
    let mut normal = parameters.clone();
    for (index, codec) in normal.codecs.iter_mut().enumerate() {
        normalize_codec(codec).map_err(|error| within(&error, &format!("codecs[{index}]")))?;
    }
    for (index, extension) in normal.header_extensions.iter().enumerate() {
        let check = || {
            if extension.uri.is_empty() {
                return Err(Error::Type("empty uri".to_owned()));
            }
            extension
                .parameters
                .iter()
                .try_for_each(|(name, value)| check_parameter(name, value))
        };
        check().map_err(|error| within(&error, &format!("headerExtensions[{index}]")))?;
    }
    for (index, encoding) in normal.encodings.iter().enumerate() {
        if encoding.rtx.is_some_and(|rtx| rtx.ssrc.is_none()) {
            return Err(Error::Type(format!("encodings[{index}]: missing rtx.ssrc")));
        }
    }
    let rtcp = normal.rtcp.get_or_insert(RtcpParameters {
        cname: None,
        ssrc: None,
        reduced_size: true,
        mux: None,
    });
    rtcp.reduced_size = true;
    Ok(normal)
}

fn normalize_codec(codec: &mut RtpCodecParameters) -> Result<()> {
    let kind = kind_of(&codec.mime_type)?;
    check_parameters(&codec.parameters)?;
    check_feedback(&codec.rtcp_feedback)?;
    codec.channels = normal_channels(kind, codec.channels);
    Ok(())
}

/// The kind that a MIME type says.
pub(crate) fn kind_of(mime_type: &str) -> Result<MediaKind> {
    match mime_type.split_once('/') {
        Some((kind, subtype)) if !subtype.is_empty() && kind.eq_ignore_ascii_case("audio") => Ok(MediaKind::Audio),
        Some((kind, subtype)) if !subtype.is_empty() && kind.eq_ignore_ascii_case("video") => Ok(MediaKind::Video),
        _ => Err(Error::Type(format!("invalid mimeType {mime_type:?}"))),
    }
}

fn normal_channels(kind: MediaKind, channels: Option<u8>) -> Option<u8> {
    match kind {
        MediaKind::Audio => Some(channels.unwrap_or(1)),
        MediaKind::Video => None,
    }
}

fn check_parameters(parameters: &BTreeMap<String, ParameterValue>) -> Result<()> {
    if let Some(apt) = parameters.get("apt")
        && !matches!(apt, ParameterValue::Integer(_))
    {
        return Err(Error::Type("parameters.apt is not a whole number".to_owned()));
    }
    parameters
        .iter()
        .try_for_each(|(name, value)| check_parameter(name, value))
}

fn check_parameter(name: &str, value: &ParameterValue) -> Result<()> {
    match value {
        ParameterValue::Integer(_) | ParameterValue::Float(_) | ParameterValue::String(_) => Ok(()),
        ParameterValue::Bool(_) | ParameterValue::Integers(_) => {
            Err(Error::Type(format!("parameters.{name} is neither text nor a number")))
        }
    }
}

fn check_feedback(feedback: &[RtcpFeedback]) -> Result<()> {
    match feedback.iter().any(|feedback| feedback.kind.is_empty()) {
        true => Err(Error::Type("rtcpFeedback with an empty type".to_owned())),
        false => Ok(()),
    }
}

fn within(error: &Error, path: &str) -> Error {
    Error::Type(format!("{path}: {error}"))
}
