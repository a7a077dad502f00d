//! What a worker answers: dumps, statistics and short results.
//!
//! Keys and types are those that clients parse: counters are whole numbers, an absent key means "none", maps with
//! numeric keys have them as decimal text. Timestamps are milliseconds of a monotonic clock; bitrates are bits per
//! second; byte counters start at creation.

mod decision;
mod stats;
mod transport;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::command::DataType;
use crate::rtp_parameters::{
    ConsumerLayers, ConsumerType, MediaKind, ProducerType, RtpEncodingParameters, RtpMapping, RtpParameters,
};
use crate::transport_parameters::SctpStreamParameters;

pub use decision::{Decision, DecisionBandwidth, DecisionKind, DecisionReason, DecisionStream};
pub use stats::{DataConsumerStats, DataProducerStats, RtpStreamStats, TransportStats};
pub use transport::{
    Connected, IceRestarted, PacingDump, RecvRtpHeaderExtensions, RtpListenerDump, SctpDump, SctpListenerDump,
    TransportDump, TransportKindDump, WebRtcConnected,
};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The id of the request.
    pub id: u32,
    /// Data, or why the request was refused.
    pub result: Result<Reply, Failure>,
}

/// Whose mistake a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// A field of the arguments was missing or wrong.
    TypeError,
    /// Anything else: unknown ids, wrong state, no free port.
    Error,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// The class that clients look at.
    pub kind: FailureKind,
    /// For people; failed `*.close` requests of unknown ids contain the words `not found`.
    pub reason: String,
}

impl Failure {
    /// A failure of class `Error`.
    pub fn error(reason: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Error,
            reason: reason.into(),
        }
    }

    /// A failure of class `TypeError`.
    pub fn type_error(reason: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::TypeError,
            reason: reason.into(),
        }
    }
}

impl From<crate::command::InvalidArguments> for Failure {
    fn from(error: crate::command::InvalidArguments) -> Self {
        Self::type_error(error.reason)
    }
}

/// The data of an accepted request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// The response has no `data`.
    None,
    /// `worker.dump`.
    WorkerDump(WorkerDump),
    /// `worker.getResourceUsage`.
    ResourceUsage(ResourceUsage),
    /// `webRtcServer.dump`.
    WebRtcServerDump(WebRtcServerDump),
    /// `router.dump`.
    RouterDump(RouterDump),
    /// Creation and `dump` of transports.
    TransportDump(Box<TransportDump>),
    /// `transport.getStats`: one entry.
    TransportStats(Box<[TransportStats; 1]>),
    /// `transport.connect` of a plain or pipe transport.
    Connected(Connected),
    /// `transport.connect` of a WebRTC transport.
    WebRtcConnected(WebRtcConnected),
    /// `transport.restartIce`.
    IceRestarted(IceRestarted),
    /// `transport.produce`.
    Produced(Produced),
    /// `transport.consume`.
    Consumed(Consumed),
    /// `producer.dump`.
    ProducerDump(Box<ProducerDump>),
    /// `consumer.dump`.
    ConsumerDump(Box<ConsumerDump>),
    /// `producer.getStats` and `consumer.getStats`.
    RtpStreamStats(Vec<RtpStreamStats>),
    /// `consumer.setPreferredLayers` of layered consumers.
    PreferredLayers(ConsumerLayers),
    /// `consumer.setPriority`.
    Priority(Priority),
    /// `transport.produceData` and `dataProducer.dump`.
    DataProducerDump(DataProducerDump),
    /// `transport.consumeData` and `dataConsumer.dump`.
    DataConsumerDump(DataConsumerDump),
    /// `dataProducer.getStats`: one entry.
    DataProducerStats([DataProducerStats; 1]),
    /// `dataConsumer.getStats`: one entry.
    DataConsumerStats([DataConsumerStats; 1]),
    /// `dataConsumer.getBufferedAmount`.
    BufferedAmount(BufferedAmount),
}

