//! A consumer of one of several streams of the same source, for instance of several sizes.
//!
//! It aims at a target (which stream, which temporal layer) and changes over with a key frame of it, so that the
//! receiver sees one stream: sequence numbers, timestamps and counters in payloads go on.

use super::layers::{Forwarded, Layers, Outcome, Retargeted, StreamFacts};
use crate::engine::decisions::Why;
use crate::engine::mangle::ForwardedPacket;
use crate::rtp::codec::frame_marking::MarkedLayers;
use crate::rtp::codec::vp8_layers::Vp8Layers;
use crate::rtp::codec::{Codec, Details, vp8};
use crate::rtp::sequence::{SequenceMapper, is_higher};

/// By how much timestamps may be moved at a switch so that they do not go back, in milliseconds.
const MAX_EXTRA_MS: u32 = 75;
/// How many key frames of a target may come whose timestamps would have to be moved by more. One whose packets were lost
/// and repaired comes late; a sender whose clocks are wrong will not do any better.
const MAX_UNFIT: u8 = 3;
/// Distance of the first frame of a stream from the last one before it, if timestamps have to be moved.
const FRAME_MS: u32 = 33;

/// Follows one of several streams.
#[derive(Debug)]
pub struct Simulcast {
    sequence: SequenceMapper<16>,
    filter: Filter,
    streams: u8,
    temporal_layers: u8,
    clock_rate: u32,
    preferred: Layers,
    target: Option<Layers>,
    /// The stream that is sent.
    current: Option<u8>,
    /// The stream whose timestamps go out as they are; those of others are converted by the senders' clocks.
    reference: Option<u8>,
    /// Subtracted from timestamps.
    timestamp_offset: u32,
    /// What else is done to those shortly after a switch.
    shift: Option<Shift>,
    newest_timestamp: Option<u32>,
    /// The newest packet sent ended a frame.
    frame_ended: bool,
    /// Key frames of the target whose timestamps did not fit, one after the other.
    unfit_key_frames: u8,
}

/// A key frame that would not have come after what was sent before it is moved by `extra` ticks, and the frames after it
/// by less and less, so that switches add up to nothing.
#[derive(Debug, Clone, Copy)]
struct Shift {
    /// Timestamp of the key frame, as received.
    since: u32,
    extra: u32,
}

/// How long a shift is remembered for late packets, in ticks: more than a minute of any video.
const SHIFT_MEMORY: u32 = 90_000 * 60;

impl Shift {
    /// By how much a timestamp is moved. What lies behind the key frame by twice the shift is not moved any more;
    /// between them time passes at half the pace.
    fn of(self, timestamp: u32) -> u32 {
        match timestamp.wrapping_sub(self.since) {
            after if after < self.extra.saturating_mul(2) => self.extra - after.div_ceil(2),
            after if after < 1 << 31 => 0,
            _ => self.extra,
        }
    }

    fn is_over(self, timestamp: u32) -> bool {
        let after = timestamp.wrapping_sub(self.since);
        (self.extra.saturating_mul(2).saturating_add(SHIFT_MEMORY)..1 << 31).contains(&after)
    }
}

/// Temporal layers of the stream that is sent.
#[derive(Debug)]
enum Filter {
    Vp8(Box<Vp8Layers>),
    H264(MarkedLayers),
    /// Of other codecs nothing is known.
    Other,
}

impl Filter {
    fn of(codec: Codec) -> Self {
        match codec {
            Codec::Vp8 => Self::Vp8(Box::default()),
            Codec::H264 => Self::H264(MarkedLayers::default()),
            _ => Self::Other,
        }
    }

    fn begin(&mut self, target: u8) {
        match self {
            Self::Vp8(layers) => layers.begin(target),
            Self::H264(layers) => layers.begin(target),
            Self::Other => {}
        }
    }

    fn set_target(&mut self, target: u8) {
        match self {
            Self::Vp8(layers) => layers.set_target(target),
            Self::H264(layers) => layers.set_target(target),
            Self::Other => {}
        }
    }

    fn current(&self) -> u8 {
        match self {
            Self::Vp8(layers) => layers.current(),
            Self::H264(layers) => layers.current(),
            Self::Other => 0,
        }
    }

