//! Messages coming in.

use std::fmt;
use std::sync::Arc;

use channel_proto::command::{Command, DataType, PayloadCommand, Target};
use channel_proto::reply::{DataProducerDump, DataProducerStats};
use channel_proto::transport_parameters::SctpStreamParameters;

use super::DataMessage;
use super::entity::{Entity, Parts};
use crate::app_data::AppData;
use crate::channel::Link;
use crate::error::{Error, Result};
use crate::events::{CloseReason, DataProducerEvent, Events};
use crate::transport::Core;

/// What data to produce.
#[derive(Debug, Clone, Default)]
pub struct DataProducerOptions {
    /// Id to use instead of a fresh one.
    pub id: Option<String>,
    /// The stream of the peer; needed unless the transport is direct, and ignored there.
    pub sctp_stream_parameters: Option<SctpStreamParameters>,
    /// Label of the channel.
    pub label: String,
    /// Sub-protocol of the channel.
    pub protocol: String,
    /// Data of the application.
    pub app_data: AppData,
}

impl DataProducerOptions {
    /// What the peer sends on a stream.
    pub fn sctp(sctp_stream_parameters: SctpStreamParameters) -> Self {
        Self {
            sctp_stream_parameters: Some(sctp_stream_parameters),
            ..Self::default()
        }
    }
}

/// Messages coming in over a transport. Made by [`Transport::produce_data`](crate::Transport::produce_data).
#[derive(Clone)]
pub struct DataProducer {
    inner: Arc<Entity<DataProducerDump, DataProducerEvent>>,
}

impl DataProducer {
    pub(crate) fn new(parts: Parts<DataProducerDump>, link: Link) -> Self {
        Self {
            inner: Arc::new(Entity::new("data producer", parts, link)),
        }
    }

    /// Lets messages of the worker in: there are none yet.
    pub(crate) fn listen(&self) {
        self.inner.link.subscribe(self.target(), |message| {
            if let crate::channel::Message::Event(event) = message {
                event.unknown("data producer");
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

    /// Whether messages come over SCTP or from this process.
    pub fn data_type(&self) -> DataType {
        self.inner.parts.dump.data_type
    }

    /// The stream of the peer, with SCTP.
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
    pub fn events(&self) -> Events<DataProducerEvent> {
        self.inner.events.subscribe()
    }

    /// Closes it, and with it all its data consumers.
    pub fn close(&self) {
        self.end(CloseReason::Requested);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let (close, last) = (Command::DataProducerClose, DataProducerEvent::Closed(reason));
        self.inner
            .end(self.id(), reason, close, Core::forget_data_producer, last);
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<DataProducerDump> {
        self.inner
            .request(Command::DataProducerDump, |reply| reply.parse())
            .await
    }

    /// Its counters: one entry.
    pub async fn get_stats(&self) -> Result<Vec<DataProducerStats>> {
        self.inner
            .request(Command::DataProducerGetStats, |reply| reply.parse())
            .await
    }

    /// Puts a message in. Only on direct transports. Waits if the worker does not keep up.
    pub async fn send(&self, message: impl Into<DataMessage>) -> Result<()> {
        if self.data_type() != DataType::Direct {
            return Err(Error::Unsupported(
                "send() needs a data producer on a direct transport".to_owned(),
            ));
        }
        let (ppid, payload) = self.inner.outgoing(message.into())?;
        let command = PayloadCommand::DataProducerSend(self.inner.parts.target.clone(), Ok(ppid));
        self.inner.link.send_payload(&command, payload).await
    }
}

impl fmt::Debug for DataProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataProducer")
            .field("id", &self.id())
            .field("label", &self.label())
            .finish_non_exhaustive()
    }
}
