//! The load: one producer that sends, and the receivers of all consumers, which count what arrives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use worker::bwe::incoming::{Arrival, Feedback, Incoming};
use worker::rtp::extensions;
use worker::rtp::packet::RtpHeader;

use crate::rtp::{self, FRAME_PACKETS, FRAME_RATE, PACKET_SIZE};
use crate::udp::{BatchSocket, ReceiveBuffer};

/// How long the first packets may take to reach every consumer.
const START: Duration = Duration::from_secs(5);
/// How long after the last packet nothing is expected any more.
const SETTLED: Duration = Duration::from_millis(150);
/// Times that the numbering of the consumers is tried to be learnt.
const ALIGNMENTS: usize = 5;
/// Sending times are kept for as many packets as there are sequence numbers.
const REMEMBERED: usize = 1 << 16;

/// How the packets of a frame are spread over time. The rate is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// All packets of a frame at once.
    Burst,
    /// Evenly.
    Spaced,
}

impl Pace {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Spaced => "spaced",
        }
    }
}

/// What one measurement saw.
#[derive(Debug, Default)]
pub struct Count {
    /// Packets that the producer sent.
    pub sent: u64,
    /// Packets that arrived at all consumers together, each counted once.
    pub received: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// The largest number of packets that one consumer missed.
    pub worst_missing: u64,
    /// Time between sending and receiving of each packet, in nanoseconds.
    pub latencies: Vec<u32>,
}

/// What one consumer's receiver has seen.
#[derive(Debug, Default)]
struct Sink {
    /// Sequence number and marker of the newest packet.
    newest: Option<(u16, bool)>,
    /// Sequence number that packet 0 of the stream has here.
    base: u16,
    /// Which packets of the measurement have arrived.
    seen: Vec<bool>,
    received: u64,
    duplicates: u64,
    /// Who reports arrivals, if anybody does.
    reporter: Option<Reporter>,
}

/// Reports arrivals as browsers do.
#[derive(Debug)]
struct Reporter {
    /// The consumer's transport.
    to: SocketAddr,
    incoming: Incoming,
    /// When the next report is due, in microseconds.
    due: Option<u64>,
}

impl Reporter {
    /// Takes note of a packet.
    fn add(&mut self, packet: &[u8], now: u64) {
        // Sender reports and the like.
        if matches!(packet.get(1), Some(192..=223)) {
            return;
        }
        let Ok(header) = RtpHeader::parse(packet) else { return };
        let wide = header.extension(packet, extensions::TRANSPORT_WIDE_CC);
        let arrival = Arrival {
            ssrc: header.ssrc,
            wide_sequence_number: wide.and_then(extensions::transport_wide_cc),
            abs_send_time: None,
            size: packet.len(),
        };
        self.due = self.incoming.add(arrival, now, &mut Vec::new()).or(self.due);
    }

    /// Sends the report, if it is due.
    fn report(&mut self, socket: &BatchSocket, now: u64) -> Result<()> {
        if self.due.is_none_or(|due| now < due) {
            return Ok(());
        }
        self.due = None;
        for report in self.incoming.report() {
            socket.plain().send_to(&report, self.to)?;
        }
        Ok(())
    }
}

/// What the receiving thread writes down.
#[derive(Debug, Default)]
struct Tally {
    sinks: Vec<Sink>,
    /// Number of the first packet of the measurement; none while nothing is measured.
    first: Option<u64>,
    latencies: Vec<u32>,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    tally: Mutex<Tally>,
    /// When each packet was sent, by the last 16 bits of its number, in nanoseconds since `epoch`. Under SRTP the stamp
    /// inside of a packet cannot be read; there the sequence number leads here.
    sent_at: Vec<AtomicU64>,
    epoch: Instant,
    stop: AtomicBool,
}

impl Shared {
    /// The tally. What another thread left half done when it panicked ends this program anyway.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The common clock.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// The producer and the receivers.
#[derive(Debug)]
pub struct Generator {
    socket: BatchSocket,
    shared: Arc<Shared>,
    receiver: Option<JoinHandle<Result<()>>>,
    /// Loopback ports of the receivers, one per consumer.
    pub ports: Vec<u16>,
    /// Number of the next packet.
    next: u64,
}

impl Generator {
    /// Opens the sockets and starts to receive. With `stamped`, times are read from the packets themselves.
    pub fn start(consumers: usize, stamped: bool) -> Result<Self> {
        let sockets: Vec<BatchSocket> = (0..consumers)
            .map(|_| BatchSocket::bind())
            .collect::<std::io::Result<_>>()
            .context("cannot open the receivers")?;
        let ports = sockets.iter().map(BatchSocket::port).collect::<std::io::Result<_>>()?;
        let shared = Arc::new(Shared {
            tally: Mutex::new(Tally {
                sinks: (0..consumers).map(|_| Sink::default()).collect(),
                ..Tally::default()
            }),
            sent_at: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            epoch: Instant::now(),
            stop: AtomicBool::new(false),
        });
        let for_receiver = Arc::clone(&shared);
        Ok(Self {
            socket: BatchSocket::bind()?,
            shared,
            receiver: Some(thread::spawn(move || receive(&sockets, &for_receiver, stamped))),
            ports,
            next: 0,
        })
    }

