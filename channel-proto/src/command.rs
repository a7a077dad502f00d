//! What a parent asks of a worker: the 57 methods of the Channel and the messages of the PayloadChannel.
//!
//! A request addresses an entity (`Target`) and carries arguments. The entity is looked up before the arguments are
//! judged, so arguments that could not be read travel as the error that says why ([`Arguments`]).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::rtp_parameters::{
    ConsumerLayers, ConsumerType, MediaKind, RtpEncodingParameters, RtpMapping, RtpParameters,
};
use crate::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use crate::transport_parameters::{DtlsParameters, ListenInfo, ListenIp, NumSctpStreams, SctpStreamParameters};

/// Arguments that are missing, of the wrong type or out of range: what is answered as `TypeError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidArguments {
    /// Names the field, e.g. `missing dtlsParameters.fingerprints`.
    pub reason: String,
}

impl InvalidArguments {
    /// An error with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The arguments of a method, or what is wrong with them.
pub type Arguments<T> = Result<T, InvalidArguments>;

/// A request on the Channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Chosen by the parent, echoed in the response.
    pub id: u32,
    /// The entity that is addressed, and the id of the one to be created.
    pub target: Target,
    /// What to do.
    pub command: Command,
}

/// Ids of entities; which are needed depends on the command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A WebRtcServer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_rtc_server_id: Option<String>,
    /// A Router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// A transport of that router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_id: Option<String>,
    /// A producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer_id: Option<String>,
    /// A consumer of that transport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_id: Option<String>,
    /// A data producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_producer_id: Option<String>,
    /// A data consumer of that transport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_consumer_id: Option<String>,
    /// An RTP observer of that router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_observer_id: Option<String>,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident $(($arguments:ty))? = $name:literal;)*) => {
        /// A method of the Channel with its arguments.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[$doc])* $variant $((Arguments<$arguments>))?,)*
        }

        impl Command {
            /// Names of all methods, in the order of the protocol reference.
            pub const METHODS: &'static [&'static str] = &[$($name),*];

            /// The name of the method on the wire.
            pub fn method(&self) -> &'static str {
                match self {
                    $(commands!(@pattern $variant $(($arguments))?) => $name,)*
                }
            }
        }
    };
    (@pattern $variant:ident ($arguments:ty)) => { Self::$variant(_) };
    (@pattern $variant:ident) => { Self::$variant };
}

