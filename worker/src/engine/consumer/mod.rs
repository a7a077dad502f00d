//! A consumer: what a router sends to a peer of one producer.
//!
//! This file holds what all types share; a type decides which packets go out: [`simple`], [`simulcast`], [`svc`].
//! A pipe consumer sends all streams, each as a simple one would.

pub mod allocation;
mod choice;
pub mod claims;
mod create;
pub mod decisions;
mod dump;
pub mod layers;
pub mod simple;
pub mod simulcast;
pub mod svc;

use channel_proto::event::{Event, PacketInfo};
use channel_proto::reply::ConsumerScore;
use channel_proto::rtp_parameters::{ConsumerLayers, ConsumerType, MediaKind, RtpEncodingParameters, RtpParameters};
use smallvec::SmallVec;

use super::decisions::{Decisions, What, Why};
use super::keys::{ProducerKey, TransportKey};
use super::mangle::{Form, ForwardedPacket, MID_LENGTH, Rewrite};
use super::outbox::Outbox;
use super::producer::Producer;
use super::trace::TraceEvents;
use super::transport::outgoing::Sent;
use crate::rtp::codec::vp8;
use crate::rtp::extensions::abs_send_time;
use crate::rtp::send_stream::{Repetition, SendStream};
use allocation::Restraint;
use decisions::Inputs;
use layers::{Forwarded, Layers, Outcome, Retargeted, StreamFacts, layers_of, preferred};
use simple::Simple;
use simulcast::Simulcast;
use svc::Svc;

/// A receiver of media inside a router.
#[derive(Debug)]
pub struct Consumer {
    /// What decides on each packet; first, since it is what forwarding touches.
    policy: Policy,
    /// Whether packets may go out: transport connected, neither it nor its producer paused.
    pub active: bool,
    /// The streams it sends: one, of a pipe consumer one for each encoding.
    pub streams: SmallVec<[SendStream; 1]>,
    /// Encoding of the producer that each consumable encoding stands for.
    encodings: SmallVec<[Option<u16>; 4]>,
    /// An encoding of which a key frame turned out to be needed while forwarding, and why.
    wanted_key_frame: Option<(usize, Why)>,
    /// The last packet forwarded was the first one since it began or switched.
    began: bool,
    /// MID extension as sent.
    pub mid: [u8; 1 + MID_LENGTH],
    /// Payload types that its peer understands.
    pub payload_types: SmallVec<[u8; 2]>,
    /// The transport that sends it.
    pub transport: TransportKey,
    /// Its source.
    pub producer: ProducerKey,
    /// Id given by the parent.
    pub id: String,
    /// Enabled trace events.
    pub trace: TraceEvents,
    /// 1 to 255.
    pub priority: u8,
    paused: bool,
    producer_paused: bool,
    connected: bool,
    producer_id: String,
    kind: MediaKind,
    consumer_type: ConsumerType,
    rtp_parameters: RtpParameters,
    consumable_rtp_encodings: Vec<RtpEncodingParameters>,
    decisions: Decisions<Inputs>,
    /// Whether it had to go down in layers lately.
    restraint: Restraint,
}

/// Which packets go out.
#[derive(Debug)]
enum Policy {
    Simple(Simple),
    Simulcast(Box<Simulcast>),
    Svc(Box<Svc>),
    /// By stream.
    Pipe(Vec<Simple>),
}

/// What a change of state of a consumer makes necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// It can send from now on.
    pub started: bool,
    /// It had layers and has none any more.
    pub layers_lost: bool,
}

/// Whose key frame is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrameOf {
    /// What is aimed at and what is sent.
    All,
    /// What is sent.
    Current,
}