/// `worker.dump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerDump {
    /// Process id.
    pub pid: u32,
    /// WebRtcServers.
    pub web_rtc_server_ids: Vec<String>,
    /// Routers.
    pub router_ids: Vec<String>,
}

/// `worker.getResourceUsage`: `getrusage` of the whole process, times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of getrusage(2)")]
pub struct ResourceUsage {
    pub ru_utime: i64,
    pub ru_stime: i64,
    pub ru_maxrss: i64,
    pub ru_ixrss: i64,
    pub ru_idrss: i64,
    pub ru_isrss: i64,
    pub ru_minflt: i64,
    pub ru_majflt: i64,
    pub ru_nswap: i64,
    pub ru_inblock: i64,
    pub ru_oublock: i64,
    pub ru_msgsnd: i64,
    pub ru_msgrcv: i64,
    pub ru_nsignals: i64,
    pub ru_nvcsw: i64,
    pub ru_nivcsw: i64,
}

/// `webRtcServer.dump`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebRtcServerDump {
    /// Id.
    pub id: String,
    /// Bound UDP addresses, in the order of the listen infos; not the announced ones.
    pub udp_sockets: Vec<BoundAddress>,
    /// Bound TCP addresses.
    pub tcp_servers: Vec<BoundAddress>,
    /// Transports that use it, of any router.
    pub web_rtc_transport_ids: Vec<String>,
    /// Username fragments that are valid now; two of a transport while ICE restarts.
    pub local_ice_username_fragments: Vec<UsernameFragmentOwner>,
    /// Remote addresses that are known.
    pub tuple_hashes: Vec<TupleOwner>,
}

/// A bound address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundAddress {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
}

/// Whose username fragment it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsernameFragmentOwner {
    /// Username fragment.
    pub local_ice_username_fragment: String,
    /// Its transport.
    pub web_rtc_transport_id: String,
}

/// Whose remote address it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TupleOwner {
    /// Remote address, port and protocol as one number: for IPv4 the port in bits 63 to 48, the address in 47 to 16.
    pub tuple_hash: u64,
    /// Its transport.
    pub web_rtc_transport_id: String,
}

/// `router.dump`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterDump {
    /// Id.
    pub id: String,
    /// Transports.
    pub transport_ids: Vec<String>,
    /// Observers.
    pub rtp_observer_ids: Vec<String>,
    /// Consumers of every producer.
    pub map_producer_id_consumer_ids: BTreeMap<String, Vec<String>>,
    /// Producer of every consumer.
    pub map_consumer_id_producer_id: BTreeMap<String, String>,
    /// Observers of every producer.
    pub map_producer_id_observer_ids: BTreeMap<String, Vec<String>>,
    /// Data consumers of every data producer.
    pub map_data_producer_id_data_consumer_ids: BTreeMap<String, Vec<String>>,
    /// Data producer of every data consumer.
    pub map_data_consumer_id_data_producer_id: BTreeMap<String, String>,
}

/// `transport.produce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produced {
    /// What the encodings make of it.
    #[serde(rename = "type")]
    pub producer_type: ProducerType,
}

/// `transport.consume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    /// Whether the consumer is paused.
    pub paused: bool,
    /// Whether its producer is paused.
    pub producer_paused: bool,
    /// Scores now.
    pub score: ConsumerScore,
    /// Layers in force of simulcast and SVC consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_layers: Option<ConsumerLayers>,
}

/// Scores that concern a consumer, each 0 (nothing arrives) to 10 (perfect).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerScore {
    /// Of what it sends.
    pub score: u8,
    /// Of the producer stream it forwards.
    pub producer_score: u8,
    /// Of all producer streams, in encoding order.
    pub producer_scores: Vec<u8>,
}

/// `consumer.setPriority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priority {
    /// The priority in force.
    pub priority: u8,
}

/// An RTP stream in dumps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpStreamDump {
    /// What was negotiated for it.
    pub params: RtpStreamParams,
    /// 0 to 10.
    pub score: u8,
    /// Its retransmission stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_stream: Option<RtxStreamDump>,
}

