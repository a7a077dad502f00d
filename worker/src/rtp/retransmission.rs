//! Packets that have been sent, for whoever asks for them again (RFC 4585, RFC 4588).
//!
//! What was received is kept once, in a [`PacketStore`], for all receivers. Each receiver's [`SentHistory`] only notes
//! how it got a packet: a few bytes. [`ResendBudget`] bounds what a receiver can make us send.
//!
//! Times are microseconds of a monotonic clock.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;

use crate::rtp::sequence::relative_to;

/// Bytes of a block. Larger packets are not kept.
const BLOCK: usize = 16 * 1024;

/// Packets in the order of their arrival, in blocks of bytes that are used again and again; there are as many of them as
/// the traffic needs, up to a bound. It forgets packets that are too old, and when all blocks are full the oldest.
#[derive(Debug)]
pub struct PacketStore<T> {
    /// From the oldest to the one that is being filled.
    blocks: VecDeque<Box<[u8]>>,
    /// Number of the first one of `blocks`; numbers wrap.
    first_block: u32,
    /// Bytes used of the last block.
    filled: usize,
    packets: VecDeque<Stored<T>>,
    /// Number of the first one of `packets`; numbers wrap.
    first: u32,
    max_age: u64,
    max_blocks: usize,
}

#[derive(Debug)]
struct Stored<T> {
    at: u64,
    block: u32,
    offset: u16,
    length: u16,
    facts: T,
}

/// Offsets and lengths within a block fit [`Stored`].
const _: () = assert!(BLOCK <= u16::MAX as usize);

impl<T: Copy> PacketStore<T> {
    /// An empty store for packets up to an age in microseconds, of so many bytes in all.
    pub fn new(max_age: u64, max_bytes: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            first_block: 0,
            filled: 0,
            packets: VecDeque::new(),
            first: 0,
            max_age,
            max_blocks: (max_bytes / BLOCK).max(1),
        }
    }

    /// Adds a packet, given as a header and a payload, with facts about it; returns its number. None: it is too large.
    pub fn add(&mut self, header: &[u8], payload: &[u8], facts: T, now: u64) -> Option<u32> {
        let length = header.len() + payload.len();
        if length > BLOCK {
            return None;
        }
        while self.front_is_old(now) {
            self.forget();
        }
        if self.blocks.is_empty() || self.filled + length > BLOCK {
            self.next_block();
        }
        let offset = self.filled;
        let to = self.blocks.back_mut()?.get_mut(offset..offset + length)?;
        let (to_header, to_payload) = to.split_at_mut_checked(header.len())?;
        to_header.copy_from_slice(header);
        to_payload.copy_from_slice(payload);
        self.filled += length;
        self.packets.push_back(Stored {
            at: now,
            block: self.first_block.wrapping_add(self.blocks.len() as u32 - 1),
            offset: offset as u16,
            length: length as u16,
            facts,
        });
        Some(self.first.wrapping_add(self.packets.len() as u32 - 1))
    }

    /// Starts a block: the oldest one if nothing in it is needed or there may be no more, else a new one.
    fn next_block(&mut self) {
        self.filled = 0;
        let needed = self.packets.front().map(|packet| packet.block);
        if needed == Some(self.first_block) || self.blocks.is_empty() {
            if self.blocks.len() < self.max_blocks {
                self.blocks.push_back(vec![0; BLOCK].into_boxed_slice());
                return;
            }
            while self
                .packets
                .front()
                .is_some_and(|packet| packet.block == self.first_block)
            {
                self.forget();
            }
        }
        if let Some(block) = self.blocks.pop_front() {
            self.first_block = self.first_block.wrapping_add(1);
            self.blocks.push_back(block);
        }
    }

    /// A packet by its number.
    pub fn get(&self, number: u32, now: u64) -> Option<(&[u8], T)> {
        let index = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        let packet = self.packets.get(index)?;
        if now.saturating_sub(packet.at) > self.max_age {
            return None;
        }
        let block = usize::try_from(packet.block.wrapping_sub(self.first_block)).ok()?;
        let offset = usize::from(packet.offset);
        let bytes = self
            .blocks
            .get(block)?
            .get(offset..offset + usize::from(packet.length))?;
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
        self.blocks = VecDeque::new();
        self.filled = 0;
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
}

