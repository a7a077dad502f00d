//! How messages get from data producers to data consumers.

use bytes::Bytes;
use channel_proto::command::{Arguments, DataType, Target};
use channel_proto::event::{Event, SctpStateChange};
use channel_proto::reply::{Failure, Reply};
use smallvec::SmallVec;

use super::DataConsumer;
use crate::engine::keys::{DataConsumerKey, DataProducerKey, TransportKey};
use crate::engine::router::Router;
use crate::engine::timers::Wake;
use crate::engine::{Context, required};
use crate::sctp::{Output, SendError, State, ppid};

/// What parents know a full send buffer by: reason of the failure, without the method.
pub const SEND_BUFFER_FULL: &str = "sctpsendbufferfull";

/// Transports whose associations have something to say.
type Touched = SmallVec<[TransportKey; 8]>;

/// A message on its way: the same bytes for all who get it.
struct Message {
    ppid: u32,
    payload: Bytes,
}

impl Router {
    /// A message from the parent for a direct data producer.
    pub(in crate::engine) fn send_to_data_producer(
        &mut self,
        key: TransportKey,
        target: &Target,
        ppid: &Arguments<u32>,
        payload: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Reply, Failure> {
        let Some(transport) = self.transports.get_mut(key) else {
            return Err(Failure::error("Transport not found"));
        };
        let id = required(target.data_producer_id.as_deref(), "dataProducerId")?;
        let found = transport.data_producers.get(id).copied();
        let found = found.and_then(|key| Some((key, self.data_producers.get_mut(key)?)));
        let (producer_key, producer) = found.ok_or_else(|| Failure::error("DataProducer not found"))?;
        if producer.parameters.data_type != DataType::Direct {
            return Err(Failure::error("invalid DataProducer type"));
        }
        let ppid = ppid.clone()?;
        if payload.len() as u64 > transport.max_message_size {
            return Err(Failure::error(format!(
                "message of {} bytes is longer than the {} allowed",
                payload.len(),
                transport.max_message_size
            )));
        }
        transport.traffic.received.update(context.now, payload.len());
        producer.received(payload.len());
        let mut touched = Touched::new();
        let message = Message {
            ppid,
            payload: Bytes::copy_from_slice(payload),
        };
        self.forward_message(producer_key, &message, &mut touched, context);
        self.serve_touched(touched, context);
        Ok(Reply::None)
    }

    /// A message from the parent for the peer of an SCTP data consumer.
    pub(in crate::engine) fn send_to_data_consumer(
        &mut self,
        key: TransportKey,
        target: &Target,
        ppid: &Arguments<u32>,
        payload: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Reply, Failure> {
        let id = required(target.data_consumer_id.as_deref(), "dataConsumerId")?;
        let transport = self.transports.get(key);
        let found = transport.and_then(|transport| transport.data_consumers.get(id).copied());
        let consumer_key = found.ok_or_else(|| Failure::error("DataConsumer not found"))?;
        let data_type = self
            .data_consumers
            .get(consumer_key)
            .map(|consumer| consumer.parameters.data_type);
        if data_type != Some(DataType::Sctp) {
            return Err(Failure::error("invalid DataConsumer type"));
        }
        let ppid = ppid.clone()?;
        let message = Message {
            ppid,
            payload: Bytes::copy_from_slice(payload),
        };
        let sent = self.send_message(consumer_key, &message, context);
        self.serve_sctp(key, context);
        match sent {
            Ok(_) => Ok(Reply::None),
            Err(SendError::BufferFull) => Err(Failure::error(SEND_BUFFER_FULL)),
            Err(error) => Err(Failure::error(format!("message send failed: {error}"))),
        }
    }

    /// Takes an SCTP packet of the peer of a transport, as it came over UDP or out of DTLS.
    pub fn receive_sctp(&mut self, key: TransportKey, packet: &[u8], context: &mut Context<'_>) {
        if let Some(sctp) = self.transports.get_mut(key).and_then(|t| t.sctp.as_mut()) {
            sctp.association.receive(context.now, packet);
            self.serve_sctp(key, context);
            self.buffered_amount_changed(key, context);
        }
    }

    /// Starts the association of a transport that has become connected.
    pub(in crate::engine) fn connect_sctp(&mut self, key: TransportKey, context: &mut Context<'_>) {
        if let Some(sctp) = self.transports.get_mut(key).and_then(|t| t.sctp.as_mut()) {
            sctp.association.connect(context.now);
            self.serve_sctp(key, context);
        }
    }

    /// Wakes the association of a transport.
    pub(in crate::engine) fn wake_sctp(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(sctp) = self.transports.get_mut(key).and_then(|t| t.sctp.as_mut()) else {
            return;
        };
        // Another wake-up is the one that counts.
        if sctp.wake.is_none_or(|at| at > context.now) {
            return;
        }
        sctp.wake = None;
        sctp.association.handle_timeout(context.now);
        self.serve_sctp(key, context);
        self.buffered_amount_changed(key, context);
    }

    /// Does what the association of a transport asks for.
    pub(in crate::engine) fn serve_sctp(&mut self, key: TransportKey, context: &mut Context<'_>) {
        self.serve_touched(SmallVec::from_slice(&[key]), context);
    }

    fn serve_touched(&mut self, mut touched: Touched, context: &mut Context<'_>) {
        // Only the first can bring messages, since the others got no packet: so this ends.
        while let Some(key) = touched.pop() {
            while let Some(output) = self.poll_sctp(key) {
                match output {
                    Output::Packet(packet) => {
                        if let Some(transport) = self.transports.get_mut(key) {
                            transport.send_sctp(&packet, context.now, context.outbox);
                            context.outbox.flush_if_full(context.ports);
                        }
                    }
                    Output::State(state) => self.sctp_state_changed(key, state, context),
                    Output::Message { stream, ppid, payload } => {
                        self.receive_message(key, stream, ppid, payload.into(), &mut touched, context);
                    }
                    Output::StreamsReset(streams) => self.streams_reset(key, &streams, context),
                }
            }
            self.plan_sctp(key, context);
        }
    }

    fn poll_sctp(&mut self, key: TransportKey) -> Option<Output> {
        self.transports.get_mut(key)?.sctp.as_mut()?.association.poll()
    }

    fn plan_sctp(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(sctp) = self.transports.get_mut(key).and_then(|t| t.sctp.as_mut()) else {
            return;
        };
        if let Some(at) = sctp.association.next_timeout()
            && sctp.wake.is_none_or(|planned| planned > at)
        {
            sctp.wake = Some(at);
            context.timers.wake_at(at, Wake::Sctp(self.key, key));
        }
    }

    fn sctp_state_changed(&mut self, key: TransportKey, state: State, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(sctp) = &mut transport.sctp else {
            return;
        };
        if state == State::Connected {
            sctp.negotiated();
            for consumer in transport.data_consumers.values() {
                let stream = self.data_consumers.get(*consumer).and_then(DataConsumer::stream);
                if let Some((stream, _)) = stream {
                    sctp.use_stream(stream);
                }
            }
        }
        let sctp_state = sctp.state();
        context
            .outbox
            .notify(&transport.id, Event::SctpStateChange(SctpStateChange { sctp_state }));
    }

    /// The peer closed some of its streams.
    fn streams_reset(&mut self, key: TransportKey, streams: &[u16], context: &mut Context<'_>) {
        let Some(sctp) = self.transports.get_mut(key).and_then(|t| t.sctp.as_mut()) else {
            return;
        };
        if !sctp.is_data_channel() {
            return;
        }
        let all: Vec<u16> = if streams.is_empty() {
            sctp.streams.keys().copied().collect()
        } else {
            streams.to_vec()
        };
        for stream in all {
            sctp.association.reset_stream(context.now, stream);
        }
    }

    fn receive_message(
        &mut self,
        key: TransportKey,
        stream: u16,
        ppid: u32,
        payload: Bytes,
        touched: &mut Touched,
        context: &mut Context<'_>,
    ) {
        // Channels are agreed on through the parent; what peers say about them in band does not matter.
        if ppid == ppid::DCEP {
            return;
        }
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let found = transport.sctp.as_ref().and_then(|sctp| sctp.streams.get(&stream));
        let Some(producer_key) = found.copied() else {
            transport.traffic.dropped += 1;
            return;
        };
        if let Some(producer) = self.data_producers.get_mut(producer_key) {
            producer.received(payload.len());
            self.forward_message(producer_key, &Message { ppid, payload }, touched, context);
        }
    }

    fn forward_message(
        &mut self,
        producer_key: DataProducerKey,
        message: &Message,
        touched: &mut Touched,
        context: &mut Context<'_>,
    ) {
        let consumers = self
            .data_producers
            .get(producer_key)
            .map(|producer| producer.consumers.len());
        for index in 0..consumers.unwrap_or_default() {
            let consumers = self
                .data_producers
                .get(producer_key)
                .map(|producer| &producer.consumers);
            let Some(consumer) = consumers.and_then(|consumers| consumers.get(index)).copied() else {
                return;
            };
            if let Ok(transport) = self.send_message(consumer, message, context)
                && let Some(transport) = transport
                && !touched.contains(&transport)
            {
                touched.push(transport);
            }
        }
    }

    /// Sends a message to one data consumer; returns the transport whose association took it.
    fn send_message(
        &mut self,
        key: DataConsumerKey,
        message: &Message,
        context: &mut Context<'_>,
    ) -> Result<Option<TransportKey>, SendError> {
        let Some(consumer) = self.data_consumers.get_mut(key) else {
            return Err(SendError::NotConnected);
        };
        let transport_key = consumer.transport;
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return Err(SendError::NotConnected);
        };
        let payload = &message.payload;
        if payload.len() as u64 > transport.max_message_size {
            return Err(SendError::TooLarge);
        }
        let (Some((stream, delivery)), Some(sctp)) = (consumer.stream(), &mut transport.sctp) else {
            context
                .outbox
                .notify_message(&consumer.id, message.ppid, payload.clone());
            transport.traffic.sent.update(context.now, payload.len());
            consumer.sent(payload.len());
            return Ok(None);
        };
        if sctp.association.state() != State::Connected {
            return Err(SendError::NotConnected);
        }
        // Also one that is refused now counts.
        consumer.sent(payload.len());
        let sent = sctp
            .association
            .send(context.now, stream, message.ppid, payload.clone(), delivery);
        if sent == Err(SendError::BufferFull) {
            sctp.tell_buffered();
            context.outbox.notify(&consumer.id, Event::SctpSendBufferFull);
        }
        sent.map(|()| Some(transport_key))
    }

    /// Tells data consumers if less waits than when the parent last learnt of it.
    fn buffered_amount_changed(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(sctp) = &mut transport.sctp else {
            return;
        };
        let before = sctp.told;
        let now = sctp.tell_buffered();
        if now as usize >= before {
            return;
        }
        let consumers: Vec<DataConsumerKey> = transport.data_consumers.values().copied().collect();
        for consumer_key in consumers {
            let threshold = self
                .data_consumers
                .get(consumer_key)
                .map(|consumer| consumer.low_threshold);
            if threshold.is_some_and(|threshold| before > threshold as usize && now <= threshold) {
                self.notify_buffered_amount_low(consumer_key, context);
            }
        }
    }
}
