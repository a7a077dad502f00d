//! TCP for ICE: packets in frames with a length of two bytes before each (RFC 4571).

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::outbox::Run;

/// Bytes that may wait for a peer that reads slowly. More is lost, as on a slow UDP path.
const MAX_QUEUED: usize = 256 * 1024;
/// Bytes read in one go.
const READ_SIZE: usize = 16 * 1024;
/// Capacity that an idle connection keeps.
const IDLE_CAPACITY: usize = 4 * 1024;
const LENGTH: usize = 2;
const BACKLOG: i32 = 512;

/// Opens a listener.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a listener that was closed here before do not keep its port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Bytes of a stream, cut into packets.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: BytesMut,
}

impl Frames {
    /// The complete packets, each once. What is left is the beginning of the next.
    pub fn packets(&mut self) -> Packets<'_> {
        Packets { frames: self, taken: 0 }
    }
}

/// Takes packets out of frames.
#[derive(Debug)]
pub struct Packets<'a> {
    frames: &'a mut Frames,
    /// Bytes of the packet given out last, to be left behind.
    taken: usize,
}

impl Packets<'_> {
    /// The next packet; empty ones are skipped.
    pub fn next(&mut self) -> Option<&mut [u8]> {
        let bytes = &mut self.frames.bytes;
        bytes.advance(std::mem::take(&mut self.taken));
        loop {
            let length = usize::from(u16::from_be_bytes(*bytes.first_chunk::<LENGTH>()?));
            if length == 0 {
                bytes.advance(LENGTH);
                continue;
            }
            if bytes.len() < LENGTH + length {
                return None;
            }
            self.taken = LENGTH + length;
            return bytes.get_mut(LENGTH..LENGTH + length);
        }
    }
}

/// What came on a connection.
#[derive(Debug)]
pub struct Received {
    /// The peer.
    pub source: SocketAddr,
    /// Packets. They are given back when the connection is asked again.
    pub frames: Frames,
}

/// A connection with a peer.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What the kernel has not taken yet.
    queued: RefCell<BytesMut>,
    /// The beginning of a packet whose end has not come.
    partial: RefCell<BytesMut>,
}