    /// Has the receiver of a consumer report arrivals to a loopback port.
    pub fn report_to(&self, index: usize, port: u16) {
        self.shared.tally().sinks[index].reporter = Some(Reporter {
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            incoming: Incoming::new(Feedback::TransportCc, 0),
            due: None,
        });
    }

    /// Brings the stream to a steady state: every consumer receives, how it numbers the packets is known, and so many
    /// frames were sent at full pace.
    pub fn warm_up(&mut self, port: u16, pace: Pace, frames: u64) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            self.send_frames(port, Pace::Burst, 1)?;
            thread::sleep(Duration::from_millis(40));
            let silent = self
                .shared
                .tally()
                .sinks
                .iter()
                .filter(|sink| sink.newest.is_none())
                .count();
            if silent == 0 {
                break;
            }
            if Instant::now() > end {
                bail!("{silent} of {} consumers receive nothing", self.ports.len());
            }
        }
        self.send_frames(port, pace, frames)?;
        for _ in 0..ALIGNMENTS {
            self.send_frames(port, Pace::Burst, 1)?;
            thread::sleep(SETTLED);
            if self.align() {
                return Ok(());
            }
        }
        bail!("not every consumer receives the end of a frame");
    }

    /// Learns each consumer's numbering from the newest packet, which must be the last one that was sent. Its marker
    /// tells the last packet of a frame.
    fn align(&self) -> bool {
        let last = (self.next - 1) as u16;
        self.shared.tally().sinks.iter_mut().all(|sink| match sink.newest {
            Some((sequence, true)) => {
                sink.base = sequence.wrapping_sub(last);
                true
            }
            _ => false,
        })
    }

    /// Sends that many frames and counts what arrives of them. Returns when all is over.
    pub fn measure(&mut self, port: u16, pace: Pace, frames: u64) -> Result<Count> {
        let packets = frames * FRAME_PACKETS;
        let slots = usize::try_from(packets)?;
        {
            let mut tally = self.shared.tally();
            tally.first = Some(self.next);
            tally.latencies = Vec::with_capacity(slots * self.ports.len());
            for sink in &mut tally.sinks {
                sink.seen = vec![false; slots];
                (sink.received, sink.duplicates) = (0, 0);
            }
        }
        self.send_frames(port, pace, frames)?;
        thread::sleep(SETTLED);
        if self.receiver.as_ref().is_none_or(JoinHandle::is_finished) {
            bail!("the receiver stopped");
        }

        let mut tally = self.shared.tally();
        tally.first = None;
        Ok(Count {
            sent: packets,
            received: tally.sinks.iter().map(|sink| sink.received).sum(),
            duplicates: tally.sinks.iter().map(|sink| sink.duplicates).sum(),
            worst_missing: tally
                .sinks
                .iter()
                .map(|sink| packets - sink.received)
                .max()
                .unwrap_or_default(),
            latencies: std::mem::take(&mut tally.latencies),
        })
    }

    /// Sends frames at the pace of the scenario.
    fn send_frames(&mut self, port: u16, pace: Pace, frames: u64) -> Result<()> {
        let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (sends, packets_per_send) = match pace {
            Pace::Burst => (frames, FRAME_PACKETS),
            Pace::Spaced => (frames * FRAME_PACKETS, 1),
        };
        let interval = Duration::from_secs(1) / FRAME_RATE * u32::try_from(packets_per_send)? / FRAME_PACKETS as u32;
        let mut run = vec![0; PACKET_SIZE * usize::try_from(packets_per_send)?];
        let mut due = Instant::now();
        for _ in 0..sends {
            for (packet, index) in run.chunks_exact_mut(PACKET_SIZE).zip(self.next..) {
                rtp::write(packet, index);
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let now = self.shared.now();
            for (packet, index) in run.chunks_exact_mut(PACKET_SIZE).zip(self.next..) {
                rtp::stamp(packet, now);
                self.shared.sent_at[usize::from(index as u16)].store(now, Ordering::Relaxed);
            }
            self.socket.send_run(&run, PACKET_SIZE, destination)?;
            self.next += packets_per_send;
            due += interval;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Ends the receiving thread and tells what went wrong there.
    pub fn finish(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.receiver.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(anyhow!("the receiver panicked")),
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// The receiving thread.
fn receive(sockets: &[BatchSocket], shared: &Shared, stamped: bool) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll.add(socket.plain(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut events = vec![EpollEvent::empty(); sockets.len()];
    let mut buffer = ReceiveBuffer::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let count = epoll.wait(&mut events, 50_u8)?;
        let mut tally = shared.tally();
        for event in &events[..count] {
            let index = event.data() as usize;
            sockets[index].receive(&mut buffer)?;
            let now = shared.now();
            tally.take(index, now, &buffer, shared, stamped);
            if let Some(reporter) = &mut tally.sinks[index].reporter {
                buffer.datagrams().for_each(|packet| reporter.add(packet, now / 1000));
                reporter.report(&sockets[index], now / 1000)?;
            }
        }
    }
    Ok(())
}

impl Tally {
    /// Writes down one batch that a consumer received.
    fn take(&mut self, index: usize, now: u64, buffer: &ReceiveBuffer, shared: &Shared, stamped: bool) {
        let Self {
            sinks,
            first,
            latencies,
        } = self;
        let sink = &mut sinks[index];
        for packet in buffer.datagrams() {
            let Some(header) = rtp::read(packet) else {
                continue;
            };
            if sink
                .newest
                .is_none_or(|(newest, _)| header.sequence.wrapping_sub(newest) < 0x8000)
            {
                sink.newest = Some((header.sequence, header.marker));
            }
            let Some(first) = *first else {
                continue;
            };
            let number = header.sequence.wrapping_sub(sink.base);
            match sink.seen.get_mut(usize::from(number.wrapping_sub(first as u16))) {
                Some(seen) if *seen => sink.duplicates += 1,
                Some(seen) => {
                    *seen = true;
                    sink.received += 1;
                    let sent = if stamped {
                        rtp::read_stamp(packet, header)
                    } else {
                        Some(shared.sent_at[usize::from(number)].load(Ordering::Relaxed))
                    };
                    if let Some(sent) = sent {
                        latencies.push(u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
                    }
                }
                None => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forwards to one port: renumbered by `shift`, without the second packet of each frame, with the third one twice.
    fn careless_relay(destination: u16, shift: u16, stop: &AtomicBool, socket: &BatchSocket) {
        let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, destination));
        let mut buffer = ReceiveBuffer::new();
        while !stop.load(Ordering::Relaxed) {
            socket.receive(&mut buffer).expect("received");
            for datagram in buffer.datagrams() {
                let header = rtp::read(datagram).expect("RTP");
                let mut packet = datagram.to_vec();
                packet[2..4].copy_from_slice(&header.sequence.wrapping_add(shift).to_be_bytes());
                let copies = match u64::from(header.sequence) % FRAME_PACKETS {
                    1 => 0,
                    2 => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    socket.send_run(&packet, PACKET_SIZE, destination).expect("sent");
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn losses_and_duplicates_are_counted_and_numbers_are_learnt() {
        for (stamped, pace) in [(true, Pace::Burst), (false, Pace::Burst), (false, Pace::Spaced)] {
            let mut generator = Generator::start(1, stamped).expect("started");
            let (stop, relay) = (AtomicBool::new(false), BatchSocket::bind().expect("bound"));
            let (port, destination) = (relay.port().expect("bound"), generator.ports[0]);
            let count = thread::scope(|scope| {
                scope.spawn(|| careless_relay(destination, 65_500, &stop, &relay));
                let count = generator
                    .warm_up(port, pace, 10)
                    .and_then(|()| generator.measure(port, pace, 6));
                stop.store(true, Ordering::Relaxed);
                count
            });
            let count = count.expect("measured");
            assert_eq!((count.sent, count.received, count.duplicates), (60, 54, 6));
            assert_eq!((count.worst_missing, count.latencies.len()), (6, 54));
            // A wrong number would lead to the time of another packet: at least a frame ago, or not sent yet.
            let mut latencies = count.latencies;
            latencies.sort_unstable();
            assert!(latencies[0] > 1_000 && latencies[latencies.len() / 2] < 30_000_000);
            generator.finish().expect("no error");
        }
    }

    #[test]
    fn silence_is_an_error() {
        let mut generator = Generator::start(2, true).expect("started");
        // Only one of two consumers is served.
        let port = generator.ports[0];
        let error = generator.warm_up(port, Pace::Burst, 10).expect_err("one is silent");
        assert!(error.to_string().contains("1 of 2 consumers"));
    }
}
