//! A sender of video and receivers of it over plain transports, both as careful as real ones: the sender answers
//! requests for key frames and for packets, a receiver asks for what it misses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::network::{Arrival, Protocol};

/// Microseconds between two frames.
pub const FRAME: u64 = 33_000;
/// Ticks of the clock between two frames.
pub const FRAME_TICKS: u32 = 2970;
/// Packets of a frame.
pub const PARTS: u32 = 4;
/// The numbers of one of several streams of a sender begin with so many times its index.
pub const STREAM: u32 = 10_000_000;
/// Payload type that a sender uses; that of retransmissions is one more.
pub const SENT_TYPE: u8 = 96;
/// Payload type that a receiver gets; that of retransmissions is one more.
pub const RECEIVED_TYPE: u8 = 101;
/// Packets that a sender keeps.
const KEPT: usize = 1000;
/// Pause in microseconds before a packet is asked for again.
const ASK_AGAIN: u64 = 60_000;
/// How often a packet is asked for.
const MAX_ASKS: u32 = 12;
/// Microseconds between two rounds of a receiver.
const ROUND: u64 = 20_000;
/// Microseconds between two reports of a sender.
const REPORT: u64 = 1_000_000;

/// The payload of the packet with this number: a VP8 descriptor, a frame header, the number, filling that depends on it.
pub fn payload(number: u32, picture: u16, key: bool, first: bool) -> Vec<u8> {
    let mut payload = vec![if first { 0x90 } else { 0x80 }, 0x80];
    payload.extend((picture | 0x8000).to_be_bytes());
    payload.push(u8::from(!key));
    payload.extend(number.to_be_bytes());
    payload.extend((0..200 + number % 700).map(|at| (at ^ number) as u8));
    payload
}

/// A media packet.
fn rtp(payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The same with MID and a RID in the extension of this id: 2 for streams, 3 for those that repair one.
fn named(packet: &[u8], id: u8, rid: &str) -> Vec<u8> {
    let mut block = vec![0x14];
    block.extend(b"video");
    block.push(id << 4 | (rid.len() as u8 - 1));
    block.extend(rid.as_bytes());
    block.resize(block.len().next_multiple_of(4), 0);
    let mut named = packet[..12].to_vec();
    named[0] |= 0x10;
    named.extend([0xbe, 0xde, 0, (block.len() / 4) as u8]);
    named.extend(block);
    named.extend(&packet[12..]);
    named
}

/// A sender report (RFC 3550 6.4.1).
fn sender_report(ssrc: u32, now: u64, timestamp: u32) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(ssrc.to_be_bytes());
    let ntp = (3_900_000_000_u64 << 32) + (u128::from(now) * (1 << 32) / 1_000_000) as u64;
    report.extend(ntp.to_be_bytes());
    report.extend(timestamp.to_be_bytes());
    report.extend([0; 8]);
    report
}

/// A feedback packet (RFC 4585 6.1).
pub fn feedback(packet_type: u8, format: u8, media_ssrc: u32, items: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80 | format, packet_type, 0, (2 + items.len() / 4) as u8];
    packet.extend(1_u32.to_be_bytes());
    packet.extend(media_ssrc.to_be_bytes());
    packet.extend(items);
    packet
}

/// Feedback packets in a compound: type, format, media SSRC, items.
fn feedbacks(mut compound: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some(&[first, packet_type, l0, l1]) = compound.first_chunk::<4>() {
        let length = 4 * (1 + usize::from(u16::from_be_bytes([l0, l1])));
        let (packet, rest) = compound.split_at(length);
        compound = rest;
        if matches!(packet_type, 205 | 206) {
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().expect("four bytes"));
            found.push((packet_type, first & 0x1f, ssrc, packet[12..].to_vec()));
        }
    }
    found
}

