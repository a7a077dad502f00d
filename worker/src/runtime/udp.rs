//! UDP sockets with batched receive and send (recvmmsg, UDP GRO and GSO).

use std::io;
use std::net::SocketAddr;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::engine::outbox::Run;

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
    /// Opens a socket that no other one shares.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
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

    /// Sends a run.
    ///
    /// # Errors
    /// The kernel did not take all of it.
    pub fn send(&self, run: &Run, arena: &[u8]) -> io::Result<()> {
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
