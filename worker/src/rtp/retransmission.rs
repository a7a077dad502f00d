//! Packets that have been sent, for whoever asks for them again (RFC 4585, RFC 4588).
//!
//! What was received is kept once, in a [`PacketStore`], for all receivers. Each receiver's [`SentHistory`] only notes
//! how it got a packet: a few bytes. [`ResendBudget`] bounds what a receiver can make us send.
//!
//! Times are microseconds of a monotonic clock.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;

use crate::rtp::sequence::relative_to;

/// Bytes that a store begins with.
const FIRST_BYTES: usize = 16 * 1024;

/// Packets in the order of their arrival, in a ring of bytes that grows with traffic up to a bound. It forgets packets
/// that are too old, and when the ring is full the oldest.
#[derive(Debug)]
pub struct PacketStore<T> {
    bytes: Box<[u8]>,
    packets: VecDeque<Stored<T>>,
    /// Number of the first one of `packets`; numbers wrap.
    first: u32,
    max_age: u64,
    max_bytes: usize,
}

#[derive(Debug)]
struct Stored<T> {
    at: u64,
    offset: usize,
    length: usize,
    facts: T,
}

impl<T: Copy> PacketStore<T> {
    /// An empty store for packets up to an age in microseconds, of so many bytes in all.
    pub fn new(max_age: u64, max_bytes: usize) -> Self {
        Self {
            bytes: Box::default(),
            packets: VecDeque::new(),
            first: 0,
            max_age,
            max_bytes,
        }
    }

    /// Adds a packet, given as a header and a payload, with facts about it; returns its number. None: it is larger than
    /// the whole store may be.
    pub fn add(&mut self, header: &[u8], payload: &[u8], facts: T, now: u64) -> Option<u32> {
        let length = header.len() + payload.len();
        if length > self.max_bytes {
            return None;
        }
        while self.front_is_old(now) {
            self.forget();
        }
        let offset = loop {
            if let Some(offset) = self.room(length) {
                break offset;
            }
            // Young packets are worth more room as long as there is some.
            if self.bytes.len() < self.max_bytes {
                self.grow(length);
            } else {
                self.forget();
            }
        };
        let to = self.bytes.get_mut(offset..offset + length)?;
        let (to_header, to_payload) = to.split_at_mut_checked(header.len())?;
        to_header.copy_from_slice(header);
        to_payload.copy_from_slice(payload);
        self.packets.push_back(Stored {
            at: now,
            offset,
            length,
            facts,
        });
        Some(self.first.wrapping_add(self.packets.len() as u32 - 1))
    }

    /// A packet by its number.
    pub fn get(&self, number: u32, now: u64) -> Option<(&[u8], T)> {
        let index = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        let packet = self.packets.get(index)?;
        if now.saturating_sub(packet.at) > self.max_age {
            return None;
        }
        let bytes = self.bytes.get(packet.offset..packet.offset + packet.length)?;
        Some((bytes, packet.facts))
    }

    /// Number of the oldest packet that is kept, or of the next one.
    pub fn oldest(&self) -> u32 {
        self.first
    }

    /// Forgets all packets and releases their memory. Their numbers are not used again.
    pub fn clear(&mut self) {
        self.first = self.first.wrapping_add(self.packets.len() as u32);
        self.packets = VecDeque::new();
        self.bytes = Box::default();
    }

    fn front_is_old(&self, now: u64) -> bool {
        let front = self.packets.front();
        front.is_some_and(|front| now.saturating_sub(front.at) > self.max_age)
    }

    fn forget(&mut self) {
        if self.packets.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Where so many bytes are free.
    fn room(&self, length: usize) -> Option<usize> {
        let (Some(front), Some(back)) = (self.packets.front(), self.packets.back()) else {
            return (length <= self.bytes.len()).then_some(0);
        };
        let end = back.offset + back.length;
        if back.offset < front.offset {
            // The newest are before the oldest.
            return (front.offset - end >= length).then_some(end);
        }
        if self.bytes.len() - end >= length {
            Some(end)
        } else {
            (front.offset >= length).then_some(0)
        }
    }

    /// Makes the ring larger by a quarter, and moves the packets to its beginning.
    fn grow(&mut self, length: usize) {
        let more = (self.bytes.len() / 4).max(FIRST_BYTES).max(length);
        let wanted = self.bytes.len() + more;
        let mut bytes = Vec::with_capacity(wanted.min(self.max_bytes));
        for packet in &mut self.packets {
            let from = self.bytes.get(packet.offset..packet.offset + packet.length);
            packet.offset = bytes.len();
            bytes.extend_from_slice(from.unwrap_or_default());
        }
        bytes.resize(wanted.min(self.max_bytes), 0);
        self.bytes = bytes.into_boxed_slice();
    }
}

/// How a receiver got a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentPacket {
    /// Number of the packet in its store.
    pub packet: u32,
    /// Timestamp that it was sent with.
    pub timestamp: u32,
    /// Whether it was sent with the marker.
    pub marker: bool,
    /// Picture id and TL0PICIDX of a VP8 payload, if they were the receiver's own.
    pub vp8: Option<(u16, u8)>,
    /// Its number among all packets of the receiver's transport.
    pub wide_sequence_number: u16,
    /// Its last four bytes on the wire.
    pub tag: u32,
}

