//! A transport: how packets of one peer come in and go out.
//!
//! This file holds what all kinds share; [`webrtc`], [`plain`], [`pipe`] and [`direct`] are kinds, [`reports`] is
//! periodic RTCP, [`repair`] asks for missing packets and answers those who do, [`feedback`] tells senders what arrives.

pub mod bandwidth;
mod decisions;
pub mod direct;
pub mod feedback;
pub mod outgoing;
pub mod pipe;
pub mod plain;
mod probation;
pub mod repair;
pub mod reports;
pub mod webrtc;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use channel_proto::event::PayloadEvent;
use channel_proto::reply::{DecisionBandwidth, RecvRtpHeaderExtensions, TransportDump, TransportStats};
use channel_proto::rtp_parameters::{MediaKind, RtpParameters};
use hashbrown::HashMap;

use super::Context;
use super::consumer::allocation::Turns;
use super::data::sctp::Sctp;
use super::decisions::{Decisions, What, Why};
use super::keys::{ConsumerKey, DataConsumerKey, DataProducerKey, ProducerKey, RouterKey, TransportKey};
use super::listener::RtpListener;
use super::mangle::{Form, ForwardedPacket, Rewrite};
use super::outbox::Outbox;
use super::ports::SocketId;
use super::producer::{PacketNames, extension_id};
use super::router::Router;
use super::sockets::Owner;
use super::trace::TraceEvents;
use crate::bwe::incoming::Arrival;
use crate::bwe::outgoing::INITIAL_BITRATE;
use crate::bwe::pacer::Pacing;
use crate::bwe::{Carried, Feedback, Incoming, Outgoing};
use crate::rtp::clock::ClockOffset;
use crate::rtp::extensions::{self, HeaderExtensionKind};
use crate::rtp::packet::RtpHeader;
use crate::rtp::rate::RateCounter;
use direct::Direct;
use outgoing::{Sent, write_packet};
use pipe::Pipe;
use plain::Plain;
use probation::Probation;
use webrtc::WebRtc;

/// Largest data message of transports without SCTP, in bytes.
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 262_144;

/// How packets of one peer come in and go out.
#[derive(Debug)]
pub struct Transport {
    /// Id given by the parent.
    pub id: String,
    /// What its kind adds.
    pub kind: Kind,
    /// How packets find their producer.
    pub listener: RtpListener,
    /// Its producers.
    pub producers: BTreeMap<String, ProducerKey>,
    /// Its consumers.
    pub consumers: BTreeMap<String, ConsumerKey>,
    /// Its consumers by media SSRC.
    pub ssrcs: HashMap<u32, ConsumerKey>,
    /// Its consumers by retransmission SSRC.
    pub rtx_ssrcs: HashMap<u32, ConsumerKey>,
    /// Its data producers.
    pub data_producers: BTreeMap<String, DataProducerKey>,
    /// Its data consumers.
    pub data_consumers: BTreeMap<String, DataConsumerKey>,
    /// Its SCTP association, if SCTP is enabled.
    pub sctp: Option<Box<Sctp>>,
    /// Enabled trace events.
    pub trace: TraceEvents,
    /// Largest data message in bytes.
    pub max_message_size: u64,
    /// What the peer may send in bits per second, 0 for no limit.
    pub max_incoming_bitrate: u32,
    /// Bytes in and out.
    pub traffic: Traffic,
    /// Whether periodic reports have been started.
    pub reporting: bool,
    /// Reference time of the peer, for the answer to it.
    pub peer_reference_time: Option<ReferenceTime>,
    /// Clocks of the peer, by CNAME.
    pub clocks: BTreeMap<String, ClockOffset>,
    /// What may be sent to the peer in bits per second, if the parent said so.
    pub max_outgoing_bitrate: Option<u32>,
    /// What the peer is told about what it sends.
    pub incoming: Option<Box<Incoming>>,
    /// Where the estimation of what can be sent to the peer starts, in bits per second.
    pub initial_outgoing_bitrate: u32,
    /// The way to the peer, if it tells about what it receives.
    pub outgoing: Option<Box<Outgoing>>,
    /// Who stands first among its consumers when what can be sent is shared.
    pub turns: Turns<ConsumerKey>,
    /// Its last decisions about that.
    pub decisions: Decisions<DecisionBandwidth>,
    recv_extensions: RecvRtpHeaderExtensions,
    probation: Probation,
}

