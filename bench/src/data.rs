//! Data messages: what it costs a worker to pass them on, from one SCTP peer to one or to many.
//!
//! All peers are in this process, on plain transports. One sends, as fast as all others receive: no more is under way
//! than the worker may hold for each of them, so that nothing is refused. The rate is that of the slower of the two
//! processes, and this one runs the same protocol code at the other end; what counts is the worker's CPU.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use serde_json::json;
use worker::sctp::{Association, Delivery, Output, SendError, Settings, State, ppid};

use crate::cpu;
use crate::udp::{BatchSocket, ReceiveBuffer};
use crate::worker::Worker;

/// How many receive, and how long messages are in bytes.
const LOADS: [(usize, usize); 4] = [(1, 1 << 10), (1, 64 << 10), (100, 1 << 10), (100, 64 << 10)];
/// Bytes that are under way to the slowest receiver at most.
const UNDER_WAY: usize = 1 << 20;
/// Bytes that the worker may hold for each receiver: all of that, and what has arrived but was not acknowledged.
const SEND_BUFFER: usize = 2 * UNDER_WAY;
/// How long the peers may take to connect, and a message to reach them all.
const PATIENCE: Duration = Duration::from_secs(10);
/// From the first message to the measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// The stream of all messages.
const STREAM: u16 = 1;
const ORDERED: Delivery = Delivery {
    ordered: true,
    lifetime: None,
    max_retransmissions: None,
};

/// What is measured.
#[derive(Debug, Args)]
pub struct DataArguments {
    /// A worker binary; may be repeated
    #[arg(long, value_name = "PATH", required = true)]
    worker: Vec<PathBuf>,
    /// Measured seconds per run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
}

/// One peer of the worker.
struct Peer {
    socket: BatchSocket,
    to: SocketAddr,
    association: Association,
    received: u64,
}

/// The peers: the first one sends.
struct Peers {
    peers: Vec<Peer>,
    epoll: Epoll,
    buffer: ReceiveBuffer,
    begin: Instant,
}

/// What one run gave.
struct Sample {
    /// Messages that arrived at all receivers together.
    messages: u64,
    elapsed: Duration,
    cpu: Duration,
}

/// Measures every worker, and prints what came out.
///
/// # Errors
/// A worker cannot be started, or messages do not arrive.
pub fn measure(arguments: &DataArguments) -> Result<()> {
    println!("{}", cpu::machine());
    println!("| worker | receivers | message | messages per second | MB/s | CPU per message | MB per second of CPU |");
    println!("|---|---|---|---|---|---|---|");
    let total = arguments.worker.len() * LOADS.len();
    let mut done = 0;
    for (receivers, length) in LOADS {
        for binary in &arguments.worker {
            done += 1;
            let kib = length / 1024;
            eprintln!("[{done}/{total}] {kib} KiB to {receivers}, {}", binary.display());
            let sample = run(binary, receivers, length, Duration::from_secs(arguments.seconds.into()))?;
            let per_second = sample.messages as f64 / sample.elapsed.as_secs_f64();
            println!(
                "| {} | {receivers} | {kib} KiB | {per_second:.0} | {:.1} | {:.1} us | {:.1} |",
                binary.display(),
                per_second * length as f64 / 1e6,
                sample.cpu.as_secs_f64() * 1e6 / sample.messages as f64,
                (sample.messages as usize * length) as f64 / 1e6 / sample.cpu.as_secs_f64(),
            );
        }
    }
    Ok(())
}

/// One load on a fresh process.
fn run(binary: &Path, receivers: usize, length: usize, duration: Duration) -> Result<Sample> {
    let mut worker = Worker::spawn(binary)?;
    let mut peers = Peers::new(&mut worker, receivers)?;
    peers.connect()?;
    let message = Bytes::from(vec![0x5a; length]);
    let end_of_warm_up = Instant::now() + WARM_UP;
    while Instant::now() < end_of_warm_up {
        peers.exchange(&message)?;
    }
    let (cpu, begin, before) = (cpu::cpu_time(worker.pid())?, Instant::now(), peers.received());
    while begin.elapsed() < duration {
        peers.exchange(&message)?;
    }
    let sample = Sample {
        messages: peers.received() - before,
        elapsed: begin.elapsed(),
        cpu: cpu::cpu_time(worker.pid())?.saturating_sub(cpu),
    };
    if peers.peers.iter().skip(1).any(|peer| peer.received == 0) {
        bail!("a receiver got nothing");
    }
    Ok(sample)
}

