//! Whose packets those of a socket are.

use std::collections::VecDeque;
use std::net::SocketAddr;

use channel_proto::transport_parameters::Protocol;
use hashbrown::HashMap;

use super::keys::{RouterKey, ServerKey, TransportKey};
use super::ports::{Ports, SocketId};

/// Connections of one listener on which no peer has proved to be one. With more, the oldest of the address with most of
/// them goes: whoever opens many pushes out its own, and cannot exhaust us.
const MAX_UNCLAIMED: usize = 64;

/// Whom packets of a socket are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// One transport.
    Transport(RouterKey, TransportKey),
    /// One of those that a WebRtcServer serves.
    Server(ServerKey),
}

/// A UDP socket, listener or connection.
#[derive(Debug, Clone, Copy)]
pub struct Socket {
    /// Whom its packets are for.
    pub owner: Owner,
    /// Our address.
    pub local: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Of a connection, the listener that accepted it, and the peer's address.
    accepted: Option<(SocketId, SocketAddr)>,
}

impl Socket {
    /// Where a packet that came in here came in.
    pub fn path(&self, id: SocketId) -> Path {
        Path {
            socket: id,
            local: self.local,
            protocol: self.protocol,
        }
    }

    /// The peer's address, of a connection.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.accepted.map(|(_, remote)| remote)
    }
}

/// Where a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// UDP socket or connection.
    pub socket: SocketId,
    /// Our address.
    pub local: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
}

/// All sockets of the engine.
#[derive(Debug, Default)]
pub struct Sockets {
    table: HashMap<SocketId, Socket>,
    /// Connections without a proven peer, oldest first, by listener.
    unclaimed: HashMap<SocketId, VecDeque<SocketId>>,
}

impl Sockets {
    /// A UDP socket or listener was opened.
    pub fn insert(&mut self, id: SocketId, owner: Owner, local: SocketAddr, protocol: Protocol) {
        let socket = Socket {
            owner,
            local,
            protocol,
            accepted: None,
        };
        self.table.insert(id, socket);
    }

    /// The socket of this id.
    pub fn get(&self, id: SocketId) -> Option<Socket> {
        self.table.get(&id).copied()
    }

    /// A listener accepted a connection. One that nobody wants is closed.
    pub fn accept(&mut self, listener: SocketId, connection: SocketId, remote: SocketAddr, ports: &mut dyn Ports) {
        let accepting = self
            .get(listener)
            .filter(|socket| socket.protocol == Protocol::Tcp && socket.accepted.is_none());
        let Some(socket) = accepting else {
            ports.close(connection);
            return;
        };
        let socket = Socket {
            accepted: Some((listener, remote)),
            ..socket
        };
        self.table.insert(connection, socket);
        let unclaimed = self.unclaimed.entry(listener).or_default();
        unclaimed.push_back(connection);
        if unclaimed.len() > MAX_UNCLAIMED
            && let Some(index) = surplus(unclaimed, &self.table)
            && let Some(connection) = unclaimed.remove(index)
        {
            self.table.remove(&connection);
            ports.close(connection);
        }
    }

    /// Whether this is a connection whose peer has not proved to be one.
    pub fn is_unclaimed(&self, connection: SocketId) -> bool {
        self.get(connection)
            .and_then(|socket| socket.accepted)
            .and_then(|(listener, _)| self.unclaimed.get(&listener))
            .is_some_and(|unclaimed| unclaimed.contains(&connection))
    }

    /// The peer of a connection has proved to be one.
    pub fn claim(&mut self, connection: SocketId) {
        if let Some((listener, _)) = self.get(connection).and_then(|socket| socket.accepted)
            && let Some(unclaimed) = self.unclaimed.get_mut(&listener)
        {
            unclaimed.retain(|other| *other != connection);
        }
    }

    /// A connection is gone; returns what it was.
    pub fn disconnected(&mut self, connection: SocketId) -> Option<Socket> {
        self.get(connection).filter(|socket| socket.accepted.is_some())?;
        self.claim(connection);
        self.table.remove(&connection)
    }

    /// Closes a socket, listener or connection; with a listener, its connections without a proven peer.
    pub fn close(&mut self, id: SocketId, ports: &mut dyn Ports) {
        self.claim(id);
        if self.table.remove(&id).is_some() {
            ports.close(id);
        }
        for connection in self.unclaimed.remove(&id).unwrap_or_default() {
            self.table.remove(&connection);
            ports.close(connection);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

/// The oldest connection of the address that has most of them.
fn surplus(unclaimed: &VecDeque<SocketId>, table: &HashMap<SocketId, Socket>) -> Option<usize> {
    let address = |connection: &SocketId| table.get(connection).and_then(Socket::remote).map(|remote| remote.ip());
    let mut counts: HashMap<_, (usize, usize)> = HashMap::new();
    for (index, connection) in unclaimed.iter().enumerate() {
        let (count, _) = counts.entry(address(connection)).or_insert((0, index));
        *count += 1;
    }
    let most = counts
        .into_values()
        .max_by_key(|(count, oldest)| (*count, usize::MAX - oldest));
    most.map(|(_, oldest)| oldest)
}