/// How a receiver got a packet: where it is kept, and what differs from how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentPacket {
    /// Number of the packet in its store.
    pub packet: u32,
    /// What was added to its timestamp.
    pub timestamp_offset: u32,
    /// The marker, if it is not its own.
    pub marker: Option<bool>,
    /// What was added to picture id and TL0PICIDX of a VP8 payload.
    pub vp8_offsets: Option<(u16, u8)>,
    /// What only a repetition byte by byte needs; None if nothing is needed for that.
    pub exact: Option<Exact>,
}

/// What makes the bytes of one packet on the wire its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exact {
    /// Its number among all packets of the receiver's transport.
    pub wide_sequence_number: u16,
    /// Its last four bytes.
    pub tail: [u8; 4],
}

/// Runs of a history at most.
const MAX_RUNS: usize = 1024;
/// Repetitions that are remembered at most.
const MAX_REPEATED: usize = 512;
/// Packets whose exact bytes are told at most: SRTP senders can repeat no more.
const MAX_EXACT: usize = 1024;
/// Where unwrapped numbers begin.
const ORIGIN: u64 = 1 << 32;

/// What a receiver got lately, by sequence number. Packets that lie together in the store, and were changed in the same
/// way, are one run: a receiver that gets everything needs a few bytes, whatever the bitrate.
#[derive(Debug, Default)]
pub struct SentHistory {
    /// By sequence number, not overlapping.
    runs: VecDeque<Run>,
    /// Highest sequence number sent, unwrapped.
    newest: Option<u64>,
    /// Packets sent again, by sequence number: when that was last.
    repeated: VecDeque<(u64, u64)>,
    /// Whether packets are repeated byte by byte.
    with_exact: bool,
    /// Of the last packets: by sequence number modulo their count.
    exact: Box<[ExactSlot]>,
}

/// 8 bytes: there is one for each packet.
#[derive(Debug, Clone, Copy, Default)]
struct ExactSlot {
    tail: [u8; 4],
    wide_sequence_number: u16,
    /// Low bits of the sequence number.
    sequence: u16,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    first: u64,
    count: u32,
    /// The first packet; the others follow. In it, `exact` means nothing.
    sent: SentPacket,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Whether a packet continues the run.
    fn precedes(&self, sequence: u64, sent: &SentPacket) -> bool {
        let following = SentPacket {
            packet: self.sent.packet.wrapping_add(self.count),
            exact: sent.exact,
            ..self.sent
        };
        self.end() == sequence && following == *sent
    }
}

impl SentHistory {
    /// Nothing has been sent. `exact`: packets are repeated byte by byte.
    pub fn new(exact: bool) -> Self {
        Self {
            with_exact: exact,
            ..Self::default()
        }
    }

    /// Whether a packet with this sequence number has been sent already.
    pub fn contains(&self, sequence_number: u16) -> bool {
        let Some(newest) = self.newest else { return false };
        let sequence = relative_to::<16>(newest, sequence_number);
        sequence <= newest && self.run(sequence).is_some()
    }

    /// Takes a packet that was sent and is not contained. `oldest` is the oldest packet in the store.
    pub fn add(&mut self, sequence_number: u16, sent: SentPacket, oldest: u32) {
        let sequence = match self.newest {
            None => ORIGIN + u64::from(sequence_number),
            Some(newest) => relative_to::<16>(newest, sequence_number),
        };
        self.newest = self.newest.max(Some(sequence));
        if let Some(exact) = sent.exact.filter(|_| self.with_exact) {
            self.keep_exact(sequence, exact);
        }
        // Nearly always at the end.
        let at = self
            .runs
            .iter()
            .rposition(|run| run.first <= sequence)
            .map_or(0, |at| at + 1);
        let before = at.checked_sub(1).and_then(|before| self.runs.get_mut(before));
        if let Some(run) = before {
            if run.precedes(sequence, &sent) {
                run.count += 1;
                self.forget(oldest);
                return;
            }
            if sequence < run.end() {
                return;
            }
        }
        self.runs.insert(
            at,
            Run {
                first: sequence,
                count: 1,
                sent,
            },
        );
        self.forget(oldest);
    }

