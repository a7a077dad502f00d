//! The VP9 payload descriptor (RFC 9628 4.2), up to its layer indices.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Details, PayloadDescriptor};

/// A payload descriptor without reference indices and scalability structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// The picture id has 15 bits.
    pub long_picture_id: bool,
    /// Predicted from earlier pictures (bit P).
    pub inter_predicted: bool,
    /// References are in the descriptor (bit F).
    pub flexible: bool,
    /// First packet of a layer frame (bit B).
    pub start: bool,
    /// Last packet of a layer frame (bit E).
    pub end: bool,
    /// A scalability structure follows (bit V).
    pub has_scalability: bool,
    /// No higher spatial layer is predicted from this one (bit Z).
    pub not_reference: bool,
    /// Spatial layer.
    pub spatial_layer: Option<u8>,
    /// Temporal layer.
    pub temporal_layer: Option<u8>,
    /// From here on a receiver can switch up to this temporal layer (bit U).
    pub switching_up: bool,
    /// Predicted from the spatial layer below (bit D).
    pub inter_layer: bool,
    /// Number of the picture of temporal layer 0 that this one builds on; in non-flexible mode only.
    pub tl0_picture_index: Option<u8>,
    /// First packet of a key frame.
    pub is_key_frame: bool,
}

impl Descriptor {
    /// Reads the beginning of a payload; None if it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload.iter().copied();
        let first = rest.next()?;
        let (mut picture_id, mut long_picture_id) = (None, false);
        if first & 0x80 != 0 {
            let byte = rest.next()?;
            long_picture_id = byte & 0x80 != 0;
            let id = u16::from(byte & 0x7f);
            picture_id = Some(if long_picture_id {
                id << 8 | u16::from(rest.next()?)
            } else {
                id
            });
        }
        let flexible = first & 0x10 != 0;
        let layers = if first & 0x20 != 0 { Some(rest.next()?) } else { None };
        let tl0_picture_index = if layers.is_some() && !flexible {
            Some(rest.next()?)
        } else {
            None
        };
        // A descriptor is followed by something: references, a structure or the frame itself.
        rest.next()?;
        let spatial_layer = layers.map(|layers| layers >> 1 & 7);
        let (inter_predicted, start) = (first & 0x40 != 0, first & 0x08 != 0);
        Some(Self {
            picture_id,
            long_picture_id,
            inter_predicted,
            flexible,
            start,
            end: first & 0x04 != 0,
            has_scalability: first & 0x02 != 0,
            not_reference: first & 0x01 != 0,
            spatial_layer,
            temporal_layer: layers.map(|layers| layers >> 5),
            switching_up: layers.is_some_and(|layers| layers & 0x10 != 0),
            inter_layer: layers.is_some_and(|layers| layers & 0x01 != 0),
            tl0_picture_index,
            is_key_frame: !inter_predicted && start && spatial_layer.unwrap_or_default() == 0,
        })
    }
}

impl From<Descriptor> for PayloadDescriptor {
    fn from(descriptor: Descriptor) -> Self {
        Self {
            is_key_frame: descriptor.is_key_frame,
            spatial_layer: descriptor.spatial_layer.unwrap_or_default(),
            temporal_layer: descriptor.temporal_layer.unwrap_or_default(),
            details: Details::Vp9(descriptor),
        }
    }
}
