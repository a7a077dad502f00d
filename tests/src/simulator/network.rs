//! A virtual network: what the engine's sockets send arrives later, twice or never, as a seeded generator wants it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use worker::engine::outbox::Run;
use worker::engine::ports::{BindError, Ports, SocketId};

use super::bottleneck::Bottleneck;
pub use crate::link::Link;
use crate::link::Way;

/// Which packets of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Those that it sends.
    From,
    /// Those that it gets.
    To,
}

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP, a packet in each frame.
    Tcp,
}

/// A packet that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// How it travels.
    pub protocol: Protocol,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Socket {
    Bound(SocketAddr, Protocol),
    Connection { local: SocketAddr, remote: SocketAddr },
}

/// The network, and the engine's sockets in it.
#[derive(Debug)]
pub struct Network {
    /// For packets sent from now on.
    pub link: Link,
    /// Other links: of packets from this address, or to it.
    pub links: HashMap<(SocketAddr, Direction), Link>,
    /// Virtual time in microseconds.
    pub now: u64,
    /// Packets and bytes that the engine sent.
    pub sent: (u64, u64),
    /// If present, copies of all packets that are sent, by whomever.
    pub tap: Option<Vec<Arrival>>,
    sent_to: HashMap<SocketAddr, u64>,
    sockets: BTreeMap<SocketId, Socket>,
    bound: HashMap<(SocketAddr, Protocol), SocketId>,
    connections: HashMap<(SocketAddr, SocketAddr), SocketId>,
    next_socket: u32,
    next_port: u16,
    /// Narrow links.
    pub bottlenecks: Vec<Bottleneck>,
    /// Who is behind which of them.
    pub behind: HashMap<SocketAddr, usize>,
    way: BTreeMap<(u64, u64), Arrival>,
    ways: HashMap<(SocketAddr, SocketAddr), Way>,
    counter: u64,
    rng: ChaCha8Rng,
}

impl Network {
    /// Nothing in it.
    pub fn new(seed: u64) -> Self {
        Self {
            link: Link::default(),
            links: HashMap::new(),
            now: 0,
            sent: (0, 0),
            tap: None,
            sent_to: HashMap::new(),
            sockets: BTreeMap::new(),
            bound: HashMap::new(),
            connections: HashMap::new(),
            next_socket: 0,
            next_port: 20_000,
            bottlenecks: Vec::new(),
            behind: HashMap::new(),
            way: BTreeMap::new(),
            ways: HashMap::new(),
            counter: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Sockets that the engine holds open.
    pub fn open_sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Bytes that the engine sent to an address.
    pub fn bytes_to(&self, address: SocketAddr) -> u64 {
        self.sent_to.get(&address).copied().unwrap_or_default()
    }

    /// The engine's socket for packets to this address.
    pub fn socket(&self, to: SocketAddr, from: SocketAddr, protocol: Protocol) -> Option<SocketId> {
        match protocol {
            Protocol::Udp => self.bound.get(&(to, protocol)).copied(),
            Protocol::Tcp => self.connections.get(&(to, from)).copied(),
        }
    }

    /// The engine's listener at this address.
    pub fn listener(&self, address: SocketAddr) -> Option<SocketId> {
        self.bound.get(&(address, Protocol::Tcp)).copied()
    }

    /// A peer has connected to a listener: the new connection.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> SocketId {
        let id = self.next_id();
        self.sockets.insert(id, Socket::Connection { local, remote });
        self.connections.insert((local, remote), id);
        id
    }

    fn next_id(&mut self) -> SocketId {
        self.next_socket += 1;
        SocketId(self.next_socket)
    }

    /// Sends a packet on its way.
    pub fn send(&mut self, packet: Arrival) {
        if let Some(tap) = &mut self.tap {
            tap.push(packet.clone());
        }
        let bottleneck = self.behind.get(&packet.to).copied();
        if let Some(bottleneck) = bottleneck.and_then(|index| self.bottlenecks.get_mut(index)) {
            if let Some(takes) = bottleneck.pass(packet.bytes.len(), self.now, &mut self.rng) {
                self.counter += 1;
                self.way.insert((self.now + takes, self.counter), packet);
            }
            return;
        }
        let from = self.links.get(&(packet.from, Direction::From));
        let to = self.links.get(&(packet.to, Direction::To));
        let link = from.or(to).copied().unwrap_or(self.link);
        // Strangers are many, so that nothing is kept of them without need.
        let way = match link.remembers() {
            true => self.ways.entry((packet.from, packet.to)).or_default(),
            false => &mut Way::default(),
        };
        let size = packet.bytes.len();
        let delays: Vec<u64> = match packet.protocol {
            Protocol::Udp => way.deliver(&link, size, self.now, &mut self.rng).collect(),
            // TCP knows delay only.
            Protocol::Tcp => {
                let waits = way.queue(&link, size, self.now);
                waits.map(|waits| waits + link.max_delay).into_iter().collect()
            }
        };
        for delay in delays {
            self.counter += 1;
            self.way.insert((self.now + delay, self.counter), packet.clone());
        }
    }

    /// When the next packet arrives.
    pub fn next_arrival(&self) -> Option<u64> {
        self.way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A packet that has arrived by now.
    pub fn arrive(&mut self) -> Option<Arrival> {
        let first = self.way.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    fn open(&mut self, ip: IpAddr, port: u16, protocol: Protocol) -> Result<(SocketId, SocketAddr), BindError> {
        let mut address = SocketAddr::new(ip, port);
        while address.port() == 0 || (port == 0 && self.bound.contains_key(&(address, protocol))) {
            self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
            address.set_port(self.next_port);
        }
        if self.bound.contains_key(&(address, protocol)) {
            return Err(BindError(format!("{address} is taken")));
        }
        let id = self.next_id();
        self.sockets.insert(id, Socket::Bound(address, protocol));
        self.bound.insert((address, protocol), id);
        Ok((id, address))
    }
}

impl Ports for Network {
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port, Protocol::Udp)
    }

    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port, Protocol::Tcp)
    }

    fn close(&mut self, socket: SocketId) {
        match self.sockets.remove(&socket) {
            Some(Socket::Bound(address, protocol)) => {
                self.bound.remove(&(address, protocol));
            }
            Some(Socket::Connection { local, remote }) => {
                self.connections.remove(&(local, remote));
            }
            None => {}
        }
    }

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            let (from, protocol) = match self.sockets.get(&run.socket) {
                Some(Socket::Bound(address, protocol)) => (*address, *protocol),
                Some(Socket::Connection { local, .. }) => (*local, Protocol::Tcp),
                None => panic!("the engine sends on {:?}, which is closed", run.socket),
            };
            for bytes in arena[run.start..run.start + run.length].chunks(run.segment) {
                self.sent.0 += 1;
                self.sent.1 += bytes.len() as u64;
                *self.sent_to.entry(run.destination).or_default() += bytes.len() as u64;
                self.send(Arrival {
                    from,
                    to: run.destination,
                    protocol,
                    bytes: bytes.to_vec(),
                });
            }
        }
    }
}
