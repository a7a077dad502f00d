//! A router: transports whose producers and consumers can reach each other.
//!
//! Producers and consumers stand beside the transports that carry them, in flat arenas: a packet of one transport
//! walks over consumers of many, each by its key.

use std::collections::BTreeMap;

use channel_proto::event::{Event, PacketInfo, RemoteRtcpTuple, RemoteTuple, TraceDirection};
use channel_proto::reply::RouterDump;
use channel_proto::rtp_parameters::MediaKind;
use slotmap::SlotMap;

use super::Context;
use super::consumer::Consumer;
use super::data::{DataConsumer, DataProducer};
use super::forward::Pending;
use super::keys::{ConsumerKey, DataConsumerKey, DataProducerKey, ObserverKey, ProducerKey, RouterKey, TransportKey};
use super::observer::RtpObserver;
use super::producer::{Forward, Producer, StreamChange};
use super::timers::Wake;
use super::transport::plain::Source;
use super::transport::{Kind, Transport};
use crate::ice::Tuple;
use crate::rtp::packet::{RtpHeader, is_rtcp, is_rtp};
use crate::rtp::recv_stream::RecvStream;
use crate::sctp::chunks::is_sctp;

/// Transports whose producers and consumers can reach each other.
#[derive(Debug)]
pub struct Router {
    /// Its own key.
    pub key: RouterKey,
    /// Id given by the parent.
    pub id: String,
    /// Transports by id.
    pub transport_ids: BTreeMap<String, TransportKey>,
    /// Producers of all transports by id.
    pub producer_ids: BTreeMap<String, ProducerKey>,
    /// Transports.
    pub transports: SlotMap<TransportKey, Transport>,
    /// Producers of all transports.
    pub producers: SlotMap<ProducerKey, Producer>,
    /// Consumers of all transports.
    pub consumers: SlotMap<ConsumerKey, Consumer>,
    /// Observers by id.
    pub observer_ids: BTreeMap<String, ObserverKey>,
    /// Observers.
    pub observers: SlotMap<ObserverKey, RtpObserver>,
    /// Data producers of all transports by id.
    pub data_producer_ids: BTreeMap<String, DataProducerKey>,
    /// Data producers of all transports.
    pub data_producers: SlotMap<DataProducerKey, DataProducer>,
    /// Data consumers of all transports.
    pub data_consumers: SlotMap<DataConsumerKey, DataConsumer>,
}

impl Router {
    /// An empty router.
    pub fn new(key: RouterKey, id: String) -> Self {
        Self {
            key,
            id,
            transport_ids: BTreeMap::new(),
            producer_ids: BTreeMap::new(),
            transports: SlotMap::with_key(),
            producers: SlotMap::with_key(),
            consumers: SlotMap::with_key(),
            observer_ids: BTreeMap::new(),
            observers: SlotMap::with_key(),
            data_producer_ids: BTreeMap::new(),
            data_producers: SlotMap::with_key(),
            data_consumers: SlotMap::with_key(),
        }
    }

