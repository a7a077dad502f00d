//! How a producer's parameters are turned into the router's terms.

use channel_proto::rtp_parameters::{
    CodecMapping, EncodingMapping, MediaKind, ParameterValue, RtcpParameters, RtpCodecParameters,
    RtpEncodingParameters, RtpHeaderExtensionParameters, RtpMapping, RtpParameters,
};

use super::codec_matching::{Match, PROFILE_LEVEL_ID, Strictness, match_codecs};
use super::is_rtx;
use crate::error::{Error, Result};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability, RtpHeaderExtensionDirection};

/// Maps payload types and SSRCs of a producer to those of the router.
///
/// `parameters` are normalised ones; the negotiated H264 `profile-level-id` is written into them. `first_ssrc` becomes
/// the mapped SSRC of the first encoding, the next number that of the second one, and so on.
pub fn producer_mapping(
    parameters: &mut RtpParameters,
    router: &RtpCapabilities,
    first_ssrc: u32,
) -> Result<RtpMapping> {
    let mut codecs = Vec::with_capacity(parameters.codecs.len());
    for codec in parameters.codecs.iter_mut().filter(|codec| !is_rtx(&codec.mime_type)) {
        let (mapped_payload_type, matched) = router
            .codecs
            .iter()
            .filter(|candidate| !is_rtx(&candidate.mime_type))
            .find_map(|candidate| {
                let matched = match_codecs(&*codec, candidate, Strictness::Strict)?;
                Some((candidate.preferred_payload_type?, matched))
            })
            .ok_or_else(|| {
                let RtpCodecParameters {
                    mime_type,
                    payload_type,
                    ..
                } = &*codec;
                Error::Unsupported(format!(
                    "the router has no codec for {mime_type} (payload type {payload_type})"
                ))
            })?;
        match matched {
            Match::ProfileLevelId(Some(value)) => {
                codec
                    .parameters
                    .insert(PROFILE_LEVEL_ID.to_owned(), ParameterValue::String(value));
            }
            Match::ProfileLevelId(None) => {
                codec.parameters.remove(PROFILE_LEVEL_ID);
            }
            Match::Plain => {}
        }
        codecs.push(CodecMapping {
            payload_type: codec.payload_type,
            mapped_payload_type,
        });
    }

    let media_codecs = codecs.len();
    for rtx in parameters.codecs.iter().filter(|codec| is_rtx(&codec.mime_type)) {
        let payload_type = rtx.payload_type;
        let apt = rtx.integer_parameter("apt");
        let media = codecs[..media_codecs]
            .iter()
            .find(|mapping| Some(i64::from(mapping.payload_type)) == apt)
            .ok_or_else(|| Error::Type(format!("missing media codec for RTX payload type {payload_type}")))?;
        let mapped_payload_type = rtx_of(router, media.mapped_payload_type)
            .and_then(|codec| codec.preferred_payload_type)
            .ok_or_else(|| {
                Error::Unsupported(format!("the router has no RTX codec for payload type {payload_type}"))
            })?;
        codecs.push(CodecMapping {
            payload_type,
            mapped_payload_type,
        });
    }

    let encodings = (0..)
        .zip(&parameters.encodings)
        .map(|(index, encoding)| EncodingMapping {
            rid: encoding.rid.clone().filter(|rid| !rid.is_empty()),
            ssrc: encoding.ssrc.filter(|ssrc| *ssrc != 0),
            mapped_ssrc: first_ssrc.wrapping_add(index),
        })
        .collect();
    Ok(RtpMapping { codecs, encodings })
}

/// What the router makes of a producer: the parameters that all consumers are derived from.
pub fn consumable_parameters(
    kind: MediaKind,
    parameters: &RtpParameters,
    router: &RtpCapabilities,
    mapping: &RtpMapping,
) -> RtpParameters {
    let mut codecs = Vec::new();
    for codec in parameters.codecs.iter().filter(|codec| !is_rtx(&codec.mime_type)) {
        let Some((capability, payload_type)) = mapping
            .codecs
            .iter()
            .find(|mapping| mapping.payload_type == codec.payload_type)
            .and_then(|mapping| {
                Some((
                    capability_of(router, mapping.mapped_payload_type)?,
                    mapping.mapped_payload_type,
                ))
            })
        else {
            continue;
        };
        codecs.push(RtpCodecParameters {
            parameters: codec.parameters.clone(),
            ..codec_from(capability, payload_type)
        });
        // Also without a retransmission format on the way in: the router answers NACKs by itself.
        if let Some(rtx) = rtx_of(router, payload_type)
            && let Some(rtx_payload_type) = rtx.preferred_payload_type
        {
            codecs.push(codec_from(rtx, rtx_payload_type));
        }
    }

    let header_extensions = router
        .header_extensions
        .iter()
        .filter(|extension| {
            extension.kind == kind
                && matches!(
                    extension.direction,
                    RtpHeaderExtensionDirection::SendRecv | RtpHeaderExtensionDirection::SendOnly
                )
        })
        .map(|extension| RtpHeaderExtensionParameters {
            uri: extension.uri.clone(),
            id: extension.preferred_id,
            encrypt: extension.preferred_encrypt,
            parameters: Default::default(),
        })
        .collect();

    let encodings = parameters
        .encodings
        .iter()
        .zip(&mapping.encodings)
        .map(|(encoding, mapping)| RtpEncodingParameters {
            ssrc: Some(mapping.mapped_ssrc),
            rid: None,
            rtx: None,
            codec_payload_type: None,
            ..encoding.clone()
        })
        .collect();

    let cname = parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone());
    RtpParameters {
        mid: None,
        codecs,
        header_extensions,
        encodings,
        rtcp: Some(RtcpParameters {
            cname,
            ssrc: None,
            reduced_size: true,
            mux: Some(true),
        }),
    }
}

fn capability_of(router: &RtpCapabilities, payload_type: u8) -> Option<&RtpCodecCapability> {
    router
        .codecs
        .iter()
        .find(|codec| codec.preferred_payload_type == Some(payload_type))
}

fn rtx_of(router: &RtpCapabilities, payload_type: u8) -> Option<&RtpCodecCapability> {
    let apt = ParameterValue::Integer(payload_type.into());
    router
        .codecs
        .iter()
        .find(|codec| is_rtx(&codec.mime_type) && codec.parameters.get("apt") == Some(&apt))
}

fn codec_from(capability: &RtpCodecCapability, payload_type: u8) -> RtpCodecParameters {
    RtpCodecParameters {
        mime_type: capability.mime_type.clone(),
        payload_type,
        clock_rate: capability.clock_rate,
        channels: capability.channels,
        parameters: capability.parameters.clone(),
        rtcp_feedback: capability.rtcp_feedback.clone(),
    }
}