/// A reference time that came (RFC 3611 4.4).
#[derive(Debug, Clone, Copy)]
pub struct ReferenceTime {
    /// Who sent it.
    pub ssrc: u32,
    /// The middle 32 bits of its NTP time.
    pub compact_ntp: u32,
    /// When it came.
    pub at: u64,
}

/// Kinds of transports.
#[derive(Debug)]
pub enum Kind {
    /// ICE, DTLS and SRTP.
    WebRtc(Box<WebRtc>),
    /// RTP over UDP, addresses told or learnt.
    Plain(Box<Plain>),
    /// RTP over UDP to another router.
    Pipe(Box<Pipe>),
    /// No network: the parent sends and gets packets.
    Direct(Direct),
}

impl Kind {
    /// Encrypts an RTP packet at the end of a buffer, if there is someone to do that. False: it must not be sent.
    fn protect(&mut self, buffer: &mut Vec<u8>, start: usize, header_length: usize) -> bool {
        let sender = match self {
            Self::WebRtc(web_rtc) => match web_rtc.srtp_sender() {
                Some(sender) => Some(sender),
                None => return false,
            },
            Self::Plain(plain) => plain.srtp_sender(),
            Self::Pipe(pipe) => pipe.plain.srtp_sender(),
            Self::Direct(_) => return false,
        };
        sender.is_none_or(|sender| sender.protect_rtp(buffer, start, header_length).is_ok())
    }

    /// RTP over UDP without ICE, if that is what carries it.
    pub fn plain(&self) -> Option<&Plain> {
        match self {
            Self::Plain(plain) => Some(plain),
            Self::Pipe(pipe) => Some(&pipe.plain),
            Self::WebRtc(_) | Self::Direct(_) => None,
        }
    }

    /// The same to change it.
    pub fn plain_mut(&mut self) -> Option<&mut Plain> {
        match self {
            Self::Plain(plain) => Some(plain),
            Self::Pipe(pipe) => Some(&mut pipe.plain),
            Self::WebRtc(_) | Self::Direct(_) => None,
        }
    }
}

/// Bytes that a transport received and sent.
#[derive(Debug)]
pub struct Traffic {
    /// Everything in.
    pub received: RateCounter,
    /// Everything out.
    pub sent: RateCounter,
    /// Media RTP that a producer accepted.
    pub rtp_received: RateCounter,
    /// Media RTP of consumers.
    pub rtp_sent: RateCounter,
    /// Retransmissions in.
    pub rtx_received: RateCounter,
    /// Retransmissions out.
    pub rtx_sent: RateCounter,
    /// Padding out.
    pub probation_sent: RateCounter,
    /// Datagrams that were not understood, not authentic, or not from the peer.
    pub dropped: u64,
}

impl Traffic {
    fn new() -> Self {
        let rate = || RateCounter::new(1000, 100);
        Self {
            received: rate(),
            sent: rate(),
            rtp_received: rate(),
            rtp_sent: rate(),
            rtx_received: rate(),
            rtx_sent: rate(),
            probation_sent: RateCounter::new(100, 100),
            dropped: 0,
        }
    }
}

impl Transport {
    /// A transport without producers and consumers.
    pub fn new(id: String, kind: Kind, sctp: Option<Box<Sctp>>) -> Self {
        let max_message_size = match (&kind, &sctp) {
            (Kind::Direct(direct), _) => direct.max_message_size,
            (_, Some(sctp)) => sctp.max_message_size(),
            (_, None) => DEFAULT_MAX_MESSAGE_SIZE,
        };
        Self {
            id,
            kind,
            listener: RtpListener::default(),
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            ssrcs: HashMap::new(),
            rtx_ssrcs: HashMap::new(),
            data_producers: BTreeMap::new(),
            data_consumers: BTreeMap::new(),
            sctp,
            trace: TraceEvents::of_transport(),
            max_message_size,
            max_incoming_bitrate: 0,
            traffic: Traffic::new(),
            reporting: false,
            peer_reference_time: None,
            clocks: BTreeMap::new(),
            recv_extensions: RecvRtpHeaderExtensions::default(),
            max_outgoing_bitrate: None,
            incoming: None,
            initial_outgoing_bitrate: INITIAL_BITRATE,
            outgoing: None,
            turns: Turns::default(),
            decisions: Decisions::default(),
            probation: Probation::default(),
        }
    }

