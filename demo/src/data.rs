//! Data: messages from whoever produces them to everybody.

use std::sync::Arc;

use client::{
    AnyTransport, AppData, CloseReason, DataConsumer, DataConsumerEvent, DataConsumerOptions, DataProducer,
    DataProducerOptions, Events, SctpStreamParameters, Transport as _,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::branch::Branch;
use crate::followup::Followup;
use crate::media::{settle, turn};
use crate::member::Member;
use crate::refusal::Refusal;
use crate::room::{Peer, Room};

/// What is produced, on which transport.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProduceData {
    /// Not for broadcasters, where it is in the path.
    #[serde(default)]
    pub(crate) transport_id: String,
    sctp_stream_parameters: SctpStreamParameters,
    #[serde(default)]
    label: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    app_data: Map<String, Value>,
}

/// Whose data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Member(&'a Member),
    Bot,
}

impl Source<'_> {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Member(member) => Some(&member.id),
            Self::Bot => None,
        }
    }
}

impl Room {
    /// Takes what a member produces; all others get it, or the bot.
    pub(crate) async fn produce_data(
        self: &Arc<Self>,
        owner: &Arc<Member>,
        transport: &AnyTransport,
        wanted: ProduceData,
        then: &mut Vec<Followup>,
    ) -> Result<DataProducer, Refusal> {
        owner.check_data_producers()?;
        if wanted.label.len() > 256 || wanted.protocol.len() > 256 {
            return Err(Refusal::Invalid("label and protocol may have 256 bytes".to_owned()));
        }
        let mut app_data = wanted.app_data;
        app_data.insert("peerId".to_owned(), json!(owner.id));
        let options = DataProducerOptions {
            label: wanted.label,
            protocol: wanted.protocol,
            app_data: AppData::new(Value::Object(app_data)),
            ..DataProducerOptions::sctp(wanted.sctp_stream_parameters)
        };
        let producer = transport.produce_data(options).await?;
        let _roster = self.roster();
        {
            let mut state = owner.lock();
            if state.closed {
                drop(state);
                producer.close();
                return Err(Refusal::gone());
            }
            state.data_producers.insert(producer.id().to_owned(), producer.clone());
        }
        let (owner_, followed) = (Arc::clone(owner), producer.clone());
        tokio::spawn(async move {
            let mut events = followed.events();
            while events.recv().await.is_some() {}
            owner_.lock().data_producers.remove(followed.id());
        });
        self.send_data_to_all(owner, &producer, then);
        Ok(producer)
    }

    /// Sends a data producer to a peer that wants data.
    pub(crate) async fn push_data(&self, to: &Peer, from: Source<'_>, producer: &DataProducer) {
        let member = to.data();
        if !member.profile().is_some_and(|profile| profile.data) {
            return;
        }
        let Some(transport) = member.receiving() else {
            return tracing::debug!(peer = to.id(), "no transport to receive with");
        };
        let Some(_turn) = turn(to).await else { return };
        let branch: &Branch = match from {
            Source::Member(member) => &member.branch,
            Source::Bot => &self.home,
        };
        let consume = async {
            member.branch.bring_data(branch, producer).await?;
            transport.consume_data(DataConsumerOptions::new(producer.id())).await
        };
        let consumer = match consume.await {
            Ok(consumer) => consumer,
            Err(_) if producer.is_closed() || to.is_closed() => return,
            Err(error) => return tracing::warn!(%error, peer = to.id(), "cannot consume data"),
        };
        let events = consumer.events();
        let id = consumer.id().to_owned();
        member.lock().data_consumers.insert(id, consumer.clone());
        let app_data = producer.app_data().get::<Value>();
        let data = json!({
            "peerId": from.id(), "dataProducerId": producer.id(), "id": consumer.id(),
            "sctpStreamParameters": consumer.sctp_stream_parameters(), "label": consumer.label(),
            "protocol": consumer.protocol(), "appData": app_data.unwrap_or(&json!({})),
        });
        let taken = to.request::<Value>("newDataConsumer", data);
        let start = async {
            let taken = taken.await;
            drop(_turn);
            settle(to, "newDataConsumer", &taken);
            if taken.is_err() {
                consumer.close();
            }
        };
        tokio::join!(biased; start, follow(to, &consumer, events));
    }
}

async fn follow(to: &Peer, consumer: &DataConsumer, mut events: Events<DataConsumerEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            DataConsumerEvent::Closed(CloseReason::DataProducerClosed) => {
                let _ = to.notify("dataConsumerClosed", json!({ "dataConsumerId": consumer.id() }));
            }
            DataConsumerEvent::SctpSendBufferFull => tracing::debug!(peer = to.id(), "a message was lost"),
            _ => {}
        }
    }
    to.data().lock().data_consumers.remove(consumer.id());
}
