//! Messages going out.

use std::fmt;
use std::sync::Arc;

use channel_proto::command::{BufferedAmountLowThreshold, Command, DataType, Target};
use channel_proto::event::PayloadEvent;
use channel_proto::reply::{BufferedAmount, DataConsumerDump, DataConsumerStats};
use channel_proto::transport_parameters::SctpStreamParameters;

use super::DataMessage;
use super::entity::{Entity, Parts};
use crate::app_data::AppData;
use crate::channel::{Link, Message};
use crate::error::{Error, Result};
use crate::events::{CloseReason, DataConsumerEvent, Events};
use crate::transport::Core;

/// What data to consume.
#[derive(Debug, Clone, Default)]
pub struct DataConsumerOptions {
    /// A data producer of the same router.
    pub data_producer_id: String,
    /// Whether messages arrive in order, if not as at the data producer. Ignored on direct transports, like the next
    /// two.
    pub ordered: Option<bool>,
    /// Milliseconds after which a message is given up, if not as at the data producer.
    pub max_packet_life_time: Option<u16>,
    /// Retransmissions after which a message is given up, if not as at the data producer.
    pub max_retransmits: Option<u16>,
    /// Data of the application.
    pub app_data: AppData,
}

impl DataConsumerOptions {
    /// A data consumer that is as reliable as its data producer.
    pub fn new(data_producer_id: impl Into<String>) -> Self {
        Self {
            data_producer_id: data_producer_id.into(),
            ..Self::default()
        }
    }
}

/// Messages going out over a transport. Made by [`Transport::consume_data`](crate::Transport::consume_data).
#[derive(Clone)]
pub struct DataConsumer {
    inner: Arc<Entity<DataConsumerDump, DataConsumerEvent>>,
}

impl DataConsumer {
    pub(crate) fn new(parts: Parts<DataConsumerDump>, link: Link) -> Self {
        Self {
            inner: Arc::new(Entity::new("data consumer", parts, link)),
        }
    }

    /// Lets messages of the worker in.
    pub(crate) fn listen(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.inner.link.subscribe(self.target(), move |message| {
            if let Some(inner) = inner.upgrade() {
                DataConsumer { inner }.on_message(message);
            }
        });
    }

    pub(crate) fn target(&self) -> &Target {
        &self.inner.parts.target
    }

    pub(crate) fn on_end(&self, hook: impl FnOnce() + Send + 'static) {
        self.inner.on_end(hook);
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.parts.dump.id
    }

    /// Id of its data producer.
    pub fn data_producer_id(&self) -> &str {
        &self.inner.parts.dump.data_producer_id
    }

    /// Whether messages go over SCTP or to this process.
    pub fn data_type(&self) -> DataType {
        self.inner.parts.dump.data_type
    }

    /// Its stream, with SCTP.
    pub fn sctp_stream_parameters(&self) -> Option<SctpStreamParameters> {
        self.inner.parts.dump.sctp_stream_parameters
    }

    /// Label of the channel.
    pub fn label(&self) -> &str {
        &self.inner.parts.dump.label
    }

    /// Sub-protocol of the channel.
    pub fn protocol(&self) -> &str {
        &self.inner.parts.dump.protocol
    }

    /// Data of the application.
    pub fn app_data(&self) -> &AppData {
        &self.inner.parts.app_data
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// What happens to it.
    pub fn events(&self) -> Events<DataConsumerEvent> {
        self.inner.events.subscribe()
    }

    /// Closes it.
    pub fn close(&self) {
        self.end(CloseReason::Requested);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let (close, last) = (Command::DataConsumerClose, DataConsumerEvent::Closed(reason));
        self.inner
            .end(self.id(), reason, close, Core::forget_data_consumer, last);
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<DataConsumerDump> {
        self.inner
            .request(Command::DataConsumerDump, |reply| reply.parse())
            .await
    }

    /// Its counters: one entry.
    pub async fn get_stats(&self) -> Result<Vec<DataConsumerStats>> {
        self.inner
            .request(Command::DataConsumerGetStats, |reply| reply.parse())
            .await
    }

    /// Bytes that wait in the SCTP association, of all its streams. Not on direct transports.
    pub async fn get_buffered_amount(&self) -> Result<u32> {
        self.inner
            .request(Command::DataConsumerGetBufferedAmount, |reply| {
                Ok(reply.parse::<BufferedAmount>()?.buffered_amount)
            })
            .await
    }

    /// Sets at how many waiting bytes [`DataConsumerEvent::BufferedAmountLow`] is told, which may be at once. Not on
    /// direct transports.
    pub async fn set_buffered_amount_low_threshold(&self, threshold: u32) -> Result<()> {
        let threshold = BufferedAmountLowThreshold { threshold };
        let command = Command::DataConsumerSetBufferedAmountLowThreshold(Ok(threshold));
        self.inner.request(command, |_| Ok(())).await
    }

    /// Sends a message to the peer, in addition to those of the data producer. Not on direct transports.
    pub async fn send(&self, message: impl Into<DataMessage>) -> Result<()> {
        if self.data_type() != DataType::Sctp {
            return Err(Error::Unsupported("send() needs a data consumer with SCTP".to_owned()));
        }
        let (ppid, payload) = self.inner.outgoing(message.into())?;
        let target = self.inner.parts.target.clone();
        self.inner.link.send_data(target, ppid, payload).await
    }

    fn on_message(&self, message: Message) {
        let events = &self.inner.events;
        let event = match message {
            Message::Event(event) => event,
            Message::Payload(PayloadEvent::Message { ppid }, payload) => {
                return events.emit(DataConsumerEvent::Message(DataMessage::with_ppid(ppid, payload)));
            }
            Message::Payload(..) => return,
        };
        match event.name() {
            "dataproducerclose" => self.end(CloseReason::DataProducerClosed),
            "sctpsendbufferfull" => events.emit(DataConsumerEvent::SctpSendBufferFull),
            "bufferedamountlow" => {
                if let Some(BufferedAmount { buffered_amount }) = event.data() {
                    events.emit(DataConsumerEvent::BufferedAmountLow(buffered_amount));
                }
            }
            _ => event.unknown("data consumer"),
        }
    }
}

impl fmt::Debug for DataConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataConsumer")
            .field("id", &self.id())
            .field("data_producer_id", &self.data_producer_id())
            .finish_non_exhaustive()
    }
}