/// Slots are added by so many.
const SLOTS: usize = 64;
/// Slots of a history at most.
const MAX_SLOTS: usize = 2560;
/// Where unwrapped numbers begin.
const ORIGIN: u64 = 1 << 32;

/// What a receiver got lately, by sequence number. It has as many slots as there are packets in the store, up to a
/// bound, and does not shrink.
#[derive(Debug, Default)]
pub struct SentHistory {
    /// By sequence number modulo their count.
    slots: Box<[Slot]>,
    /// By slot; empty unless packets are repeated byte by byte.
    tags: Box<[u32]>,
    with_tags: bool,
    /// Highest sequence number sent, unwrapped.
    newest: Option<u64>,
}

/// 16 bytes: there are many of these.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    packet: u32,
    timestamp: u32,
    picture_id: u16,
    wide_sequence_number: u16,
    /// Milliseconds, wrapped; packets are forgotten long before it comes round again.
    resent_at: u16,
    tl0_picture_index: u8,
    flags: u8,
}

impl Slot {
    const SENT: u8 = 1;
    const RESENT: u8 = 2;
    const MARKER: u8 = 4;
    const VP8: u8 = 8;

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl SentHistory {
    /// Nothing has been sent. `with_tags` keeps the tags of packets, which repeating them byte by byte needs.
    pub fn new(with_tags: bool) -> Self {
        Self {
            with_tags,
            ..Self::default()
        }
    }

    /// Whether a packet with this sequence number has been sent already, or must be taken to have been.
    pub fn contains(&self, sequence_number: u16) -> bool {
        let Some(newest) = self.newest else { return false };
        let sequence = relative_to::<16>(newest, sequence_number);
        sequence <= newest && self.slot(sequence).is_some_and(|slot| slot.is(Slot::SENT))
    }

    /// Takes a packet that was sent. `oldest` is the oldest packet in the store.
    pub fn add(&mut self, sequence_number: u16, sent: SentPacket, oldest: u32) {
        let sequence = match self.newest {
            None => ORIGIN + u64::from(sequence_number),
            Some(newest) => relative_to::<16>(newest, sequence_number),
        };
        self.advance(sequence, oldest);
        let Some(index) = self.index(sequence) else { return };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (picture_id, tl0_picture_index) = sent.vp8.unwrap_or_default();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        *slot = Slot {
            packet: sent.packet,
            timestamp: sent.timestamp,
            picture_id,
            wide_sequence_number: sent.wide_sequence_number,
            resent_at: 0,
            tl0_picture_index,
            flags: Slot::SENT | flag(sent.marker, Slot::MARKER) | flag(sent.vp8.is_some(), Slot::VP8),
        };
        if let Some(tag) = self.tags.get_mut(index) {
            *tag = sent.tag;
        }
    }

    /// A packet to send again: None if it was not sent, is forgotten, or was repeated less than `pause` microseconds
    /// ago.
    pub fn find(&self, sequence_number: u16, pause: u64, now: u64) -> Option<SentPacket> {
        let sequence = relative_to::<16>(self.newest?, sequence_number);
        let index = self.index(sequence)?;
        let slot = self.slots.get(index).filter(|slot| slot.is(Slot::SENT))?;
        if slot.is(Slot::RESENT) && u64::from(milliseconds(now).wrapping_sub(slot.resent_at)) * 1000 < pause {
            return None;
        }
        Some(SentPacket {
            packet: slot.packet,
            timestamp: slot.timestamp,
            marker: slot.is(Slot::MARKER),
            vp8: slot.is(Slot::VP8).then_some((slot.picture_id, slot.tl0_picture_index)),
            wide_sequence_number: slot.wide_sequence_number,
            tag: self.tags.get(index).copied().unwrap_or_default(),
        })
    }

    /// Notes that a packet was sent again; true the first time.
    pub fn resent(&mut self, sequence_number: u16, now: u64) -> bool {
        let sequence = self.newest.map(|newest| relative_to::<16>(newest, sequence_number));
        let index = sequence.and_then(|sequence| self.index(sequence));
        let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) else {
            return false;
        };
        slot.resent_at = milliseconds(now);
        let first = !slot.is(Slot::RESENT);
        slot.flags |= Slot::RESENT;
        first
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        self.slots.get(self.index(sequence)?)
    }