    /// Takes a datagram that a transport's socket received. What is to be forwarded is appended to `batch`.
    pub fn receive_datagram(
        &mut self,
        key: TransportKey,
        tuple: Tuple,
        datagram: &mut [u8],
        index: usize,
        batch: &mut Vec<Pending>,
        context: &mut Context<'_>,
    ) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.traffic.received.update(context.now, datagram.len());
        let plain = match &mut transport.kind {
            Kind::Plain(plain) => plain,
            Kind::Pipe(pipe) => &mut pipe.plain,
            Kind::WebRtc(_) => {
                self.receive_web_rtc(key, tuple, datagram, index, batch, context);
                return;
            }
            Kind::Direct(_) => return,
        };
        if transport.sctp.is_some() && is_sctp(datagram) {
            let learnt = plain.judge_unprotected(tuple.remote);
            if self.source_judged(key, learnt, context) {
                self.receive_sctp(key, datagram, context);
            }
            return;
        }
        let rtcp = is_rtcp(datagram);
        let length = if rtcp {
            plain.unprotect_rtcp(datagram)
        } else if is_rtp(datagram) {
            RtpHeader::parse_encrypted(datagram)
                .ok()
                .and_then(|header| plain.unprotect_rtp(datagram, header.payload_offset))
        } else {
            None
        };
        let plain_text = length.and_then(|length| datagram.get(..length));
        let header = plain_text
            .filter(|_| !rtcp)
            .and_then(|packet| RtpHeader::parse(packet).ok());
        let (Some(packet), true) = (plain_text, rtcp || header.is_some()) else {
            transport.traffic.dropped += 1;
            return;
        };
        let learnt = plain.judge(tuple.remote, rtcp);
        if !self.source_judged(key, learnt, context) {
            return;
        }
        match header {
            None => self.receive_rtcp(key, packet, context),
            Some(header) => self.receive_rtp(key, &header, packet, index, batch, context),
        }
    }

    /// Tells of an address that has been learnt; false for a packet of a stranger.
    fn source_judged(&mut self, key: TransportKey, source: Source, context: &mut Context<'_>) -> bool {
        let Some(transport) = self.transports.get_mut(key) else {
            return false;
        };
        let Some(plain) = transport.kind.plain() else {
            return false;
        };
        match source {
            Source::Stranger => {
                transport.traffic.dropped += 1;
                return false;
            }
            Source::Peer => {}
            Source::LearntRtp => {
                let event = Event::Tuple(RemoteTuple { tuple: plain.tuple() });
                context.outbox.notify(&transport.id, event);
                self.transport_connected(key, context);
            }
            Source::LearntRtcp => {
                if let Some(rtcp_tuple) = plain.rtcp_tuple() {
                    context
                        .outbox
                        .notify(&transport.id, Event::RtcpTuple(RemoteRtcpTuple { rtcp_tuple }));
                }
            }
        }
        true
    }

    /// Takes a plain RTP packet of a transport.
    pub fn receive_rtp(
        &mut self,
        key: TransportKey,
        header: &RtpHeader,
        packet: &[u8],
        index: usize,
        batch: &mut Vec<Pending>,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if transport.incoming.is_some() {
            self.note_arrival(key, header, packet, context);
        }
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let names = transport.names(header, packet);
        let wide_sequence_number = transport.wide_sequence_number(header, packet);
        let found = transport
            .listener
            .find(header.ssrc, names.mid, names.rid, names.repaired_rid);
        let Some((producer_key, unknown_ssrc)) = found else {
            transport.traffic.dropped += 1;
            return;
        };
        let Some(producer) = self.producers.get_mut(producer_key) else {
            return;
        };
        let Some(received) = producer.receive(header, packet, names, now) else {
            transport.traffic.dropped += 1;
            return;
        };
        let (change, forward) = (received.change, received.forward);
        // As forwarded, header rewritten: what the counters of this protocol have always meant.
        let size = forward.as_ref().map_or(received.size, |forward| forward.packet.size());
        if received.is_rtx {
            transport.traffic.rtx_received.update(now, size);
        } else {
            transport.traffic.rtp_received.update(now, size);
        }
        if unknown_ssrc {
            transport.listener.learn(header.ssrc, producer_key);
        }
        if matches!(change, Some(StreamChange::New | StreamChange::Repairable)) {
            transport.pin(header.ssrc);
        }
        let is_key_frame = forward.as_ref().is_some_and(|forward| forward.packet.is_key_frame);
        match change {
            Some(StreamChange::New) => {
                context.outbox.notify(&producer.id, producer.score_event());
                let video = producer.kind == MediaKind::Video;
                if video && !producer.paused && !is_key_frame && producer.key_frames.force_needed(header.ssrc, now) {
                    self.send_key_frame_request(producer_key, header.ssrc, context);
                }
                self.plan_key_frame_requests(producer_key, context);
                self.stream_appeared(producer_key, is_key_frame.then_some(header.ssrc), context);
                self.watch_inactivity(producer_key, context);
            }
            Some(StreamChange::Awake) => {
                self.score_changed(producer_key, context);
                // Whoever asked for a key frame just now has it in this packet.
                if let Some(producer) = self.producers.get_mut(producer_key).filter(|_| is_key_frame) {
                    producer.key_frames.received(header.ssrc);
                }
                self.watch_inactivity(producer_key, context);
            }
            Some(StreamChange::Repairable) | None => {}
        }
        self.look_what_vanished(producer_key, context);
        if self.producers.get(producer_key).is_some_and(Producer::nack_is_waiting) {
            self.request_missing(producer_key, context);
        }
        let Some(Forward {
            packet: forwarded,
            orientation,
        }) = forward
        else {
            return;
        };
        let Some(producer) = self.producers.get(producer_key) else {
            return;
        };
        let (header, is_rtx, size) = (&received.header, received.is_rtx, received.size);
        if !producer.observers.is_empty()
            && let Some(level) = producer.audio_level(header, packet)
        {
            for observer in &producer.observers {
                if let Some(observer) = self.observers.get_mut(*observer) {
                    observer.level(producer_key, level, now);
                }
            }
        }
        if let Some(orientation) = orientation {
            context
                .outbox
                .notify(&producer.id, Event::VideoOrientationChange(orientation));
        }
        if producer.trace.any() {
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let info = PacketInfo {
                payload_type: header.payload_type,
                sequence_number: header.sequence_number,
                timestamp: header.timestamp,
                marker: header.marker,
                ssrc: header.ssrc,
                is_key_frame: forwarded.is_key_frame,
                size: size as u64,
                payload_size: header.payload_length as u64,
                spatial_layer: forwarded.descriptor.spatial_layer,
                temporal_layer: forwarded.descriptor.temporal_layer,
                mid: text(names.mid),
                rid: text(names.rid),
                rrid: text(names.repaired_rid),
                wide_sequence_number,
                is_rtx,
            };
            if let Some(event) = producer.trace.packet(info, TraceDirection::In, now) {
                context.outbox.notify(&producer.id, event);
            }
        }
        if !producer.consumers.is_empty() {
            batch.push(Pending {
                router: self.key,
                producer: producer_key,
                datagram: index,
                packet: forwarded,
                stored: None,
            });
        }
    }

    /// Lets the consumers of a transport go, and its reports.
    pub fn transport_connected(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        if !transport.is_connected() {
            return;
        }
        let consumers: Vec<_> = transport.consumers.values().copied().collect();
        for consumer_key in consumers {
            self.consumer_connected(consumer_key, context);
        }
        self.connect_sctp(key, context);
        self.start_reports(key, context);
    }

    /// Lets a consumer go whose transport is connected.
    pub fn consumer_connected(&mut self, key: ConsumerKey, context: &mut Context<'_>) {
        let Some(consumer) = self.consumers.get_mut(key) else {
            return;
        };
        if self
            .transports
            .get(consumer.transport)
            .is_some_and(Transport::is_connected)
            && consumer.set_connected(true, context.now).started
        {
            self.consumer_started(key, context);
        }
    }

    fn watch_inactivity(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if producer.inactivity_armed || producer.paused {
            return;
        }
        if let Some(at) = producer.streams_mut().filter_map(|stream| stream.inactive_at()).min() {
            producer.inactivity_armed = true;
            context.timers.wake_at(at, Wake::Inactivity(self.key, key));
        }
    }

    /// Looks at what a producer stopped sending, if its last packet told so.
    fn look_what_vanished(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if std::mem::take(&mut producer.layer_vanished) {
            self.check_spatial_layers(key, context);
        } else if std::mem::take(&mut producer.stream_vanished) {
            self.deactivate_silent(key, context);
        }
    }

    /// Looks for streams of a producer that went silent.
    pub fn check_inactivity(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        producer.inactivity_armed = false;
        self.deactivate_silent(key, context);
        self.watch_inactivity(key, context);
    }

    fn deactivate_silent(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key) else {
            return;
        };
        if producer.paused {
            return;
        }
        let now = context.now;
        let silent = producer
            .streams_mut()
            .filter_map(|stream| stream.deactivate_if_silent(now).then_some(()))
            .count();
        for _ in 0..silent {
            self.score_changed(key, context);
        }
    }

    /// `producer.pause` and `producer.resume`.
    pub fn set_producer_paused(&mut self, key: ProducerKey, paused: bool, context: &mut Context<'_>) {
        let Some(producer) = self.producers.get_mut(key).filter(|producer| producer.paused != paused) else {
            return;
        };
        producer.paused = paused;
        let now = context.now;
        if paused {
            producer.streams_mut().for_each(RecvStream::pause);
        } else {
            producer.streams_mut().for_each(|stream| stream.resume(now));
        }
        let ssrcs: Vec<u32> = producer.streams_mut().map(|stream| stream.params.ssrc).collect();
        let video = producer.kind == MediaKind::Video;
        for consumer_key in producer.consumers.clone() {
            let Some(consumer) = self.consumers.get_mut(consumer_key) else {
                continue;
            };
            let activity = consumer.set_producer_paused(paused, context.now);
            if activity.layers_lost {
                context.outbox.notify(&consumer.id, consumer.layers_event());
            }
            let event = if paused {
                Event::ProducerPause
            } else {
                Event::ProducerResume
            };
            context.outbox.notify(&consumer.id, event);
            if activity.started {
                self.consumer_started(consumer_key, context);
            }
        }
        self.observe_producer_paused(key, paused);
        if !paused && video {
            for ssrc in ssrcs {
                let Some(producer) = self.producers.get_mut(key) else {
                    return;
                };
                if producer.key_frames.force_needed(ssrc, context.now) {
                    self.send_key_frame_request(key, ssrc, context);
                }
            }
            self.plan_key_frame_requests(key, context);
        }
        self.watch_inactivity(key, context);
    }

    /// Closes a producer; its consumers are told.
    pub fn close_producer(&mut self, key: ProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.producers.remove(key) else {
            return;
        };
        self.producer_ids.remove(&producer.id);
        if let Some(transport) = self.transports.get_mut(producer.transport) {
            transport.producers.remove(&producer.id);
            transport.listener.remove(key);
        }
        for consumer_key in producer.consumers {
            if let Some(consumer) = self.remove_consumer(consumer_key) {
                context.outbox.notify(&consumer.id, Event::ProducerClose);
            }
        }
        for observer in producer.observers {
            if let Some(observer) = self.observers.get_mut(observer) {
                observer.remove(key, &self.producers, context);
            }
        }
    }

    /// Closes a consumer.
    pub fn close_consumer(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.remove_consumer(key)
            && let Some(producer) = self.producers.get_mut(consumer.producer)
        {
            producer.consumers.retain(|other| *other != key);
        }
    }

    fn remove_consumer(&mut self, key: ConsumerKey) -> Option<Consumer> {
        let consumer = self.consumers.remove(key)?;
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            transport.consumers.remove(&consumer.id);
            transport.ssrcs.retain(|_, other| *other != key);
            transport.rtx_ssrcs.retain(|_, other| *other != key);
        }
        Some(consumer)
    }

    /// Closes a transport with all that it holds.
    pub fn close_transport(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let producers: Vec<_> = transport.producers.values().copied().collect();
        let consumers: Vec<_> = transport.consumers.values().copied().collect();
        for producer in producers {
            self.close_producer(producer, context);
        }
        for consumer in consumers {
            self.close_consumer(consumer);
        }
        self.close_data_of_transport(key, context);
        if let Some(mut transport) = self.transports.remove(key) {
            self.transport_ids.remove(&transport.id);
            transport.close((self.key, key), context);
        }
    }

    /// As dumped.
    pub fn dump(&self) -> RouterDump {
        let consumers_of = |producer: &Producer| {
            let ids = producer.consumers.iter().filter_map(|key| self.consumers.get(*key));
            ids.map(|consumer| consumer.id.clone()).collect()
        };
        let observers_of = |producer: &Producer| {
            let observers = producer.observers.iter().filter_map(|key| self.observers.get(*key));
            observers.map(|observer| observer.id.clone()).collect()
        };
        let producers = || self.producers.values();
        RouterDump {
            id: self.id.clone(),
            transport_ids: self.transport_ids.keys().cloned().collect(),
            map_producer_id_consumer_ids: producers()
                .map(|producer| (producer.id.clone(), consumers_of(producer)))
                .collect(),
            map_consumer_id_producer_id: self
                .consumers
                .values()
                .map(|consumer| (consumer.id.clone(), consumer.producer_id().to_owned()))
                .collect(),
            rtp_observer_ids: self.observer_ids.keys().cloned().collect(),
            map_producer_id_observer_ids: producers()
                .map(|producer| (producer.id.clone(), observers_of(producer)))
                .collect(),
            map_data_producer_id_data_consumer_ids: self
                .data_producers
                .values()
                .map(|producer| {
                    let keys = producer.consumers.iter();
                    let consumers = keys.filter_map(|key| self.data_consumers.get(*key));
                    (
                        producer.id.clone(),
                        consumers.map(|consumer| consumer.id.clone()).collect(),
                    )
                })
                .collect(),
            map_data_consumer_id_data_producer_id: self
                .data_consumers
                .values()
                .map(|consumer| (consumer.id.clone(), consumer.producer_id.clone()))
                .collect(),
        }
    }
}
