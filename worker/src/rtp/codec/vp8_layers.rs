//! Temporal layers of VP8 (RFC 7741) for one receiver: which frames it gets, and counters without gaps.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::vp8::{Descriptor, Rewrite};
use crate::rtp::sequence::SequenceMapper;

/// What a receiver gets of one VP8 stream at a time.
#[derive(Debug)]
pub struct Vp8Layers {
    /// Highest temporal layer to send.
    target: u8,
    /// Highest temporal layer that the receiver can decode now.
    current: u8,
    picture_ids: SequenceMapper<15>,
    tl0_picture_indices: SequenceMapper<8>,
    /// The next packet begins a stream that follows on another one.
    sync: bool,
    /// Newest picture that goes out: what has begun is ended, whatever the layers are then.
    sending: Option<u16>,
}

impl Vp8Layers {
    /// Nothing has been sent; counters begin with 1.
    pub fn new() -> Self {
        Self {
            target: 0,
            current: 0,
            picture_ids: SequenceMapper::new(),
            tl0_picture_indices: SequenceMapper::new(),
            sync: true,
            sending: None,
        }
    }

    /// Changes the highest temporal layer.
    pub fn set_target(&mut self, target: u8) {
        self.target = target;
    }

    /// Highest temporal layer that goes out now.
    pub fn current(&self) -> u8 {
        self.current
    }

    /// The next packet begins a stream, with a key frame: its counters continue those sent before.
    pub fn begin(&mut self, target: u8) {
        self.target = target;
        self.current = 0;
        self.sync = true;
        self.sending = None;
    }

    fn wants(&self, layer: u8, layer_sync: bool) -> bool {
        layer <= self.target && (layer <= self.current || layer_sync)
    }

    /// None: the packet is to be dropped. Otherwise the counters to send it with, if it has any.
    pub fn process(&mut self, packet: &Descriptor) -> Option<Option<Rewrite>> {
        let counters = packet.picture_id.zip(packet.tl0_picture_index);
        if let Some((picture_id, tl0_picture_index)) = counters
            && self.sync
        {
            self.picture_ids.sync(picture_id.wrapping_sub(1));
            self.tl0_picture_indices
                .sync(u16::from(tl0_picture_index.wrapping_sub(1)));
            self.sync = false;
        }
        let layer = packet.temporal_layer.unwrap_or_default();
        let mut rewrite = None;
        if let Some((picture_id, tl0_picture_index)) = counters {
            let wanted = self.sending == Some(picture_id) || self.wants(layer, packet.layer_sync);
            if packet.temporal_layer.is_some() && !wanted {
                self.picture_ids.drop(picture_id);
                if layer == 0 {
                    self.tl0_picture_indices.drop(u16::from(tl0_picture_index));
                }
                return None;
            }
            rewrite = Some(Rewrite {
                picture_id: self.picture_ids.input(picture_id)?,
                tl0_picture_index: self.tl0_picture_indices.input(u16::from(tl0_picture_index))? as u8,
                long_picture_id: packet.long_picture_id,
            });
            self.sending = self.picture_ids.max_input();
        } else if !self.wants(layer, packet.layer_sync) {
            return None;
        }
        // A higher layer that passed is a point to switch up; the target is where to switch down.
        self.current = match packet.temporal_layer {
            Some(layer) if layer > self.current || layer == self.target => layer,
            Some(_) => self.current,
            None => 0,
        };
        self.current = self.current.min(self.target);
        Some(rewrite)
    }
}

impl Default for Vp8Layers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(picture_id: u16, tl0: u8, layer: u8, layer_sync: bool) -> Descriptor {
        Descriptor {
            picture_id: Some(picture_id),
            long_picture_id: true,
            tl0_picture_index: Some(tl0),
            temporal_layer: Some(layer),
            layer_sync,
            key_index: None,
            start: true,
            partition: 0,
            non_reference: false,
            length: 6,
            is_key_frame: false,
        }
    }

    fn sent(layers: &mut Vp8Layers, frame: Descriptor) -> Option<(u16, u8)> {
        let rewrite = layers.process(&frame)?;
        rewrite.map(|rewrite| (rewrite.picture_id, rewrite.tl0_picture_index))
    }

    #[test]
    fn layers_above_the_target_leave_no_gap_in_picture_ids() {
        let mut layers = Vp8Layers::new();
        layers.begin(1);
        assert_eq!(sent(&mut layers, frame(32_766, 255, 0, false)), Some((1, 1)));
        assert_eq!(sent(&mut layers, frame(32_767, 255, 2, true)), None);
        assert_eq!(sent(&mut layers, frame(0, 255, 1, true)), Some((2, 1)));
        assert_eq!(layers.current(), 1);
        assert_eq!(sent(&mut layers, frame(1, 255, 2, true)), None);
        assert_eq!(sent(&mut layers, frame(2, 0, 0, false)), Some((3, 2)));
        // Lost: 3. It stays a gap.
        assert_eq!(sent(&mut layers, frame(4, 0, 1, false)), Some((5, 2)));
    }

    #[test]
    fn a_layer_is_entered_at_its_sync_point_only() {
        let mut layers = Vp8Layers::new();
        layers.begin(2);
        assert_eq!(sent(&mut layers, frame(10, 7, 0, false)), Some((1, 1)));
        assert_eq!(sent(&mut layers, frame(11, 7, 2, false)), None);
        assert_eq!(sent(&mut layers, frame(12, 7, 2, true)), Some((2, 1)));
        assert_eq!(layers.current(), 2);
        layers.set_target(0);
        assert_eq!(sent(&mut layers, frame(13, 7, 1, false)), None);
        assert_eq!(layers.current(), 2);
        assert_eq!(sent(&mut layers, frame(14, 8, 0, false)), Some((3, 2)));
        assert_eq!(layers.current(), 0);
    }

    #[test]
    fn a_picture_that_has_begun_is_ended() {
        let mut layers = Vp8Layers::new();
        layers.begin(1);
        assert_eq!(sent(&mut layers, frame(10, 7, 0, false)), Some((1, 1)));
        assert_eq!(sent(&mut layers, frame(11, 7, 1, true)), Some((2, 1)));
        layers.set_target(0);
        assert_eq!(sent(&mut layers, frame(11, 7, 1, true)), Some((2, 1)));
        assert_eq!(sent(&mut layers, frame(12, 7, 1, true)), None);
        layers.set_target(1);
        assert_eq!(sent(&mut layers, frame(12, 7, 1, true)), None);
        assert_eq!(sent(&mut layers, frame(13, 8, 0, true)), Some((3, 2)));
    }

    #[test]
    fn another_stream_continues_the_counters() {
        let mut layers = Vp8Layers::new();
        layers.begin(2);
        assert_eq!(sent(&mut layers, frame(100, 100, 0, false)), Some((1, 1)));
        layers.begin(2);
        assert_eq!(sent(&mut layers, frame(5, 250, 0, false)), Some((2, 2)));
        // What is left of before is older than the beginning.
        assert_eq!(sent(&mut layers, frame(4, 250, 0, false)), None);
    }

    #[test]
    fn a_stream_without_counters_passes_whole() {
        let mut layers = Vp8Layers::new();
        layers.begin(2);
        let bare = Descriptor {
            picture_id: None,
            tl0_picture_index: None,
            temporal_layer: None,
            ..frame(0, 0, 0, false)
        };
        assert_eq!(layers.process(&bare), Some(None));
    }
}