impl Peers {
    /// A sender and receivers, each with a transport; the receivers consume what the sender produces.
    fn new(worker: &mut Worker, receivers: usize) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut peers = Vec::new();
        for index in 0..=receivers {
            let peer = Peer::new(worker, index)?;
            epoll.add(peer.socket.plain(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            peers.push(peer);
        }
        Ok(Self {
            peers,
            epoll,
            buffer: ReceiveBuffer::new(),
            begin: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    fn connect(&mut self) -> Result<()> {
        let now = self.now();
        self.peers.iter_mut().for_each(|peer| peer.association.connect(now));
        while self
            .peers
            .iter()
            .any(|peer| peer.association.state() != State::Connected)
        {
            if self.begin.elapsed() > PATIENCE {
                bail!("peers do not connect");
            }
            self.pass_packets()?;
        }
        Ok(())
    }

    /// Messages that all receivers have got.
    fn received(&self) -> u64 {
        self.peers.iter().skip(1).map(|peer| peer.received).sum()
    }

    /// Sends what may be sent, and lets packets pass once.
    fn exchange(&mut self, message: &Bytes) -> Result<()> {
        let now = self.now();
        let slowest = self.peers.iter().skip(1).map(|peer| peer.received).min();
        let Some((sender, slowest)) = self.peers.first_mut().zip(slowest) else {
            return Ok(());
        };
        // The first peer counts what it has sent.
        while (sender.received - slowest + 1) as usize * message.len() <= UNDER_WAY {
            match sender
                .association
                .send(now, STREAM, ppid::BINARY, message.clone(), ORDERED)
            {
                Ok(()) => sender.received += 1,
                Err(SendError::BufferFull) => break,
                Err(error) => return Err(error).context("the sender"),
            }
        }
        self.pass_packets()
    }

    fn pass_packets(&mut self) -> Result<()> {
        for peer in &mut self.peers {
            peer.send_packets()?;
        }
        let mut events = [EpollEvent::empty(); 128];
        let count = self.epoll.wait(&mut events, 2_u8)?;
        let now = self.now();
        for event in &events[..count] {
            let peer = &mut self.peers[event.data() as usize];
            peer.socket.receive(&mut self.buffer)?;
            for packet in self.buffer.datagrams() {
                peer.association.receive(now, packet);
            }
        }
        for peer in &mut self.peers {
            if peer.association.next_timeout().is_some_and(|at| at <= now) {
                peer.association.handle_timeout(now);
            }
        }
        Ok(())
    }
}

impl Peer {
    fn new(worker: &mut Worker, index: usize) -> Result<Self> {
        let socket = BatchSocket::bind()?;
        let mut internal = json!({"routerId": "router", "transportId": format!("data-{index}")});
        let dump = worker.request(
            "router.createPlainTransport",
            internal.clone(),
            Some(json!({
                "listenIp": {"ip": "127.0.0.1"}, "rtcpMux": true, "comedia": false, "enableSrtp": false,
                "enableSctp": true, "isDataChannel": false, "numSctpStreams": {"OS": 16, "MIS": 16},
                "maxSctpMessageSize": 262_144, "sctpSendBufferSize": SEND_BUFFER,
            })),
        )?;
        let port = dump["tuple"]["localPort"]
            .as_u64()
            .context("the transport has no port")?;
        worker.request(
            "transport.connect",
            internal.clone(),
            Some(json!({"ip": "127.0.0.1", "port": socket.port()?})),
        )?;
        internal["dataProducerId"] = "data".into();
        internal["dataConsumerId"] = format!("consumer-{index}").into();
        let method = if index == 0 {
            "transport.produceData"
        } else {
            "transport.consumeData"
        };
        let stream = json!({"streamId": STREAM, "ordered": true});
        let data = json!({"type": "sctp", "sctpStreamParameters": stream, "label": "", "protocol": ""});
        worker.request(method, internal, Some(data))?;
        let settings = Settings {
            max_message_size: 262_144,
            send_buffer_size: SEND_BUFFER,
            over_dtls: false,
            secret: [7; 32],
            seed: index as u64,
        };
        Ok(Self {
            socket,
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, port.try_into()?)),
            association: Association::new(settings, 0),
            received: 0,
        })
    }

    /// Sends the packets that are due, those of one size together, and counts messages.
    fn send_packets(&mut self) -> Result<()> {
        let (mut run, mut size) = (Vec::new(), 0);
        while let Some(output) = self.association.poll() {
            match output {
                Output::Packet(packet) => {
                    if packet.len() != size && !run.is_empty() {
                        self.send_run(&run, size)?;
                        run.clear();
                    }
                    size = packet.len();
                    run.extend_from_slice(&packet);
                }
                Output::Message { .. } => self.received += 1,
                Output::State(State::Failed | State::Closed) => bail!("an association ended"),
                Output::State(_) | Output::StreamsReset(_) => {}
            }
        }
        if !run.is_empty() {
            self.send_run(&run, size)?;
        }
        Ok(())
    }

    fn send_run(&self, run: &[u8], size: usize) -> Result<()> {
        match self.socket.send_run(run, size, self.to) {
            // As any network, the socket may lose packets.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            sent => Ok(sent?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_none_is_an_error() {
        assert!(run(Path::new("/bin/false"), 1, 1024, Duration::from_secs(1)).is_err());
    }
}
