//! Data producers and data consumers: messages that come over an SCTP stream or from the parent, and go to any number
//! of SCTP streams and to the parent, in any mix.
//!
//! `commands` carries out what the parent asks, `messages` carries messages, `sctp` is the association of a
//! transport.

mod commands;
pub mod messages;
pub mod sctp;

use channel_proto::command::ProduceData;
use channel_proto::reply::{DataConsumerDump, DataConsumerStats, DataProducerDump, DataProducerStats};

use super::keys::{DataConsumerKey, DataProducerKey, TransportKey};
use crate::sctp::Delivery;

/// Where messages come from.
#[derive(Debug)]
pub struct DataProducer {
    /// Id given by the parent.
    pub id: String,
    /// What carries it.
    pub transport: TransportKey,
    /// As created.
    pub parameters: ProduceData,
    /// Where its messages go.
    pub consumers: Vec<DataConsumerKey>,
    messages: u64,
    bytes: u64,
}

impl DataProducer {
    fn new(id: String, transport: TransportKey, parameters: ProduceData) -> Self {
        Self {
            id,
            transport,
            parameters,
            consumers: Vec::new(),
            messages: 0,
            bytes: 0,
        }
    }

    fn received(&mut self, length: usize) {
        self.messages += 1;
        self.bytes += length as u64;
    }

    /// The SCTP stream that it reads.
    pub fn stream(&self) -> Option<u16> {
        self.parameters.sctp_stream_parameters.map(|stream| stream.stream_id)
    }

    /// As dumped.
    pub fn dump(&self) -> DataProducerDump {
        DataProducerDump {
            id: self.id.clone(),
            data_type: self.parameters.data_type,
            sctp_stream_parameters: self.parameters.sctp_stream_parameters,
            label: self.parameters.label.clone(),
            protocol: self.parameters.protocol.clone(),
        }
    }

    /// As in `dataProducer.getStats`.
    pub fn stats(&self, now: u64) -> DataProducerStats {
        DataProducerStats {
            kind: "data-producer".to_owned(),
            timestamp: now / 1000,
            label: self.parameters.label.clone(),
            protocol: self.parameters.protocol.clone(),
            messages_received: self.messages,
            bytes_received: self.bytes,
        }
    }
}

/// Where messages go to.
#[derive(Debug)]
pub struct DataConsumer {
    /// Id given by the parent.
    pub id: String,
    /// What carries it.
    pub transport: TransportKey,
    /// Where its messages come from.
    pub producer: DataProducerKey,
    /// Id of that.
    pub producer_id: String,
    /// As created.
    pub parameters: ProduceData,
    /// Bytes at which `bufferedamountlow` is told.
    pub low_threshold: u32,
    messages: u64,
    bytes: u64,
}

impl DataConsumer {
    fn sent(&mut self, length: usize) {
        self.messages += 1;
        self.bytes += length as u64;
    }

    /// The SCTP stream that it writes, and how.
    pub fn stream(&self) -> Option<(u16, Delivery)> {
        let stream = self.parameters.sctp_stream_parameters?;
        let delivery = Delivery {
            ordered: stream.ordered,
            lifetime: stream.max_packet_life_time,
            max_retransmissions: stream.max_retransmits,
        };
        Some((stream.stream_id, delivery))
    }

    /// As dumped.
    pub fn dump(&self) -> DataConsumerDump {
        DataConsumerDump {
            id: self.id.clone(),
            data_producer_id: self.producer_id.clone(),
            data_type: self.parameters.data_type,
            sctp_stream_parameters: self.parameters.sctp_stream_parameters,
            label: self.parameters.label.clone(),
            protocol: self.parameters.protocol.clone(),
            buffered_amount_low_threshold: self.low_threshold,
        }
    }

    /// As in `dataConsumer.getStats`; `buffered` is what waits in its association.
    pub fn stats(&self, buffered: u32, now: u64) -> DataConsumerStats {
        DataConsumerStats {
            kind: "data-consumer".to_owned(),
            timestamp: now / 1000,
            label: self.parameters.label.clone(),
            protocol: self.parameters.protocol.clone(),
            messages_sent: self.messages,
            bytes_sent: self.bytes,
            buffered_amount: buffered,
        }
    }
}
