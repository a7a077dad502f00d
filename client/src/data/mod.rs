//! Data: messages coming in and going out.

mod consumer;
mod entity;
mod message;
mod producer;

pub use consumer::{DataConsumer, DataConsumerOptions};
pub use message::DataMessage;
pub use producer::{DataProducer, DataProducerOptions};

pub(crate) use entity::Parts as DataParts;
