//! Making a consumer of what the parent asks for.

use channel_proto::command::Consume;
use channel_proto::reply::{Failure, RtpStreamParams, RtxStreamParams};
use channel_proto::rtp_parameters::{ConsumerType, RtpEncodingParameters, RtpParameters};
use smallvec::SmallVec;

use super::allocation::Restraint;
use super::layers::preferred;
use super::simple::Simple;
use super::simulcast::Simulcast;
use super::svc::Svc;
use super::{Consumer, Policy};
use crate::engine::decisions::Decisions;
use crate::engine::keys::{ProducerKey, TransportKey};
use crate::engine::mangle::mid_element;
use crate::engine::producer::{Producer, media_codec, rtx_codec, stream_params};
use crate::engine::trace::TraceEvents;
use crate::rtp::codec::Codec;
use crate::rtp::send_stream::SendStream;

impl Consumer {
    /// A consumer of `producer`; `first_sequence` says where the numbers of each of its streams start.
    ///
    /// # Errors
    /// An encoding has no media codec.
    pub fn new(
        id: String,
        transport: TransportKey,
        producer_key: ProducerKey,
        producer: &Producer,
        consume: Consume,
        mut first_sequence: impl FnMut() -> u16,
    ) -> Result<Self, Failure> {
        let parameters = consume.rtp_parameters;
        let count = match consume.consumer_type {
            ConsumerType::Pipe => parameters.encodings.len(),
            _ => 1,
        };
        let mut streams = SmallVec::new();
        for (index, encoding) in parameters.encodings.iter().take(count).enumerate() {
            streams.push(stream(index, encoding, &parameters, first_sequence())?);
        }
        let Some(params) = streams.first().map(|stream: &SendStream| &stream.params) else {
            return Err(no_media_codec());
        };
        let policy = policy(
            &consume.consumer_type,
            params,
            &parameters,
            count,
            &mut first_sequence,
            || {
                consume
                    .preferred_layers
                    .as_ref()
                    .map(|layers| (layers.spatial_layer, layers.temporal_layer))
            },
        );
        let encodings = consume
            .consumable_rtp_encodings
            .iter()
            .map(|encoding| {
                producer
                    .encoding_of_mapped(encoding.ssrc?)
                    .and_then(|index| index.try_into().ok())
            })
            .collect();
        Ok(Self {
            policy,
            active: false,
            streams,
            encodings,
            wanted_key_frame: None,
            began: false,
            mid: mid_element(parameters.mid.as_deref()),
            payload_types: parameters
                .codecs
                .iter()
                .filter(|codec| codec.is_media())
                .map(|codec| codec.payload_type)
                .collect(),
            transport,
            producer: producer_key,
            id,
            trace: TraceEvents::of_rtp_entity(),
            priority: 1,
            paused: consume.paused,
            producer_paused: producer.paused,
            connected: false,
            producer_id: producer.id.clone(),
            kind: consume.kind,
            consumer_type: consume.consumer_type,
            rtp_parameters: parameters,
            consumable_rtp_encodings: consume.consumable_rtp_encodings,
            decisions: Decisions::default(),
            restraint: Restraint::default(),
        })
    }
}

fn no_media_codec() -> Failure {
    Failure::type_error("invalid rtpParameters.encodings (no media codec)")
}

fn policy(
    consumer_type: &ConsumerType,
    params: &RtpStreamParams,
    parameters: &RtpParameters,
    count: usize,
    first_sequence: &mut impl FnMut() -> u16,
    asked: impl Fn() -> Option<(i16, Option<i16>)>,
) -> Policy {
    let (spatial, temporal) = (params.spatial_layers, params.temporal_layers);
    let preferred = preferred(asked(), spatial, temporal);
    match consumer_type {
        ConsumerType::Simple => Policy::Simple(Simple::new(first_sequence())),
        ConsumerType::Pipe => Policy::Pipe((0..count).map(|_| Simple::new(first_sequence())).collect()),
        ConsumerType::Simulcast => {
            let codec = Codec::from_mime_type(&params.mime_type);
            let clock_rate = params.clock_rate;
            let simulcast = Simulcast::new(first_sequence(), codec, clock_rate, spatial, temporal, preferred);
            Policy::Simulcast(Box::new(simulcast))
        }
        ConsumerType::Svc => {
            let layers = parameters.encodings.first().and_then(|encoding| encoding.layers);
            let k_svc = layers.is_some_and(|layers| layers.ksvc);
            Policy::Svc(Box::new(Svc::new(
                first_sequence(),
                spatial,
                temporal,
                k_svc,
                preferred,
            )))
        }
    }
}

/// The stream that an encoding describes.
fn stream(
    index: usize,
    encoding: &RtpEncodingParameters,
    parameters: &RtpParameters,
    rtx_sequence: u16,
) -> Result<SendStream, Failure> {
    let codec = media_codec(parameters, encoding).ok_or_else(no_media_codec)?;
    let cname = parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone());
    let ssrc = encoding.ssrc.unwrap_or_default();
    let mut params = stream_params(index, ssrc, encoding, codec, cname.unwrap_or_default());
    let rtx = encoding
        .rtx
        .and_then(|rtx| rtx.ssrc)
        .zip(rtx_codec(parameters, codec.payload_type))
        .map(|(ssrc, codec)| RtxStreamParams {
            ssrc,
            payload_type: codec.payload_type,
            mime_type: codec.mime_type.clone(),
            clock_rate: codec.clock_rate,
            rrid: None,
            cname: params.cname.clone(),
        });
    if let Some(rtx) = &rtx {
        params.rtx_ssrc = Some(rtx.ssrc);
        params.rtx_payload_type = Some(rtx.payload_type);
    }
    Ok(SendStream::new(params, rtx, rtx_sequence))
}
