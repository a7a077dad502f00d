//! The local sockets of a test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A UDP socket that hands on what it receives.
#[derive(Debug)]
pub struct UdpPeer {
    socket: Arc<UdpSocket>,
    stopping: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// Ports that recordings ask for by number stand unmasked in them: a peer must not happen to get one.
const FIXED_PORTS: std::ops::Range<u16> = 46_000..47_000;

fn bind(ip: &str) -> std::io::Result<UdpSocket> {
    loop {
        let socket = UdpSocket::bind((ip, 0))?;
        if !FIXED_PORTS.contains(&socket.local_addr()?.port()) {
            return Ok(socket);
        }
    }
}

impl UdpPeer {
    /// Binds a socket to any port of this address; `sink` gets every datagram and the port it came from.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn open<F>(ip: &str, mut sink: F) -> anyhow::Result<Self>
    where
        F: FnMut(&[u8], u16) + Send + 'static,
    {
        let socket = Arc::new(bind(ip)?);
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (receiving, stop) = (Arc::clone(&socket), Arc::clone(&stopping));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !stop.load(Ordering::Relaxed) {
                // Errors are those of the timeout, and of earlier datagrams that nobody wanted.
                if let Ok((length, from)) = receiving.recv_from(&mut buffer) {
                    sink(&buffer[..length], from.port());
                }
            }
        });
        Ok(Self {
            socket,
            stopping,
            reader: Some(reader),
        })
    }

    /// The port it is bound to.
    ///
    /// # Errors
    /// The system does not say.
    pub fn port(&self) -> anyhow::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// The socket itself, to send from elsewhere.
    pub fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn send(&self, packet: &[u8], to: SocketAddr) -> anyhow::Result<()> {
        self.socket.send_to(packet, to)?;
        Ok(())
    }
}

impl Drop for UdpPeer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A TCP connection of packets with a length of two bytes before each.
#[derive(Debug)]
pub struct TcpPeer {
    stream: TcpStream,
}

impl TcpPeer {
    /// Connects; `sink` gets every packet, and None at the end.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn connect<F>(to: SocketAddr, mut sink: F) -> anyhow::Result<Self>
    where
        F: FnMut(Option<&[u8]>) + Send + 'static,
    {
        let stream = TcpStream::connect(to)?;
        let mut reading = stream.try_clone()?;
        thread::spawn(move || {
            let mut length = [0; 2];
            while reading.read_exact(&mut length).is_ok() {
                let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                if reading.read_exact(&mut packet).is_err() {
                    break;
                }
                sink(Some(&packet));
            }
            sink(None);
        });
        Ok(Self { stream })
    }

    /// Our end of it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn local_address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// The connection is broken, or the packet too large.
    pub fn send(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        let mut framed = u16::try_from(packet.len())?.to_be_bytes().to_vec();
        framed.extend_from_slice(packet);
        self.stream.write_all(&framed)?;
        Ok(())
    }

    /// Closes the connection.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for TcpPeer {
    fn drop(&mut self) {
        self.close();
    }
}
