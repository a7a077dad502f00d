//! What layered consumers decide with: layers, and facts about the producer's streams.

use channel_proto::rtp_parameters::ConsumerLayers;

use crate::engine::decisions::Why;
use crate::rtp::clock::SenderClock;
pub use crate::rtp::codec::svc_layers::Layers;

/// Facts about one stream of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFacts {
    /// 0 to 10.
    pub score: u8,
    /// What time its timestamps mean, once a sender report told.
    pub clock: Option<SenderClock>,
    /// Bit i: something arrived lately of spatial layer i.
    pub spatial_layers: u128,
}

/// What a new target makes necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retargeted {
    /// Nothing is sent any more.
    pub stopped: bool,
    /// A key frame of this spatial layer.
    pub key_frame: Option<u8>,
}

/// A packet that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// Sequence number of the consumer.
    pub sequence_number: u16,
    /// Timestamp of the consumer.
    pub timestamp: u32,
    /// Whether it ends a frame for the receiver.
    pub marker: bool,
    /// Counters of the consumer.
    pub vp8: Option<crate::rtp::codec::vp8::Rewrite>,
    /// It is the first one since the consumer began or switched.
    pub began: bool,
    /// It begins another stream of the producer.
    pub switched: bool,
    /// Other layers are sent from here on.
    pub layers_changed: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes out.
    Send(Forwarded),
    /// It does not, though it is of what is sent or waited for.
    Drop(Why),
    /// It does not, since it is of a stream that has nothing to do with what is sent.
    Foreign,
    /// It does not, and another key frame of its stream is needed: its timestamps do not fit.
    KeyFrameNeeded,
}

/// Layers that a parent prefers, or all of them.
///
/// `asked` is clamped: spatial and temporal layers above the highest mean the highest, so does no temporal layer.
pub fn preferred(asked: Option<(i16, Option<i16>)>, spatial_layers: u8, temporal_layers: u8) -> Layers {
    let highest = Layers {
        spatial: spatial_layers.saturating_sub(1),
        temporal: temporal_layers.saturating_sub(1),
    };
    let clamp = |layer: i16, highest: u8| u8::try_from(layer.max(0)).map_or(highest, |layer| layer.min(highest));
    match asked {
        None => highest,
        Some((spatial, temporal)) => Layers {
            spatial: clamp(spatial, highest.spatial),
            temporal: temporal.map_or(highest.temporal, |layer| clamp(layer, highest.temporal)),
        },
    }
}

/// Layers as dumps and events have them: −1 for none.
pub fn numbers(layers: Option<Layers>) -> (i16, i16) {
    layers.map_or((-1, -1), |layers| (layers.spatial.into(), layers.temporal.into()))
}

/// Layers as the parent has them.
pub fn layers_of(layers: Layers) -> ConsumerLayers {
    ConsumerLayers {
        spatial_layer: layers.spatial.into(),
        temporal_layer: Some(layers.temporal.into()),
    }
}
