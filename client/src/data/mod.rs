//! Data: messages coming in and going out.

mod consumer;
mod message;
mod producer;

pub use consumer::{DataConsumer, DataConsumerOptions};
pub use message::DataMessage;
pub use producer::{DataProducer, DataProducerOptions};

pub(crate) use consumer::Parts as DataConsumerParts;
pub(crate) use producer::Parts as DataProducerParts;
