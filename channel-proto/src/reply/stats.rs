//! Statistics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rtp_parameters::MediaKind;
use crate::transport_parameters::{DtlsState, IceRole, IceState, SctpState, TransportTuple};

/// One entry of `transport.getStats`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "counters named as on the wire; bytes are bytes, bitrates bits per second"
)]
pub struct TransportStats {
    /// `webrtc-transport`, `plain-rtp-transport`, `pipe-transport` or `direct-transport`.
    #[serde(rename = "type")]
    pub kind: String,
    pub transport_id: String,
    pub timestamp: u64,
    /// With SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp_state: Option<SctpState>,
    pub bytes_received: u64,
    pub recv_bitrate: u32,
    pub bytes_sent: u64,
    pub send_bitrate: u32,
    pub rtp_bytes_received: u64,
    pub rtp_recv_bitrate: u32,
    pub rtp_bytes_sent: u64,
    pub rtp_send_bitrate: u32,
    pub rtx_bytes_received: u64,
    pub rtx_recv_bitrate: u32,
    pub rtx_bytes_sent: u64,
    pub rtx_send_bitrate: u32,
    pub probation_bytes_sent: u64,
    pub probation_send_bitrate: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_outgoing_bitrate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_incoming_bitrate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_incoming_bitrate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_packet_loss_received: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_packet_loss_sent: Option<f64>,
    /// WebRTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_role: Option<IceRole>,
    /// WebRTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_state: Option<IceState>,
    /// WebRTC, once a pair is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_selected_tuple: Option<TransportTuple>,
    /// WebRTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtls_state: Option<DtlsState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtcp_mux: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comedia: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuple: Option<TransportTuple>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtcp_tuple: Option<TransportTuple>,
}

/// Statistics of an RTP stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "counters named as on the wire")]
pub struct RtpStreamStats {
    /// `inbound-rtp` or `outbound-rtp`.
    #[serde(rename = "type")]
    pub stats_type: String,
    pub timestamp: u64,
    pub ssrc: u32,
    pub kind: MediaKind,
    pub mime_type: String,
    pub packets_lost: u32,
    /// 0 to 255, of the last report.
    pub fraction_lost: u8,
    pub packets_discarded: u64,
    pub packets_retransmitted: u64,
    pub packets_repaired: u64,
    pub nack_count: u64,
    pub nack_packet_count: u64,
    pub pli_count: u64,
    pub fir_count: u64,
    pub score: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_packets_discarded: Option<u64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_time: Option<f32>,
    pub packet_count: u64,
    pub byte_count: u64,
    pub bitrate: u32,
    /// RTP timestamp units; inbound only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<u32>,
    /// Bits per second by `spatial.temporal`; inbound streams with several layers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_by_layer: Option<BTreeMap<String, u32>>,
}

/// One entry of `dataProducer.getStats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "counters named as on the wire")]
pub struct DataProducerStats {
    /// `data-producer`.
    #[serde(rename = "type")]
    pub kind: String,
    pub timestamp: u64,
    pub label: String,
    pub protocol: String,
    pub messages_received: u64,
    pub bytes_received: u64,
}

/// One entry of `dataConsumer.getStats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "counters named as on the wire")]
pub struct DataConsumerStats {
    /// `data-consumer`.
    #[serde(rename = "type")]
    pub kind: String,
    pub timestamp: u64,
    pub label: String,
    pub protocol: String,
    pub messages_sent: u64,
    pub bytes_sent: u64,
    pub buffered_amount: u32,
}