impl Consumer {
    /// Decides on a packet: how it is to be rewritten, or None if it does not go out. Changes of layers are told.
    pub fn forward(
        &mut self,
        packet: &ForwardedPacket,
        producer: &Producer,
        now: u64,
        outbox: &mut Outbox,
    ) -> Option<Rewrite> {
        let index = self.index_of(packet.encoding)?;
        let supported = self.payload_types.contains(&packet.payload_type);
        if packet.begins_anew {
            self.begin_anew(index);
            self.wanted_key_frame = packet
                .key_frame_needed
                .then_some((packet.encoding, Why::SenderRestarted));
        }
        let outcome = match &mut self.policy {
            Policy::Simple(simple) => {
                let began = simple.is_starting();
                return match simple.forward(packet, supported) {
                    Ok(number) => self.send_as_it_is(0, packet, number, began),
                    Err(why) => self.drop(why, producer, now),
                };
            }
            Policy::Pipe(streams) => {
                let stream = streams.get_mut(index)?;
                let began = stream.is_starting();
                return match stream.forward(packet, supported) {
                    Ok(number) => self.send_as_it_is(index, packet, number, began),
                    Err(why) => self.drop(why, producer, now),
                };
            }
            Policy::Simulcast(simulcast) => {
                let encodings = &self.encodings;
                let facts = |spatial: u8| facts(producer, encodings, spatial);
                simulcast.forward(packet, index as u8, supported, &facts)
            }
            Policy::Svc(svc) => {
                let outcome = svc.forward(packet, supported);
                // It came behind pictures that follow it, of which layers have been left out.
                if packet.is_key_frame && svc.waits_for_key_frame() {
                    self.wanted_key_frame = Some((packet.encoding, Why::KeyFrameLate));
                }
                outcome
            }
        };
        match outcome {
            Outcome::Foreign => None,
            Outcome::Drop(why) => self.drop(why, producer, now),
            Outcome::KeyFrameNeeded => {
                self.wanted_key_frame = Some((packet.encoding, Why::Timestamps));
                None
            }
            Outcome::Send(forwarded) => self.send(packet, &forwarded, producer, now, outbox),
        }
    }

    /// A packet does not go out, though it is of what is sent or waited for.
    fn drop(&mut self, why: Why, producer: &Producer, now: u64) -> Option<Rewrite> {
        self.note(What::Drop, why, Some(producer), now);
        None
    }

    fn send_as_it_is(&mut self, stream: usize, packet: &ForwardedPacket, number: u16, began: bool) -> Option<Rewrite> {
        self.began = began;
        self.rewrite(stream, packet, number)
    }

    /// A packet of what has been chosen goes out; changes are told.
    fn send(
        &mut self,
        packet: &ForwardedPacket,
        forwarded: &Forwarded,
        producer: &Producer,
        now: u64,
        outbox: &mut Outbox,
    ) -> Option<Rewrite> {
        self.began = forwarded.began;
        if forwarded.switched
            && let Some(stream) = self.streams.first_mut()
        {
            // What the receiver reported concerns another stream.
            stream.reset_score();
        }
        if forwarded.layers_changed {
            outbox.notify(&self.id, self.layers_event());
            let why = if packet.is_key_frame {
                Why::KeyFrame
            } else {
                Why::SwitchPoint
            };
            self.note(What::Switch, why, Some(producer), now);
        }
        if forwarded.switched {
            outbox.notify(&self.id, self.score_event(producer));
        }
        let rewrite = self.rewrite(0, packet, forwarded.sequence_number)?;
        Some(Rewrite {
            timestamp: forwarded.timestamp,
            marker: forwarded.marker,
            vp8: forwarded.vp8,
            ..rewrite
        })
    }

    /// The sender of a stream has begun anew: so do we with it, where receivers can follow.
    fn begin_anew(&mut self, index: usize) {
        match &mut self.policy {
            Policy::Simple(simple) => simple.restart(),
            Policy::Pipe(streams) => streams.get_mut(index).into_iter().for_each(Simple::restart),
            Policy::Simulcast(simulcast) => simulcast.leave(index as u8),
            Policy::Svc(svc) => svc.begin_anew(),
        }
    }