commands! {
    /// Ends the worker. Not answered.
    WorkerClose = "worker.close";
    /// Ids of what the worker holds.
    WorkerDump = "worker.dump";
    /// What `getrusage` says.
    WorkerGetResourceUsage = "worker.getResourceUsage";
    /// Changes level and tags of logs.
    WorkerUpdateSettings(UpdateSettings) = "worker.updateSettings";
    /// Opens shared sockets for WebRTC transports.
    WorkerCreateWebRtcServer(CreateWebRtcServer) = "worker.createWebRtcServer";
    /// Creates a router.
    WorkerCreateRouter = "worker.createRouter";
    /// Closes a WebRtcServer and its transports.
    WebRtcServerClose = "webRtcServer.close";
    /// State of a WebRtcServer.
    WebRtcServerDump = "webRtcServer.dump";
    /// Closes a router, silently with all that it holds.
    RouterClose = "router.close";
    /// Ids and maps of a router.
    RouterDump = "router.dump";
    /// Creates a WebRTC transport with sockets of its own.
    RouterCreateWebRtcTransport(CreateWebRtcTransport) = "router.createWebRtcTransport";
    /// Creates a WebRTC transport on a WebRtcServer.
    RouterCreateWebRtcTransportWithServer(CreateWebRtcTransport) = "router.createWebRtcTransportWithServer";
    /// Creates a plain transport.
    RouterCreatePlainTransport(CreatePlainTransport) = "router.createPlainTransport";
    /// Creates a pipe transport.
    RouterCreatePipeTransport(CreatePipeTransport) = "router.createPipeTransport";
    /// Creates a direct transport.
    RouterCreateDirectTransport(CreateDirectTransport) = "router.createDirectTransport";
    /// Creates an active speaker observer.
    RouterCreateActiveSpeakerObserver(CreateActiveSpeakerObserver) = "router.createActiveSpeakerObserver";
    /// Creates an audio level observer.
    RouterCreateAudioLevelObserver(CreateAudioLevelObserver) = "router.createAudioLevelObserver";
    /// Closes a transport and all that it holds.
    TransportClose = "transport.close";
    /// State of a transport.
    TransportDump = "transport.dump";
    /// Counters of a transport.
    TransportGetStats = "transport.getStats";
    /// Brings the remote side's parameters.
    TransportConnect(Connect) = "transport.connect";
    /// Limits what the peer sends.
    TransportSetMaxIncomingBitrate(MaxBitrate) = "transport.setMaxIncomingBitrate";
    /// Limits what is sent to the peer.
    TransportSetMaxOutgoingBitrate(MaxBitrate) = "transport.setMaxOutgoingBitrate";
    /// Draws new ICE credentials.
    TransportRestartIce = "transport.restartIce";
    /// Creates a producer.
    TransportProduce(Produce) = "transport.produce";
    /// Creates a consumer.
    TransportConsume(Consume) = "transport.consume";
    /// Creates a data producer.
    TransportProduceData(ProduceData) = "transport.produceData";
    /// Creates a data consumer.
    TransportConsumeData(ProduceData) = "transport.consumeData";
    /// Chooses trace events.
    TransportEnableTraceEvent(TraceEventTypes) = "transport.enableTraceEvent";
    /// Closes a producer and its consumers.
    ProducerClose = "producer.close";
    /// State of a producer.
    ProducerDump = "producer.dump";
    /// Counters of its streams.
    ProducerGetStats = "producer.getStats";
    /// Stops forwarding.
    ProducerPause = "producer.pause";
    /// Forwards again.
    ProducerResume = "producer.resume";
    /// Chooses trace events.
    ProducerEnableTraceEvent(TraceEventTypes) = "producer.enableTraceEvent";
    /// Closes a consumer.
    ConsumerClose = "consumer.close";
    /// State of a consumer.
    ConsumerDump = "consumer.dump";
    /// Counters of its stream.
    ConsumerGetStats = "consumer.getStats";
    /// Stops sending.
    ConsumerPause = "consumer.pause";
    /// Sends again.
    ConsumerResume = "consumer.resume";
    /// Chooses layers.
    ConsumerSetPreferredLayers(ConsumerLayers) = "consumer.setPreferredLayers";
    /// Sets the share of bandwidth.
    ConsumerSetPriority(SetPriority) = "consumer.setPriority";
    /// Asks the producer for a key frame.
    ConsumerRequestKeyFrame = "consumer.requestKeyFrame";
    /// Chooses trace events.
    ConsumerEnableTraceEvent(TraceEventTypes) = "consumer.enableTraceEvent";
    /// Closes a data producer and its data consumers.
    DataProducerClose = "dataProducer.close";
    /// State of a data producer.
    DataProducerDump = "dataProducer.dump";
    /// Counters of a data producer.
    DataProducerGetStats = "dataProducer.getStats";
    /// Closes a data consumer.
    DataConsumerClose = "dataConsumer.close";
    /// State of a data consumer.
    DataConsumerDump = "dataConsumer.dump";
    /// Counters of a data consumer.
    DataConsumerGetStats = "dataConsumer.getStats";
    /// Bytes that wait in its association.
    DataConsumerGetBufferedAmount = "dataConsumer.getBufferedAmount";
    /// Sets when `bufferedamountlow` is told.
    DataConsumerSetBufferedAmountLowThreshold(BufferedAmountLowThreshold) = "dataConsumer.setBufferedAmountLowThreshold";
    /// Closes an observer.
    RtpObserverClose = "rtpObserver.close";
    /// Stops observing.
    RtpObserverPause = "rtpObserver.pause";
    /// Observes again.
    RtpObserverResume = "rtpObserver.resume";
    /// Observes a producer. The id may be absent: that is an `Error`, not a `TypeError`.
    RtpObserverAddProducer(ObservedProducer) = "rtpObserver.addProducer";
    /// Stops observing a producer.
    RtpObserverRemoveProducer(ObservedProducer) = "rtpObserver.removeProducer";
}

