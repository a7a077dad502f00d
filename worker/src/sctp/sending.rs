//! Messages on their way out: which wait, for what, and how the stack gets the others.
//!
//! A message waits here until an earlier reset of its stream has been asked for, and while enough of its stream waits in
//! the stack, which copies what it gets: here messages for many receivers are one.
//!
//! One with a lifetime waits until nothing of its stream waits in the stack: there it would be dropped when its time is
//! over even if a part of it has left, and the number that the stack then takes for the missing end can fall into a
//! message of any other stream, whose receiver waits for it in vain. Here it is dropped as a whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use dcsctp::api::{DcSctpSocket, LifecycleId, Message, PpId, SendOptions, StreamId};
use hashbrown::HashMap;

use super::{Delivery, SendError};

/// Messages that may wait to be acknowledged; each costs more than its bytes.
pub const MAX_UNFINISHED: usize = 32_768;
/// Streams whose resets are under way at a time. One request names them all, and it must fit a packet beside other
/// chunks: the stack drops one that does not.
const MAX_RESETTING: usize = 200;
/// Bytes of a stream that wait in the stack before messages wait here: enough for it to fill packets with small ones.
const IN_STACK: usize = 16 * 1024;
/// Bytes that leave in one call whatever else there is to send, if the congestion window has room: the stack sends at
/// most four packets.
const AT_ONCE: usize = 4000;
/// Payload of a chunk that fills a packet, at least; and what a chunk has beside it, at most.
const CHUNK: (usize, usize) = (1100, 20);
/// What a retransmission takes of a lifetime, in milliseconds: some come after a round trip, some after the timeout,
/// which is 400 at least.
const RETRANSMISSION: u128 = 200;

/// A message to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// Where.
    pub stream: u16,
    /// What it is.
    pub ppid: u32,
    /// One byte at least.
    pub payload: Bytes,
    /// How.
    pub delivery: Delivery,
}

/// A message that waits.
#[derive(Debug)]
struct Waiting {
    id: u64,
    /// When its time is over, in microseconds.
    expires: Option<u64>,
    message: Outgoing,
}

/// A message that the peer has not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Unfinished {
    stream: u16,
    length: usize,
    /// Where it is.
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Here, behind a reset.
    BehindReset,
    /// Here, for its stream to be free.
    Here,
    /// In the queue of the stack, with the rest of a part that has left perhaps.
    Stack,
    /// All of it has left.
    Sent,
}

/// What is on its way out of one association.
#[derive(Debug, Default)]
pub struct Sending {
    next_id: u64,
    unfinished: HashMap<u64, Unfinished>,
    /// Bytes of these.
    buffered: usize,
    /// How many of these each stream has, without those behind a reset.
    per_stream: HashMap<u16, u32>,
    /// How many of these wait in the stack.
    in_stack: usize,
    /// Bytes, with their headers, of those that the stack has or may send again.
    handed: usize,
    /// Streams to be reset once their messages are through, and an earlier reset of theirs.
    resets: BTreeSet<u16>,
    /// Streams whose reset the peer has not answered. The stack would take a further reset of them for the same.
    resetting: BTreeSet<u16>,
    behind_resets: VecDeque<Waiting>,
    /// By stream, in order.
    waiting: BTreeMap<u16, VecDeque<Waiting>>,
}

impl Sending {
    /// Bytes of messages that the peer has not acknowledged.
    pub fn buffered_amount(&self) -> usize {
        self.buffered
    }

    /// Takes a message, if not more than `limit` bytes wait with it.
    ///
    /// # Errors
    /// Too much waits.
    pub fn send(&mut self, now: u64, message: Outgoing, limit: usize) -> Result<(), SendError> {
        let (stream, length) = (message.stream, message.payload.len());
        if !self.has_room(length, limit) {
            self.drop_expired(now);
            if !self.has_room(length, limit) {
                return Err(SendError::BufferFull);
            }
        }
        self.next_id += 1;
        let lifetime = message.delivery.lifetime;
        let waiting = Waiting {
            id: self.next_id,
            expires: lifetime.map(|milliseconds| now.saturating_add(u64::from(milliseconds) * 1000)),
            message,
        };
        self.buffered += length;
        let place = if self.resets.contains(&stream) {
            Place::BehindReset
        } else {
            Place::Here
        };
        self.unfinished.insert(waiting.id, Unfinished { stream, length, place });
        match place {
            Place::BehindReset => self.behind_resets.push_back(waiting),
            _ => self.enqueue(waiting),
        }
        Ok(())
    }

    fn has_room(&self, length: usize, limit: usize) -> bool {
        self.buffered.saturating_add(length) <= limit && self.unfinished.len() < MAX_UNFINISHED
    }

    /// Resets a stream, once its messages are through.
    pub fn reset(&mut self, stream: u16) {
        self.resets.insert(stream);
    }

    /// Gives the stack what it can have now. True: it did, and there may be more after what follows from that.
    pub fn advance(&mut self, socket: &mut dyn DcSctpSocket, now: u64) -> bool {
        let reset = self.reset_streams(socket);
        let handed = self.hand_over_waiting(socket, now);
        reset || handed
    }

