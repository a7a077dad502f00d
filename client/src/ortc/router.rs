//! Capabilities of a router.

use std::collections::{BTreeMap, VecDeque};

use channel_proto::rtp_parameters::{MediaKind, ParameterValue};

use super::codec_matching::{Strictness, match_codecs};
use super::normalize::normalize_codec_capability;
use super::supported::supported_rtp_capabilities;
use crate::error::{Error, Result};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability};

/// The capabilities of a router that is to forward these codecs.
///
/// Payload types are given out in the order of the list. A codec that prefers one should come before those that do not
/// care, since it might have been given out otherwise.
pub fn router_capabilities(media_codecs: &[RtpCodecCapability]) -> Result<RtpCapabilities> {
    let supported = supported_rtp_capabilities();
    let mut pool = (100..=127).chain(96..=99).collect::<VecDeque<u8>>();
    let mut codecs: Vec<RtpCodecCapability> = Vec::with_capacity(2 * media_codecs.len());

    for wanted in media_codecs {
        let wanted = normalize_codec_capability(wanted)?;
        let known = supported
            .codecs
            .iter()
            .find(|codec| match_codecs(&wanted, *codec, Strictness::Loose).is_some())
            .ok_or_else(|| unsupported(&wanted))?;
        let payload_type = match wanted.preferred_payload_type.or(known.preferred_payload_type) {
            Some(payload_type) => {
                if wanted.preferred_payload_type.is_some() {
                    pool.retain(|free| *free != payload_type);
                }
                payload_type
            }
            None => next(&mut pool)?,
        };
        if codecs
            .iter()
            .any(|codec| codec.preferred_payload_type == Some(payload_type))
        {
            return Err(Error::Type(format!(
                "payload type {payload_type} of {} is already taken by a codec earlier in the list or by its \
                 retransmission format",
                wanted.mime_type
            )));
        }
        let mut codec = RtpCodecCapability {
            preferred_payload_type: Some(payload_type),
            ..known.clone()
        };
        codec.parameters.extend(wanted.parameters);
        let rtx = match codec.kind {
            MediaKind::Video => Some(rtx_for(&codec, payload_type, next(&mut pool)?)),
            MediaKind::Audio => None,
        };
        codecs.push(codec);
        codecs.extend(rtx);
    }
    Ok(RtpCapabilities {
        codecs,
        header_extensions: supported.header_extensions,
    })
}

fn rtx_for(codec: &RtpCodecCapability, payload_type: u8, rtx_payload_type: u8) -> RtpCodecCapability {
    RtpCodecCapability {
        kind: codec.kind,
        mime_type: "video/rtx".to_owned(),
        preferred_payload_type: Some(rtx_payload_type),
        clock_rate: codec.clock_rate,
        channels: None,
        parameters: BTreeMap::from([("apt".to_owned(), ParameterValue::Integer(payload_type.into()))]),
        rtcp_feedback: Vec::new(),
    }
}

fn next(pool: &mut VecDeque<u8>) -> Result<u8> {
    pool.pop_front()
        .ok_or_else(|| Error::Exhausted("no dynamic payload type is left".to_owned()))
}

fn unsupported(codec: &RtpCodecCapability) -> Error {
    let channels = codec
        .channels
        .map(|channels| format!("/{channels}"))
        .unwrap_or_default();
    Error::Unsupported(format!(
        "codec {}/{}{channels} is not supported",
        codec.mime_type, codec.clock_rate
    ))
}
