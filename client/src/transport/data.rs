//! Data producers and data consumers of transports.

use std::sync::Arc;

use channel_proto::command::{Command, DataType, ProduceData, Target};
use channel_proto::reply::{DataConsumerDump, DataProducerDump};
use channel_proto::transport_parameters::SctpStreamParameters;

use super::core::{Core, Kind};
use crate::data::{DataConsumer, DataConsumerOptions, DataParts, DataProducer, DataProducerOptions};
use crate::error::{Error, Result};
use crate::events::TransportEvent;
use crate::new_id;

/// What makes sense of the parameters of a stream, as the worker would see it.
fn check_stream(stream: SctpStreamParameters) -> Result<()> {
    let limited = stream.max_packet_life_time.is_some() || stream.max_retransmits.is_some();
    if stream.max_packet_life_time.is_some() && stream.max_retransmits.is_some() {
        return Err(Error::Type(
            "both max_packet_life_time and max_retransmits are given".to_owned(),
        ));
    }
    if stream.ordered && limited {
        return Err(Error::Type(
            "a stream that gives messages up cannot be ordered".to_owned(),
        ));
    }
    Ok(())
}

/// The stream of a data consumer: that of its data producer, but for what is given.
fn consumer_stream(producer: &DataProducer, options: &DataConsumerOptions, stream_id: u16) -> SctpStreamParameters {
    let mut stream = producer.sctp_stream_parameters().unwrap_or(SctpStreamParameters {
        stream_id,
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
    });
    stream.stream_id = stream_id;
    // One way of giving up replaces the other.
    if options.max_packet_life_time.is_some() || options.max_retransmits.is_some() {
        stream.max_packet_life_time = options.max_packet_life_time;
        stream.max_retransmits = options.max_retransmits;
        stream.ordered = false;
    }
    stream.ordered = options.ordered.unwrap_or(stream.ordered);
    stream
}

/// A stream id that is given back unless a data consumer was created with it.
struct Reserved {
    core: Arc<Core>,
    stream_id: Option<u16>,
}

impl Reserved {
    /// A data consumer has it now, and gives it back.
    fn keep(mut self) {
        self.stream_id = None;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(id) = self.stream_id {
            self.core.give_back_stream(id);
        }
    }
}

impl Core {
    fn data_type(&self) -> Result<DataType> {
        match self.kind {
            Kind::Direct => Ok(DataType::Direct),
            _ if self.sctp_parameters.is_some() => Ok(DataType::Sctp),
            _ => Err(Error::Type("SCTP is not enabled on this transport".to_owned())),
        }
    }

    /// Whether a message is small enough.
    pub(crate) fn check_message_size(&self, length: usize) -> Result<()> {
        let limit = usize::try_from(self.max_message_size).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Error::TooBig { length, limit });
        }
        Ok(())
    }

    pub(crate) async fn produce_data(core: &Arc<Self>, options: DataProducerOptions) -> Result<DataProducer> {
        let router = core.router()?;
        let data_type = core.data_type()?;
        let id = options.id.unwrap_or_else(new_id);
        if core.has_data_producer(&id) {
            return Err(Error::Type(format!("a data producer with id {id:?} exists already")));
        }
        let sctp_stream_parameters = match (data_type, options.sctp_stream_parameters) {
            (DataType::Sctp, None) => return Err(Error::Type("missing sctp_stream_parameters".to_owned())),
            (DataType::Sctp, Some(stream)) => {
                check_stream(stream)?;
                Some(stream)
            }
            (DataType::Direct, None) => None,
            (DataType::Direct, Some(_)) => {
                tracing::warn!(
                    transport = core.id,
                    "sctp_stream_parameters are ignored on a direct transport"
                );
                None
            }
        };
        let target = Target {
            data_producer_id: Some(id.clone()),
            ..core.target.clone()
        };
        let command = Command::TransportProduceData(Ok(ProduceData {
            data_type,
            sctp_stream_parameters,
            label: options.label,
            protocol: options.protocol,
        }));
        let app_data = options.app_data;
        let core = Arc::clone(core);
        let (link, new_target, undo) = (core.link.clone(), target.clone(), Command::DataProducerClose);
        link.create(new_target, command, undo, move |reply| {
            let parts = DataParts {
                dump: reply.parse::<DataProducerDump>()?,
                app_data,
                target,
                transport: Arc::downgrade(&core),
            };
            let producer = DataProducer::new(parts, core.link.clone());
            core.add_data_producer(&producer, &router)?;
            core.events.emit(TransportEvent::NewDataProducer(producer.clone()));
            producer.listen();
            Ok(producer)
        })
        .await
    }

    pub(crate) async fn consume_data(core: &Arc<Self>, options: DataConsumerOptions) -> Result<DataConsumer> {
        let router = core.router()?;
        let producer_id = options.data_producer_id.clone();
        if producer_id.is_empty() {
            return Err(Error::Type("missing dataProducerId".to_owned()));
        }
        let Some(producer) = router.data_producer(&producer_id) else {
            return Err(Error::NotFound {
                what: "data producer",
                id: producer_id,
            });
        };
        let data_type = core.data_type()?;
        let mut reserved = Reserved {
            core: Arc::clone(core),
            stream_id: None,
        };
        let sctp_stream_parameters = match data_type {
            DataType::Direct => {
                if options.ordered.is_some()
                    || options.max_packet_life_time.is_some()
                    || options.max_retransmits.is_some()
                {
                    tracing::warn!(transport = core.id, "reliability is ignored on a direct transport");
                }
                None
            }
            DataType::Sctp => {
                let stream_id = core.take_stream()?;
                reserved.stream_id = Some(stream_id);
                let stream = consumer_stream(&producer, &options, stream_id);
                check_stream(stream)?;
                Some(stream)
            }
        };
        let id = new_id();
        let target = Target {
            data_consumer_id: Some(id.clone()),
            data_producer_id: Some(producer_id),
            ..core.target.clone()
        };
        let command = Command::TransportConsumeData(Ok(ProduceData {
            data_type,
            sctp_stream_parameters,
            label: producer.label().to_owned(),
            protocol: producer.protocol().to_owned(),
        }));
        let app_data = options.app_data;
        let core = Arc::clone(core);
        let (link, new_target, undo) = (core.link.clone(), target.clone(), Command::DataConsumerClose);
        // The stream is given back with the closure, if that does not come to making a data consumer.
        link.create(new_target, command, undo, move |reply| {
            let parts = DataParts {
                dump: reply.parse::<DataConsumerDump>()?,
                app_data,
                target,
                transport: Arc::downgrade(&core),
            };
            let consumer = DataConsumer::new(parts, core.link.clone());
            core.add_data_consumer(&consumer)?;
            reserved.keep();
            core.events.emit(TransportEvent::NewDataConsumer(consumer.clone()));
            consumer.listen();
            Ok(consumer)
        })
        .await
    }
}
