//! The frame marking header extension (draft-ietf-avtext-framemarking), and temporal layers by it for one receiver.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// What the extension tells of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMarking {
    /// First packet of a frame.
    pub start: bool,
    /// Last packet of a frame.
    pub end: bool,
    /// The frame can be decoded without others.
    pub independent: bool,
    /// No other frame needs this one.
    pub discardable: bool,
    /// The frame needs frames of temporal layer 0 only.
    pub base_layer_sync: bool,
    /// Temporal layer.
    pub temporal_layer: u8,
}

impl FrameMarking {
    /// Reads the value of the extension: one byte for streams without layers, more for others.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (first, rest) = value.split_first()?;
        let scalable = !rest.is_empty();
        Some(Self {
            start: first & 0x80 != 0,
            end: first & 0x40 != 0,
            independent: first & 0x20 != 0,
            discardable: first & 0x10 != 0,
            base_layer_sync: scalable && first & 0x08 != 0,
            temporal_layer: if scalable { first & 0x07 } else { 0 },
        })
    }
}

/// Which temporal layers a receiver gets of one stream at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct MarkedLayers {
    target: u8,
    current: u8,
    /// Timestamp of the newest frame that goes out: what has begun is ended, whatever the layers are then.
    sending: Option<u32>,
}

impl MarkedLayers {
    /// Changes the highest temporal layer.
    pub fn set_target(&mut self, target: u8) {
        self.target = target;
    }

    /// Highest temporal layer that goes out now.
    pub fn current(&self) -> u8 {
        self.current
    }

    /// The next packet begins a stream, with a key frame.
    pub fn begin(&mut self, target: u8) {
        *self = Self {
            target,
            ..Self::default()
        };
    }

    /// Whether a packet goes out.
    pub fn process(&mut self, marking: &FrameMarking, timestamp: u32) -> bool {
        let layer = marking.temporal_layer;
        let wanted = layer <= self.target && (layer <= self.current || marking.base_layer_sync);
        if !wanted && self.sending != Some(timestamp) {
            return false;
        }
        self.sending = Some(timestamp);
        if layer > self.current || layer == self.target {
            self.current = layer;
        }
        self.current = self.current.min(self.target);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let marking = FrameMarking::read(&[0xaa, 0, 7]).unwrap();
        assert!(marking.start && !marking.end && marking.independent && marking.base_layer_sync);
        assert_eq!(marking.temporal_layer, 2);
        assert_eq!(
            FrameMarking::read(&[0x4a]).map(|marking| marking.temporal_layer),
            Some(0)
        );
        assert_eq!(FrameMarking::read(&[]), None);
    }

    #[test]
    fn layers_are_entered_at_sync_points_and_left_between_frames() {
        let frame = |layer: u8, sync: bool| FrameMarking::read(&[layer | u8::from(sync) << 3, 0, 0]).unwrap();
        let mut layers = MarkedLayers::default();
        layers.begin(2);
        assert!(layers.process(&frame(0, false), 0));
        assert!(!layers.process(&frame(2, false), 1));
        assert!(layers.process(&frame(1, true), 2) && layers.process(&frame(2, true), 3));
        assert_eq!(layers.current(), 2);
        layers.set_target(0);
        // The frame that has begun is ended, the next one does not begin.
        assert!(layers.process(&frame(2, true), 3));
        assert!(!layers.process(&frame(1, true), 4));
        assert!(layers.process(&frame(0, false), 5));
        assert_eq!(layers.current(), 0);
    }
}
