//! A peer of SCTP over plain UDP, with the worker's own protocol code at its end.

use std::net::SocketAddr;

use bytes::Bytes;
use worker::sctp::{Association, Delivery, Output, SendError, Settings, State, ppid};

use super::network::{Arrival, Protocol};

/// In the order of the stream, however long it takes.
pub const ORDERED: Delivery = Delivery {
    ordered: true,
    lifetime: None,
    max_retransmissions: None,
};

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When, in microseconds.
    pub at: u64,
    /// On which stream.
    pub stream: u16,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The peer.
#[derive(Debug)]
pub struct DataPeer {
    /// Where it is.
    pub address: SocketAddr,
    /// The transport.
    pub to: SocketAddr,
    association: Association,
    /// What arrived.
    pub messages: Vec<Message>,
    /// Streams that the worker reset, in order.
    pub resets: Vec<u16>,
    out: Vec<Arrival>,
}

impl DataPeer {
    /// A peer of the transport at `to`; it connects at once. Others with another seed have other tags.
    pub fn new(address: SocketAddr, to: SocketAddr, seed: u64, now: u64) -> Self {
        let settings = Settings {
            max_message_size: 262_144,
            send_buffer_size: 1_000_000,
            over_dtls: false,
            secret: [seed as u8; 32],
            seed,
        };
        let mut peer = Self {
            address,
            to,
            association: Association::new(settings, now),
            messages: Vec::new(),
            resets: Vec::new(),
            out: Vec::new(),
        };
        peer.association.connect(now);
        peer.poll(now);
        peer
    }

    /// Whether messages can be sent.
    pub fn is_connected(&self) -> bool {
        self.association.state() == State::Connected
    }

    /// Bytes that the worker has not acknowledged.
    pub fn buffered_amount(&self) -> usize {
        self.association.buffered_amount()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// It was not taken.
    pub fn send(&mut self, stream: u16, payload: &[u8], now: u64) -> Result<(), SendError> {
        let sent = self
            .association
            .send(now, stream, ppid::BINARY, Bytes::copy_from_slice(payload), ORDERED);
        self.poll(now);
        sent
    }

    /// Resets one of its streams.
    pub fn reset(&mut self, stream: u16, now: u64) {
        self.association.reset_stream(now, stream);
        self.poll(now);
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<u64> {
        self.association.next_timeout()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64) {
        self.association.handle_timeout(now);
        self.poll(now);
    }

    /// Takes a packet.
    pub fn handle(&mut self, arrival: &Arrival, now: u64) {
        self.association.receive(now, &arrival.bytes);
        self.poll(now);
    }

    /// Packets that it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }

    fn poll(&mut self, now: u64) {
        while let Some(output) = self.association.poll() {
            match output {
                Output::Packet(bytes) => self.out.push(Arrival {
                    from: self.address,
                    to: self.to,
                    protocol: Protocol::Udp,
                    bytes,
                }),
                Output::Message { stream, payload, .. } => self.messages.push(Message {
                    at: now,
                    stream,
                    payload,
                }),
                Output::StreamsReset(streams) => self.resets.extend(streams),
                Output::State(_) => {}
            }
        }
    }
}