    /// Forgets what is not in the store any more.
    fn forget(&mut self, oldest: u32) {
        let too_many = self.runs.len() > MAX_RUNS;
        if too_many {
            self.runs.pop_front();
        }
        while let Some(run) = self.runs.front_mut() {
            let gone = u32::try_from(oldest.wrapping_sub(run.sent.packet).cast_signed()).unwrap_or_default();
            if gone < run.count {
                run.first += u64::from(gone);
                run.sent.packet = run.sent.packet.wrapping_add(gone);
                run.count -= gone;
                break;
            }
            self.runs.pop_front();
        }
        let first = self.runs.front().map_or(0, |run| run.first);
        while self.repeated.front().is_some_and(|(sequence, _)| *sequence < first) {
            self.repeated.pop_front();
        }
    }

    fn run(&self, sequence: u64) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.first <= sequence).checked_sub(1)?;
        self.runs.get(at).filter(|run| sequence < run.end())
    }

    /// A packet to send again: None if it was not sent, is forgotten, or was repeated after `since`.
    pub fn find(&self, sequence_number: u16, since: u64) -> Option<SentPacket> {
        let sequence = relative_to::<16>(self.newest?, sequence_number);
        let run = self.run(sequence)?;
        if let Ok(at) = self.repetition(sequence)
            && let Some((_, repeated_at)) = self.repeated.get(at)
            && *repeated_at > since
        {
            return None;
        }
        let exact = match run.sent.exact {
            Some(_) if self.with_exact => Some(self.exact(sequence)?),
            _ => None,
        };
        Some(SentPacket {
            packet: run.sent.packet.wrapping_add((sequence - run.first) as u32),
            exact,
            ..run.sent
        })
    }

    fn repetition(&self, sequence: u64) -> Result<usize, usize> {
        self.repeated.binary_search_by_key(&sequence, |(sequence, _)| *sequence)
    }

    /// Notes that a packet was sent again; true the first time.
    pub fn resent(&mut self, sequence_number: u16, now: u64) -> bool {
        let Some(newest) = self.newest else { return false };
        let sequence = relative_to::<16>(newest, sequence_number);
        match self.repetition(sequence) {
            Ok(at) => {
                if let Some(repetition) = self.repeated.get_mut(at) {
                    repetition.1 = now;
                }
                false
            }
            Err(at) => {
                self.repeated.insert(at, (sequence, now));
                if self.repeated.len() > MAX_REPEATED {
                    self.repeated.pop_front();
                }
                true
            }
        }
    }

    fn exact(&self, sequence: u64) -> Option<Exact> {
        let count = self.exact.len() as u64;
        let slot = self.exact.get(sequence.checked_rem(count)? as usize)?;
        let in_window = self.newest? - sequence < count;
        (in_window && slot.sequence == sequence as u16).then_some(Exact {
            wide_sequence_number: slot.wide_sequence_number,
            tail: slot.tail,
        })
    }

    fn keep_exact(&mut self, sequence: u64, exact: Exact) {
        let Some(newest) = self.newest else { return };
        // As many as the runs span, so that low rates need little.
        let first = self.runs.front().map_or(sequence, |run| run.first.min(sequence));
        let needed = newest - first + 1;
        if needed > self.exact.len() as u64 && self.exact.len() < MAX_EXACT {
            let count = (needed.next_multiple_of(64) as usize).min(MAX_EXACT);
            let mut larger = vec![ExactSlot::default(); count].into_boxed_slice();
            // Vacant slots have the number of a neighbour: as their count is even, it never lands there.
            for sequence in (newest + 1).saturating_sub(count as u64)..=newest {
                put(&mut larger, sequence, Exact::default());
                if let Some(slot) = larger.get_mut((sequence % count as u64) as usize) {
                    slot.sequence ^= 1;
                }
            }
            for sequence in newest.saturating_sub(self.exact.len() as u64)..=newest {
                if let Some(exact) = self.exact(sequence) {
                    put(&mut larger, sequence, exact);
                }
            }
            self.exact = larger;
        }
        if newest - sequence < self.exact.len() as u64 {
            put(&mut self.exact, sequence, exact);
        }
    }
}

fn put(slots: &mut [ExactSlot], sequence: u64, exact: Exact) {
    let count = slots.len().max(1) as u64;
    if let Some(slot) = slots.get_mut((sequence % count) as usize) {
        *slot = ExactSlot {
            tail: exact.tail,
            wide_sequence_number: exact.wide_sequence_number,
            sequence: sequence as u16,
        };
    }
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
