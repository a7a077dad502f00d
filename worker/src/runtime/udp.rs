//! Real sockets for the engine: batched receive and send (recvmmsg, UDP GRO and GSO).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::engine::outbox::Run;
use crate::engine::ports::{BindError, Ports, SocketId};

/// Kernel buffers of a socket in bytes, if the system allows them: a burst of key frames must fit.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;
/// Bytes for one message of a receive: as much as GRO may join.
const MESSAGE_BUFFER: usize = 65_536;

/// A socket and what the kernel can do with it.
#[derive(Debug)]
pub struct Endpoint {
    /// For readiness.
    pub socket: UdpSocket,
    state: UdpSocketState,
}

impl Endpoint {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        // A smaller buffer than asked for is no reason to fail.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        let socket = std::net::UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
        })
    }

    /// Receives what is there, as far as `buffers` hold it.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    pub fn receive(&self, buffers: &mut ReceiveBuffers) -> io::Result<usize> {
        let ReceiveBuffers { bytes, metas } = buffers;
        let mut chunks = bytes.chunks_mut(MESSAGE_BUFFER);
        let mut slices: [io::IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| io::IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.socket.try_io(Interest::READABLE, || {
            self.state.recv(UdpSockRef::from(&self.socket), &mut slices, metas)
        })
    }

    fn send(&self, run: &Run, arena: &[u8]) -> io::Result<()> {
        let Some(contents) = arena.get(run.start..run.start + run.length) else {
            return Ok(());
        };
        let limit = self.state.max_gso_segments().max(1) * run.segment;
        for contents in contents.chunks(limit) {
            let transmit = Transmit {
                destination: run.destination,
                ecn: None,
                contents,
                segment_size: (contents.len() > run.segment).then_some(run.segment),
                src_ip: None,
            };
            self.socket.try_io(Interest::WRITABLE, || {
                self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
            })?;
        }
        Ok(())
    }
}

/// Memory for one receive, shared by all sockets as only one is read at a time.
pub struct ReceiveBuffers {
    bytes: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self {
            bytes: vec![0; MESSAGE_BUFFER * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl ReceiveBuffers {
    /// The datagrams of the first `messages` messages; the kernel may have joined several in one.
    pub fn datagrams(&mut self, messages: usize) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.bytes
            .chunks_mut(MESSAGE_BUFFER)
            .zip(&self.metas)
            .take(messages)
            .flat_map(|(bytes, meta)| {
                let bytes = bytes.get_mut(..meta.len).unwrap_or_default();
                bytes
                    .chunks_mut(meta.stride.max(1))
                    .map(|datagram| (meta.addr, datagram))
            })
    }
}

/// A socket that someone must read.
#[derive(Debug)]
pub struct Opened {
    /// What the engine calls it.
    pub id: SocketId,
    /// Gone once the engine has closed it.
    pub endpoint: Weak<Endpoint>,
    /// Told when it is gone.
    pub closed: Rc<Notify>,
}

/// Sockets of the worker.
#[derive(Debug)]
pub struct UdpPorts {
    min_port: u16,
    max_port: u16,
    next_port: u16,
    next_id: u32,
    /// The only owner of each endpoint, so that closing frees the port at once; and the word for its reader.
    endpoints: HashMap<SocketId, (Rc<Endpoint>, Rc<Notify>)>,
    /// Opened since they were last asked for: someone must read them.
    opened: Vec<Opened>,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
}

impl UdpPorts {
    /// Ports from `min_port` to `max_port`, tried from a random one on.
    pub fn new(min_port: u16, max_port: u16) -> Self {
        Self {
            min_port,
            max_port,
            next_port: rand::random_range(min_port..=max_port),
            next_id: 0,
            endpoints: HashMap::new(),
            opened: Vec::new(),
            unsent: 0,
        }
    }

    /// Sockets that were opened since the last call.
    pub fn take_opened(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.opened)
    }

    fn open_in_range(&mut self, ip: IpAddr) -> Result<Endpoint, BindError> {
        let count = u32::from(self.max_port) - u32::from(self.min_port) + 1;
        for _ in 0..count {
            let port = self.next_port;
            self.next_port = if port == self.max_port { self.min_port } else { port + 1 };
            match Endpoint::open(SocketAddr::new(ip, port)) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(bind_error(ip, port, &error)),
            }
        }
        let (min, max) = (self.min_port, self.max_port);
        Err(BindError(format!(
            "no free port between {min} and {max} on {ip}: widen rtcMinPort and rtcMaxPort"
        )))
    }
}

fn bind_error(ip: IpAddr, port: u16, error: &io::Error) -> BindError {
    BindError(format!(
        "port bind failed: {error} [transport:udp, ip:'{ip}', port:{port}]"
    ))
}

impl Ports for UdpPorts {
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        let endpoint = if port == 0 {
            self.open_in_range(ip)?
        } else {
            Endpoint::open(SocketAddr::new(ip, port)).map_err(|error| bind_error(ip, port, &error))?
        };
        let address = endpoint
            .socket
            .local_addr()
            .map_err(|error| bind_error(ip, port, &error))?;
        let id = SocketId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let endpoint = Rc::new(endpoint);
        let closed = Rc::new(Notify::new());
        self.opened.push(Opened {
            id,
            endpoint: Rc::downgrade(&endpoint),
            closed: Rc::clone(&closed),
        });
        self.endpoints.insert(id, (endpoint, closed));
        Ok((id, address))
    }

    fn open_tcp(&mut self, _: IpAddr, _: u16) -> Result<(SocketId, SocketAddr), BindError> {
        Err(BindError("TCP is not implemented in this version".to_owned()))
    }

    fn close(&mut self, socket: SocketId) {
        if let Some((_, closed)) = self.endpoints.remove(&socket) {
            closed.notify_one();
        }
    }

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            let Some((endpoint, _)) = self.endpoints.get(&run.socket) else {
                continue;
            };
            if endpoint.send(run, arena).is_err() {
                self.unsent += run.length.div_ceil(run.segment.max(1)) as u64;
            }
        }
    }
}
