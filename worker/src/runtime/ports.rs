//! Real sockets for the engine.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::tcp::{self, Connection};
use super::udp::Endpoint;
use crate::engine::outbox::Run;
use crate::engine::ports::{BindError, Ports, SocketId};

/// A socket that someone must read.
#[derive(Debug)]
pub struct Opened {
    /// What the engine calls it.
    pub id: SocketId,
    /// What it is.
    pub socket: Readable,
    /// Told when it is gone.
    pub closed: Rc<Notify>,
}

/// Kinds of sockets; gone once the engine has closed them.
#[derive(Debug)]
pub enum Readable {
    /// UDP.
    Udp(Weak<Endpoint>),
    /// TCP, waiting for connections.
    Listener(Weak<TcpListener>),
    /// A connection.
    Connection(Weak<Connection>),
}

#[derive(Debug)]
enum Socket {
    Udp(Rc<Endpoint>),
    Listener(Rc<TcpListener>),
    Connection(Rc<Connection>),
}

/// Sockets of the worker.
#[derive(Debug)]
pub struct SocketPorts {
    min_port: u16,
    max_port: u16,
    next_port: u16,
    next_id: u32,
    /// The only owner of each socket, so that closing frees the port at once; and the word for its reader.
    sockets: HashMap<SocketId, (Socket, Rc<Notify>)>,
    /// Opened since they were last asked for: someone must read them.
    opened: Vec<Opened>,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
}

impl SocketPorts {
    /// Ports from `min_port` to `max_port`, tried from a random one on.
    pub fn new(min_port: u16, max_port: u16) -> Self {
        Self {
            min_port,
            max_port,
            next_port: rand::random_range(min_port..=max_port),
            next_id: 0,
            sockets: HashMap::new(),
            opened: Vec::new(),
            unsent: 0,
        }
    }

    /// Sockets that were opened since the last call.
    pub fn take_opened(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.opened)
    }

    /// Takes a connection that a listener accepted.
    pub fn add_connection(&mut self, stream: TcpStream) -> SocketId {
        self.add(Socket::Connection(Rc::new(Connection::new(stream))))
    }

    fn add(&mut self, socket: Socket) -> SocketId {
        let id = SocketId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let closed = Rc::new(Notify::new());
        self.opened.push(Opened {
            id,
            socket: match &socket {
                Socket::Udp(endpoint) => Readable::Udp(Rc::downgrade(endpoint)),
                Socket::Listener(listener) => Readable::Listener(Rc::downgrade(listener)),
                Socket::Connection(connection) => Readable::Connection(Rc::downgrade(connection)),
            },
            closed: Rc::clone(&closed),
        });
        self.sockets.insert(id, (socket, closed));
        id
    }

    /// Opens a socket on this port, or on a free one of the range for port 0.
    fn open<T>(
        &mut self,
        transport: &str,
        ip: IpAddr,
        port: u16,
        open: impl Fn(SocketAddr) -> io::Result<T>,
    ) -> Result<T, BindError> {
        let failed = |port: u16, error: &io::Error| {
            BindError(format!(
                "port bind failed: {error} [transport:{transport}, ip:'{ip}', port:{port}]"
            ))
        };
        if port != 0 {
            return open(SocketAddr::new(ip, port)).map_err(|error| failed(port, &error));
        }
        let count = u32::from(self.max_port) - u32::from(self.min_port) + 1;
        for _ in 0..count {
            let port = self.next_port;
            self.next_port = if port == self.max_port { self.min_port } else { port + 1 };
            match open(SocketAddr::new(ip, port)) {
                Ok(socket) => return Ok(socket),
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(failed(port, &error)),
            }
        }
        let (min, max) = (self.min_port, self.max_port);
        Err(BindError(format!(
            "no free port between {min} and {max} on {ip}: widen rtcMinPort and rtcMaxPort"
        )))
    }
}

fn no_address(error: &io::Error) -> BindError {
    BindError(format!("a bound socket tells no address: {error}"))
}

impl Ports for SocketPorts {
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        let endpoint = self.open("udp", ip, port, Endpoint::open)?;
        let address = endpoint.socket.local_addr().map_err(|error| no_address(&error))?;
        Ok((self.add(Socket::Udp(Rc::new(endpoint))), address))
    }

    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        let listener = self.open("tcp", ip, port, tcp::listen)?;
        let address = listener.local_addr().map_err(|error| no_address(&error))?;
        Ok((self.add(Socket::Listener(Rc::new(listener))), address))
    }

    fn close(&mut self, socket: SocketId) {
        if let Some((_, closed)) = self.sockets.remove(&socket) {
            closed.notify_one();
        }
    }

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            let lost = match self.sockets.get(&run.socket) {
                Some((Socket::Udp(endpoint), _)) => match endpoint.send(run, arena) {
                    Ok(()) => 0,
                    Err(_) => run.length.div_ceil(run.segment.max(1)),
                },
                Some((Socket::Connection(connection), _)) => connection.send(run, arena),
                Some((Socket::Listener(_), _)) | None => 0,
            };
            self.unsent += lost as u64;
        }
    }
}
