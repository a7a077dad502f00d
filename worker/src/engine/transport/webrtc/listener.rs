//! A UDP socket or TCP listener, and the candidate that it makes.

use std::net::{IpAddr, SocketAddr};

use channel_proto::command::CreateWebRtcTransport;
use channel_proto::reply::Failure;
use channel_proto::transport_parameters::{IceCandidate, IceCandidateTcpType, IceCandidateType, Protocol};

use crate::engine::ports::{Ports, SocketId};
use crate::engine::sockets::{Owner, Sockets};
use crate::ice;

/// A UDP socket or TCP listener, and what peers are told about it.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: SocketId,
    /// Bound address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
    announced_ip: Option<String>,
}

impl Listener {
    /// Opens it; port 0 takes a free one of the worker's range.
    ///
    /// # Errors
    /// `Error` if it cannot be opened.
    pub fn open(
        protocol: Protocol,
        ip: IpAddr,
        port: u16,
        announced_ip: Option<String>,
        ports: &mut dyn Ports,
    ) -> Result<Self, Failure> {
        let opened = match protocol {
            Protocol::Udp => ports.open_udp(ip, port),
            Protocol::Tcp => ports.open_tcp(ip, port),
        };
        let (socket, address) = opened.map_err(|error| Failure::error(error.to_string()))?;
        Ok(Self {
            socket,
            address,
            protocol,
            announced_ip: announced_ip.filter(|ip| !ip.is_empty()),
        })
    }

    /// Makes it known.
    pub fn register(&self, owner: Owner, sockets: &mut Sockets) {
        sockets.insert(self.socket, owner, self.address, self.protocol);
    }

    /// Its candidate, as that of the `index`th address.
    pub fn candidate(&self, index: usize, options: &CreateWebRtcTransport) -> IceCandidate {
        let (foundation, preferred, tcp_type) = match self.protocol {
            Protocol::Udp => ("udpcandidate", options.prefer_udp, None),
            Protocol::Tcp => ("tcpcandidate", options.prefer_tcp, Some(IceCandidateTcpType::Passive)),
        };
        IceCandidate {
            foundation: foundation.to_owned(),
            priority: ice::priority(index, preferred),
            ip: self
                .announced_ip
                .clone()
                .unwrap_or_else(|| self.address.ip().to_string()),
            protocol: self.protocol,
            port: self.address.port(),
            candidate_type: IceCandidateType::Host,
            tcp_type,
        }
    }
}