    fn rewrite(&self, stream: usize, packet: &ForwardedPacket, sequence_number: u16) -> Option<Rewrite> {
        Some(Rewrite {
            stream,
            ssrc: self.streams.get(stream)?.params.ssrc,
            sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            vp8: None,
            mid: self.mid,
            wide_sequence_number: 0,
            form: Form::First,
        })
    }

    /// Which of its consumable encodings an encoding of the producer is.
    fn index_of(&self, encoding: usize) -> Option<usize> {
        self.encodings
            .iter()
            .position(|known| known.is_some_and(|known| usize::from(known) == encoding))
    }

    /// Which encoding of the producer a consumable encoding of it is.
    pub fn encoding_of(&self, index: usize) -> Option<usize> {
        self.encodings.get(index).copied().flatten().map(usize::from)
    }

    /// Takes the encoding of which a key frame turned out to be needed while forwarding, and why.
    pub fn take_wanted_key_frame(&mut self) -> Option<(usize, Why)> {
        self.wanted_key_frame.take()
    }

    /// What a trace tells of a packet that was sent.
    pub fn packet_info(&self, packet: &ForwardedPacket, rewrite: &Rewrite, sent: &Sent) -> PacketInfo {
        let (payload_type, ssrc, sequence_number, padding) = match rewrite.form {
            Form::First | Form::Again { .. } => (
                packet.payload_type,
                rewrite.ssrc,
                rewrite.sequence_number,
                usize::from(packet.padding_length),
            ),
            Form::Rtx {
                payload_type,
                ssrc,
                sequence_number,
                ..
            } => (payload_type, ssrc, sequence_number, 0),
        };
        PacketInfo {
            payload_type,
            sequence_number,
            timestamp: rewrite.timestamp,
            marker: rewrite.marker,
            ssrc,
            is_key_frame: packet.is_key_frame,
            size: sent.size as u64,
            payload_size: (sent.size - packet.header_length() - padding) as u64,
            spatial_layer: packet.descriptor.spatial_layer,
            temporal_layer: packet.descriptor.temporal_layer,
            mid: self.rtp_parameters.mid.clone(),
            rid: None,
            rrid: None,
            // Video has room for one; what is not stamped on the way out stays 0.
            wide_sequence_number: packet.is_video().then_some(sent.wide_sequence_number),
            is_rtx: matches!(rewrite.form, Form::Rtx { .. }),
        }
    }

    /// How a packet that is kept is sent again; `bytes` take the place of the packet that came in.
    pub fn repeat(
        &self,
        stream: usize,
        sequence_number: u16,
        repetition: &Repetition,
        (packet, bytes): (&ForwardedPacket, &[u8]),
        now: u64,
    ) -> Option<Rewrite> {
        let SendStream { params, rtx, .. } = self.streams.get(stream)?;
        let sent = &repetition.sent;
        let exact = sent.exact.unwrap_or_default();
        let form = match rtx.as_ref().zip(repetition.rtx) {
            Some((rtx, sequence_number)) => Form::Rtx {
                payload_type: rtx.payload_type,
                ssrc: rtx.ssrc,
                sequence_number,
                abs_send_time: abs_send_time(now),
            },
            None => Form::Again { tail: exact.tail },
        };
        let vp8 = match sent.vp8_offsets {
            None => None,
            Some(offsets) => {
                let payload = bytes.get(packet.payload_offset..)?;
                Some(vp8::Rewrite::with_offsets(offsets, &vp8::Descriptor::parse(payload)?)?)
            }
        };
        Some(Rewrite {
            stream,
            ssrc: params.ssrc,
            sequence_number,
            timestamp: packet.timestamp.wrapping_add(sent.timestamp_offset),
            marker: sent.marker.unwrap_or(packet.marker),
            vp8,
            mid: self.mid,
            wide_sequence_number: exact.wide_sequence_number,
            form,
        })
    }

    /// Takes whether the last packet forwarded was the first one since it began or switched.
    pub fn take_began(&mut self) -> bool {
        std::mem::take(&mut self.began)
    }

