//! What the engine asks of the world outside: sockets, and a place where datagrams go.
//!
//! The runtime answers with real sockets, a test with a virtual network.

use std::net::{IpAddr, SocketAddr};

use super::outbox::Run;

/// A socket that was opened for the engine.
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

    /// Closes a socket; its port is free at once. An unknown socket is ignored.
    fn close(&mut self, socket: SocketId);

    /// Sends datagrams. What the network does not take is lost, as datagrams are.
    fn transmit(&mut self, runs: &[Run], arena: &[u8]);
}
