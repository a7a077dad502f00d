//! Arguments of `transport.produce`, `transport.consume` and their data counterparts, and of what consumers take.

use serde_json::Value;

use super::fields::{Fields, invalid};
use super::rtp;
use crate::command::{Arguments, Consume, DataType, Produce, ProduceData, SetPriority};
use crate::rtp_parameters::{ConsumerLayers, ConsumerType, RtpParameters, producer_type};
use crate::transport_parameters::SctpStreamParameters;

pub(super) fn produce(data: Fields<'_>) -> Arguments<Produce> {
    let kind = rtp::kind(data)?;
    let rtp_parameters = rtp::rtp_parameters(data)?;
    producer_type(&rtp_parameters)?;
    let rtp_mapping = rtp::rtp_mapping(data, &rtp_parameters)?;
    let delay = data
        .get("keyFrameRequestDelay")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let key_frame_request_delay = delay as u32;
    let paused = data.truth("paused").unwrap_or(false);
    Ok(Produce {
        kind,
        rtp_parameters,
        rtp_mapping,
        key_frame_request_delay,
        paused,
    })
}

pub(super) fn consume(data: Fields<'_>) -> Arguments<Consume> {
    let consumer_type = match data.need_str("type")? {
        "simple" => ConsumerType::Simple,
        "simulcast" => ConsumerType::Simulcast,
        "svc" => ConsumerType::Svc,
        "pipe" => ConsumerType::Pipe,
        "none" => return invalid("invalid type 'none'"),
        other => return invalid(format!("invalid RtpParameters type [type:{other}]")),
    };
    let kind = rtp::kind(data)?;
    let rtp_parameters = rtp::rtp_parameters(data)?;
    for encoding in &rtp_parameters.encodings {
        if encoding.ssrc.is_none() {
            return invalid("invalid encoding in rtpParameters (missing ssrc)");
        }
        if encoding.rtx.is_some_and(|rtx| rtx.ssrc.is_none()) {
            return invalid("invalid encoding in rtpParameters (missing rtx.ssrc)");
        }
    }
    let consumable = data.need_array("consumableRtpEncodings")?;
    if consumable.is_empty() {
        return invalid("empty consumableRtpEncodings");
    }
    let consumable_rtp_encodings = consumable
        .iter()
        .map(|entry| match rtp::encoding(Fields::entry(entry)?)? {
            encoding if encoding.ssrc.is_none() => invalid("wrong encoding in consumableRtpEncodings (missing ssrc)"),
            encoding => Ok(encoding),
        })
        .collect::<Arguments<Vec<_>>>()?;
    check_type(consumer_type, &rtp_parameters, consumable_rtp_encodings.len())?;
    let layered = matches!(consumer_type, ConsumerType::Simulcast | ConsumerType::Svc);
    let preferred_layers = match data.object("preferredLayers").filter(|_| layered) {
        Some(fields) => Some(layers(fields).or_else(|_| invalid("missing preferredLayers.spatialLayer"))?),
        None => None,
    };
    let paused = data.truth("paused").unwrap_or(false);
    Ok(Consume {
        kind,
        rtp_parameters,
        consumer_type,
        consumable_rtp_encodings,
        paused,
        preferred_layers,
    })
}

