//! Addresses, ICE, DTLS and SCTP dictionaries of transports.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A stream with RFC 4571 framing.
    Tcp,
}

/// Address to listen on, and the address that peers are told instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenIp {
    /// Address to bind.
    pub ip: IpAddr,
    /// What peers see, verbatim; the bound address if that is empty.
    #[serde(default, skip_serializing_if = "no_text")]
    pub announced_ip: Option<String>,
}

fn no_text(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

/// One socket of a WebRtcServer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenInfo {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Address to bind.
    pub ip: IpAddr,
    /// What peers see, verbatim; the bound address if that is empty.
    #[serde(default, skip_serializing_if = "no_text")]
    pub announced_ip: Option<String>,
    /// Port; 0 lets the kernel choose.
    #[serde(default)]
    pub port: u16,
}

/// The two ends of a transport. Both remote keys are present or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportTuple {
    /// Bound or announced address.
    pub local_ip: String,
    /// Bound port.
    pub local_port: u16,
    /// Address of the peer, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Port of the peer, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// UDP or TCP.
    pub protocol: Protocol,
}

/// ICE credentials of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceParameters {
    /// Username fragment.
    pub username_fragment: String,
    /// Password.
    pub password: String,
    /// Always true.
    #[serde(default)]
    pub ice_lite: bool,
}

/// Part of the worker in ICE (RFC 8445).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceRole {
    /// The peer nominates: the only role of an ICE lite agent.
    #[default]
    Controlled,
    /// The worker nominates.
    Controlling,
}

/// How far ICE has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceState {
    /// Nothing has arrived. Never told as an event.
    #[default]
    New,
    /// A pair works, none is nominated.
    Connected,
    /// A pair is nominated.
    Completed,
    /// The last pair is gone.
    Disconnected,
    /// The transport is closed. Never on the wire: what a client says of it then.
    Closed,
}

/// How a candidate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceCandidateType {
    /// An address of the host.
    Host,
}

/// Who opens a TCP connection (RFC 6544).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceCandidateTcpType {
    /// The peer.
    Passive,
}

/// An ICE candidate of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidate {
    /// `udpcandidate` or `tcpcandidate`.
    pub foundation: String,
    /// Priority (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// Announced address, or else the bound one.
    pub ip: String,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Bound port.
    pub port: u16,
    /// Always `host`.
    #[serde(rename = "type")]
    pub candidate_type: IceCandidateType,
    /// Always `passive`; TCP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_type: Option<IceCandidateTcpType>,
}

/// How far DTLS has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsState {
    /// Not started. Never told as an event.
    #[default]
    New,
    /// The handshake runs.
    Connecting,
    /// The handshake is done, the peer's certificate is the announced one and SRTP has its keys.
    Connected,
    /// One of these went wrong.
    Failed,
    /// The peer ended the connection.
    Closed,
}

/// How far the SCTP association has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SctpState {
    /// Not started. Never told as an event.
    #[default]
    New,
    /// It is being set up.
    Connecting,
    /// Messages flow.
    Connected,
    /// It could not be set up.
    Failed,
    /// It was lost, or the peer ended it.
    Closed,
}

/// DTLS role of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsRole {
    /// Not decided.
    #[default]
    Auto,
    /// Sends the ClientHello.
    Client,
    /// Waits for the ClientHello.
    Server,
}

/// Hash function of a certificate fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FingerprintAlgorithm {
    /// SHA-1.
    #[serde(rename = "sha-1")]
    Sha1,
    /// SHA-224.
    #[serde(rename = "sha-224")]
    Sha224,
    /// SHA-256.
    #[serde(rename = "sha-256")]
    Sha256,
    /// SHA-384.
    #[serde(rename = "sha-384")]
    Sha384,
    /// SHA-512.
    #[serde(rename = "sha-512")]
    Sha512,
}

/// Fingerprint of a certificate (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtlsFingerprint {
    /// Hash function.
    pub algorithm: FingerprintAlgorithm,
    /// Upper-case hexadecimal bytes joined by colons.
    pub value: String,
}

/// Role and fingerprints of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtlsParameters {
    /// Role of that side.
    #[serde(default)]
    pub role: DtlsRole,
    /// Fingerprints; of a remote side only the first counts.
    pub fingerprints: Vec<DtlsFingerprint>,
}

/// Numbers of SCTP streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumSctpStreams {
    /// Outgoing streams.
    #[serde(rename = "OS")]
    pub os: u16,
    /// Largest number of incoming streams.
    #[serde(rename = "MIS")]
    pub mis: u16,
}

/// SCTP side of a transport, for signalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpParameters {
    /// SCTP port, always 5000.
    pub port: u16,
    /// Outgoing streams: as asked for, and what was negotiated once the association is up.
    #[serde(rename = "OS")]
    pub os: u16,
    /// Largest number of incoming streams, as asked for.
    #[serde(rename = "MIS")]
    pub mis: u16,
    /// Largest message in bytes, in both directions.
    pub max_message_size: u64,
    /// Size of the send buffer in bytes.
    pub send_buffer_size: u64,
    /// Bytes that wait in the send buffer.
    pub sctp_buffered_amount: u32,
    /// Whether streams are WebRTC data channels.
    pub is_data_channel: bool,
}

/// Reliability of an SCTP stream (RFC 8831).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "GivenSctpStreamParameters")]
pub struct SctpStreamParameters {
    /// Stream, 0 to 65534.
    pub stream_id: u16,
    /// Whether messages arrive in order. What does not say is in order unless messages may be given up.
    pub ordered: bool,
    /// Milliseconds after which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_life_time: Option<u16>,
    /// Retransmissions after which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retransmits: Option<u16>,
}

/// What a peer writes, where the order may be left open.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenSctpStreamParameters {
    stream_id: u16,
    ordered: Option<bool>,
    max_packet_life_time: Option<u16>,
    max_retransmits: Option<u16>,
}

impl From<GivenSctpStreamParameters> for SctpStreamParameters {
    fn from(given: GivenSctpStreamParameters) -> Self {
        let reliable = given.max_packet_life_time.is_none() && given.max_retransmits.is_none();
        Self {
            stream_id: given.stream_id,
            ordered: given.ordered.unwrap_or(reliable),
            max_packet_life_time: given.max_packet_life_time,
            max_retransmits: given.max_retransmits,
        }
    }
}
