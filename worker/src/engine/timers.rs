//! Wake-ups of the whole engine in one queue.
//!
//! An object is woken late, never early. Nothing is ever taken out of the queue: an object that no longer needs a
//! wake-up, or needs it later, finds that out when woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::keys::{ObserverKey, ProducerKey, RouterKey, TransportKey};

/// Who is to be woken, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A transport's periodic RTCP reports.
    Rtcp(RouterKey, TransportKey),
    /// A WebRTC transport's consent to be sent to, or its DTLS handshake.
    WebRtc(RouterKey, TransportKey),
    /// A producer's check for streams that went silent.
    Inactivity(RouterKey, ProducerKey),
    /// A producer's repetition of key frame requests.
    KeyFrameRequests(RouterKey, ProducerKey),
    /// A producer's check for spatial layers that carry something.
    SpatialLayers(RouterKey, ProducerKey),
    /// A producer's requests for missing packets.
    Nack(RouterKey, ProducerKey),
    /// A transport's report of arrivals to its sender.
    TransportFeedback(RouterKey, TransportKey),
    /// What a transport has waiting, and what its receiver has not told.
    Bandwidth(RouterKey, TransportKey),
    /// The end of an observer's interval.
    Observer(RouterKey, ObserverKey),
    /// A transport's SCTP association.
    Sctp(RouterKey, TransportKey),
}

/// Wake-ups by time in microseconds.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BinaryHeap<Reverse<(u64, Wake)>>,
}

impl Timers {
    /// Wakes at `at` microseconds or shortly after.
    pub fn wake_at(&mut self, at: u64, wake: Wake) {
        self.queue.push(Reverse((at, wake)));
    }

    /// The time of the next wake-up.
    pub fn next(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// How many wake-ups are planned.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is planned.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a wake-up that is due.
    pub fn pop_due(&mut self, now: u64) -> Option<Wake> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse((_, wake))| wake)
    }
}
