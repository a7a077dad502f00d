//! What a receiver gets of a producer.

use channel_proto::rtp_parameters::{
    RtcpFeedback, RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters, RtpParameters, RtxParameters,
};

use super::codec_matching::{Strictness, match_codecs};
use super::normalize::normalize_capabilities;
use super::{is_rtx, parse_scalability_mode};
use crate::error::{Error, Result};
use crate::rtp_capabilities::RtpCapabilities;

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// First SSRCs of a consumer; further encodings use the numbers after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerSsrcs {
    /// Of media streams.
    pub media: u32,
    /// Of retransmission streams.
    pub rtx: u32,
}

/// Whether an endpoint can receive anything of a producer.
pub fn can_consume(consumable: &RtpParameters, capabilities: &RtpCapabilities) -> Result<bool> {
    let capabilities = normalize_capabilities(capabilities)?;
    Ok(shared_codecs(consumable, &capabilities)
        .first()
        .is_some_and(|codec| !is_rtx(&codec.mime_type)))
}

/// What an endpoint with these capabilities receives. `pipe` keeps all encodings instead of announcing one stream.
pub fn consumer_parameters(
    consumable: &RtpParameters,
    capabilities: &RtpCapabilities,
    pipe: bool,
    ssrcs: ConsumerSsrcs,
) -> Result<RtpParameters> {
    let capabilities = normalize_capabilities(capabilities)?;
    let mut codecs = shared_codecs(consumable, &capabilities);
    // A retransmission format is of use only along with what it retransmits.
    let payload_types = codecs
        .iter()
        .map(|codec| i64::from(codec.payload_type))
        .collect::<Vec<_>>();
    codecs.retain(|codec| {
        !is_rtx(&codec.mime_type)
            || codec
                .integer_parameter("apt")
                .is_some_and(|apt| payload_types.contains(&apt))
    });
    if codecs.first().is_none_or(|codec| is_rtx(&codec.mime_type)) {
        return Err(Error::Unsupported("no compatible media codecs".to_owned()));
    }
    let rtx = codecs.iter().any(|codec| is_rtx(&codec.mime_type));

    let header_extensions = consumable
        .header_extensions
        .iter()
        .filter(|extension| {
            capabilities
                .header_extensions
                .iter()
                .any(|capable| capable.preferred_id == extension.id && capable.uri == extension.uri)
        })
        .cloned()
        .collect::<Vec<_>>();
    reduce_congestion_feedback(&mut codecs, &header_extensions);

    let encodings = match pipe {
        true => all_encodings(consumable, ssrcs, rtx),
        false => vec![single_encoding(consumable, ssrcs, rtx)],
    };
    Ok(RtpParameters {
        mid: None,
        codecs,
        header_extensions,
        encodings,
        rtcp: consumable.rtcp.clone(),
    })
}

/// What a router at the other end of a pipe receives: everything, with congestion control left to the pipe.
pub fn pipe_consumer_parameters(consumable: &RtpParameters, rtx: bool, ssrcs: ConsumerSsrcs) -> RtpParameters {
    let keep = |feedback: &RtcpFeedback| match (feedback.kind.as_str(), feedback.parameter.as_str()) {
        ("nack", "pli") | ("ccm", "fir") => true,
        ("nack", "") => rtx,
        _ => false,
    };
    let mut codecs = consumable.codecs.clone();
    codecs.retain(|codec| rtx || !is_rtx(&codec.mime_type));
    for codec in &mut codecs {
        codec.rtcp_feedback.retain(keep);
    }
    let mut header_extensions = consumable.header_extensions.clone();
    header_extensions.retain(|extension| ![MID, ABS_SEND_TIME, TRANSPORT_CC].contains(&extension.uri.as_str()));
    let encodings = all_encodings(consumable, ssrcs, rtx);
    RtpParameters {
        mid: None,
        codecs,
        header_extensions,
        encodings,
        rtcp: consumable.rtcp.clone(),
    }
}

/// Codecs of a producer that the capabilities have too, with the feedback of the latter.
fn shared_codecs(consumable: &RtpParameters, capabilities: &RtpCapabilities) -> Vec<RtpCodecParameters> {
    let shared = consumable.codecs.iter().filter_map(|codec| {
        let capable = capabilities
            .codecs
            .iter()
            .find(|capable| match_codecs(*capable, codec, Strictness::Strict).is_some())?;
        Some(RtpCodecParameters {
            rtcp_feedback: capable.rtcp_feedback.clone(),
            ..codec.clone()
        })
    });
    shared.collect()
}

/// Leaves one way of reporting the bandwidth, the better one, and only if packets carry what it needs.
fn reduce_congestion_feedback(codecs: &mut [RtpCodecParameters], extensions: &[RtpHeaderExtensionParameters]) {
    let has = |uri| extensions.iter().any(|extension| extension.uri == uri);
    let dropped: &[&str] = if has(TRANSPORT_CC) {
        &["goog-remb"]
    } else if has(ABS_SEND_TIME) {
        &["transport-cc"]
    } else {
        &["goog-remb", "transport-cc"]
    };
    for codec in codecs {
        codec
            .rtcp_feedback
            .retain(|feedback| !dropped.contains(&feedback.kind.as_str()));
    }
}

fn single_encoding(consumable: &RtpParameters, ssrcs: ConsumerSsrcs, rtx: bool) -> RtpEncodingParameters {
    let encodings = &consumable.encodings;
    let mode = encodings
        .iter()
        .find_map(|encoding| encoding.scalability_mode.clone().filter(|mode| !mode.is_empty()));
    let scalability_mode = match encodings.len() {
        0 | 1 => mode,
        streams => Some(format!(
            "S{streams}T{}",
            parse_scalability_mode(mode.as_deref()).temporal_layers
        )),
    };
    RtpEncodingParameters {
        ssrc: Some(ssrcs.media),
        rtx: rtx.then_some(RtxParameters { ssrc: Some(ssrcs.rtx) }),
        max_bitrate: encodings
            .iter()
            .filter_map(|encoding| encoding.max_bitrate)
            .max()
            .filter(|max| *max > 0),
        scalability_mode,
        ..Default::default()
    }
}

fn all_encodings(consumable: &RtpParameters, ssrcs: ConsumerSsrcs, rtx: bool) -> Vec<RtpEncodingParameters> {
    (0..)
        .zip(&consumable.encodings)
        .map(|(index, encoding)| RtpEncodingParameters {
            ssrc: Some(ssrcs.media.wrapping_add(index)),
            rtx: rtx.then(|| RtxParameters {
                ssrc: Some(ssrcs.rtx.wrapping_add(index)),
            }),
            ..encoding.clone()
        })
        .collect()
}
