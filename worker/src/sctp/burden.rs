//! What a peer has us hold beyond what the receive window counts.
//!
//! The stack bounds the bytes of messages that are not complete, but each chunk of them costs about a hundred bytes
//! beside its payload, and a FORWARD TSN that waits for the reset of a stream (RFC 6525 5.2.2) is not bounded at all. So
//! chunks with little payload are counted as long as they may be held; a peer with too many of them is cut off. So is one
//! that sends a message far longer than agreed: it could never be complete, and nothing else would fit beside it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::chunks::{Chunk, DATA, FORWARD_TSN, I_DATA, I_FORWARD_TSN, SACK, chunks};

/// Bytes of a DATA chunk before its payload, and its flags (RFC 9260 3.3.1).
const DATA_HEADER: usize = 16;
const BEGINS: u8 = 2;
const ENDS: u8 = 1;
/// A chunk with less payload than this, in bytes, costs more to hold than it carries.
const SMALL: usize = 128;
/// What a small chunk counts.
const COST: u32 = 4;
/// Small chunks that may be held. Ordinary peers stay far below.
const MAX_HELD: u32 = 65_536;
/// What a complete message takes back: most are one small chunk at most. More than that one, since a chunk that comes
/// twice is counted twice; less than two, since somebody could have us hold the second.
const RELIEF: u32 = 5;
/// Bytes of a FORWARD TSN, which names streams, that weigh as much as a small chunk.
const FORWARD_BYTES: usize = 16;

/// What one peer has us hold.
#[derive(Debug, Default)]
pub struct Burden {
    /// Small chunks that may be held, times [`COST`].
    weight: u32,
    /// The widest window that was offered: what is missing of it is held.
    widest: u32,
    /// Longest message in bytes.
    longest: usize,
    /// Of the message whose pieces come: the number of the next one, and the bytes of those that came in a row.
    row: Option<(u32, usize)>,
}

impl Burden {
    /// Nothing is held. A message may have `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            ..Self::default()
        }
    }

    /// A packet of the peer comes. True: that is too much.
    pub fn receive(&mut self, packet: &[u8]) -> bool {
        for chunk in chunks(packet) {
            if chunk.kind == DATA && self.too_long(&chunk) {
                return true;
            }
            let length = chunk.bytes.len();
            let count = match chunk.kind {
                DATA if length < DATA_HEADER + SMALL => 1,
                I_DATA if length < 20 + SMALL => 1,
                FORWARD_TSN | I_FORWARD_TSN => length.div_ceil(FORWARD_BYTES),
                _ => 0,
            };
            self.weight = self.weight.saturating_add(count as u32 * COST);
        }
        self.weight > MAX_HELD * COST
    }

    /// Whether a piece belongs to a message that is too long. Pieces with successive numbers belong to one message, up to
    /// one that begins or ends another, so what is told of a row is certain; a row with gaps is bounded by the window.
    fn too_long(&mut self, chunk: &Chunk<'_>) -> bool {
        let (Some(flags), Some(number)) = (chunk.bytes.get(1), chunk.bytes.get(4..8).and_then(<[u8]>::first_chunk))
        else {
            return false;
        };
        let number = u32::from_be_bytes(*number);
        let length = chunk.bytes.len().saturating_sub(DATA_HEADER);
        let bytes = match self.row {
            Some((next, before)) if next == number && flags & BEGINS == 0 => before + length,
            _ => length,
        };
        self.row = (flags & ENDS == 0).then_some((number.wrapping_add(1), bytes));
        bytes > self.longest
    }

    /// A message is complete, and no longer held.
    pub fn completed(&mut self) {
        self.weight = self.weight.saturating_sub(RELIEF);
    }

    /// A packet leaves. If it offers a window, it says how many bytes are held, and each chunk has one at least.
    pub fn sent(&mut self, packet: &[u8]) {
        let sack = chunks(packet).find(|chunk| chunk.kind == SACK);
        let Some(window) = sack.as_ref().and_then(offered_window) else {
            return;
        };
        self.widest = self.widest.max(window);
        self.weight = self.weight.min((self.widest - window).saturating_mul(COST));
    }
}

/// The window of a SACK in bytes (RFC 9260 3.3.4).
fn offered_window(sack: &Chunk<'_>) -> Option<u32> {
    sack.value().get(4..8)?.first_chunk().copied().map(u32::from_be_bytes)
}
