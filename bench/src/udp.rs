//! UDP sockets with the kernel's batching: many datagrams per call in both directions.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Socket buffers of this size are asked for: more than a second of the heaviest stream here.
const SOCKET_BUFFER: usize = 4 << 20;
/// The largest run of segments that one send call may carry, in bytes.
const LARGEST_RUN: usize = 65_000;

/// A non-blocking UDP socket on the loopback interface.
#[derive(Debug)]
pub struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl BatchSocket {
    /// Binds a free port.
    pub fn bind() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // The forced size goes beyond the system's limit but needs privileges.
        if setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER)?;
        }
        if setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER)?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    /// The bound port.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// The socket itself, for what needs no batching.
    pub fn plain(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends datagrams of `size` bytes, which lie one behind the other, in as few calls as possible.
    pub fn send_run(&self, run: &[u8], size: usize, destination: SocketAddr) -> io::Result<()> {
        let segments = self.state.max_gso_segments().min(LARGEST_RUN / size).max(1);
        for contents in run.chunks(segments * size) {
            self.state.try_send(
                UdpSockRef::from(&self.socket),
                &Transmit {
                    destination,
                    ecn: None,
                    contents,
                    segment_size: (contents.len() > size).then_some(size),
                    src_ip: None,
                },
            )?;
        }
        Ok(())
    }

    /// Receives what is there, up to one batch. `Ok(0)` means that nothing is.
    pub fn receive(&self, into: &mut ReceiveBuffer) -> io::Result<usize> {
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = {
            let mut parts = into.storage.chunks_exact_mut(ReceiveBuffer::PART);
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()))
        };
        into.filled = 0;
        match self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut into.meta)
        {
            Ok(count) => {
                into.filled = count;
                Ok(count)
            }
            // A port that nobody listens on any more answers with a refusal; that is no reason to stop.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionRefused | ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

/// Room for one batch of received datagrams.
#[derive(Debug)]
pub struct ReceiveBuffer {
    storage: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

impl ReceiveBuffer {
    /// The largest coalesced datagram that the kernel may hand over.
    const PART: usize = 65_536;

    /// An empty buffer.
    pub fn new() -> Self {
        Self {
            storage: vec![0; Self::PART * BATCH_SIZE],
            meta: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// What the last call received: runs of datagrams that lie one behind the other, with the size of each of them.
    pub fn runs(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.storage
            .chunks_exact(Self::PART)
            .zip(&self.meta[..self.filled])
            .filter(|(_, meta)| meta.len > 0)
            .map(|(part, meta)| (&part[..meta.len], meta.stride.clamp(1, meta.len)))
    }

    /// The single datagrams of the last call.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.runs().flat_map(|(run, size)| run.chunks(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_arrives_as_its_datagrams() {
        let (from, to) = (BatchSocket::bind().expect("bound"), BatchSocket::bind().expect("bound"));
        let run: Vec<u8> = (0..100 * 7).map(|index| (index / 100) as u8).collect();
        let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, to.port().expect("bound")));
        from.send_run(&run, 100, destination).expect("sent");

        let mut buffer = ReceiveBuffer::new();
        let mut received = Vec::new();
        while received.len() < 7 {
            to.receive(&mut buffer).expect("received");
            received.extend(buffer.datagrams().map(|datagram| (datagram[0], datagram.len())));
        }
        let expected: Vec<_> = (0..7).map(|index| (index, 100)).collect();
        assert_eq!(received, expected);
        assert_eq!(to.receive(&mut buffer).expect("empty"), 0);
    }
}