/// What the type asks of the encodings: those sent, and how many of the producer's there are.
fn check_type(consumer_type: ConsumerType, rtp_parameters: &RtpParameters, count: usize) -> Arguments<()> {
    let first = rtp_parameters.encodings.first();
    let (spatial, temporal) = first.map_or((1, 1), |first| (first.spatial_layers(), first.temporal_layers()));
    let codec = first
        .and_then(|first| first.codec_payload_type)
        .and_then(|payload_type| {
            rtp_parameters
                .codecs
                .iter()
                .find(|codec| codec.payload_type == payload_type)
        })
        .map(|codec| codec.mime_type.as_str())
        .unwrap_or_default();
    match consumer_type {
        ConsumerType::Simple if count != 1 => invalid("invalid consumableRtpEncodings with size != 1"),
        ConsumerType::Simulcast if count <= 1 => invalid("invalid consumableRtpEncodings with size <= 1"),
        ConsumerType::Simulcast if usize::from(spatial) != count => {
            invalid("encoding.spatialLayers does not match number of consumableRtpEncodings")
        }
        ConsumerType::Simulcast if !matches!(codec, "video/VP8" | "video/H264") => {
            invalid(format!("{codec} codec not supported for simulcast"))
        }
        ConsumerType::Svc if count != 1 => invalid("invalid consumableRtpEncodings with size != 1"),
        ConsumerType::Svc if spatial < 2 && temporal < 2 => invalid("invalid number of layers"),
        ConsumerType::Svc if !matches!(codec, "video/VP9" | "video/AV1" | "video/H264-SVC") => {
            invalid(format!("{codec} codec not supported for svc"))
        }
        ConsumerType::Pipe if rtp_parameters.encodings.len() != count => {
            invalid("number of rtpParameters.encodings and consumableRtpEncodings do not match")
        }
        _ => Ok(()),
    }
}

pub(super) fn layers(fields: Fields<'_>) -> Arguments<ConsumerLayers> {
    let clamp = |layer: u64| layer.min(i16::MAX as u64) as i16;
    let spatial_layer = clamp(fields.need_uint("spatialLayer")?);
    Ok(ConsumerLayers {
        spatial_layer,
        temporal_layer: fields.uint("temporalLayer").map(clamp),
    })
}

pub(super) fn priority(data: Fields<'_>) -> Arguments<SetPriority> {
    let Some(priority) = data.get("priority").and_then(Value::as_f64) else {
        return invalid("wrong priority (not a number)");
    };
    if !(1.0..256.0).contains(&priority) {
        return invalid("wrong priority (must be between 1 and 255)");
    }
    Ok(SetPriority {
        priority: priority as u8,
    })
}

pub(super) fn produce_data(data: Fields<'_>) -> Arguments<ProduceData> {
    let data_type = match data.need_str("type")? {
        "sctp" => DataType::Sctp,
        "direct" => DataType::Direct,
        _ => return invalid("invalid type"),
    };
    let sctp_stream_parameters = match data_type {
        DataType::Direct => None,
        DataType::Sctp => Some(sctp_stream_parameters(data.need_object("sctpStreamParameters")?)?),
    };
    let text = |key: &str| data.text(key).unwrap_or_default();
    Ok(ProduceData {
        data_type,
        sctp_stream_parameters,
        label: text("label"),
        protocol: text("protocol"),
    })
}

fn sctp_stream_parameters(fields: Fields<'_>) -> Arguments<SctpStreamParameters> {
    let stream_id = fields.need_uint("streamId")? as u16;
    if stream_id == u16::MAX {
        return invalid("streamId must not be greater than 65534");
    }
    let limit = |key: &str| fields.uint(key).map(|value| value as u16);
    let (life_time, retransmits) = (limit("maxPacketLifeTime"), limit("maxRetransmits"));
    // Zero retransmissions are a limit (W3C WebRTC 6.1), but not for those who fill in zeros for all that is not set.
    let none_at_all = fields.truth("ordered") == Some(false) && life_time.is_none();
    let max_packet_life_time = life_time.filter(|time| *time != 0);
    let max_retransmits = retransmits.filter(|count| *count != 0 || none_at_all);
    if max_packet_life_time.is_some() && max_retransmits.is_some() {
        return invalid("cannot provide both maxPacketLifeTime and maxRetransmits");
    }
    let limited = max_packet_life_time.is_some() || max_retransmits.is_some();
    let ordered = match fields.truth("ordered") {
        Some(true) if limited => return invalid("cannot be ordered with maxPacketLifeTime or maxRetransmits"),
        Some(ordered) => ordered && !limited,
        None => !limited,
    };
    Ok(SctpStreamParameters {
        stream_id,
        ordered,
        max_packet_life_time,
        max_retransmits,
    })
}
