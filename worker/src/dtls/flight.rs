//! Puts the peer's handshake messages together, flight by flight.
//!
//! The protocol machine stops repeating its own messages as soon as it gets part of an answer; if the rest is lost,
//! both sides wait for ever. So it is given whole flights only, each message in one piece: repetitions, fragments and
//! gaps end here.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::Role;
use super::records::{Record, content, fragments};

/// Messages that may come before their predecessors.
const WINDOW: u16 = 16;
/// Encrypted handshake records that are kept for the end of a flight; the peer sends one, or repeats it.
const MAX_ENCRYPTED: usize = 8;

mod message {
    pub const CLIENT_HELLO: u8 = 1;
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_VERIFY: u8 = 15;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
}
/// Length of a Certificate message without a certificate.
const NO_CERTIFICATE: usize = 3;

/// A handshake message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    kind: u8,
    sequence: u16,
    body: Vec<u8>,
}

/// A fragment of one.
#[derive(Debug)]
struct Part {
    kind: u8,
    length: usize,
    bytes: Vec<u8>,
}

/// A flight of the peer, ready for the protocol machine.
#[derive(Debug)]
pub struct Flight {
    /// All of it as one datagram.
    pub datagram: Vec<u8>,
    /// The body of the ClientHello, if it is one.
    pub client_hello: Option<Vec<u8>>,
}

/// Collects the flights of the peer.
#[derive(Debug)]
pub struct Flights {
    /// Our role.
    role: Role,
    /// The message that comes next.
    next: u16,
    /// Whether the peer's last flight has been handed on.
    complete: bool,
    parts: BTreeMap<(u16, usize), Part>,
    change_cipher_spec: bool,
    encrypted: Vec<Vec<u8>>,
    record_sequence: u64,
}

impl Flights {
    /// Before the first.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            next: 0,
            complete: false,
            parts: BTreeMap::new(),
            change_cipher_spec: false,
            encrypted: Vec::new(),
            record_sequence: 0,
        }
    }

    /// Takes a record. False: it does not belong to a flight that is being collected.
    pub fn push(&mut self, record: &Record<'_>) -> bool {
        match (record.content_type, record.epoch) {
            (content::HANDSHAKE, 0) => {
                for part in fragments(record.body()).unwrap_or_default() {
                    if part.sequence.wrapping_sub(self.next) < WINDOW {
                        self.parts.entry((part.sequence, part.offset)).or_insert_with(|| Part {
                            kind: part.message_type,
                            length: part.length,
                            bytes: part.bytes.to_vec(),
                        });
                    }
                }
                true
            }
            (content::CHANGE_CIPHER_SPEC, 0) => {
                self.change_cipher_spec = true;
                true
            }
            (content::HANDSHAKE, _) if !self.complete => {
                if self.encrypted.len() == MAX_ENCRYPTED {
                    self.encrypted.remove(0);
                }
                self.encrypted.push(record.bytes.to_vec());
                true
            }
            _ => false,
        }
    }

    /// Whether a record is the first ClientHello again, though it has been answered: the answer got lost.
    pub fn repeats_first_hello(&self, record: &Record<'_>) -> bool {
        let is_first = |part: &super::records::Fragment<'_>| {
            part.message_type == message::CLIENT_HELLO && part.sequence == 0 && part.offset == 0
        };
        self.next == 1
            && record.content_type == content::HANDSHAKE
            && record.epoch == 0
            && fragments(record.body()).is_some_and(|parts| parts.iter().any(is_first))
    }

    /// The next flight, once all of it is there.
    pub fn take(&mut self) -> Option<Flight> {
        let mut messages = Vec::new();
        while let Some(message) = self.message(self.next.wrapping_add(messages.len() as u16)) {
            messages.push(message);
        }
        let ended = self.change_cipher_spec && !self.encrypted.is_empty();
        let kinds: Vec<u8> = messages.iter().map(|message| message.kind).collect();
        let (whole, last) = match (self.role, kinds.as_slice()) {
            (Role::Server, [message::CLIENT_HELLO, ..]) => (true, false),
            (Role::Server, [.., message::CERTIFICATE_VERIFY]) => (ended, true),
            (Role::Server, [.., message::CLIENT_KEY_EXCHANGE]) => {
                let certified =
                    |message: &Message| message.kind == message::CERTIFICATE && message.body.len() > NO_CERTIFICATE;
                (ended && !messages.iter().any(certified), true)
            }
            (Role::Client, [message::HELLO_VERIFY_REQUEST, ..] | [.., message::SERVER_HELLO_DONE]) => (true, false),
            // The server has nothing to say in the clear at the end.
            (Role::Client, []) => (ended && self.next > 0, true),
            _ => (false, false),
        };
        if !whole {
            return None;
        }
        if matches!(
            kinds.first(),
            Some(&(message::CLIENT_HELLO | message::HELLO_VERIFY_REQUEST))
        ) {
            messages.truncate(1);
        }
        let mut flight = Flight {
            datagram: Vec::new(),
            client_hello: None,
        };
        for message in &messages {
            self.next = message.sequence.wrapping_add(1);
            let header = header(message);
            self.write_record(content::HANDSHAKE, &[&header, &message.body], &mut flight.datagram);
            if message.kind == message::CLIENT_HELLO {
                flight.client_hello = Some(message.body.clone());
            }
        }
        if last {
            self.complete = true;
            self.write_record(content::CHANGE_CIPHER_SPEC, &[&[1]], &mut flight.datagram);
            for record in std::mem::take(&mut self.encrypted) {
                flight.datagram.extend_from_slice(&record);
            }
        }
        let next = self.next;
        self.parts
            .retain(|(sequence, _), _| sequence.wrapping_sub(next) < WINDOW);
        Some(flight)
    }

    /// A message, if all its fragments are there.
    fn message(&self, sequence: u16) -> Option<Message> {
        let mut parts = self.parts.range((sequence, 0)..=(sequence, usize::MAX)).peekable();
        let (kind, length) = parts.peek().map(|(_, first)| (first.kind, first.length))?;
        let mut body = Vec::with_capacity(length);
        for ((_, offset), part) in parts.filter(|(_, part)| part.kind == kind && part.length == length) {
            // Fragments may overlap; a gap ends the attempt.
            let known = body.len().checked_sub(*offset)?;
            body.extend_from_slice(part.bytes.get(known..).unwrap_or_default());
        }
        (body.len() == length).then_some(Message { kind, sequence, body })
    }

    /// Writes a record in the clear, under a number of our own: the peer's is not authenticated anyway.
    fn write_record(&mut self, content_type: u8, body: &[&[u8]], datagram: &mut Vec<u8>) {
        let length: usize = body.iter().map(|part| part.len()).sum();
        datagram.extend_from_slice(&[content_type, 0xfe, 0xfd, 0, 0]);
        datagram.extend(self.record_sequence.to_be_bytes().iter().skip(2));
        datagram.extend_from_slice(&(length as u16).to_be_bytes());
        body.iter().for_each(|part| datagram.extend_from_slice(part));
        self.record_sequence += 1;
    }
}

/// Header of a message in one piece.
fn header(message: &Message) -> [u8; 12] {
    let [_, l0, l1, l2] = (message.body.len() as u32).to_be_bytes();
    let [s0, s1] = message.sequence.to_be_bytes();
    [message.kind, l0, l1, l2, s0, s1, 0, 0, 0, l0, l1, l2]
}