    fn reset_streams(&mut self, socket: &mut dyn DcSctpSocket) -> bool {
        let ready: Vec<u16> = self
            .resets
            .iter()
            .copied()
            .filter(|stream| !self.per_stream.contains_key(stream) && !self.resetting.contains(stream))
            .take(MAX_RESETTING.saturating_sub(self.resetting.len()))
            .collect();
        if ready.is_empty() {
            return false;
        }
        let streams: Vec<StreamId> = ready.iter().map(|stream| StreamId(*stream)).collect();
        // A peer that does not know of resets keeps its streams as they are.
        if socket.reset_streams(&streams).is_ok() {
            self.resetting.extend(&ready);
        }
        self.resets.retain(|stream| ready.binary_search(stream).is_err());
        let (released, behind): (VecDeque<_>, _) = std::mem::take(&mut self.behind_resets)
            .into_iter()
            .partition(|waiting| ready.binary_search(&waiting.message.stream).is_ok());
        self.behind_resets = behind;
        for waiting in released {
            self.enqueue(waiting);
        }
        true
    }

    /// A message is not, or no longer, behind a reset.
    fn enqueue(&mut self, waiting: Waiting) {
        let stream = waiting.message.stream;
        *self.per_stream.entry(stream).or_default() += 1;
        if let Some(unfinished) = self.unfinished.get_mut(&waiting.id) {
            unfinished.place = Place::Here;
        }
        self.waiting.entry(stream).or_default().push_back(waiting);
    }

    fn hand_over_waiting(&mut self, socket: &mut dyn DcSctpSocket, now: u64) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        self.drop_expired(now);
        let streams: Vec<u16> = self.waiting.keys().copied().collect();
        let mut handed = false;
        for stream in streams {
            while let Some(waiting) = self.next_of(stream, socket.buffered_amount(StreamId(stream))) {
                self.hand_over(socket, now, waiting);
                handed = true;
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        handed
    }

    /// The message of a stream that the stack is to get, if so many bytes of the stream wait there.
    fn next_of(&mut self, stream: u16, in_stack: usize) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&stream)?;
        let limit = if waiting.front()?.expires.is_some() {
            0
        } else {
            IN_STACK
        };
        (in_stack <= limit).then(|| waiting.pop_front()).flatten()
    }

    fn drop_expired(&mut self, now: u64) {
        let mut over = Vec::new();
        for waiting in self.waiting.values_mut() {
            while let Some(first) = waiting
                .front()
                .filter(|first| first.expires.is_some_and(|at| at <= now))
            {
                over.push(first.id);
                waiting.pop_front();
            }
        }
        over.into_iter().for_each(|id| self.finished(id));
    }

    fn hand_over(&mut self, socket: &mut dyn DcSctpSocket, now: u64, waiting: Waiting) {
        let Waiting { id, expires, message } = waiting;
        let (lifetime, max_retransmissions) = match expires {
            None => (None, message.delivery.max_retransmissions),
            Some(at) => self.limits(socket, &message, Duration::from_micros(at.saturating_sub(now))),
        };
        let options = SendOptions {
            unordered: !message.delivery.ordered,
            lifetime,
            max_retransmissions,
            lifecycle_id: LifecycleId::new(id),
        };
        if let Some(unfinished) = self.unfinished.get_mut(&id) {
            unfinished.place = Place::Stack;
            self.in_stack += 1;
            self.handed += on_the_wire(unfinished.length);
        }
        let payload = message.payload.to_vec();
        let message = Message::new(StreamId(message.stream), PpId(message.ppid), payload);
        // If it is refused, which it has no reason for, its end is told as for any other.
        let _ = socket.send(message, &options);
    }

    /// What the stack learns of a message that has so much time left. Its end is told exactly only if all of the
    /// message leaves at once; of another the stack learns how often it may be sent again until then.
    fn limits(&self, socket: &dyn DcSctpSocket, message: &Outgoing, left: Duration) -> (Option<Duration>, Option<u16>) {
        let Some(metrics) = socket.get_metrics() else {
            return (None, Some(0));
        };
        let size = on_the_wire(message.payload.len());
        let at_once = self.in_stack == 0
            && !self.resetting.contains(&message.stream)
            && self.handed + size <= AT_ONCE.min(metrics.cwnd_bytes)
            && size <= metrics.peer_rwnd_bytes as usize;
        if at_once {
            return (Some(left), None);
        }
        let times = left.as_millis() / RETRANSMISSION;
        (None, Some(u16::try_from(times).unwrap_or(u16::MAX)))
    }

    /// All of a message has left.
    pub fn sent(&mut self, id: u64) {
        if let Some(unfinished) = self.unfinished.get_mut(&id)
            && unfinished.place == Place::Stack
        {
            unfinished.place = Place::Sent;
            self.in_stack -= 1;
        }
    }

    /// A message was acknowledged or given up.
    pub fn finished(&mut self, id: u64) {
        let Some(message) = self.unfinished.remove(&id) else {
            return;
        };
        self.buffered -= message.length;
        if message.place == Place::Stack {
            self.in_stack -= 1;
        }
        if matches!(message.place, Place::Stack | Place::Sent) {
            self.handed -= on_the_wire(message.length);
        }
        if let Some(count) = self.per_stream.get_mut(&message.stream) {
            *count -= 1;
            if *count == 0 {
                self.per_stream.remove(&message.stream);
            }
        }
    }

    /// The peer has answered the reset of these streams.
    pub fn answered(&mut self, streams: &[StreamId]) {
        for stream in streams {
            self.resetting.remove(&stream.0);
        }
    }

    /// Nothing waits any more: the stack is gone, and says no word about each message.
    pub fn forget(&mut self) {
        *self = Self {
            next_id: self.next_id,
            ..Self::default()
        };
    }
}

/// Bytes that a message takes of the congestion window, at most.
fn on_the_wire(length: usize) -> usize {
    length + CHUNK.1 * (length / CHUNK.0 + 2)
}