    /// Whether packets can be sent to the peer.
    pub fn is_connected(&self) -> bool {
        match &self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.is_connected(),
            Kind::Plain(plain) => plain.is_connected(),
            Kind::Pipe(pipe) => pipe.plain.is_connected(),
            Kind::Direct(_) => true,
        }
    }

    /// Makes its sockets known.
    pub fn register(&self, key: (RouterKey, TransportKey), context: &mut Context<'_>) {
        match &self.kind {
            Kind::WebRtc(web_rtc) => {
                let server = web_rtc.server.and_then(|server| context.servers.get_mut(server));
                web_rtc.register(&self.id, key, context.sockets, server);
            }
            Kind::Plain(plain) => plain.register(Owner::Transport(key.0, key.1), context.sockets),
            Kind::Pipe(pipe) => pipe.plain.register(Owner::Transport(key.0, key.1), context.sockets),
            Kind::Direct(_) => {}
        }
    }

    /// Says good-bye to the peer and closes its sockets.
    pub fn close(&mut self, key: (RouterKey, TransportKey), context: &mut Context<'_>) {
        match &mut self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.close(key, context),
            Kind::Plain(plain) => plain.close(context.sockets, context.ports),
            Kind::Pipe(pipe) => pipe.plain.close(context.sockets, context.ports),
            Kind::Direct(_) => {}
        }
    }

    /// Never lets the replay state of a producer's SSRC be pushed out by those of strangers.
    pub fn pin(&mut self, ssrc: u32) {
        match &mut self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.pin(ssrc),
            Kind::Plain(plain) => plain.pin(ssrc),
            Kind::Pipe(pipe) => pipe.plain.pin(ssrc),
            Kind::Direct(_) => {}
        }
    }

    /// Reads the header extensions of a new producer in all packets from now on; the last producer wins.
    pub fn adopt_extensions(&mut self, parameters: &RtpParameters) {
        let ids = &mut self.recv_extensions;
        for (id, kind) in [
            (&mut ids.mid, HeaderExtensionKind::Mid),
            (&mut ids.rid, HeaderExtensionKind::Rid),
            (&mut ids.rrid, HeaderExtensionKind::RepairedRid),
            (&mut ids.abs_send_time, HeaderExtensionKind::AbsSendTime),
            (&mut ids.transport_wide_cc01, HeaderExtensionKind::TransportWideCc),
        ] {
            *id = extension_id(parameters, kind).or(*id);
        }
    }

    /// What a packet says about its producer.
    pub fn names<'a>(&self, header: &RtpHeader, packet: &'a [u8]) -> PacketNames<'a> {
        if header.extensions.is_none() {
            return PacketNames::default();
        }
        let read = |id: Option<u8>| id.and_then(|id| header.extension(packet, id));
        let ids = &self.recv_extensions;
        PacketNames {
            mid: read(ids.mid),
            rid: read(ids.rid),
            repaired_rid: read(ids.rrid),
        }
    }

    /// The number of a packet among all those of the peer.
    pub fn wide_sequence_number(&self, header: &RtpHeader, packet: &[u8]) -> Option<u16> {
        let value = header.extension(packet, self.recv_extensions.transport_wide_cc01?)?;
        extensions::transport_wide_cc(value)
    }

    /// Watches what comes in, if a producer's peer wants to be told about it. The first that does decides how.
    pub fn watch_incoming(&mut self, parameters: &RtpParameters) {
        if self.incoming.is_none() {
            let limit = self.max_incoming_bitrate;
            self.incoming = Feedback::of(parameters).map(|feedback| Box::new(Incoming::new(feedback, limit)));
        }
    }

    /// Estimates how much can be sent to the peer from now on, if a consumer of video has parameters that let it tell.
    /// The first that has decides how. `random` is where the numbers of probes start.
    pub fn watch_outgoing(&mut self, kind: MediaKind, parameters: &RtpParameters, pacing: Pacing, random: (u16, u32)) {
        if self.outgoing.is_some() || kind != MediaKind::Video {
            return;
        }
        let (initial, limit) = (self.initial_outgoing_bitrate, self.max_outgoing_bitrate);
        self.outgoing =
            Feedback::of(parameters).map(|feedback| Box::new(Outgoing::new(feedback, initial, limit, pacing)));
        self.probation = Probation::new(random.0, random.1);
    }

    /// Sets what may be sent to the peer at most, in bits per second.
    pub fn set_max_outgoing_bitrate(&mut self, bitrate: u32, now: u64) {
        self.max_outgoing_bitrate = Some(bitrate);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.set_limit(Some(bitrate));
        }
        self.note(What::Limit { bitrate }, Why::Parent, now);
    }

    /// Keeps a decision for dumps, and writes it to the log.
    pub fn note(&mut self, what: What, why: Why, now: u64) {
        let bandwidth = self.outgoing.as_ref().map(|outgoing| outgoing.facts());
        self.decisions
            .note(&self.id, what, why, bandwidth.unwrap_or_default(), now);
    }

    /// Where packets go, while the peer can be reached over a network.
    fn path(&self) -> Option<(SocketId, SocketAddr)> {
        match &self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.path(),
            Kind::Plain(plain) => plain.path(),
            Kind::Pipe(pipe) => pipe.plain.path(),
            Kind::Direct(_) => None,
        }
    }

    /// Takes note of a packet, whoever it is for: what is to be sent about it at once is appended to `out`. Returns when
    /// the next report of arrivals is to be sent, if that is to be planned.
    pub fn note_arrival(&mut self, header: &RtpHeader, packet: &[u8], now: u64, out: &mut Vec<u8>) -> Option<u64> {
        let incoming = self.incoming.as_mut()?;
        let read = |id: Option<u8>| id.and_then(|id| header.extension(packet, id));
        let ids = &self.recv_extensions;
        let arrival = Arrival {
            ssrc: header.ssrc,
            wide_sequence_number: read(ids.transport_wide_cc01).and_then(extensions::transport_wide_cc),
            abs_send_time: read(ids.abs_send_time).and_then(extensions::read_abs_send_time),
            size: packet.len(),
        };
        incoming.add(arrival, now, out)
    }

    /// Sets what the peer may send in bits per second, 0 for no limit.
    pub fn set_max_incoming_bitrate(&mut self, bitrate: u32, now: u64, outbox: &mut Outbox) {
        self.max_incoming_bitrate = bitrate;
        let mut message = Vec::new();
        if let Some(incoming) = &mut self.incoming {
            incoming.set_limit(bitrate, &mut message);
        }
        if !message.is_empty() {
            self.send_rtcp(&message, now, outbox);
        }
    }

    /// Sends a packet of a consumer. None: it did not leave.
    pub fn send_rtp(
        &mut self,
        consumer_id: &str,
        packet: &ForwardedPacket,
        rewrite: &Rewrite,
        received: &[u8],
        now: u64,
        outbox: &mut Outbox,
    ) -> Option<Sent> {
        let mut rewrite = *rewrite;
        // What goes out again as it was has its number.
        let again = matches!(rewrite.form, Form::Again { .. });
        let carried = NonZeroU32::new(rewrite.ssrc).map(|ssrc| Carried {
            ssrc,
            sequence_number: rewrite.sequence_number,
            again: rewrite.form != Form::First,
        });
        let counter = match self.outgoing.as_deref_mut() {
            Some(outgoing) if outgoing.counts() && packet.is_video() && !again => {
                rewrite.wide_sequence_number = outgoing.next_number();
                Some((outgoing, carried))
            }
            _ => None,
        };
        let sent = match &mut self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.send_rtp(packet, &rewrite, received, counter, now, outbox)?,
            Kind::Plain(plain) => plain.send_rtp(packet, &rewrite, received, counter, now, outbox)?,
            Kind::Pipe(pipe) => pipe.plain.send_rtp(packet, &rewrite, received, counter, now, outbox)?,
            Kind::Direct(_) => {
                let mut bytes = Vec::with_capacity(packet.size_as(&rewrite));
                let sent = write_packet(packet, &rewrite, received, None, &mut bytes).ok()?;
                outbox.notify_payload(consumer_id, PayloadEvent::Rtp, &bytes);
                if let Some((outgoing, carried)) = counter {
                    outgoing.left(bytes.len(), carried, now);
                }
                sent
            }
        };
        self.traffic.sent.update(now, sent.wire_size);
        match rewrite.form {
            Form::First => self.traffic.rtp_sent.update(now, sent.size),
            Form::Again { .. } | Form::Rtx { .. } => self.traffic.rtx_sent.update(now, sent.size),
        }
        Some(sent)
    }

    /// Sends an RTCP packet.
    pub fn send_rtcp(&mut self, packet: &[u8], now: u64, outbox: &mut Outbox) {
        let size = match &mut self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.send_rtcp(packet, now, outbox),
            Kind::Plain(plain) => plain.send_rtcp(packet, outbox),
            Kind::Pipe(pipe) => pipe.plain.send_rtcp(packet, outbox),
            Kind::Direct(_) => {
                outbox.notify_payload(&self.id, PayloadEvent::Rtcp, packet);
                Some(packet.len())
            }
        };
        if let Some(size) = size {
            self.traffic.sent.update(now, size);
        }
    }

    /// Sends an SCTP packet.
    pub fn send_sctp(&mut self, packet: &[u8], now: u64, outbox: &mut Outbox) {
        let size = match &mut self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.send_sctp(packet, now, outbox),
            Kind::Plain(plain) => plain.send_sctp(packet, outbox),
            Kind::Pipe(pipe) => pipe.plain.send_sctp(packet, outbox),
            Kind::Direct(_) => None,
        };
        if let Some(size) = size {
            self.traffic.sent.update(now, size);
        }
    }

    /// As dumped; `router` is the one that holds it.
    pub fn dump(&self, router: &Router) -> TransportDump {
        let ids = |table: &HashMap<u32, ConsumerKey>| {
            table
                .iter()
                .filter_map(|(ssrc, key)| Some((*ssrc, router.consumers.get(*key)?.id.clone())))
                .collect()
        };
        TransportDump {
            id: self.id.clone(),
            direct: matches!(self.kind, Kind::Direct(Direct { flag: true, .. })),
            producer_ids: self.producers.keys().cloned().collect(),
            consumer_ids: self.consumers.keys().cloned().collect(),
            map_ssrc_consumer_id: ids(&self.ssrcs),
            map_rtx_ssrc_consumer_id: ids(&self.rtx_ssrcs),
            data_producer_ids: self.data_producers.keys().cloned().collect(),
            data_consumer_ids: self.data_consumers.keys().cloned().collect(),
            recv_rtp_header_extensions: self.recv_extensions,
            rtp_listener: self.listener.dump(&router.producers),
            max_message_size: self.max_message_size,
            sctp: self.sctp.as_ref().map(|sctp| sctp.dump(&router.data_producers)),
            trace_event_types: self.trace.dump(),
            decisions: self.decisions.dump(),
            pacing: self.outgoing.as_ref().map(|outgoing| outgoing.pacing()),
            kind: match &self.kind {
                Kind::WebRtc(web_rtc) => web_rtc.dump(),
                Kind::Plain(plain) => plain.dump(),
                Kind::Pipe(pipe) => pipe.dump(),
                Kind::Direct(_) => channel_proto::reply::TransportKindDump::Direct {},
            },
        }
    }

    /// As in `transport.getStats`.
    pub fn stats(&mut self, now: u64) -> TransportStats {
        let traffic = &mut self.traffic;
        let mut stats = TransportStats {
            transport_id: self.id.clone(),
            timestamp: now / 1000,
            bytes_received: traffic.received.bytes(),
            recv_bitrate: traffic.received.bitrate(now),
            bytes_sent: traffic.sent.bytes(),
            send_bitrate: traffic.sent.bitrate(now),
            rtp_bytes_received: traffic.rtp_received.bytes(),
            rtp_recv_bitrate: traffic.rtp_received.bitrate(now),
            rtp_bytes_sent: traffic.rtp_sent.bytes(),
            rtp_send_bitrate: traffic.rtp_sent.bitrate(now),
            rtx_bytes_received: traffic.rtx_received.bytes(),
            rtx_recv_bitrate: traffic.rtx_received.bitrate(now),
            rtx_bytes_sent: traffic.rtx_sent.bytes(),
            rtx_send_bitrate: traffic.rtx_sent.bitrate(now),
            probation_bytes_sent: traffic.probation_sent.bytes(),
            probation_send_bitrate: traffic.probation_sent.bitrate(now),
            max_incoming_bitrate: (self.max_incoming_bitrate > 0).then_some(self.max_incoming_bitrate),
            available_incoming_bitrate: self.incoming.as_ref().and_then(|incoming| incoming.available_bitrate()),
            available_outgoing_bitrate: self.outgoing.as_ref().map(|outgoing| outgoing.available_bitrate()),
            rtp_packet_loss_sent: self.outgoing.as_ref().map(|outgoing| outgoing.packet_loss()),
            rtp_packet_loss_received: self.incoming.as_ref().map(|incoming| incoming.packet_loss()),
            sctp_state: self.sctp.as_ref().map(|sctp| sctp.state()),
            ..TransportStats::default()
        };
        match &self.kind {
            Kind::WebRtc(web_rtc) => web_rtc.fill_stats(&mut stats),
            Kind::Plain(plain) => plain.fill_stats(&mut stats),
            Kind::Pipe(pipe) => pipe.fill_stats(&mut stats),
            Kind::Direct(_) => stats.kind = "direct-transport".to_owned(),
        }
        stats
    }
}