    /// Its SSRCs, each with that of its retransmission.
    pub fn ssrcs(&self) -> impl Iterator<Item = (u32, Option<u32>)> + '_ {
        self.streams
            .iter()
            .map(|stream| (stream.params.ssrc, stream.params.rtx_ssrc))
    }

    /// The stream with this SSRC.
    pub fn stream_by_ssrc(&mut self, ssrc: u32) -> Option<&mut SendStream> {
        self.streams.iter_mut().find(|stream| stream.params.ssrc == ssrc)
    }

    /// Encodings of the producer of which a key frame helps it.
    pub fn key_frame_encodings(&self, of: KeyFrameOf) -> SmallVec<[usize; 4]> {
        let of_layers = |target: Option<Layers>, current: Option<Layers>| {
            let current = current.map(|layers| layers.spatial);
            let target = target.map(|layers| layers.spatial);
            let (first, second) = match of {
                KeyFrameOf::All => (target, current.filter(|current| Some(*current) != target)),
                KeyFrameOf::Current => (current.or(target), None),
            };
            let spatial = first.into_iter().chain(second);
            spatial.filter_map(|spatial| self.encoding_of(spatial.into())).collect()
        };
        match &self.policy {
            Policy::Simple(_) | Policy::Svc(_) => self.encoding_of(0).into_iter().collect(),
            Policy::Simulcast(simulcast) => of_layers(simulcast.target(), simulcast.current()),
            Policy::Pipe(_) => self.encodings.iter().flatten().copied().map(usize::from).collect(),
        }
    }

    /// What its peer receives.
    pub fn parameters(&self) -> &RtpParameters {
        &self.rtp_parameters
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Its producer's id.
    pub fn producer_id(&self) -> &str {
        &self.producer_id
    }

    /// Whether the parent paused it.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Whether its producer is paused.
    pub fn producer_paused(&self) -> bool {
        self.producer_paused
    }

    /// Whether it chooses among layers.
    pub fn is_layered(&self) -> bool {
        matches!(self.policy, Policy::Simulcast(_) | Policy::Svc(_))
    }

    /// Whether its peer can ask for packets again.
    pub fn can_repair(&self) -> bool {
        self.streams.iter().any(SendStream::can_repair)
    }

    /// Whether it sends everything to another router.
    pub fn is_pipe(&self) -> bool {
        matches!(self.policy, Policy::Pipe(_))
    }

    /// Sets whether the parent paused it.
    pub fn set_paused(&mut self, paused: bool, now: u64) -> Activity {
        self.paused = paused;
        self.update(now)
    }

    /// Sets whether its producer is paused.
    pub fn set_producer_paused(&mut self, paused: bool, now: u64) -> Activity {
        self.producer_paused = paused;
        self.update(now)
    }

    /// Sets whether its transport is connected.
    pub fn set_connected(&mut self, connected: bool, now: u64) -> Activity {
        self.connected = connected;
        self.update(now)
    }

    fn update(&mut self, now: u64) -> Activity {
        let active = self.connected && !self.paused && !self.producer_paused;
        let before = std::mem::replace(&mut self.active, active);
        let mut activity = Activity {
            started: active && !before,
            layers_lost: false,
        };
        if active == before {
            return activity;
        }
        match &mut self.policy {
            Policy::Simple(simple) if active => simple.restart(),
            Policy::Pipe(streams) if active => streams.iter_mut().for_each(Simple::restart),
            Policy::Simulcast(simulcast) if !active => activity.layers_lost = simulcast.stop(),
            Policy::Svc(svc) if !active => activity.layers_lost = svc.stop(),
            _ => {}
        }
        if activity.layers_lost {
            self.note(What::Target, Why::Stopped, None, now);
        }
        activity
    }

    /// Chooses layers anew; None if the choice stays, or it does not choose or send. `force` acts even if it stays.
    ///
    /// For transports whose bandwidth is not estimated; others share it among their consumers.
    pub fn evaluate(&mut self, producer: &mut Producer, why: Why, force: bool, now: u64) -> Option<Retargeted> {
        if !self.active {
            return None;
        }
        // Rates are those of this moment, so they are read once.
        let carried = match &self.policy {
            Policy::Svc(_) => self
                .encoding_of(0)
                .and_then(|encoding| producer.stream_mut(encoding))
                .map_or(0, |stream| stream.active_spatial_layers(now)),
            _ => 0,
        };
        let (producer, encodings) = (&*producer, &self.encodings);
        let facts = |spatial: u8| {
            let facts = facts(producer, encodings, spatial)?;
            Some(StreamFacts {
                spatial_layers: carried,
                ..facts
            })
        };
        let retargeted = match &mut self.policy {
            Policy::Simulcast(simulcast) => simulcast.evaluate(&facts, force)?,
            Policy::Svc(svc) => svc.evaluate(&facts, force)?,
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        self.note(What::Target, why, Some(producer), now);
        Some(retargeted)
    }

    /// Layers preferred by the parent, in force; None if it has no layers.
    pub fn preferred_layers(&self) -> Option<ConsumerLayers> {
        let layers = match &self.policy {
            Policy::Simulcast(simulcast) => simulcast.preferred(),
            Policy::Svc(svc) => svc.preferred(),
            Policy::Simple(_) | Policy::Pipe(_) => return None,
        };
        Some(layers_of(layers))
    }

    /// Changes what the parent prefers; layers beyond the highest mean the highest.
    pub fn set_preferred_layers(&mut self, asked: &ConsumerLayers) {
        let Some(params) = self.streams.first().map(|stream| &stream.params) else {
            return;
        };
        let layers = preferred(
            Some((asked.spatial_layer, asked.temporal_layer)),
            params.spatial_layers,
            params.temporal_layers,
        );
        match &mut self.policy {
            Policy::Simulcast(simulcast) => simulcast.set_preferred(layers),
            Policy::Svc(svc) => svc.set_preferred(layers),
            Policy::Simple(_) | Policy::Pipe(_) => {}
        }
    }

    fn current_layers(&self) -> Option<Layers> {
        match &self.policy {
            Policy::Simulcast(simulcast) => simulcast.current(),
            Policy::Svc(svc) => svc.current(),
            Policy::Simple(_) | Policy::Pipe(_) => None,
        }
    }

    /// The encoding of the producer that is sent, if there is only one.
    pub fn current_encoding(&self) -> Option<usize> {
        match &self.policy {
            Policy::Simple(_) | Policy::Svc(_) => self.encoding_of(0),
            Policy::Simulcast(simulcast) => self.encoding_of(simulcast.current()?.spatial.into()),
            Policy::Pipe(_) => None,
        }
    }

    /// The `layerschange` event.
    pub fn layers_event(&self) -> Event {
        Event::LayersChange(self.current_layers().map(layers_of))
    }

    /// Scores now.
    pub fn score(&self, producer: &Producer) -> ConsumerScore {
        let producer_scores = producer.scores();
        if self.is_pipe() {
            return ConsumerScore {
                score: 10,
                producer_score: 10,
                producer_scores,
            };
        }
        let current = self.current_encoding();
        let producer_score = current.and_then(|encoding| producer_scores.get(encoding)).copied();
        ConsumerScore {
            score: self.streams.first().map_or(0, SendStream::score),
            producer_score: producer_score.unwrap_or_default(),
            producer_scores,
        }
    }

    /// The `score` event.
    pub fn score_event(&self, producer: &Producer) -> Event {
        Event::ConsumerScore(self.score(producer))
    }
}

fn facts(producer: &Producer, encodings: &[Option<u16>], spatial: u8) -> Option<StreamFacts> {
    let encoding = encodings.get(usize::from(spatial)).copied().flatten()?;
    let stream = producer.stream(encoding.into())?;
    Some(StreamFacts {
        score: stream.score(),
        clock: stream.clock,
        spatial_layers: 0,
    })
}
