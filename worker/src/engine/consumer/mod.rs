//! A consumer: what a router sends to a peer of one producer.
//!
//! This file holds what all types share; a type decides which packets go out ([`simple`]).

pub mod simple;

use channel_proto::command::Consume;
use channel_proto::event::Event;
use channel_proto::reply::{ConsumerDump, ConsumerScore, Failure, RtxStreamParams};
use channel_proto::rtp_parameters::{ConsumerType, MediaKind, RtpEncodingParameters, RtpParameters};
use smallvec::SmallVec;

use super::keys::{ProducerKey, TransportKey};
use super::mangle::{ForwardedPacket, MID_LENGTH, Rewrite, mid_element};
use super::producer::{Producer, media_codec, stream_params};
use super::trace::TraceEvents;
use crate::rtp::send_stream::SendStream;
use simple::Simple;

/// A receiver of media inside a router.
#[derive(Debug)]
pub struct Consumer {
    /// What decides on each packet; small and first, since it is what forwarding touches.
    pub policy: Simple,
    /// Whether packets may go out: transport connected, neither it nor its producer paused.
    pub active: bool,
    /// The stream it sends.
    pub stream: SendStream,
    /// MID extension as sent.
    pub mid: [u8; 1 + MID_LENGTH],
    /// Payload types that its peer understands.
    pub payload_types: SmallVec<[u8; 2]>,
    /// The transport that sends it.
    pub transport: TransportKey,
    /// Its source.
    pub producer: ProducerKey,
    /// Id given by the parent.
    pub id: String,
    /// Enabled trace events.
    pub trace: TraceEvents,
    /// 1 to 255.
    pub priority: u8,
    paused: bool,
    producer_paused: bool,
    connected: bool,
    producer_id: String,
    kind: MediaKind,
    consumer_type: ConsumerType,
    rtp_parameters: RtpParameters,
    consumable_rtp_encodings: Vec<RtpEncodingParameters>,
}

impl Consumer {
    /// A consumer of `producer`; `first_sequence` is where its numbers start.
    ///
    /// # Errors
    /// The type is not one this version has.
    pub fn new(
        id: String,
        transport: TransportKey,
        producer_key: ProducerKey,
        producer: &Producer,
        consume: Consume,
        first_sequence: u16,
    ) -> Result<Self, Failure> {
        if consume.consumer_type != ConsumerType::Simple {
            return Err(Failure::error(
                "only consumers of type 'simple' are implemented in this version",
            ));
        }
        let parameters = consume.rtp_parameters;
        let invalid = || Failure::type_error("invalid rtpParameters.encodings (no media codec)");
        let encoding = parameters.encodings.first().ok_or_else(invalid)?;
        let codec = media_codec(&parameters, encoding).ok_or_else(invalid)?;
        let cname = parameters
            .rtcp
            .as_ref()
            .and_then(|rtcp| rtcp.cname.clone())
            .unwrap_or_default();
        let mut params = stream_params(0, encoding.ssrc.unwrap_or_default(), encoding, codec, cname);
        // Layers are those of the producer's choice; a simple stream has one of each.
        (params.spatial_layers, params.temporal_layers) = (encoding.spatial_layers(), encoding.temporal_layers());
        let rtx_codec = parameters
            .codecs
            .iter()
            .find(|rtx| rtx.is_rtx() && rtx.integer_parameter("apt") == Some(i64::from(codec.payload_type)));
        let rtx = encoding
            .rtx
            .and_then(|rtx| rtx.ssrc)
            .zip(rtx_codec)
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
        Ok(Self {
            policy: Simple::new(first_sequence),
            active: false,
            stream: SendStream::new(params, rtx),
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
        })
    }

    /// Decides on a packet: how it is to be rewritten, or None if it does not go out.
    pub fn forward(&mut self, packet: &ForwardedPacket) -> Option<Rewrite> {
        let supported = self.payload_types.contains(&packet.payload_type);
        let sequence_number = self.policy.forward(packet, supported)?;
        Some(Rewrite {
            ssrc: self.stream.params.ssrc,
            sequence_number,
            mid: self.mid,
        })
    }

    /// Its SSRC and that of its retransmission.
    pub fn ssrcs(&self) -> (u32, Option<u32>) {
        (self.stream.params.ssrc, self.stream.params.rtx_ssrc)
    }

    /// The SSRC inside the router of the stream it follows.
    pub fn mapped_ssrc(&self) -> u32 {
        self.consumable_rtp_encodings
            .first()
            .and_then(|encoding| encoding.ssrc)
            .unwrap_or_default()
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Its producer's id.
    pub fn producer_id(&self) -> &str {
        &self.producer_id
    }

    /// Whether the parent paused it.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Whether its producer is paused.
    pub fn producer_paused(&self) -> bool {
        self.producer_paused
    }

    /// Sets whether the parent paused it. True: it has become active.
    pub fn set_paused(&mut self, paused: bool) -> bool {
        self.paused = paused;
        self.update()
    }

    /// Sets whether its producer is paused. True: it has become active.
    pub fn set_producer_paused(&mut self, paused: bool) -> bool {
        self.producer_paused = paused;
        self.update()
    }

    /// Sets whether its transport is connected. True: it has become active.
    pub fn set_connected(&mut self, connected: bool) -> bool {
        self.connected = connected;
        self.update()
    }

    fn update(&mut self) -> bool {
        let active = self.connected && !self.paused && !self.producer_paused;
        let started = active && !self.active;
        self.active = active;
        if started {
            self.policy.restart();
        }
        started
    }

    /// Scores now.
    pub fn score(&self, producer: &Producer) -> ConsumerScore {
        let producer_scores = producer.scores();
        let producer_score = producer_scores.first().copied().unwrap_or_default();
        ConsumerScore {
            score: self.stream.score(),
            producer_score,
            producer_scores,
        }
    }

    /// The `score` event.
    pub fn score_event(&self, producer: &Producer) -> Event {
        Event::ConsumerScore(self.score(producer))
    }

    /// As dumped.
    pub fn dump(&self) -> ConsumerDump {
        ConsumerDump {
            id: self.id.clone(),
            producer_id: self.producer_id.clone(),
            kind: self.kind,
            rtp_parameters: self.rtp_parameters.clone(),
            consumer_type: self.consumer_type,
            consumable_rtp_encodings: self.consumable_rtp_encodings.clone(),
            supported_codec_payload_types: self.payload_types.to_vec(),
            paused: self.paused,
            producer_paused: self.producer_paused,
            priority: self.priority,
            trace_event_types: self.trace.dump(),
            rtp_stream: Some(self.stream.dump()),
            rtp_streams: None,
            layers: None,
        }
    }
}