/// What was negotiated for an RTP stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "names are those of the wire; see RtpParameters")]
pub struct RtpStreamParams {
    pub encoding_idx: u32,
    pub ssrc: u32,
    pub payload_type: u8,
    pub mime_type: String,
    pub clock_rate: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    pub cname: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_payload_type: Option<u8>,
    pub use_nack: bool,
    pub use_pli: bool,
    pub use_fir: bool,
    pub use_in_band_fec: bool,
    pub use_dtx: bool,
    pub spatial_layers: u8,
    pub temporal_layers: u8,
}

/// A retransmission stream in dumps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtxStreamDump {
    /// What was negotiated for it.
    pub params: RtxStreamParams,
}

/// What was negotiated for a retransmission stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "names are those of the wire; see RtpParameters")]
pub struct RtxStreamParams {
    pub ssrc: u32,
    pub payload_type: u8,
    pub mime_type: String,
    pub clock_rate: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrid: Option<String>,
    pub cname: String,
}

/// `producer.dump`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerDump {
    /// Id.
    pub id: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// As normalised.
    pub rtp_parameters: RtpParameters,
    /// What the encodings make of it.
    #[serde(rename = "type")]
    pub producer_type: ProducerType,
    /// As given.
    pub rtp_mapping: RtpMapping,
    /// Streams seen so far, in encoding order.
    pub rtp_streams: Vec<RtpStreamDump>,
    /// Whether it is paused.
    pub paused: bool,
    /// Enabled trace events joined by commas.
    pub trace_event_types: String,
}

/// `consumer.dump`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerDump {
    /// Id.
    pub id: String,
    /// Its producer.
    pub producer_id: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// As normalised.
    pub rtp_parameters: RtpParameters,
    /// How it follows its producer.
    #[serde(rename = "type")]
    pub consumer_type: ConsumerType,
    /// As given.
    pub consumable_rtp_encodings: Vec<RtpEncodingParameters>,
    /// Payload types of its media codecs.
    pub supported_codec_payload_types: Vec<u8>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether its producer is paused.
    pub producer_paused: bool,
    /// 1 to 255.
    pub priority: u8,
    /// Enabled trace events joined by commas.
    pub trace_event_types: String,
    /// What it sends (all but pipe consumers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_stream: Option<RtpStreamDump>,
    /// What a pipe consumer sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_streams: Option<Vec<RtpStreamDump>>,
    /// Layers of simulcast and SVC consumers.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<ConsumerLayersDump>,
    /// Its last decisions, from the oldest to the newest; absent before the first. Other workers do not have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// Layers of simulcast and SVC consumers; −1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "preferred: asked for; target: aimed at; current: being sent")]
pub struct ConsumerLayersDump {
    pub preferred_spatial_layer: i16,
    pub target_spatial_layer: i16,
    pub current_spatial_layer: i16,
    pub preferred_temporal_layer: i16,
    pub target_temporal_layer: i16,
    pub current_temporal_layer: i16,
}

/// A data producer in dumps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataProducerDump {
    /// Id.
    pub id: String,
    /// SCTP or direct.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Its stream, with SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp_stream_parameters: Option<SctpStreamParameters>,
    /// Label of the channel.
    pub label: String,
    /// Sub-protocol of the channel.
    pub protocol: String,
}

/// A data consumer in dumps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataConsumerDump {
    /// Id.
    pub id: String,
    /// Its data producer.
    pub data_producer_id: String,
    /// SCTP or direct.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Its stream, with SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp_stream_parameters: Option<SctpStreamParameters>,
    /// Label of the channel.
    pub label: String,
    /// Sub-protocol of the channel.
    pub protocol: String,
    /// Bytes at which `bufferedamountlow` is told.
    pub buffered_amount_low_threshold: u32,
}

/// `dataConsumer.getBufferedAmount`, and the data of `bufferedamountlow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferedAmount {
    /// Bytes that wait in the association, of all its streams.
    pub buffered_amount: u32,
}
