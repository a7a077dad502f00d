//! The VP8 payload descriptor (RFC 7741 4.2).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Details, PayloadDescriptor};

/// A payload descriptor and the first bit of the payload header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// The picture id has 15 bits.
    pub long_picture_id: bool,
    /// Number of the frame of temporal layer 0 that this one builds on.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer.
    pub temporal_layer: Option<u8>,
    /// Depends on temporal layer 0 only (bit Y).
    pub layer_sync: bool,
    /// Key frame that this frame depends on, 5 bits.
    pub key_index: Option<u8>,
    /// Begins a partition (bit S).
    pub start: bool,
    /// Partition.
    pub partition: u8,
    /// The frame can be left out (bit N).
    pub non_reference: bool,
    /// Bytes of the descriptor.
    pub length: usize,
    /// First packet of a key frame.
    pub is_key_frame: bool,
}

impl Descriptor {
    /// Reads the beginning of a payload; None if it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload.iter().copied();
        let first = rest.next()?;
        let extended = if first & 0x80 != 0 { rest.next()? } else { 0 };
        let (mut picture_id, mut long_picture_id) = (None, false);
        if extended & 0x80 != 0 {
            let byte = rest.next()?;
            long_picture_id = byte & 0x80 != 0;
            let id = u16::from(byte & 0x7f);
            picture_id = Some(if long_picture_id {
                id << 8 | u16::from(rest.next()?)
            } else {
                id
            });
        }
        let tl0_picture_index = if extended & 0x40 != 0 { Some(rest.next()?) } else { None };
        let (has_temporal, has_key_index) = (extended & 0x20 != 0, extended & 0x10 != 0);
        let layers = if has_temporal || has_key_index { rest.next()? } else { 0 };
        let length = payload.len() - rest.len();
        // The payload header has to be there too: without it nothing is known of the frame.
        let payload_header = rest.next()?;
        let (start, partition) = (first & 0x10 != 0, first & 0x07);
        Some(Self {
            picture_id,
            long_picture_id,
            tl0_picture_index,
            temporal_layer: has_temporal.then_some(layers >> 6),
            layer_sync: has_temporal && layers & 0x20 != 0,
            key_index: has_key_index.then_some(layers & 0x1f),
            start,
            partition,
            non_reference: first & 0x20 != 0,
            length,
            // Bit P of the frame header, inverse key frame flag (RFC 7741 4.3).
            is_key_frame: start && partition == 0 && payload_header & 1 == 0,
        })
    }
}

/// Counters to write into a payload that has both of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// Picture id, written with 15 bits.
    pub picture_id: u16,
    /// TL0PICIDX.
    pub tl0_picture_index: u8,
    /// The payload has a picture id of 15 bits already.
    pub long_picture_id: bool,
}

impl Rewrite {
    /// Whether the payload becomes one byte longer.
    pub fn widens(&self) -> bool {
        !self.long_picture_id
    }

    /// What it adds to the counters of a payload, modulo their ranges.
    pub fn offsets_from(&self, payload: &Descriptor) -> Option<(u16, u8)> {
        let picture_id = self.picture_id.wrapping_sub(payload.picture_id?) & 0x7fff;
        Some((
            picture_id,
            self.tl0_picture_index.wrapping_sub(payload.tl0_picture_index?),
        ))
    }

    /// What adds so much to the counters of a payload.
    pub fn with_offsets((picture_id, tl0_picture_index): (u16, u8), payload: &Descriptor) -> Option<Self> {
        Some(Self {
            picture_id: payload.picture_id?.wrapping_add(picture_id) & 0x7fff,
            tl0_picture_index: payload.tl0_picture_index?.wrapping_add(tl0_picture_index),
            long_picture_id: payload.long_picture_id,
        })
    }

    /// Appends a payload with these counters.
    pub fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        // Both counters follow the two bytes of flags: the picture id, then TL0PICIDX.
        let counters = if self.long_picture_id { 3 } else { 2 };
        let (Some(flags), Some(rest)) = (payload.get(..2), payload.get(2 + counters..)) else {
            out.extend_from_slice(payload);
            return;
        };
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        out.extend_from_slice(flags);
        out.extend_from_slice(&[high, low, self.tl0_picture_index]);
        out.extend_from_slice(rest);
    }
}

impl From<Descriptor> for PayloadDescriptor {
    fn from(descriptor: Descriptor) -> Self {
        Self {
            is_key_frame: descriptor.is_key_frame,
            spatial_layer: 0,
            temporal_layer: descriptor.temporal_layer.unwrap_or_default(),
            details: Details::Vp8(descriptor),
        }
    }
}