    /// None: the packet is to be dropped. Otherwise the counters to send it with, if it has any.
    fn process(&mut self, packet: &ForwardedPacket) -> Option<Option<vp8::Rewrite>> {
        match (self, &packet.descriptor.details) {
            (Self::Vp8(layers), Details::Vp8(descriptor)) => layers.process(descriptor),
            (Self::H264(layers), Details::Marked(marking)) => layers.process(marking, packet.timestamp).then_some(None),
            _ => Some(None),
        }
    }
}

impl Simulcast {
    /// The first packet will carry `first_sequence`.
    pub fn new(
        first_sequence: u16,
        codec: Codec,
        clock_rate: u32,
        streams: u8,
        temporal_layers: u8,
        preferred: Layers,
    ) -> Self {
        Self {
            sequence: SequenceMapper::with_initial_offset(first_sequence.wrapping_sub(1)),
            filter: Filter::of(codec),
            streams,
            temporal_layers,
            clock_rate,
            preferred,
            target: None,
            current: None,
            reference: None,
            timestamp_offset: 0,
            shift: None,
            newest_timestamp: None,
            frame_ended: true,
            unfit_key_frames: 0,
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
        self.current.map(|spatial| Layers {
            spatial,
            temporal: self.filter.current(),
        })
    }

    /// Sends nothing any more. True: it had been sending, or about to.
    pub fn stop(&mut self) -> bool {
        if self.target.is_none() && self.current.is_none() {
            return false;
        }
        (self.target, self.current) = (None, None);
        self.unfit_key_frames = 0;
        true
    }

    /// Sends nothing more of a stream before it has had a key frame.
    pub fn leave(&mut self, spatial: u8) {
        if self.current == Some(spatial) {
            self.current = None;
        }
    }

    /// Chooses the target anew, without an estimate of the bandwidth; None if it stays. `force` acts even then.
    pub fn evaluate(&mut self, facts: &dyn Fn(u8) -> Option<StreamFacts>, force: bool) -> Option<Retargeted> {
        let target = self.choose(facts);
        let stays = target == self.target && (!force || target.is_none());
        (!stays).then(|| self.retarget(target))
    }

    /// The best stream that there is, up to the preferred one.
    fn choose(&self, facts: &dyn Fn(u8) -> Option<StreamFacts>) -> Option<Layers> {
        let mut best = None;
        for spatial in 0..self.streams {
            if spatial > self.preferred.spatial && best.is_some() {
                break;
            }
            let usable = facts(spatial).is_some_and(|stream| stream.score > 0);
            if usable && self.can_switch_to(spatial, facts) {
                best = Some(spatial);
            }
        }
        let temporal = self.preferred.temporal.min(self.temporal_layers.saturating_sub(1));
        best.map(|spatial| Layers { spatial, temporal })
    }

    /// How many temporal layers each stream has.
    pub fn temporal_layers(&self) -> u8 {
        self.temporal_layers
    }

    /// Whether timestamps of a stream can be made to fit.
    pub fn can_switch_to(&self, spatial: u8, facts: &dyn Fn(u8) -> Option<StreamFacts>) -> bool {
        let has_clock = |stream| facts(stream).is_some_and(|stream| stream.clock.is_some());
        let fits = |reference| reference == spatial || (has_clock(reference) && has_clock(spatial));
        self.newest_timestamp.is_none() || self.reference.is_none_or(fits)
    }

    /// Aims at other layers, whoever chose them.
    pub fn retarget(&mut self, target: Option<Layers>) -> Retargeted {
        let Some(new) = target else {
            (self.target, self.current) = (None, None);
            return Retargeted {
                stopped: true,
                key_frame: None,
            };
        };
        if self.reference.is_none() || self.newest_timestamp.is_none() {
            self.reference = Some(new.spatial);
        }
        if self.target.is_none_or(|before| before.spatial != new.spatial) {
            self.unfit_key_frames = 0;
        }
        self.target = target;
        let mut retargeted = Retargeted::default();
        if self.current == Some(new.spatial) {
            self.filter.set_target(new.temporal);
        } else {
            retargeted.key_frame = Some(new.spatial);
        }
        retargeted
    }

    /// Decides on a packet of stream `spatial`.
    pub fn forward(
        &mut self,
        packet: &ForwardedPacket,
        spatial: u8,
        supported: bool,
        facts: &dyn Fn(u8) -> Option<StreamFacts>,
    ) -> Outcome {
        let begins = self
            .target
            .filter(|target| target.spatial == spatial && self.current != Some(spatial));
        if begins.is_none() && self.current != Some(spatial) {
            return Outcome::Foreign;
        }
        if !supported || packet.is_padding() {
            // Accounted for, so that the receiver sees no gap and asks for nothing.
            if begins.is_none() {
                self.sequence.drop(packet.sequence_number);
            }
            return Outcome::Drop(if supported { Why::Padding } else { Why::PayloadType });
        }
        let before = self.current();
        if let Some(target) = begins {
            if packet.key_frame_needed && !packet.is_key_frame {
                return Outcome::Drop(Why::NoKeyFrame);
            }
            if !self.switch(packet, target, facts) {
                return Outcome::KeyFrameNeeded;
            }
        }
        let rewrite = match self.filter.process(packet) {
            Some(counters) => counters,
            // A switch is never taken back: its first packet goes out as it is.
            None if begins.is_some() => None,
            None => {
                self.sequence.drop(packet.sequence_number);
                return Outcome::Drop(Why::Layer);
            }
        };
        let Some(sequence_number) = self.sequence.input(packet.sequence_number) else {
            return Outcome::Drop(Why::Late);
        };
        self.shift = self.shift.filter(|shift| !shift.is_over(packet.timestamp));
        let moved = self.shift.map_or(0, |shift| shift.of(packet.timestamp));
        let timestamp = packet.timestamp.wrapping_sub(self.timestamp_offset).wrapping_add(moved);
        if self
            .newest_timestamp
            .is_none_or(|newest| is_higher::<32>(timestamp, newest))
        {
            self.newest_timestamp = Some(timestamp);
        }
        if sequence_number == self.sequence.max_output() {
            self.frame_ended = packet.marker;
        }
        Outcome::Send(Forwarded {
            sequence_number,
            timestamp,
            marker: packet.marker,
            vp8: rewrite,
            began: begins.is_some(),
            switched: begins.is_some(),
            layers_changed: begins.is_some() || self.current() != before,
        })
    }

    /// Changes over to the target with its key frame. False: its timestamps do not fit, another key frame may.
    fn switch(&mut self, packet: &ForwardedPacket, target: Layers, facts: &dyn Fn(u8) -> Option<StreamFacts>) -> bool {
        let mut offset = 0;
        if let Some(reference) = self.reference.filter(|reference| *reference != target.spatial) {
            let clock = |stream: u8| facts(stream).and_then(|stream| stream.clock);
            if let (Some(from), Some(to)) = (clock(target.spatial), clock(reference)) {
                offset = from.offset_from(&to, self.clock_rate);
            }
        }
        let mut shift = None;
        if let Some(newest) = self.newest_timestamp {
            let behind = newest.wrapping_sub(packet.timestamp.wrapping_sub(offset));
            // Not after what was sent last: a receiver would take the frame for an old one.
            if behind < 1 << 31 {
                let ticks = |ms: u32| (u64::from(ms) * u64::from(self.clock_rate) / 1000) as u32;
                let mut extra = behind.saturating_add(ticks(FRAME_MS));
                if extra > ticks(MAX_EXTRA_MS) {
                    if self.unfit_key_frames < MAX_UNFIT {
                        self.unfit_key_frames += 1;
                        return false;
                    }
                    // No more than it must.
                    extra = behind.wrapping_add(1);
                }
                let since = packet.timestamp;
                shift = Some(Shift { since, extra });
            }
        }
        self.unfit_key_frames = 0;
        self.timestamp_offset = offset;
        self.shift = shift;
        if !self.frame_ended {
            // The frame before remains incomplete; without a gap the receiver would wait for its end in vain.
            self.sequence.leave_gap();
        }
        self.sequence.sync(packet.sequence_number.wrapping_sub(1));
        self.current = Some(target.spatial);
        self.filter.begin(target.temporal);
        true
    }
}

#[cfg(test)]
#[path = "simulcast_tests.rs"]
mod tests;