/// Sends video, 30 frames a second.
#[derive(Debug)]
pub struct Sender {
    /// Its address.
    pub address: SocketAddr,
    /// The transport's.
    pub to: SocketAddr,
    /// Its media SSRC; retransmissions have the next one.
    pub ssrc: u32,
    /// Next sequence number.
    pub sequence: u16,
    /// Next timestamp.
    pub timestamp: u32,
    /// Number of the next packet.
    pub number: u32,
    /// Whether it sends.
    pub running: bool,
    /// When it was asked for key frames, in microseconds.
    pub key_requests: Vec<u64>,
    /// Packets that it sent again.
    pub repeated: u64,
    /// Whether its next frame is a key frame.
    pub key_wanted: bool,
    /// Whether it makes a key frame when asked for one.
    pub obeys: bool,
    /// Whether it sends packets again in a stream of their own.
    pub rtx: bool,
    /// RID that it names its packets with.
    pub rid: Option<&'static str>,
    next_report: u64,
    picture: u16,
    kept: BTreeMap<u32, (u16, Vec<u8>)>,
    rtx_sequence: u16,
    next_frame: u64,
    out: Vec<Arrival>,
}

impl Sender {
    /// A sender that begins now.
    pub fn new(address: SocketAddr, to: SocketAddr, ssrc: u32, now: u64) -> Self {
        Self {
            address,
            to,
            ssrc,
            sequence: 1,
            timestamp: 1,
            number: 0,
            running: true,
            key_requests: Vec::new(),
            repeated: 0,
            key_wanted: true,
            obeys: true,
            rtx: true,
            rid: None,
            next_report: now,
            picture: 0,
            kept: BTreeMap::new(),
            rtx_sequence: 7,
            next_frame: now,
            out: Vec::new(),
        }
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.out.push(Arrival {
            from: self.address,
            to: self.to,
            protocol: Protocol::Udp,
            bytes,
        });
    }

    /// Sends an RTP packet, with its RID as the extension of this id.
    fn put_named(&mut self, packet: Vec<u8>, id: u8) {
        let packet = match self.rid {
            Some(rid) => named(&packet, id, rid),
            None => packet,
        };
        self.put(packet);
    }

    /// Goes on after a while in which it did not send: the frames of that time were never made.
    pub fn resume(&mut self, now: u64) {
        self.running = true;
        let left_out = (now.saturating_sub(self.next_frame) / FRAME) as u32;
        self.next_frame += FRAME * u64::from(left_out);
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS * left_out);
        self.number += PARTS * left_out;
        self.picture = (self.picture + left_out as u16) & 0x7fff;
        self.key_wanted = true;
    }

    /// When its next frame is due.
    pub fn deadline(&self) -> Option<u64> {
        self.running.then_some(self.next_frame)
    }

    /// Sends a frame, if one is due.
    pub fn handle_timeout(&mut self, now: u64) {
        if !self.running || now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.put(sender_report(self.ssrc, self.next_frame - FRAME, self.timestamp));
        }
        let key = std::mem::take(&mut self.key_wanted);
        for part in 0..PARTS {
            let payload = payload(self.number, self.picture, key, part == 0);
            let last = part + 1 == PARTS;
            let packet = rtp(SENT_TYPE, last, self.sequence, self.timestamp, self.ssrc, &payload);
            self.kept.insert(self.number, (self.sequence, packet.clone()));
            if self.kept.len() > KEPT {
                self.kept.pop_first();
            }
            self.put_named(packet, 2);
            self.sequence = self.sequence.wrapping_add(1);
            self.number += 1;
        }
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS);
    }

    /// Takes a packet of the worker.
    pub fn handle(&mut self, arrival: &Arrival, now: u64) {
        for (packet_type, format, ssrc, items) in feedbacks(&arrival.bytes) {
            if ssrc != self.ssrc {
                continue;
            }
            match (packet_type, format) {
                (206, 1) => {
                    self.key_requests.push(now);
                    self.key_wanted = self.obeys;
                }
                (205, 1) => items.chunks(4).for_each(|item| self.repeat(item)),
                _ => {}
            }
        }
    }

    fn repeat(&mut self, item: &[u8]) {
        let first = u16::from_be_bytes([item[0], item[1]]);
        let mask = u16::from_be_bytes([item[2], item[3]]);
        for offset in 0..=16_u16 {
            if offset > 0 && mask >> (offset - 1) & 1 == 0 {
                continue;
            }
            let wanted = first.wrapping_add(offset);
            let found = self.kept.values().rev().find(|(sequence, _)| *sequence == wanted);
            let Some((_, packet)) = found.cloned() else { continue };
            self.repeated += 1;
            if !self.rtx {
                self.put_named(packet, 2);
                continue;
            }
            let mut payload = wanted.to_be_bytes().to_vec();
            payload.extend(&packet[12..]);
            let timestamp = u32::from_be_bytes(packet[4..8].try_into().expect("four bytes"));
            let marker = packet[1] & 0x80 != 0;
            let bytes = rtp(
                SENT_TYPE + 1,
                marker,
                self.rtx_sequence,
                timestamp,
                self.ssrc + 1,
                &payload,
            );
            self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
            self.put_named(bytes, 3);
        }
    }

    /// What it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }
}