    /// The slot of a number that is not newer than the newest, unless it is too old.
    fn index(&self, sequence: u64) -> Option<usize> {
        let age = self.newest?.checked_sub(sequence)?;
        let count = self.slots.len() as u64;
        (age < count).then(|| (sequence % count) as usize)
    }

    /// Makes slots up to a number, blank ones in between.
    fn advance(&mut self, sequence: u64, oldest: u32) {
        let Some(newest) = self.newest else {
            self.resize(SLOTS);
            self.newest = Some(sequence);
            return;
        };
        let Some(steps) = sequence.checked_sub(newest).filter(|steps| *steps > 0) else {
            return;
        };
        if steps >= MAX_SLOTS as u64 {
            self.slots.fill(Slot::default());
        } else {
            for next in newest + 1..=sequence {
                let occupied = |slots: &[Slot]| {
                    let slot = slots.get((next % slots.len().max(1) as u64) as usize);
                    slot.is_some_and(|slot| slot.is(Slot::SENT) && slot.packet.wrapping_sub(oldest).cast_signed() >= 0)
                };
                // What the slot holds could still be asked for: better another slot.
                if self.slots.len() < MAX_SLOTS && occupied(&self.slots) {
                    self.newest = Some(next - 1);
                    self.resize(self.slots.len() + self.slots.len().next_multiple_of(4 * SLOTS) / 4);
                }
                let count = self.slots.len() as u64;
                if let Some(slot) = self.slots.get_mut((next % count.max(1)) as usize) {
                    *slot = Slot::default();
                }
            }
        }
        self.newest = Some(sequence);
    }

    /// Changes the number of slots to a larger one; what they hold moves.
    fn resize(&mut self, count: usize) {
        let count = count.min(MAX_SLOTS);
        let mut slots = vec![Slot::default(); count].into_boxed_slice();
        let mut tags = vec![0; if self.with_tags { count } else { 0 }].into_boxed_slice();
        if let Some(newest) = self.newest {
            let oldest = newest.saturating_sub((self.slots.len() as u64).saturating_sub(1));
            for sequence in oldest..=newest {
                let Some(from) = self.index(sequence) else { continue };
                let to = (sequence % count.max(1) as u64) as usize;
                if let (Some(to), Some(from)) = (slots.get_mut(to), self.slots.get(from)) {
                    *to = *from;
                }
                if let (Some(to), Some(from)) = (tags.get_mut(to), self.tags.get(from)) {
                    *to = *from;
                }
            }
        }
        self.slots = slots;
        self.tags = tags;
    }
}

fn milliseconds(now: u64) -> u16 {
    (now / 1000) as u16
}

/// Bytes that may be sent again at a time: a large key frame that was lost.
const BURST: u32 = 128 * 1024;
/// Share of what is sent that may be sent again on top.
const SHARE: u32 = 4;

/// What a receiver may have repeated: a burst, and a quarter of what it gets. Requests are cheap to make up, and cause
/// traffic to an address: without a bound they would multiply it.
#[derive(Debug, Clone, Copy)]
pub struct ResendBudget {
    bytes: u32,
}

impl Default for ResendBudget {
    fn default() -> Self {
        Self { bytes: BURST }
    }
}

impl ResendBudget {
    /// Takes note of bytes that were sent without being asked for.
    pub fn earn(&mut self, bytes: usize) {
        let earned = u32::try_from(bytes).unwrap_or(BURST) / SHARE;
        self.bytes = self.bytes.saturating_add(earned).min(BURST);
    }

    /// Whether so many bytes may be sent again; if so, they are spent.
    pub fn spend(&mut self, bytes: usize) -> bool {
        let left = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.bytes.checked_sub(bytes));
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }
}

#[cfg(test)]
#[path = "retransmission_tests.rs"]
mod tests;