/// Level from which log lines are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, tagged lines if their tag is chosen.
    Debug,
    /// Warnings and errors.
    Warn,
    /// Errors.
    #[default]
    Error,
    /// Nothing.
    None,
}

impl LogLevel {
    /// The level of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// `worker.updateSettings`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSettings {
    /// New level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// New set of tags; unknown ones are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tags: Option<Vec<String>>,
}

/// `worker.createWebRtcServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateWebRtcServer {
    /// 1 to 8 sockets.
    pub listen_infos: Vec<ListenInfo>,
}

/// What all transports take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportOptions {
    /// Where the bandwidth estimation starts, in bits per second (default 600,000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_available_outgoing_bitrate: Option<u32>,
    /// SCTP settings; absent without SCTP.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub sctp: Option<SctpOptions>,
}

/// SCTP settings of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpOptions {
    /// Always true.
    pub enable_sctp: bool,
    /// Numbers of streams.
    pub num_sctp_streams: NumSctpStreams,
    /// Largest message in bytes.
    pub max_sctp_message_size: u64,
    /// Send buffer in bytes, at most 268,435,456.
    pub sctp_send_buffer_size: u64,
    /// Whether streams are WebRTC data channels.
    pub is_data_channel: bool,
}

/// `router.createWebRtcTransport` and `router.createWebRtcTransportWithServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateWebRtcTransport {
    /// 1 to 8 addresses; empty with a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen_ips: Vec<ListenIp>,
    /// Fixed port; absent or 0 takes one of the worker's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Offer UDP candidates (default true).
    pub enable_udp: bool,
    /// Offer TCP candidates (default false).
    pub enable_tcp: bool,
    /// Higher priority for UDP.
    pub prefer_udp: bool,
    /// Higher priority for TCP.
    pub prefer_tcp: bool,
    /// What all transports take.
    #[serde(flatten)]
    pub options: TransportOptions,
}

/// `router.createPlainTransport`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatePlainTransport {
    /// Address.
    pub listen_ip: ListenIp,
    /// Fixed RTP port; absent or 0 takes one of the worker's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// RTP and RTCP on one port (default true).
    pub rtcp_mux: bool,
    /// Learn the peer's address from its first packet (default false).
    pub comedia: bool,
    /// Whether SRTP is on, as clients spell it.
    pub enable_srtp: bool,
    /// Suite; present exactly if SRTP is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp_crypto_suite: Option<SrtpCryptoSuite>,
    /// What all transports take.
    #[serde(flatten)]
    pub options: TransportOptions,
}

/// `router.createPipeTransport`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatePipeTransport {
    /// Address.
    pub listen_ip: ListenIp,
    /// Fixed port; absent or 0 takes one of the worker's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether the client negotiates retransmission on the pipe.
    pub enable_rtx: bool,
    /// Whether SRTP is on.
    pub enable_srtp: bool,
    /// What all transports take.
    #[serde(flatten)]
    pub options: TransportOptions,
}

/// `router.createDirectTransport`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDirectTransport {
    /// Always true on the wire.
    pub direct: bool,
    /// Largest data message in bytes.
    pub max_message_size: u64,
}

/// `router.createActiveSpeakerObserver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateActiveSpeakerObserver {
    /// Milliseconds between evaluations, clamped to 100..5000.
    pub interval: u16,
}

