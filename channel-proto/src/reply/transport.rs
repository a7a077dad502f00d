//! Transports: dumps, and what connecting and restarting answer.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::Decision;
use crate::srtp_parameters::SrtpParameters;
use crate::transport_parameters::{
    DtlsParameters, DtlsRole, DtlsState, IceCandidate, IceParameters, IceRole, IceState, SctpParameters, SctpState,
    TransportTuple,
};

/// Creation and dump of a transport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportDump {
    /// Id.
    pub id: String,
    /// Whether it is a direct transport.
    pub direct: bool,
    /// Producers.
    pub producer_ids: Vec<String>,
    /// Consumers.
    pub consumer_ids: Vec<String>,
    /// Consumers by media SSRC.
    pub map_ssrc_consumer_id: BTreeMap<u32, String>,
    /// Consumers by retransmission SSRC.
    pub map_rtx_ssrc_consumer_id: BTreeMap<u32, String>,
    /// Data producers.
    pub data_producer_ids: Vec<String>,
    /// Data consumers.
    pub data_consumer_ids: Vec<String>,
    /// Header extension ids of incoming packets.
    pub recv_rtp_header_extensions: RecvRtpHeaderExtensions,
    /// How packets find their producer.
    pub rtp_listener: RtpListenerDump,
    /// Largest data message in bytes.
    pub max_message_size: u64,
    /// State of SCTP, where it is enabled.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub sctp: Option<SctpDump>,
    /// Enabled trace events joined by commas.
    pub trace_event_types: String,
    /// Its last decisions about what can be sent to the peer, from the oldest to the newest; absent before the first.
    /// Other workers do not have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// How bursts to the peer are spread, once what can be sent to it is estimated. Other workers do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pacing: Option<PacingDump>,
    /// What the kind of transport adds.
    #[serde(flatten)]
    pub kind: TransportKindDump,
}

/// What spreading bursts of packets has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacingDump {
    /// Longest time in milliseconds that a packet may wait for its turn; 0: none waits.
    pub max_delay: u32,
    /// Longest time in milliseconds that one has waited.
    pub longest_wait: u32,
    /// Packets that have waited.
    pub packets: u64,
}

/// State of SCTP in a transport dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpDump {
    /// For signalling.
    pub sctp_parameters: SctpParameters,
    /// How far the association has come.
    pub sctp_state: SctpState,
    /// How messages find their data producer.
    pub sctp_listener: SctpListenerDump,
}

/// Table of data producers by what messages carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpListenerDump {
    /// By stream id.
    #[serde(deserialize_with = "by_stream")]
    pub stream_id_table: BTreeMap<u16, String>,
}

/// Inside a flattened structure keys are kept as text, which a numeric key is not read from by itself.
fn by_stream<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u16, String>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let numbers = texts.into_iter().map(|(key, id)| Ok((key.parse()?, id)));
    numbers
        .collect::<Result<_, std::num::ParseIntError>>()
        .map_err(D::Error::custom)
}

/// Header extension ids that a transport reads in incoming packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecvRtpHeaderExtensions {
    /// MID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<u8>,
    /// RID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<u8>,
    /// Repaired RID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrid: Option<u8>,
    /// Absolute send time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abs_send_time: Option<u8>,
    /// Transport-wide sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_wide_cc01: Option<u8>,
}

/// Tables of producers by what packets carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpListenerDump {
    /// By SSRC.
    pub ssrc_table: BTreeMap<u32, String>,
    /// By MID.
    pub mid_table: BTreeMap<String, String>,
    /// By RID.
    pub rid_table: BTreeMap<String, String>,
}

/// What each kind of transport adds to the common dump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TransportKindDump {
    /// WebRTC.
    #[serde(rename_all = "camelCase")]
    WebRtc {
        /// Always controlled.
        ice_role: IceRole,
        /// Local credentials.
        ice_parameters: IceParameters,
        /// Local candidates.
        ice_candidates: Vec<IceCandidate>,
        /// How far ICE has come.
        ice_state: IceState,
        /// The pair in use, if there is one; its local address is the bound one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice_selected_tuple: Option<TransportTuple>,
        /// Local role, and fingerprints of the worker's certificate: one of each algorithm.
        dtls_parameters: DtlsParameters,
        /// How far DTLS has come.
        dtls_state: DtlsState,
    },
    /// Plain.
    #[serde(rename_all = "camelCase")]
    Plain {
        /// RTP and RTCP on one port.
        rtcp_mux: bool,
        /// Whether the remote address is learnt.
        comedia: bool,
        /// RTP.
        tuple: TransportTuple,
        /// RTCP, without rtcpMux.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rtcp_tuple: Option<TransportTuple>,
        /// Local key, with SRTP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        srtp_parameters: Option<SrtpParameters>,
    },
    /// Pipe.
    #[serde(rename_all = "camelCase")]
    Pipe {
        /// The two ends.
        tuple: TransportTuple,
        /// Whether the client negotiates retransmission on the pipe.
        rtx: bool,
        /// Local key, with SRTP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        srtp_parameters: Option<SrtpParameters>,
    },
    /// Direct: nothing.
    Direct {},
}

/// `transport.connect` of a plain or pipe transport.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// RTP, if the remote end is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuple: Option<TransportTuple>,
    /// RTCP, if it is apart and its remote end known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtcp_tuple: Option<TransportTuple>,
    /// Local key, with SRTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp_parameters: Option<SrtpParameters>,
}

/// `transport.connect` of a WebRTC transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebRtcConnected {
    /// Client or server.
    pub dtls_local_role: DtlsRole,
}

/// `transport.restartIce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceRestarted {
    /// New local credentials.
    pub ice_parameters: IceParameters,
}
