//! RTP parameters as clients send them, brought to normal form.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, invalid};
use crate::command::Arguments;
use crate::rtp_parameters::{
    CodecMapping, EncodingMapping, MediaKind, ParameterValue, RtcpFeedback, RtcpParameters, RtpCodecParameters,
    RtpEncodingParameters, RtpHeaderExtensionParameters, RtpMapping, RtpParameters, RtxParameters, ScalabilityLayers,
};

/// Canonical spelling of the subtypes that are known.
const SUBTYPES: [&str; 22] = [
    "opus",
    "multiopus",
    "PCMA",
    "PCMU",
    "ISAC",
    "G722",
    "iLBC",
    "SILK",
    "VP8",
    "VP9",
    "H264",
    "H264-SVC",
    "AV1",
    "X-H264UC",
    "H265",
    "CN",
    "telephone-event",
    "rtx",
    "ulpfec",
    "flexfec",
    "x-ulpfecuc",
    "red",
];

pub(super) fn kind(data: Fields<'_>) -> Arguments<MediaKind> {
    match data.need_str("kind")?.to_ascii_lowercase().as_str() {
        "audio" => Ok(MediaKind::Audio),
        "video" => Ok(MediaKind::Video),
        "" => invalid("invalid empty kind"),
        other => invalid(format!("invalid media kind [kind:{other}]")),
    }
}

pub(super) fn rtp_parameters(data: Fields<'_>) -> Arguments<RtpParameters> {
    let fields = data.need_object("rtpParameters")?;
    let mid = fields.text("mid");
    if mid.as_deref() == Some("") {
        return invalid("empty mid");
    }
    let codecs = fields.need_array("codecs")?;
    let codecs = codecs
        .iter()
        .map(|codec| self::codec(Fields::entry(codec)?))
        .collect::<Arguments<Vec<_>>>()?;
    if codecs.is_empty() {
        return invalid("empty codecs");
    }
    let encodings = fields.need_array("encodings")?;
    let mut encodings = encodings
        .iter()
        .map(|value| encoding(Fields::entry(value)?))
        .collect::<Arguments<Vec<_>>>()?;
    if encodings.is_empty() {
        return invalid("empty encodings");
    }
    let header_extensions = fields.array("headerExtensions").map(Vec::as_slice).unwrap_or_default();
    let header_extensions = header_extensions
        .iter()
        .map(|value| header_extension(Fields::entry(value)?))
        .collect::<Arguments<Vec<_>>>()?;
    let rtcp = fields.object("rtcp").map(|rtcp| RtcpParameters {
        cname: rtcp.text("cname").filter(|cname| !cname.is_empty()),
        ssrc: rtcp.uint("ssrc").map(|ssrc| ssrc as u32),
        reduced_size: rtcp.truth("reducedSize").unwrap_or(true),
        mux: None,
    });
    check_codecs(&codecs)?;
    check_encodings(&codecs, &mut encodings)?;
    Ok(RtpParameters {
        mid,
        codecs,
        header_extensions,
        encodings,
        rtcp,
    })
}

fn codec(fields: Fields<'_>) -> Arguments<RtpCodecParameters> {
    let mime_type = canonical_mime_type(fields.need_str("mimeType")?)?;
    let payload_type = fields.need_uint("payloadType")? as u8;
    let clock_rate = fields.need_uint("clockRate")? as u32;
    let channels = fields
        .uint("channels")
        .map(|channels| channels as u8)
        .filter(|channels| *channels > 1);
    let feedback = fields.array("rtcpFeedback").map(Vec::as_slice).unwrap_or_default();
    let rtcp_feedback = feedback
        .iter()
        .map(|value| {
            let fields = Fields::entry(value)?;
            let parameter = fields.text("parameter").unwrap_or_default();
            Ok(RtcpFeedback {
                kind: fields.need_str("type")?.to_owned(),
                parameter,
            })
        })
        .collect::<Arguments<Vec<_>>>()?;
    let parameters = parameters(fields);
    let codec = RtpCodecParameters {
        mime_type,
        payload_type,
        clock_rate,
        channels,
        parameters,
        rtcp_feedback,
    };
    if codec.is_rtx() && codec.integer_parameter("apt").is_none_or(|apt| apt < 0) {
        return invalid("missing apt parameter in RTX codec");
    }
    Ok(codec)
}

