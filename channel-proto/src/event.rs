//! What a worker tells without being asked.

use serde::{Deserialize, Serialize};

use crate::reply::{BufferedAmount, ConsumerScore};
use crate::rtp_parameters::ConsumerLayers;
use crate::transport_parameters::{DtlsState, IceState, SctpState, TransportTuple};

/// A notification on the Channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    /// The worker is up; carries its process id as a number.
    Running {
        /// Process id that the parent sees.
        pid: u32,
    },
    /// Something happened to an entity.
    Entity {
        /// The entity.
        target_id: String,
        /// What happened.
        event: Event,
    },
}

/// Something that happened to an entity.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event {
    /// A WebRTC transport uses another pair. Told before the state that goes with it.
    IceSelectedTupleChange(IceSelectedTuple),
    /// ICE came further, or lost all pairs.
    IceStateChange(IceStateChange),
    /// DTLS came further, failed or was ended by the peer.
    DtlsStateChange(DtlsStateChange),
    /// The association came further, failed or was ended by the peer.
    SctpStateChange(SctpStateChange),
    /// A plain transport learnt the remote RTP address.
    Tuple(RemoteTuple),
    /// A plain transport learnt the remote RTCP address.
    RtcpTuple(RemoteRtcpTuple),
    /// The scores of a producer's streams.
    #[serde(rename = "score")]
    ProducerScore(Vec<ProducerScore>),
    /// A producer's picture was turned.
    VideoOrientationChange(VideoOrientation),
    /// A consumer's producer is gone, and so is the consumer.
    ProducerClose,
    /// A consumer's producer was paused.
    ProducerPause,
    /// A consumer's producer goes on.
    ProducerResume,
    /// Scores that concern a consumer.
    #[serde(rename = "score")]
    ConsumerScore(ConsumerScore),
    /// Other layers are sent by a consumer; `None` if nothing is.
    LayersChange(Option<ConsumerLayers>),
    /// A data consumer's data producer is gone, and so is the data consumer.
    DataProducerClose,
    /// A message of a data consumer was lost because too much waits already.
    SctpSendBufferFull,
    /// What waits in the association of a data consumer fell to its threshold.
    BufferedAmountLow(BufferedAmount),
    /// The loudest producers of the interval, loudest first.
    Volumes(Vec<Volume>),
    /// Nobody was loud enough, after somebody had been.
    Silence,
    /// Another producer is the dominant speaker.
    DominantSpeaker(DominantSpeaker),
    /// A trace event of a transport, producer or consumer.
    Trace(Trace),
}

/// Data of `iceselectedtuplechange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceSelectedTuple {
    /// The pair in use; its local address is the bound one.
    pub ice_selected_tuple: TransportTuple,
}

/// Data of `icestatechange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceStateChange {
    /// The new state.
    pub ice_state: IceState,
}

/// Data of `dtlsstatechange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DtlsStateChange {
    /// The new state.
    pub dtls_state: DtlsState,
    /// The peer's certificate in PEM form, when connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtls_remote_cert: Option<String>,
}

/// Data of `sctpstatechange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpStateChange {
    /// The new state.
    pub sctp_state: SctpState,
}

/// How loud a producer was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The producer.
    pub producer_id: String,
    /// Average in dBov, −127 (silence) to 0 (loudest).
    pub volume: i8,
}

/// Data of `dominantspeaker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DominantSpeaker {
    /// The producer.
    pub producer_id: String,
}

/// Data of `tuple`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTuple {
    /// The tuple, remote part known.
    pub tuple: TransportTuple,
}

/// Data of `rtcptuple`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRtcpTuple {
    /// The tuple, remote part known.
    pub rtcp_tuple: TransportTuple,
}

/// Score of one stream of a producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerScore {
    /// Index of the encoding.
    pub encoding_idx: u32,
    /// SSRC as the peer sends it.
    pub ssrc: u32,
    /// RID of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// 0 (nothing arrives) to 10 (perfect).
    pub score: u8,
}

/// How a picture is turned (3GPP TS 26.114).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoOrientation {
    /// Whether it comes from a back-facing camera.
    pub camera: bool,
    /// Whether it is mirrored.
    pub flip: bool,
    /// Degrees: 0, 90, 180 or 270.
    pub rotation: u16,
}

/// Which way a traced packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceDirection {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A trace event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What is traced: `rtp`, `keyframe`, `nack`, `pli`, `fir`, `probation`, `bwe`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Milliseconds of the worker's monotonic clock.
    pub timestamp: u64,
    /// Received or sent.
    pub direction: TraceDirection,
    /// Details.
    pub info: TraceInfo,
}

/// Details of a trace event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TraceInfo {
    /// `rtp`, `keyframe` and `probation`.
    Packet(Box<PacketInfo>),
    /// `bwe`.
    Bandwidth(Box<BandwidthInfo>),
    /// `pli` and `fir`.
    Stream {
        /// The stream that a key frame is asked for.
        ssrc: u32,
    },
    /// `nack`.
    Nothing {},
}

/// A traced RTP packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields of the RTP header and of header extensions")]
pub struct PacketInfo {
    pub payload_type: u8,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub ssrc: u32,
    pub is_key_frame: bool,
    /// Bytes of the packet.
    pub size: u64,
    /// Bytes of its payload.
    pub payload_size: u64,
    pub spatial_layer: u8,
    pub temporal_layer: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wide_sequence_number: Option<u16>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rtx: bool,
}

/// A traced bandwidth estimation; all bitrates in bits per second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthInfo {
    /// What feedback it comes from.
    #[serde(rename = "type")]
    pub bwe_type: BweType,
    /// What all consumers together would like to send.
    pub desired_bitrate: u32,
    /// The same with the headroom that is probed for.
    pub effective_desired_bitrate: u32,
    /// Lower bound of the estimation.
    pub min_bitrate: u32,
    /// Upper bound of the estimation.
    pub max_bitrate: u32,
    /// Where the estimation started.
    pub start_bitrate: u32,
    /// Most that is sent as padding.
    pub max_padding_bitrate: u32,
    /// The estimation.
    pub available_bitrate: u32,
}

/// What a bandwidth estimation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BweType {
    /// Transport-wide feedback of the receiver (draft-holmer-rmcat-transport-wide-cc-extensions).
    TransportCc,
    /// Estimation of the receiver (draft-alvestrand-rmcat-remb).
    Remb,
}

/// A message on the PayloadChannel from the worker: this header, then its payload as a frame of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadNotification {
    /// The consumer, direct transport or data consumer.
    pub target_id: String,
    /// What the payload is.
    pub event: PayloadEvent,
}

/// What a payload from the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadEvent {
    /// An RTP packet of a consumer on a direct transport.
    Rtp,
    /// An RTCP packet of a direct transport.
    Rtcp,
    /// A message of a direct data consumer.
    Message {
        /// Payload protocol identifier (RFC 8831).
        ppid: u32,
    },
}
