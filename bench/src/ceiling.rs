//! The yardsticks: two loops that copy every datagram to all destinations and do nothing else.
//!
//! The *ceiling* is what batching can give at best: it receives many datagrams with one call and sends each burst with
//! one call per destination. The *sendto* baseline receives in the same way, but sends with one plain call per packet
//! and destination. Either runs as its own process, so that its use of the CPU is told like that of a worker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::cpu;
use crate::udp::{BatchSocket, ReceiveBuffer};

/// How a relay sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RelayKind {
    /// One call per burst and destination.
    Ceiling,
    /// One call per packet and destination.
    Sendto,
}

impl RelayKind {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Sendto => "sendto",
        }
    }
}

/// Arguments of the relay process.
#[derive(Debug, Args)]
pub struct RelayArguments {
    /// How to send
    #[arg(long)]
    pub kind: RelayKind,
    /// Loopback ports to send to
    #[arg(long, value_delimiter = ',', required = true)]
    pub destinations: Vec<u16>,
}

/// The relay process: tells its port on stdout, then copies datagrams until its stdin is closed.
pub fn relay(arguments: &RelayArguments) -> Result<()> {
    let socket = BatchSocket::bind()?;
    println!("{}", socket.port()?);
    std::io::stdout().flush()?;

    let destinations: Vec<SocketAddr> = arguments
        .destinations
        .iter()
        .map(|&port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .collect();
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let input = std::io::stdin();
    epoll.add(&input, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    epoll.add(socket.plain(), EpollEvent::new(EpollFlags::EPOLLIN, 1))?;

    let mut buffer = ReceiveBuffer::new();
    let mut joined = Vec::new();
    let mut events = [EpollEvent::empty(); 2];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        if events[..count].iter().any(|event| event.data() == 0) {
            return Ok(());
        }
        if socket.receive(&mut buffer)? == 0 {
            continue;
        }
        match arguments.kind {
            RelayKind::Ceiling => send_bursts(&socket, &buffer, &mut joined, &destinations)?,
            RelayKind::Sendto => {
                for datagram in buffer.datagrams() {
                    for destination in &destinations {
                        socket.plain().send_to(datagram, destination)?;
                    }
                }
            }
        }
    }
}

/// Sends what was received as one run per destination. `joined` is scratch space.
fn send_bursts(
    socket: &BatchSocket,
    buffer: &ReceiveBuffer,
    joined: &mut Vec<u8>,
    destinations: &[SocketAddr],
) -> Result<()> {
    let mut runs = buffer.runs().peekable();
    while let Some((first, size)) = runs.next() {
        let mut burst = first;
        // The kernel may have cut a burst: what is equally long belongs together.
        if first.len() % size == 0 && runs.peek().is_some_and(|&(_, next)| next == size) {
            joined.clear();
            joined.extend_from_slice(first);
            while let Some((run, _)) = runs.next_if(|&(_, next)| next == size && joined.len().is_multiple_of(size)) {
                joined.extend_from_slice(run);
            }
            burst = joined;
        }
        for &destination in destinations {
            socket.send_run(burst, size, destination)?;
        }
    }
    Ok(())
}

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    /// The port that it receives on.
    pub port: u16,
}

impl Relay {
    /// Starts a relay as a child process.
    pub fn spawn(kind: RelayKind, destinations: &[u16]) -> Result<Self> {
        let ports: Vec<_> = destinations.iter().map(u16::to_string).collect();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["relay", "--kind", kind.name(), "--destinations", &ports.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a relay")?;
        cpu::give_last(child.id())?;
        let mut line = String::new();
        let output = child.stdout.take().context("the relay has no output")?;
        BufReader::new(output.take(16)).read_line(&mut line)?;
        // From here on the destructor ends the child.
        let mut relay = Self { child, port: 0 };
        relay.port = line.trim().parse().context("the relay did not tell its port")?;
        Ok(relay)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It is only a copying loop: there is nothing that it could want to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