fn canonical_mime_type(text: &str) -> Arguments<String> {
    let (kind, subtype) = match text.split_once('/') {
        Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() => (kind.to_ascii_lowercase(), subtype),
        _ => return invalid("wrong codec MIME"),
    };
    if kind != "audio" && kind != "video" {
        return invalid(format!("unknown codec MIME type '{kind}'"));
    }
    match SUBTYPES.iter().find(|known| known.eq_ignore_ascii_case(subtype)) {
        Some(known) => Ok(format!("{kind}/{known}")),
        None => invalid(format!("unknown codec MIME subtype '{}'", subtype.to_ascii_lowercase())),
    }
}

/// A whole number, cut to 32 bits.
fn narrow(value: &Value) -> Option<i64> {
    let integer = value
        .as_i64()
        .map(|integer| integer as i32)
        .or_else(|| value.as_u64().map(|integer| integer as i32))?;
    Some(i64::from(integer))
}

/// Booleans, whole numbers, fractions, texts and non-empty lists of whole numbers; the rest is dropped.
fn parameters(fields: Fields<'_>) -> BTreeMap<String, ParameterValue> {
    let Some(map) = fields.get("parameters").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    let read = |value: &Value| match value {
        Value::Bool(value) => Some(ParameterValue::Bool(*value)),
        Value::Number(number) => match narrow(value) {
            Some(integer) => Some(ParameterValue::Integer(integer)),
            None => number.as_f64().map(ParameterValue::Float),
        },
        Value::String(text) => Some(ParameterValue::String(text.clone())),
        Value::Array(values) if !values.is_empty() => values
            .iter()
            .map(narrow)
            .collect::<Option<Vec<_>>>()
            .map(ParameterValue::Integers),
        _ => None,
    };
    map.iter()
        .filter_map(|(key, value)| Some((key.clone(), read(value)?)))
        .collect()
}

pub(super) fn encoding(fields: Fields<'_>) -> Arguments<RtpEncodingParameters> {
    let mode = fields.text("scalabilityMode");
    let layers = mode.as_deref().and_then(ScalabilityLayers::parse);
    let uint = |key: &str| fields.uint(key).map(|value| value as u32).filter(|value| *value != 0);
    Ok(RtpEncodingParameters {
        ssrc: uint("ssrc"),
        rid: fields.text("rid").filter(|rid| !rid.is_empty()),
        codec_payload_type: fields.uint("codecPayloadType").map(|value| value as u8),
        rtx: fields.object("rtx").map(|rtx| RtxParameters {
            ssrc: rtx.uint("ssrc").map(|ssrc| ssrc as u32).filter(|ssrc| *ssrc != 0),
        }),
        max_bitrate: uint("maxBitrate"),
        max_framerate: fields
            .get("maxFramerate")
            .and_then(Value::as_f64)
            .filter(|rate| *rate > 0.0),
        dtx: fields.truth("dtx").unwrap_or(false),
        scalability_mode: mode.filter(|_| layers.is_some()),
        layers,
    })
}

fn header_extension(fields: Fields<'_>) -> Arguments<RtpHeaderExtensionParameters> {
    let uri = fields.need_str("uri")?.to_ascii_lowercase();
    if uri.is_empty() {
        return invalid("empty uri");
    }
    let id = fields.need_uint("id")? as u8;
    if id == 0 {
        return invalid("invalid id 0");
    }
    let encrypt = fields.truth("encrypt").unwrap_or(false);
    Ok(RtpHeaderExtensionParameters {
        uri,
        id,
        encrypt,
        parameters: parameters(fields),
    })
}

