//! A UDP relay between real programs that loses, delays and limits what passes.
//!
//! Clients send to its address instead of the server's. Each client gets a socket of its own towards the server, so
//! that answers find their way back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::link::{Link, Way};

/// How long a thread waits before it looks whether it is still needed.
const PATIENCE: Duration = Duration::from_millis(100);

/// Which packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Toward {
    /// Those that clients send.
    Server,
    /// Those that clients get.
    Client,
}

/// What has passed in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Packets that came in.
    pub packets: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Bytes that were passed on.
    pub bytes: u64,
}

/// A relay that works until it is dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where clients send to.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    links: HashMap<Toward, Link>,
    passed: HashMap<Toward, Passed>,
    ways: HashMap<(SocketAddr, Toward), Way>,
    rng: ChaCha8Rng,
}

/// A packet on its way.
struct Parcel {
    due: Instant,
    number: u64,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Parcel {
    /// The first one due is the greatest.
    fn order(&self) -> Reverse<(Instant, u64)> {
        Reverse((self.due, self.number))
    }
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Parcel {}

impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parcel {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Relay {
    /// A relay on a port of its own on the loopback interface; at first it passes everything at once.
    ///
    /// # Errors
    /// No socket can be opened.
    pub fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = Arc::new(open()?);
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                links: HashMap::new(),
                passed: HashMap::new(),
                ways: HashMap::new(),
                rng: ChaCha8Rng::seed_from_u64(seed),
            }),
            ended: AtomicBool::new(false),
            epoch: Instant::now(),
        });
        let (parcels, queue) = channel();
        thread::spawn(move || carry(&queue));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || receive_from_clients(&front, server, &of_thread, &parcels));
        Ok(Self { address, shared })
    }

    /// Changes how packets fare from now on.
    pub fn set(&self, toward: Toward, link: Link) {
        self.shared.state().links.insert(toward, link);
    }

    /// What has passed so far.
    pub fn passed(&self, toward: Toward) -> Passed {
        self.shared.state().passed.get(&toward).copied().unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// After how long each copy of a packet of a client goes on.
    fn judge(&self, client: SocketAddr, toward: Toward, size: usize) -> Vec<Duration> {
        let now = self.epoch.elapsed().as_micros() as u64;
        let State {
            links,
            passed,
            ways,
            rng,
        } = &mut *self.state();
        let link = links.get(&toward).copied().unwrap_or(Link::PERFECT);
        let way = ways.entry((client, toward)).or_default();
        let delays: Vec<_> = way.deliver(&link, size, now, rng).map(Duration::from_micros).collect();
        let passed = passed.entry(toward).or_default();
        passed.packets += 1;
        passed.lost += u64::from(delays.is_empty());
        passed.bytes += (size * delays.len()) as u64;
        delays
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends parcels when they are due, until nobody can hand in any more.
fn carry(queue: &Receiver<Parcel>) {
    let mut waiting: BinaryHeap<Parcel> = BinaryHeap::new();
    loop {
        let wait = waiting
            .peek()
            .map_or(PATIENCE, |first| first.due.saturating_duration_since(Instant::now()));
        match queue.recv_timeout(wait) {
            Ok(parcel) => waiting.push(parcel),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|first| first.due <= Instant::now()) {
            if let Some(parcel) = waiting.pop() {
                // Whoever does not listen any more loses it, as on any network.
                let _ = parcel.socket.send_to(&parcel.bytes, parcel.to);
            }
        }
    }
}

/// Whether reading failed in a way that the next attempt may not: nothing came, or a former packet found nobody.
fn may_go_on(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | ConnectionRefused | Interrupted)
}

fn receive_from_clients(front: &Arc<UdpSocket>, server: SocketAddr, shared: &Arc<Shared>, parcels: &Sender<Parcel>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    pass(front, shared, parcels, Toward::Server, |client| {
        if let Some(back) = backs.get(&client) {
            return Some((client, Arc::clone(back), server));
        }
        let back = Arc::new(open().ok()?);
        backs.insert(client, Arc::clone(&back));
        let (answers, front) = (Arc::clone(&back), Arc::clone(front));
        let (shared, parcels) = (Arc::clone(shared), parcels.clone());
        thread::spawn(move || {
            pass(&answers, &shared, &parcels, Toward::Client, |_| {
                Some((client, Arc::clone(&front), client))
            });
        });
        Some((client, back, server))
    });
}

/// Reads packets until the end and hands them in; `route` says whose they are and how they go on.
fn pass(
    from: &UdpSocket,
    shared: &Shared,
    parcels: &Sender<Parcel>,
    toward: Toward,
    mut route: impl FnMut(SocketAddr) -> Option<(SocketAddr, Arc<UdpSocket>, SocketAddr)>,
) {
    let mut buffer = vec![0; 65_536];
    let mut number = 0;
    while !shared.has_ended() {
        let (length, source) = match from.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if may_go_on(&error) => continue,
            Err(_) => return,
        };
        let Some((client, socket, to)) = route(source) else {
            continue;
        };
        for delay in shared.judge(client, toward, length) {
            number += 1;
            let parcel = Parcel {
                due: Instant::now() + delay,
                number,
                socket: Arc::clone(&socket),
                to,
                bytes: buffer[..length].to_vec(),
            };
            if parcels.send(parcel).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets with a relay between them: the client's is connected to the relay.
    fn ends(seed: u64) -> (UdpSocket, UdpSocket, Relay) {
        let (server, client) = (open().unwrap(), open().unwrap());
        let relay = Relay::start(server.local_addr().unwrap(), seed).unwrap();
        client.connect(relay.address).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        (server, client, relay)
    }

    #[test]
    fn packets_go_there_and_back() {
        let (server, client, relay) = ends(1);
        let mut buffer = [0; 100];
        client.send(b"there").unwrap();
        let (length, back) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"there");
        server.send_to(b"and back", back).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"and back");
        let expected = |bytes| Passed {
            packets: 1,
            lost: 0,
            bytes,
        };
        assert_eq!(relay.passed(Toward::Server), expected(5));
        assert_eq!(relay.passed(Toward::Client), expected(8));
    }

    #[test]
    fn packets_are_lost_and_delayed_as_told() {
        let (server, client, relay) = ends(2);
        let link = Link {
            loss: 300,
            min_delay: 5000,
            max_delay: 5000,
            ..Link::PERFECT
        };
        relay.set(Toward::Server, link);
        let start = Instant::now();
        let (mut buffer, mut numbers) = ([0; 100], Vec::new());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        // No more at once than fit into a socket's buffer.
        for first in (0..1000_u16).step_by(100) {
            (first..first + 100).for_each(|number| assert_eq!(client.send(&number.to_be_bytes()).unwrap(), 2));
            loop {
                match server.recv_from(&mut buffer) {
                    Ok((2, _)) => numbers.push(u16::from_be_bytes([buffer[0], buffer[1]])),
                    Ok(_) => break,
                    // May be lost too, so it is sent until it comes.
                    Err(_) => assert!(client.send(b"end").is_ok() && start.elapsed() < Duration::from_secs(60)),
                }
            }
        }
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!((600..800).contains(&numbers.len()), "{} of 1000", numbers.len());
        assert!(relay.passed(Toward::Server).lost >= 200);
    }
}
