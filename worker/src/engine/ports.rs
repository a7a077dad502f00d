//! What the engine asks of the world outside: sockets, and a place where datagrams go.
//!
//! The runtime answers with real sockets, a test with a virtual network.

use std::net::{IpAddr, SocketAddr};

use super::outbox::Run;

/// A UDP socket or TCP listener that was opened for the engine, or a TCP connection that a listener accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// Why a socket could not be opened: becomes the reason of an `Error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BindError(pub String);

/// Sockets and the way out.
pub trait Ports {
    /// Opens a UDP socket that no other socket shares.
    ///
    /// `port` 0 takes a free one of the worker's range.
    ///
    /// # Errors
    /// The address is not ours, the port is taken, or none of the range is free.
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError>;

    /// Opens a TCP listener. `port` 0 takes a free one of the worker's range.
    ///
    /// Connections that it accepts are told with [`Engine::handle_connection`](super::Engine::handle_connection). On a
    /// connection each packet has a frame of its own (RFC 4571); framing is not the engine's: it gets packets with
    /// [`Engine::handle_datagrams`](super::Engine::handle_datagrams), as of a UDP socket, and sends them with
    /// [`transmit`](Self::transmit).
    ///
    /// # Errors
    /// The address is not ours, the port is taken, or none of the range is free.
    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError>;

    /// Closes a UDP socket, a listener or a connection, without telling so; its port is free at once. Connections of a
    /// closed listener live on. An unknown socket is ignored.
    fn close(&mut self, socket: SocketId);

    /// Sends datagrams, on a connection as frames, one for each datagram of a run. What the network does not take is
    /// lost, as datagrams are; on a connection only whole frames are lost.
    fn transmit(&mut self, runs: &[Run], arena: &[u8]);
}
