//! What the parent asks of data producers and data consumers.

use channel_proto::command::{Arguments, Command, DataType, ProduceData, Target};
use channel_proto::event::Event;
use channel_proto::reply::{BufferedAmount, Failure, Reply};

use super::{DataConsumer, DataProducer};
use crate::engine::keys::{DataConsumerKey, DataProducerKey, TransportKey};
use crate::engine::router::Router;
use crate::engine::transport::direct::Direct;
use crate::engine::transport::{Kind, Transport};
use crate::engine::{After, Context, required, unknown_method};

impl Transport {
    fn carries_data(&self) -> Result<(), Failure> {
        if self.sctp.is_none() && !matches!(self.kind, Kind::Direct(Direct { flag: true, .. })) {
            return Err(Failure::error("SCTP not enabled and not a direct Transport"));
        }
        Ok(())
    }

    /// Whether data producers or data consumers (`what`) of this type can be here.
    fn carries_type(&self, data_type: DataType, what: &str) -> Result<(), Failure> {
        let (carried, why) = match data_type {
            DataType::Sctp => (self.sctp.is_some(), "'sctp', SCTP not enabled in this Transport"),
            DataType::Direct => (
                matches!(self.kind, Kind::Direct(Direct { flag: true, .. })),
                "'direct', not a direct Transport",
            ),
        };
        if carried {
            return Ok(());
        }
        Err(Failure::type_error(format!("cannot create a {what} of type {why}")))
    }
}

impl Router {
    /// Commands on data producers and data consumers of a transport.
    pub(in crate::engine) fn execute_on_data(
        &mut self,
        key: TransportKey,
        target: &Target,
        command: Command,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        let Some(transport) = self.transports.get(key) else {
            return Err(Failure::error("Transport not found"));
        };
        match command {
            Command::TransportProduceData(arguments) => self.produce_data(key, target, arguments),
            Command::TransportConsumeData(arguments) => self.consume_data(key, target, arguments),
            Command::DataProducerClose | Command::DataProducerDump | Command::DataProducerGetStats => {
                let id = required(target.data_producer_id.as_deref(), "dataProducerId")?;
                let found = transport.data_producers.get(id).copied();
                let producer_key = found.ok_or_else(|| Failure::error("DataProducer not found"))?;
                self.execute_on_data_producer(producer_key, &command, context)
            }
            command => {
                let id = required(target.data_consumer_id.as_deref(), "dataConsumerId")?;
                let found = transport.data_consumers.get(id).copied();
                let consumer_key = found.ok_or_else(|| Failure::error("DataConsumer not found"))?;
                self.execute_on_data_consumer(consumer_key, command, context, after)
            }
        }
    }

    fn produce_data(
        &mut self,
        key: TransportKey,
        target: &Target,
        arguments: Arguments<ProduceData>,
    ) -> Result<Reply, Failure> {
        let Some(transport) = self.transports.get_mut(key) else {
            return Err(Failure::error("Transport not found"));
        };
        transport.carries_data()?;
        let id = required(target.data_producer_id.as_deref(), "dataProducerId")?;
        if transport.data_producers.contains_key(id) {
            return Err(Failure::error("a DataProducer with same dataProducerId already exists"));
        }
        let parameters = arguments?;
        transport.carries_type(parameters.data_type, "DataProducer")?;
        if self.data_producer_ids.contains_key(id) {
            return Err(Failure::error(format!(
                "DataProducer already present in mapDataProducers [dataProducerId:{id}]"
            )));
        }
        let producer = DataProducer::new(id.to_owned(), key, parameters);
        let stream = producer.stream().zip(transport.sctp.as_mut());
        if let Some((stream, sctp)) = &stream
            && sctp.streams.contains_key(stream)
        {
            return Err(Failure::error(format!(
                "streamId already exists in SCTP listener [streamId:{stream}]"
            )));
        }
        let dump = producer.dump();
        let producer_key = self.data_producers.insert(producer);
        if let Some((stream, sctp)) = stream {
            sctp.streams.insert(stream, producer_key);
        }
        transport.data_producers.insert(id.to_owned(), producer_key);
        self.data_producer_ids.insert(id.to_owned(), producer_key);
        Ok(Reply::DataProducerDump(dump))
    }

    fn consume_data(
        &mut self,
        key: TransportKey,
        target: &Target,
        arguments: Arguments<ProduceData>,
    ) -> Result<Reply, Failure> {
        let Some(transport) = self.transports.get_mut(key) else {
            return Err(Failure::error("Transport not found"));
        };
        transport.carries_data()?;
        let producer_id = required(target.data_producer_id.as_deref(), "dataProducerId")?;
        let id = required(target.data_consumer_id.as_deref(), "dataConsumerId")?;
        if transport.data_consumers.contains_key(id) {
            return Err(Failure::error("a DataConsumer with same dataConsumerId already exists"));
        }
        let parameters = arguments?;
        transport.carries_type(parameters.data_type, "DataConsumer")?;
        let found = self.data_producer_ids.get(producer_id).copied();
        let found = found.and_then(|key| Some((key, self.data_producers.get_mut(key)?)));
        let Some((producer_key, producer)) = found else {
            return Err(Failure::error(format!(
                "DataProducer not found [dataProducerId:{producer_id}]"
            )));
        };
        let consumer = DataConsumer {
            id: id.to_owned(),
            transport: key,
            producer: producer_key,
            producer_id: producer_id.to_owned(),
            parameters,
            low_threshold: 0,
            messages: 0,
            bytes: 0,
        };
        let dump = consumer.dump();
        if let (Some((stream, _)), Some(sctp)) = (consumer.stream(), &mut transport.sctp) {
            sctp.use_stream(stream);
        }
        let consumer_key = self.data_consumers.insert(consumer);
        producer.consumers.push(consumer_key);
        transport.data_consumers.insert(id.to_owned(), consumer_key);
        Ok(Reply::DataConsumerDump(dump))
    }