fn check_codecs(codecs: &[RtpCodecParameters]) -> Arguments<()> {
    for (index, codec) in codecs.iter().enumerate() {
        if codecs
            .iter()
            .skip(index + 1)
            .any(|other| other.payload_type == codec.payload_type)
        {
            return invalid("duplicated payloadType");
        }
        if !codec.is_rtx() {
            continue;
        }
        let apt = codec.integer_parameter("apt");
        let Some(source) = codecs.iter().find(|other| apt == Some(i64::from(other.payload_type))) else {
            return invalid("apt in RTX codec points to a non existing codec");
        };
        if matches!(source.subtype().as_str(), "rtx" | "ulpfec" | "flexfec") {
            return invalid(format!(
                "apt in RTX codec points to a {} codec",
                source.subtype().to_ascii_uppercase()
            ));
        }
    }
    Ok(())
}

fn check_encodings(codecs: &[RtpCodecParameters], encodings: &mut [RtpEncodingParameters]) -> Arguments<()> {
    let Some(first) = codecs
        .iter()
        .find(|codec| codec.is_media())
        .map(|codec| codec.payload_type)
    else {
        return invalid("no media codecs found");
    };
    if encodings.len() > 1 && encodings.iter().any(|encoding| encoding.spatial_layers() > 1) {
        return invalid("cannot use both simulcast and encodings with multiple SVC spatial layers");
    }
    for encoding in encodings {
        let payload_type = *encoding.codec_payload_type.get_or_insert(first);
        match codecs.iter().find(|codec| codec.payload_type == payload_type) {
            None => return invalid("unknown codecPayloadType"),
            Some(codec) if !codec.is_media() => return invalid("invalid codecPayloadType"),
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn rtp_mapping(data: Fields<'_>, parameters: &RtpParameters) -> Arguments<RtpMapping> {
    let Some(fields) = data.object("rtpMapping") else {
        return invalid("missing rtpMapping");
    };
    let Some(codecs) = fields.array("codecs") else {
        return invalid("missing rtpMapping.codecs");
    };
    let codecs = codecs
        .iter()
        .map(|value| {
            let fields = Fields::named(value, || "wrong entry in rtpMapping.codecs".to_owned())?;
            let need = |key: &str| match fields.uint(key) {
                Some(value) => Ok(value as u8),
                None => invalid(format!("wrong entry in rtpMapping.codecs (missing {key})")),
            };
            Ok(CodecMapping {
                payload_type: need("payloadType")?,
                mapped_payload_type: need("mappedPayloadType")?,
            })
        })
        .collect::<Arguments<Vec<_>>>()?;
    let Some(encodings) = fields.array("encodings") else {
        return invalid("missing rtpMapping.encodings");
    };
    let several = encodings.len() > 1;
    let unnamed = !several && parameters.mid.is_none();
    let encodings = encodings
        .iter()
        .map(|value| {
            let fields = Fields::entry(value).or_else(|_| invalid("wrong entry in rtpMapping.encodings"))?;
            if several && fields.get("ssrc").is_none() && fields.get("rid").is_none() {
                return invalid("wrong entry in rtpMapping.encodings (missing ssrc or rid)");
            }
            if unnamed && fields.uint("ssrc").is_none() && fields.str("rid").is_none() {
                return invalid("wrong entry in rtpMapping.encodings (missing ssrc or rid, or rtpParameters.mid)");
            }
            let Some(mapped_ssrc) = fields.uint("mappedSsrc") else {
                return invalid("wrong entry in rtpMapping.encodings (missing mappedSsrc)");
            };
            let ssrc = fields.uint("ssrc").map(|ssrc| ssrc as u32);
            Ok(EncodingMapping {
                rid: fields.text("rid"),
                ssrc,
                mapped_ssrc: mapped_ssrc as u32,
            })
        })
        .collect::<Arguments<Vec<_>>>()?;
    if encodings.len() != parameters.encodings.len() {
        return invalid("rtpParameters.encodings size does not match rtpMapping.encodings size");
    }
    Ok(RtpMapping { codecs, encodings })
}
