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
    /// What peers see, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_ip: Option<String>,
}

/// One socket of a WebRtcServer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenInfo {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Address to bind.
    pub ip: IpAddr,
    /// What peers see, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// Reliability of an SCTP stream (RFC 8831).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpStreamParameters {
    /// Stream, 0 to 65534.
    pub stream_id: u16,
    /// Whether messages arrive in order.
    pub ordered: bool,
    /// Milliseconds after which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_life_time: Option<u16>,
    /// Retransmissions after which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retransmits: Option<u16>,
}
