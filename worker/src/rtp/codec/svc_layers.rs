//! Spatial and temporal layers of one stream for one receiver: VP9 (RFC 9628), AV1 with a dependency descriptor.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use smallvec::SmallVec;

use super::vp9::Descriptor;

/// How far back a layer change is remembered for late packets, in pictures.
const HISTORY: u16 = 1000;
/// Layer changes that are remembered.
const MAX_CHANGES: usize = 16;

/// Layers: the highest spatial one, and the highest temporal one of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layers {
    /// Spatial layer, from 0.
    pub spatial: u8,
    /// Temporal layer, from 0.
    pub temporal: u8,
}

/// What has to be known of a packet: it is of one frame of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerPacket {
    /// Number of its picture and how many bits such numbers have.
    pub picture: Option<(u16, u32)>,
    /// Layer of its frame.
    pub layer: Layers,
    /// First packet of its frame.
    pub start: bool,
    /// Last packet of its frame.
    pub end: bool,
    /// A receiver can begin here.
    pub is_key_frame: bool,
    /// Predicted from earlier pictures. A frame that is not can be entered from the layer below (RFC 9628 4.2); in a key
    /// picture none is.
    pub inter_predicted: bool,
    /// Predicted from the spatial layer below.
    pub inter_layer: bool,
    /// Later frames of higher temporal layers need none of these layers from before it.
    pub switching_up: bool,
}

impl From<&Descriptor> for LayerPacket {
    fn from(descriptor: &Descriptor) -> Self {
        let bits = if descriptor.long_picture_id { 15 } else { 7 };
        Self {
            picture: descriptor.picture_id.map(|picture_id| (picture_id, bits)),
            layer: Layers {
                spatial: descriptor.spatial_layer.unwrap_or_default(),
                temporal: descriptor.temporal_layer.unwrap_or_default(),
            },
            start: descriptor.start,
            end: descriptor.end,
            is_key_frame: descriptor.is_key_frame,
            inter_predicted: descriptor.inter_predicted,
            inter_layer: descriptor.inter_layer,
            switching_up: descriptor.switching_up,
        }
    }
}

/// What a receiver gets of one stream.
#[derive(Debug)]
pub struct SvcLayers {
    announced: Layers,
    /// Spatial layers depend on each other in key frames only.
    k_svc: bool,
    target: Layers,
    /// None before the first key frame.
    current: Option<Layers>,
    /// Frames of temporal layers up to this one need nothing that has been left out, as the sender's switching points
    /// (RFC 9628 4.2) tell.
    reachable: u8,
    /// Newest picture and how many bits its number has.
    newest: Option<(u16, u32)>,
    /// Layers that may go out from a picture on, newest last; spilled only by changes in quick succession.
    changes: SmallVec<[(u16, Layers); 2]>,
    /// The newest picture of which higher spatial layers were left out, and the lowest of these.
    left_out: Option<(u16, u8)>,
}

/// Distance from `from` to `to` on a ring of so many bits; negative if `to` is older.
fn distance(from: u16, to: u16, bits: u32) -> i32 {
    let mask = (1_u32 << bits) - 1;
    let forward = (u32::from(to).wrapping_sub(u32::from(from)) & mask).cast_signed();
    if forward > (mask / 2).cast_signed() {
        forward - mask.cast_signed() - 1
    } else {
        forward
    }
}

impl SvcLayers {
    /// For a stream with so many spatial and temporal layers.
    pub fn new(spatial_layers: u8, temporal_layers: u8, k_svc: bool) -> Self {
        let announced = Layers {
            spatial: spatial_layers,
            temporal: temporal_layers,
        };
        let lowest = Layers {
            spatial: 0,
            temporal: 0,
        };
        Self {
            announced,
            k_svc,
            target: lowest,
            current: None,
            reachable: 0,
            newest: None,
            changes: SmallVec::new(),
            left_out: None,
        }
    }

    /// Changes the highest layers.
    pub fn set_target(&mut self, target: Layers) {
        self.target = target;
    }

    /// The highest layers that go out now.
    pub fn current(&self) -> Option<Layers> {
        self.current
    }

    /// The next packet is the first one of a key frame with which the receiver begins.
    pub fn begin(&mut self) {
        self.current = None;
        self.reachable = 0;
        self.newest = None;
        self.changes.clear();
        self.left_out = None;
    }

    /// None: the packet is to be dropped. Otherwise whether it ends a picture of the receiver.
    pub fn process(&mut self, packet: &LayerPacket) -> Option<bool> {
        let layer = packet.layer;
        if layer.spatial >= self.announced.spatial || layer.temporal >= self.announced.temporal {
            return None;
        }
        if let (Some((picture_id, bits)), Some((newest, known_bits))) = (packet.picture, self.newest)
            && known_bits == bits
            && distance(newest, picture_id, bits) < 0
        {
            return self.late(packet, picture_id, bits, layer);
        }
        let mut current = self.switch_spatial(packet, layer)?;
        if self.is_filtered(packet, layer, current) {
            if self.current.is_some_and(|before| current.spatial < before.spatial) {
                // The key picture with which its layer ends.
                self.update(packet, current, false);
            }
            if layer.spatial > current.spatial {
                self.note_left_out(packet, layer.spatial);
            }
            return None;
        }
        if layer.temporal > current.temporal.max(self.reachable.min(self.target.temporal)) {
            self.reachable = self.reachable.min(layer.temporal - 1);
            return None;
        }
        current.temporal = current.temporal.max(layer.temporal);
        // Later frames of higher temporal layers need nothing from before this one but what has been sent.
        let reaches_more = (packet.switching_up || packet.is_key_frame) && self.reachable < u8::MAX;
        if reaches_more {
            self.reachable = u8::MAX;
        }
        if self.target.temporal < current.temporal && layer.temporal == self.target.temporal && packet.end {
            current.temporal = self.target.temporal;
        }
        self.update(packet, current, reaches_more);
        Some(packet.end && layer.spatial == current.spatial)
    }