impl Connection {
    /// Takes an accepted connection.
    pub fn new(stream: TcpStream) -> Self {
        // Waiting for more to send only delays media.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            queued: RefCell::default(),
            partial: RefCell::default(),
        }
    }

    /// Ready when there is something to read, or room for what waits.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.queued.borrow().is_empty() && self.stream.poll_write_ready(context)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.stream.poll_read_ready(context))?;
        Poll::Ready(Ok(()))
    }

    /// Writes what waits, as far as there is room, and reads what has come.
    ///
    /// # Errors
    /// The peer has closed the connection, or it is broken.
    pub fn transfer(&self) -> io::Result<Received> {
        self.flush()?;
        let mut bytes = self.partial.take();
        bytes.reserve(READ_SIZE);
        match self.stream.try_read_buf(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(Received {
            source: self.stream.peer_addr()?,
            frames: Frames { bytes },
        })
    }

    /// Takes back what was left of the frames.
    pub fn keep(&self, frames: Frames) {
        let mut bytes = frames.bytes;
        if bytes.len() < IDLE_CAPACITY && bytes.capacity() > IDLE_CAPACITY {
            bytes = BytesMut::from(&*bytes);
        }
        self.partial.replace(bytes);
    }

    /// Sends the packets of a run, each in a frame; returns how many are lost.
    pub fn send(&self, run: &Run, arena: &[u8]) -> usize {
        let mut lost = 0;
        let packets = arena.get(run.start..run.start + run.length).unwrap_or_default();
        for packet in packets.chunks(run.segment.max(1)) {
            let mut queued = self.queued.borrow_mut();
            match u16::try_from(packet.len()) {
                Ok(length) if queued.len() + packet.len() <= MAX_QUEUED => {
                    queued.put_u16(length);
                    queued.put_slice(packet);
                }
                _ => lost += 1,
            }
        }
        // A broken connection is noticed by its reader.
        let _ = self.flush();
        lost
    }

    fn flush(&self) -> io::Result<()> {
        let mut queued = self.queued.borrow_mut();
        while !queued.is_empty() {
            match self.stream.try_write(&queued) {
                Ok(written) => queued.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if queued.capacity() > IDLE_CAPACITY {
            *queued = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::engine::outbox::Outbox;
    use crate::engine::ports::{BindError, Ports, SocketId};

    fn all(frames: &mut Frames) -> Vec<Vec<u8>> {
        let mut packets = frames.packets();
        std::iter::from_fn(|| packets.next().map(|packet| packet.to_vec())).collect()
    }

    #[test]
    fn a_stream_is_cut_the_same_wherever_it_is_split() {
        let stream = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9, 0, 2, 4, 5];
        for split in 0..=stream.len() {
            let mut frames = Frames::default();
            frames.bytes.extend_from_slice(&stream[..split]);
            let mut found = all(&mut frames);
            frames.bytes.extend_from_slice(&stream[split..]);
            found.extend(all(&mut frames));
            assert_eq!(found, [vec![1, 2, 3], vec![9], vec![4, 5]], "split at {split}");
            assert!(frames.bytes.is_empty());
        }
    }

    #[test]
    fn an_incomplete_frame_waits() {
        let mut frames = Frames::default();
        frames.bytes.extend_from_slice(&[0xff, 0xff]);
        frames.bytes.extend_from_slice(&[7; 65_534]);
        assert!(all(&mut frames).is_empty());
        frames.bytes.extend_from_slice(&[8, 0]);
        let found = all(&mut frames);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 65_535);
        assert_eq!(frames.bytes.as_ref(), [0]);
    }

    /// Nothing but one connection.
    struct Only<'a> {
        connection: &'a Connection,
        lost: usize,
    }

    impl Ports for Only<'_> {
        fn open_udp(&mut self, _: IpAddr, _: u16) -> Result<(SocketId, SocketAddr), BindError> {
            Err(BindError("no sockets here".to_owned()))
        }

        fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
            self.open_udp(ip, port)
        }

        fn close(&mut self, _: SocketId) {}

        fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
            self.lost += runs.iter().map(|run| self.connection.send(run, arena)).sum::<usize>();
        }
    }

    /// A connection and the peer's end of it.
    async fn pair() -> (Connection, TcpStream) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a listener");
        let peer = TcpStream::connect(listener.local_addr().expect("an address"))
            .await
            .expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        (Connection::new(stream), peer)
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_costs_bounded_memory_and_whole_frames() {
        let (connection, peer) = pair().await;
        let mut outbox = Outbox::new();
        let (mut sent, mut lost) = (0, 0);
        while lost == 0 {
            for _ in 0..10 {
                let (buffer, start) = outbox.begin();
                buffer.resize(start + 1000, 5);
                outbox.commit(start, SocketId(0), SocketAddr::from(([127, 0, 0, 1], 1)));
            }
            let mut ports = Only {
                connection: &connection,
                lost: 0,
            };
            outbox.flush(&mut ports);
            lost = ports.lost;
            sent += 10 - lost;
            assert!(connection.queued.borrow().len() <= MAX_QUEUED + 1002);
        }
        // The peer gets every frame that was not counted as lost, whole.
        let mut frames = Frames::default();
        let mut got = 0;
        while got < sent {
            tokio::select! {
                readable = peer.readable() => readable.expect("a connection"),
                writable = connection.stream.writable(), if !connection.queued.borrow().is_empty() => {
                    writable.expect("a connection");
                }
            }
            frames.bytes.reserve(READ_SIZE);
            match peer.try_read_buf(&mut frames.bytes) {
                Ok(read) => assert!(read > 0, "closed"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            for packet in all(&mut frames) {
                assert_eq!(packet, vec![5; 1000]);
                got += 1;
            }
            connection.flush().expect("a connection");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_peer_is_noticed() {
        let (connection, peer) = pair().await;
        peer.try_write(&[0, 2, 1]).expect("room");
        std::future::poll_fn(|context| connection.poll_ready(context))
            .await
            .expect("bytes");
        let Received { mut frames, .. } = connection.transfer().expect("bytes");
        assert!(all(&mut frames).is_empty());
        connection.keep(frames);
        peer.try_write(&[2]).expect("room");
        std::future::poll_fn(|context| connection.poll_ready(context))
            .await
            .expect("bytes");
        let Received { mut frames, .. } = connection.transfer().expect("bytes");
        assert_eq!(all(&mut frames), [vec![1, 2]]);
        connection.keep(frames);
        drop(peer);
        std::future::poll_fn(|context| connection.poll_ready(context))
            .await
            .expect("the end");
        assert!(connection.transfer().is_err());
    }
}
