//! What one call of the engine produced.
//!
//! Datagrams are written one behind another into an arena. Those that go to one destination and have one size become
//! a [`Run`], which the kernel takes in a single system call (UDP GSO): with frames of ten packets that is what makes
//! forwarding cheap.

use std::net::SocketAddr;

use bytes::Bytes;
use channel_proto::event::{Event, Notification, PayloadEvent, PayloadNotification};
use channel_proto::reply::Response;

use super::ports::{Ports, SocketId};

/// Segments of one GSO call; the kernel's limit.
const MAX_SEGMENTS: usize = 64;
/// Bytes of one GSO call: below 64 KiB with its headers.
const MAX_RUN_BYTES: usize = 63_000;
/// When the arena holds this much it is sent before more is written, so that it stays in the nearest caches.
const FLUSH_BYTES: usize = 64 * 1024;

/// Datagrams of equal size (the last may be shorter) from one socket to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Socket to send from.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// First byte in the arena.
    pub start: usize,
    /// Bytes of all datagrams.
    pub length: usize,
    /// Bytes of each datagram.
    pub segment: usize,
    /// Whether the last datagram is shorter, so that nothing can follow.
    closed: bool,
}

/// A message for the parent on the Channel.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelMessage {
    /// The answer to a request of this method.
    Response(Response),
    /// A notification.
    Notification(Notification),
}

/// Outputs of the engine, in order for each way out.
#[derive(Debug, Default)]
pub struct Outbox {
    arena: Vec<u8>,
    runs: Vec<Run>,
    /// For fd 4.
    pub channel: Vec<ChannelMessage>,
    /// For fd 6, each with its payload.
    pub payloads: Vec<(PayloadNotification, Bytes)>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the parent that something happened to an entity.
    pub fn notify(&mut self, target_id: &str, event: Event) {
        self.channel.push(ChannelMessage::Notification(Notification::Entity {
            target_id: target_id.to_owned(),
            event,
        }));
    }

    /// Hands a packet to the parent.
    pub fn notify_payload(&mut self, target_id: &str, event: PayloadEvent, payload: &[u8]) {
        self.payloads.push((
            PayloadNotification {
                target_id: target_id.to_owned(),
                event,
            },
            Bytes::copy_from_slice(payload),
        ));
    }

    /// Hands a message to the parent.
    pub fn notify_message(&mut self, target_id: &str, ppid: u32, payload: Bytes) {
        self.payloads.push((
            PayloadNotification {
                target_id: target_id.to_owned(),
                event: PayloadEvent::Message { ppid },
            },
            payload,
        ));
    }

    /// Starts a datagram: write it at the end of the buffer, then [`commit`](Self::commit) it.
    pub fn begin(&mut self) -> (&mut Vec<u8>, usize) {
        let start = self.arena.len();
        (&mut self.arena, start)
    }

    /// The datagram that was begun at `start` goes from `socket` to `destination`.
    pub fn commit(&mut self, start: usize, socket: SocketId, destination: SocketAddr) {
        let length = self.arena.len().saturating_sub(start);
        if length == 0 {
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.socket == socket
            && run.destination == destination
            && run.start + run.length == start
            && !run.closed
            && length <= run.segment
            && run.length + length <= MAX_RUN_BYTES
            && run.length / run.segment < MAX_SEGMENTS
        {
            run.closed = length < run.segment;
            run.length += length;
            return;
        }
        self.runs.push(Run {
            socket,
            destination,
            start,
            length,
            segment: length,
            closed: false,
        });
    }

    /// What has been written of the datagram that was begun at `start`.
    pub fn written(&self, start: usize) -> &[u8] {
        self.arena.get(start..).unwrap_or_default()
    }

    /// Gives up the datagram that was begun at `start`.
    pub fn abandon(&mut self, start: usize) {
        self.arena.truncate(start);
    }

    /// Sends datagrams if many have gathered.
    pub fn flush_if_full(&mut self, ports: &mut dyn Ports) {
        if self.arena.len() >= FLUSH_BYTES {
            self.flush(ports);
        }
    }

    /// Sends all datagrams.
    pub fn flush(&mut self, ports: &mut dyn Ports) {
        if !self.runs.is_empty() {
            ports.transmit(&self.runs, &self.arena);
        }
        self.runs.clear();
        self.arena.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(outbox: &mut Outbox, size: usize, port: u16) {
        let (buffer, start) = outbox.begin();
        buffer.resize(start + size, 0);
        outbox.commit(start, SocketId(1), SocketAddr::from(([127, 0, 0, 1], port)));
    }

    #[test]
    fn datagrams_of_one_size_to_one_destination_form_one_run() {
        let mut outbox = Outbox::new();
        for size in [1100, 1100, 900, 900, 1000] {
            put(&mut outbox, size, 1);
        }
        put(&mut outbox, 1000, 2);
        let runs: Vec<_> = outbox.runs.iter().map(|run| (run.length, run.segment)).collect();
        // The shorter one ends the first run; a longer one cannot join a run of shorter ones.
        assert_eq!(runs, [(3100, 1100), (900, 900), (1000, 1000), (1000, 1000)]);
    }

    #[test]
    fn a_run_stays_within_the_limits_of_the_kernel() {
        let mut outbox = Outbox::new();
        for _ in 0..100 {
            put(&mut outbox, 100, 1);
        }
        for _ in 0..100 {
            put(&mut outbox, 1200, 1);
        }
        assert!(
            outbox
                .runs
                .iter()
                .all(|run| run.length.div_ceil(run.segment) <= MAX_SEGMENTS)
        );
        assert!(outbox.runs.iter().all(|run| run.length <= MAX_RUN_BYTES));
        assert_eq!(outbox.runs.iter().map(|run| run.length).sum::<usize>(), 100 * 1300);
    }
}
