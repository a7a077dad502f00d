//! A consumer of some layers of one stream.

use super::layers::{Forwarded, Layers, Outcome, Retargeted, StreamFacts};
use crate::engine::decisions::Why;
use crate::engine::mangle::ForwardedPacket;
use crate::rtp::codec::Details;
use crate::rtp::codec::svc_layers::SvcLayers;
use crate::rtp::sequence::SequenceMapper;

/// Follows some layers of one stream.
#[derive(Debug)]
pub struct Svc {
    sequence: SequenceMapper<16>,
    layers: SvcLayers,
    spatial_layers: u8,
    temporal_layers: u8,
    k_svc: bool,
    preferred: Layers,
    target: Option<Layers>,
    /// Nothing has been sent since it last became active.
    starting: bool,
    /// The layers of what was sent last.
    sent: Option<Layers>,
}

impl Svc {
    /// The first packet will carry `first_sequence`.
    pub fn new(first_sequence: u16, spatial_layers: u8, temporal_layers: u8, k_svc: bool, preferred: Layers) -> Self {
        Self {
            sequence: SequenceMapper::with_initial_offset(first_sequence.wrapping_sub(1)),
            layers: SvcLayers::new(spatial_layers, temporal_layers, k_svc),
            spatial_layers,
            temporal_layers,
            k_svc,
            preferred,
            target: None,
            starting: true,
            sent: None,
        }
    }

    /// What the parent prefers.
    pub fn preferred(&self) -> Layers {
        self.preferred
    }

    /// Changes what the parent prefers; an evaluation is to follow.
    pub fn set_preferred(&mut self, preferred: Layers) {
        self.preferred = preferred;
    }

    /// What it aims at.
    pub fn target(&self) -> Option<Layers> {
        self.target
    }

    /// What it sends.
    pub fn current(&self) -> Option<Layers> {
        self.layers.current()
    }

    /// Sends nothing any more. True: it had been sending, or about to.
    pub fn stop(&mut self) -> bool {
        self.starting = true;
        let had = self.target.is_some() || self.current().is_some();
        self.target = None;
        self.layers.begin();
        had
    }

    /// Waits for a key frame, with the same target.
    pub fn begin_anew(&mut self) {
        self.starting = true;
        self.layers.begin();
    }

    /// How many spatial and temporal layers there are.
    pub fn layer_counts(&self) -> (u8, u8) {
        (self.spatial_layers, self.temporal_layers)
    }

    /// Whether spatial layers need those below in key frames only.
    pub fn is_k_svc(&self) -> bool {
        self.k_svc
    }

    /// Chooses the target anew, without an estimate of the bandwidth; None if it stays. `force` acts even then.
    pub fn evaluate(&mut self, facts: &dyn Fn(u8) -> Option<StreamFacts>, force: bool) -> Option<Retargeted> {
        let target = self.choose(facts);
        let stays = target == self.target && (!force || target.is_none());
        (!stays).then(|| self.retarget(target))
    }

    /// The highest spatial layer that carries something, up to the preferred one.
    fn choose(&self, facts: &dyn Fn(u8) -> Option<StreamFacts>) -> Option<Layers> {
        let stream = facts(0).filter(|stream| stream.score > 0)?;
        // Not silent, as its score tells, but nothing has come for a while: it was paused, and all may come.
        let mut best = (stream.spatial_layers == 0).then_some(self.preferred.spatial);
        for spatial in 0..self.spatial_layers.min(128) {
            if spatial > self.preferred.spatial && best.is_some() {
                break;
            }
            if stream.spatial_layers & (1 << spatial) != 0 {
                best = Some(spatial);
            }
        }
        let temporal = self.preferred.temporal.min(self.temporal_layers.saturating_sub(1));
        best.map(|spatial| Layers { spatial, temporal })
    }

    /// Aims at other layers, whoever chose them.
    pub fn retarget(&mut self, target: Option<Layers>) -> Retargeted {
        let Some(new) = target else {
            self.target = None;
            self.starting = true;
            self.layers.begin();
            return Retargeted {
                stopped: true,
                key_frame: None,
            };
        };
        let before = self.target;
        self.target = target;
        self.layers.set_target(new);
        let upwards = before.is_none_or(|before| new.spatial > before.spatial);
        let changes = before.is_none_or(|before| new.spatial != before.spatial);
        // Lower layers of full SVC can be decoded at any time.
        let needs_key_frame = upwards || (changes && self.k_svc);
        Retargeted {
            stopped: false,
            key_frame: needs_key_frame.then_some(0),
        }
    }

    /// Whether it sends other spatial layers than it aims at until a key frame comes.
    pub fn waits_for_key_frame(&self) -> bool {
        let layers = self.target.zip(self.current());
        layers.is_some_and(|(target, current)| {
            target.spatial > current.spatial || (self.k_svc && target.spatial < current.spatial)
        })
    }

    /// Decides on a packet.
    pub fn forward(&mut self, packet: &ForwardedPacket, supported: bool) -> Outcome {
        if self.target.is_none() {
            return Outcome::Drop(Why::NoTarget);
        }
        if self.starting && packet.key_frame_needed && !packet.is_key_frame {
            return Outcome::Drop(Why::NoKeyFrame);
        }
        let passed = match &packet.descriptor.details {
            _ if !supported || packet.is_padding() => None,
            Details::Vp9(descriptor) => self.layers.process(&descriptor.into()),
            Details::Layered(packet) => self.layers.process(packet),
            _ => Some(false),
        };
        let Some(ends_picture) = passed else {
            if !self.starting {
                self.sequence.drop(packet.sequence_number);
            }
            return Outcome::Drop(match supported {
                false => Why::PayloadType,
                true if packet.is_padding() => Why::Padding,
                true => Why::Layer,
            });
        };
        let began = std::mem::take(&mut self.starting);
        if began {
            self.sent = None;
            self.sequence.sync(packet.sequence_number.wrapping_sub(1));
        }
        let Some(sequence_number) = self.sequence.input(packet.sequence_number) else {
            return Outcome::Drop(Why::Late);
        };
        let current = self.current();
        let before = std::mem::replace(&mut self.sent, current);
        Outcome::Send(Forwarded {
            sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker || ends_picture,
            vp8: None,
            began,
            switched: false,
            layers_changed: current != before,
        })
    }
}

#[cfg(test)]
#[path = "svc_tests.rs"]
mod tests;