/// A packet that a receiver got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// When, in microseconds.
    pub at: u64,
    /// Its sequence number, counted on beyond 16 bits.
    pub sequence: u64,
    /// Its timestamp.
    pub timestamp: u32,
    /// Last of its frame.
    pub marker: bool,
    /// Number that the sender gave it.
    pub number: u32,
    /// Of a key frame.
    pub key: bool,
    /// First of its frame.
    pub first: bool,
    /// Came as a retransmission.
    pub repeated: bool,
}

/// Receives video, and asks for what it misses.
#[derive(Debug)]
pub struct Receiver {
    /// Its address.
    pub address: SocketAddr,
    /// The transport's.
    pub to: SocketAddr,
    /// Media SSRC; retransmissions have the next one.
    pub ssrc: u32,
    /// What came, in the order in which it came, each once.
    pub got: Vec<Got>,
    /// Packets that came although they were there: the network doubles, and repeats cross what was late.
    pub doubled: u64,
    /// Bytes that came, of everything.
    pub bytes: u64,
    /// Asks for a key frame each time that so many microseconds have passed.
    pub key_every: Option<u64>,
    /// Whether it asks for missing packets.
    pub asks: bool,
    /// SSRC of a former life, with the next one for retransmissions: not looked at.
    pub ignores: Option<u32>,
    by_sequence: BTreeMap<u64, u32>,
    missing: BTreeMap<u64, (u64, u32)>,
    highest: Option<u64>,
    next_round: u64,
    next_key_request: u64,
    out: Vec<Arrival>,
}

impl Receiver {
    /// A receiver that waits.
    pub fn new(address: SocketAddr, to: SocketAddr, ssrc: u32, now: u64) -> Self {
        Self {
            address,
            to,
            ssrc,
            got: Vec::new(),
            doubled: 0,
            bytes: 0,
            key_every: None,
            asks: true,
            ignores: None,
            by_sequence: BTreeMap::new(),
            missing: BTreeMap::new(),
            highest: None,
            next_round: now,
            next_key_request: now,
            out: Vec::new(),
        }
    }

    /// Sequence numbers between the first and the last that never came.
    pub fn gaps(&self) -> Vec<u64> {
        let (Some((first, _)), Some((last, _))) =
            (self.by_sequence.first_key_value(), self.by_sequence.last_key_value())
        else {
            return Vec::new();
        };
        let all = *first..=*last;
        all.filter(|sequence| !self.by_sequence.contains_key(sequence))
            .collect()
    }

    /// Numbers of packets in the order of their sequence numbers.
    pub fn numbers(&self) -> Vec<u32> {
        self.by_sequence.values().copied().collect()
    }

    /// Forgets what came so far; what is missing of it is not asked for any more.
    pub fn forget(&mut self) {
        self.got.clear();
        self.by_sequence.clear();
        self.missing.clear();
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.out.push(Arrival {
            from: self.address,
            to: self.to,
            protocol: Protocol::Udp,
            bytes,
        });
    }