    fn execute_on_data_producer(
        &mut self,
        key: DataProducerKey,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<Reply, Failure> {
        let Some(producer) = self.data_producers.get(key) else {
            return Err(Failure::error("DataProducer not found"));
        };
        Ok(match command {
            Command::DataProducerDump => Reply::DataProducerDump(producer.dump()),
            Command::DataProducerGetStats => Reply::DataProducerStats([producer.stats(context.now)]),
            _ => {
                self.close_data_producer(key, context);
                Reply::None
            }
        })
    }

    fn execute_on_data_consumer(
        &mut self,
        key: DataConsumerKey,
        command: Command,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        let Some(consumer) = self.data_consumers.get_mut(key) else {
            return Err(Failure::error("DataConsumer not found"));
        };
        let transport = self.transports.get_mut(consumer.transport);
        let sctp = transport.and_then(|transport| transport.sctp.as_mut());
        let buffered_of_sctp = || Failure::error("invalid DataConsumer type");
        Ok(match command {
            Command::DataConsumerClose => {
                self.close_data_consumer(key, context);
                Reply::None
            }
            Command::DataConsumerDump => Reply::DataConsumerDump(consumer.dump()),
            Command::DataConsumerGetStats => {
                let buffered = sctp.map_or(0, |sctp| sctp.tell_buffered());
                Reply::DataConsumerStats([consumer.stats(buffered, context.now)])
            }
            Command::DataConsumerGetBufferedAmount => Reply::BufferedAmount(BufferedAmount {
                buffered_amount: sctp.ok_or_else(buffered_of_sctp)?.tell_buffered(),
            }),
            Command::DataConsumerSetBufferedAmountLowThreshold(arguments) => {
                let sctp = sctp.ok_or_else(buffered_of_sctp)?;
                consumer.low_threshold = arguments?.threshold;
                if sctp.tell_buffered() <= consumer.low_threshold {
                    *after = After::BufferedAmountLow(self.key, key);
                }
                Reply::None
            }
            command => return Err(unknown_method(command.method())),
        })
    }

    /// Tells that little waits in the association of a data consumer.
    pub(in crate::engine) fn notify_buffered_amount_low(&mut self, key: DataConsumerKey, context: &mut Context<'_>) {
        let Some(consumer) = self.data_consumers.get(key) else {
            return;
        };
        let transport = self.transports.get(consumer.transport);
        if let Some(sctp) = transport.and_then(|transport| transport.sctp.as_ref()) {
            let buffered_amount = sctp.buffered();
            let event = Event::BufferedAmountLow(BufferedAmount { buffered_amount });
            context.outbox.notify(&consumer.id, event);
        }
    }

    /// Closes a data producer; its data consumers are told.
    pub fn close_data_producer(&mut self, key: DataProducerKey, context: &mut Context<'_>) {
        let Some(producer) = self.data_producers.remove(key) else {
            return;
        };
        self.data_producer_ids.remove(&producer.id);
        for consumer_key in &producer.consumers {
            if let Some(consumer) = self.remove_data_consumer(*consumer_key, context) {
                context.outbox.notify(&consumer.id, Event::DataProducerClose);
            }
        }
        let Some(transport) = self.transports.get_mut(producer.transport) else {
            return;
        };
        transport.data_producers.remove(&producer.id);
        if let (Some(stream), Some(sctp)) = (producer.stream(), &mut transport.sctp) {
            sctp.streams.remove(&stream);
            // A data channel is closed in both directions, and ours is what we can close. The other direction of a
            // plain stream is the peer's.
            if sctp.is_data_channel() {
                sctp.association.reset_stream(context.now, stream);
                self.serve_sctp(producer.transport, context);
            }
        }
    }

    /// Closes the data producers and data consumers of a transport that is about to go. Its own association has no more
    /// to say: the peer hears of the end of what carries it.
    pub(in crate::engine) fn close_data_of_transport(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.sctp = None;
        let producers: Vec<_> = transport.data_producers.values().copied().collect();
        let consumers: Vec<_> = transport.data_consumers.values().copied().collect();
        for producer in producers {
            self.close_data_producer(producer, context);
        }
        for consumer in consumers {
            self.close_data_consumer(consumer, context);
        }
    }

    /// Closes a data consumer.
    pub fn close_data_consumer(&mut self, key: DataConsumerKey, context: &mut Context<'_>) {
        if let Some(consumer) = self.remove_data_consumer(key, context)
            && let Some(producer) = self.data_producers.get_mut(consumer.producer)
        {
            producer.consumers.retain(|other| *other != key);
        }
    }

    fn remove_data_consumer(&mut self, key: DataConsumerKey, context: &mut Context<'_>) -> Option<DataConsumer> {
        let consumer = self.data_consumers.remove(key)?;
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            transport.data_consumers.remove(&consumer.id);
            if let (Some((stream, _)), Some(sctp)) = (consumer.stream(), &mut transport.sctp) {
                sctp.association.reset_stream(context.now, stream);
                self.serve_sctp(consumer.transport, context);
            }
        }
        Some(consumer)
    }
}