/// `router.createAudioLevelObserver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateAudioLevelObserver {
    /// Most entries of a `volumes` event, at least 1.
    pub max_entries: u16,
    /// Lowest average level in dBov, −127 to 0.
    pub threshold: i8,
    /// Milliseconds between events, clamped to 250..5000.
    pub interval: u16,
}

/// A field whose presence itself can be an error, depending on the transport.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there with something that cannot be used.
    Invalid(InvalidArguments),
    /// A value.
    Present(T),
}

/// `transport.connect` of every kind of transport: each takes what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// WebRTC: the remote side's parameters.
    pub dtls_parameters: Field<DtlsParameters>,
    /// Plain and pipe: the remote side's key.
    pub srtp_parameters: Field<SrtpParameters>,
    /// Plain and pipe: the remote address.
    pub ip: Field<IpAddr>,
    /// Plain and pipe: the remote port.
    pub port: Field<u16>,
    /// Plain without rtcpMux: the remote RTCP port.
    pub rtcp_port: Field<u16>,
}

/// `transport.setMaxIncomingBitrate` and `transport.setMaxOutgoingBitrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxBitrate {
    /// Bits per second.
    pub bitrate: u32,
}

/// `transport.produce`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Produce {
    /// Audio or video.
    pub kind: MediaKind,
    /// What the peer sends.
    pub rtp_parameters: RtpParameters,
    /// How it is renamed.
    pub rtp_mapping: RtpMapping,
    /// Least milliseconds between key frame requests; 0 for none.
    #[serde(default)]
    pub key_frame_request_delay: u32,
    /// Whether it starts paused.
    #[serde(default)]
    pub paused: bool,
}

/// `transport.consume`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consume {
    /// Audio or video.
    pub kind: MediaKind,
    /// What the peer gets.
    pub rtp_parameters: RtpParameters,
    /// How the producer is followed.
    #[serde(rename = "type")]
    pub consumer_type: ConsumerType,
    /// The producer's streams, with mapped SSRCs.
    pub consumable_rtp_encodings: Vec<RtpEncodingParameters>,
    /// Whether it starts paused.
    #[serde(default)]
    pub paused: bool,
    /// Layers to prefer; an error only for simulcast and SVC consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_layers: Option<ConsumerLayers>,
}

/// Where a data stream comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// An SCTP stream.
    Sctp,
    /// The PayloadChannel.
    Direct,
}

/// `transport.produceData` and `transport.consumeData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProduceData {
    /// SCTP or direct.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// The stream; present exactly for SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp_stream_parameters: Option<SctpStreamParameters>,
    /// Label of the channel.
    #[serde(default)]
    pub label: String,
    /// Sub-protocol of the channel.
    #[serde(default)]
    pub protocol: String,
}

/// `*.enableTraceEvent`: names of event types, unknown ones included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TraceEventTypes {
    /// Replaces the set.
    pub types: Vec<String>,
}

/// `consumer.setPriority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPriority {
    /// 1 to 255.
    pub priority: u8,
}

/// `dataConsumer.setBufferedAmountLowThreshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferedAmountLowThreshold {
    /// Bytes.
    pub threshold: u32,
}

/// `rtpObserver.addProducer` and `rtpObserver.removeProducer`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedProducer {
    /// The producer, looked up in the whole router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer_id: Option<String>,
}

/// A message on the PayloadChannel towards the worker: the header; its payload is the next frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadCommand {
    /// An RTP packet for the producers of a direct transport.
    ProducerSend(Target),
    /// An RTCP packet for a direct transport.
    TransportSendRtcp(Target),
    /// A message of a direct data producer, with its PPID.
    DataProducerSend(Target, Arguments<u32>),
    /// A message to the peer of an SCTP data consumer: a request, answered on the PayloadChannel.
    DataConsumerSend(u32, Target, Arguments<u32>),
}