    /// Asks for a key frame.
    pub fn request_key_frame(&mut self) {
        let request = feedback(206, 1, self.ssrc, &[]);
        self.put(request);
    }

    /// Takes a packet of the worker.
    ///
    /// # Panics
    /// It is media, but not as it was sent.
    pub fn handle(&mut self, arrival: &Arrival, now: u64) {
        let packet = &arrival.bytes;
        self.bytes += packet.len() as u64;
        if matches!(packet[1], 192..=223) {
            return;
        }
        assert_eq!(packet[0] & !0x10, 0x80, "no padding or CSRC was sent");
        // The worker has extensions of its own.
        let body = match packet[0] & 0x10 {
            0 => &packet[12..],
            _ => &packet[16 + 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]))..],
        };
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four bytes"));
        let (ssrc, timestamp) = (word(8), word(4));
        let (payload_type, marker) = (packet[1] & 0x7f, packet[1] & 0x80 != 0);
        if self.ignores.is_some_and(|former| ssrc == former || ssrc == former + 1) {
            return;
        }
        let repeated = ssrc == self.ssrc + 1;
        assert!(repeated || ssrc == self.ssrc, "SSRC {ssrc}");
        assert_eq!(payload_type, RECEIVED_TYPE + u8::from(repeated));
        let (sequence, bytes) = if repeated {
            (u16::from_be_bytes([body[0], body[1]]), &body[2..])
        } else {
            (u16::from_be_bytes([packet[2], packet[3]]), body)
        };
        let (first, key) = (bytes[0] & 0x10 != 0, bytes[4] & 1 == 0);
        let number = u32::from_be_bytes(bytes[5..9].try_into().expect("four bytes"));
        let picture = u16::from_be_bytes([bytes[2], bytes[3]]) & 0x7fff;
        assert_eq!(
            bytes,
            payload(number, picture, key, first),
            "packet {number} was changed"
        );
        let sequence = self.count_on(sequence);
        if let Some(known) = self.by_sequence.get(&sequence) {
            assert_eq!(*known, number, "one sequence number for two packets");
            self.doubled += 1;
            return;
        }
        self.by_sequence.insert(sequence, number);
        self.missing.remove(&sequence);
        if let Some(highest) = self.highest {
            for missed in highest + 1..sequence {
                self.missing.insert(missed, (now, 0));
            }
        }
        self.highest = self.highest.max(Some(sequence));
        self.got.push(Got {
            at: now,
            sequence,
            timestamp,
            marker,
            number,
            key,
            first,
            repeated,
        });
    }

    fn count_on(&self, sequence: u16) -> u64 {
        // From far above zero, so that what is older than the first has a number too.
        let highest = self.highest.unwrap_or(1 << 20 | u64::from(sequence));
        let ahead = i64::from(sequence.wrapping_sub(highest as u16).cast_signed());
        highest.checked_add_signed(ahead).expect("a number above zero")
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<u64> {
        let asks = self.asks && !self.missing.is_empty();
        let round = asks.then_some(self.next_round);
        let key = self.key_every.map(|_| self.next_key_request);
        round.into_iter().chain(key).min()
    }

    /// Asks for what is missing.
    pub fn handle_timeout(&mut self, now: u64) {
        if let Some(pause) = self.key_every
            && now >= self.next_key_request
        {
            self.next_key_request = now + pause;
            self.request_key_frame();
        }
        if !self.asks || now < self.next_round {
            return;
        }
        self.next_round = now + ROUND;
        let mut items = Vec::new();
        let before = self.missing.len();
        self.missing.retain(|sequence, (at, asks)| {
            if *asks == 0 || now >= *at + ASK_AGAIN {
                *asks += 1;
                *at = now;
                items.extend((*sequence as u16).to_be_bytes());
                items.extend([0, 0]);
            }
            *asks < MAX_ASKS
        });
        if self.missing.len() < before {
            // Something was given up.
            self.request_key_frame();
        }
        for items in items.chunks(4 * 60) {
            let request = feedback(205, 1, self.ssrc, items);
            self.put(request);
        }
    }

    /// What it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }
}