    fn switch_spatial(&self, packet: &LayerPacket, layer: Layers) -> Option<Layers> {
        let target = self.target.spatial;
        let Some(mut current) = self.current else {
            let first = Layers {
                spatial: target,
                temporal: 0,
            };
            return packet.is_key_frame.then_some(first);
        };
        if target > current.spatial {
            if let Some(spatial) = self.entered(packet, layer, current.spatial) {
                current = Layers { spatial, temporal: 0 };
            }
        } else if target < current.spatial {
            let here = if self.k_svc {
                packet.is_key_frame || (!packet.inter_predicted && self.is_first_of_picture(packet))
            } else {
                // With a packet that goes out: the marker it gets tells the receiver.
                layer.spatial == target && packet.end && layer.temporal <= current.temporal
            };
            if here {
                // Temporal layers below are whole as far as they were sent, so they stay.
                current.spatial = target;
            }
        }
        Some(current)
    }

    /// The spatial layer up to which a packet lets the receiver climb. Those of a key picture may come in any order, its
    /// first one last, and none can be sent later: what follows one that was left out has taken its number.
    fn entered(&self, packet: &LayerPacket, layer: Layers, current: u8) -> Option<u8> {
        let target = self.target.spatial;
        let opens = !packet.inter_predicted && layer.temporal == 0 && layer.spatial <= target;
        let spatial = match layer.spatial {
            _ if packet.is_key_frame => target,
            _ if !opens => return None,
            0 => target,
            // What is below it has been overtaken: otherwise the picture would have been entered by that.
            _ if self.is_first_of_picture(packet) => target,
            above if above == current + 1 => above,
            _ => return None,
        };
        let is_whole = match (packet.picture, self.left_out) {
            (Some((picture_id, _)), Some((picture, lowest))) => picture_id != picture || lowest > spatial,
            _ => true,
        };
        is_whole.then_some(spatial)
    }

    /// Nothing has been sent of its picture or of newer ones.
    fn is_first_of_picture(&self, packet: &LayerPacket) -> bool {
        match (packet.picture, self.newest) {
            (Some((picture_id, bits)), Some((newest, _))) => distance(newest, picture_id, bits) > 0,
            _ => false,
        }
    }

    fn note_left_out(&mut self, packet: &LayerPacket, spatial: u8) {
        let Some((picture_id, bits)) = packet.picture else {
            return;
        };
        match &mut self.left_out {
            Some((picture, lowest)) if *picture == picture_id => *lowest = spatial.min(*lowest),
            Some((picture, _)) if distance(*picture, picture_id, bits) < 0 => {}
            left_out => *left_out = Some((picture_id, spatial)),
        }
    }

    fn is_filtered(&self, packet: &LayerPacket, layer: Layers, current: Layers) -> bool {
        layer.spatial > current.spatial || (self.k_svc && packet.inter_predicted && layer.spatial != current.spatial)
    }

    /// A packet of a picture before the newest: judged by the layers that were current then.
    fn late(&self, packet: &LayerPacket, picture_id: u16, bits: u32, layer: Layers) -> Option<bool> {
        let then = self
            .changes
            .iter()
            .rev()
            .find(|(since, _)| distance(*since, picture_id, bits) >= 0)
            .map(|(_, layers)| *layers)?;
        if self.is_filtered(packet, layer, then) || layer.temporal > then.temporal {
            return None;
        }
        Some(packet.end && layer.spatial == then.spatial)
    }

    /// Remembers what may go out from this packet's picture on; `reaches_more`: not by what came before it.
    fn update(&mut self, packet: &LayerPacket, current: Layers, reaches_more: bool) {
        if self.current.is_some_and(|before| current.spatial > before.spatial) {
            self.left_out = None;
        }
        self.current = Some(current);
        let Some((picture_id, bits)) = packet.picture else {
            return;
        };
        if self.newest.is_some_and(|(_, known)| known != bits) {
            self.changes.clear();
            self.newest = None;
        }
        let before = self.newest.replace((picture_id, bits)).map(|(newest, _)| newest);
        let admitted = Layers {
            temporal: current.temporal.max(self.reachable.min(self.target.temporal)),
            ..current
        };
        let last = self.changes.last().map(|(_, layers)| *layers);
        if last == Some(admitted) {
            // Less than half a ring, so that distances keep their meaning.
            let window = HISTORY.min((1 << (bits - 1)) - 4);
            let old = |(since, _): &(u16, Layers)| distance(*since, picture_id, bits) > i32::from(window);
            if self.changes.get(1).is_some_and(old) {
                self.changes.remove(0);
            } else if let [first, ..] = self.changes.as_mut_slice()
                && old(first)
            {
                first.0 = picture_id.wrapping_sub(window) & (u16::MAX >> (16 - bits));
            }
            return;
        }
        // Nothing of use was left out since the picture before this one, so what lies between them may still come.
        let between = !reaches_more
            && last.is_some_and(|last| last.spatial == admitted.spatial && last.temporal < admitted.temporal);
        let since = match before {
            Some(before) if between && before != picture_id => before.wrapping_add(1) & (u16::MAX >> (16 - bits)),
            _ => picture_id,
        };
        match self.changes.last_mut() {
            Some((at, layers)) if *at == since => *layers = admitted,
            _ => {
                if self.changes.len() == MAX_CHANGES {
                    self.changes.remove(0);
                }
                self.changes.push((since, admitted));
            }
        }
    }
}

#[cfg(test)]
#[path = "svc_layers_tests.rs"]
mod tests;
