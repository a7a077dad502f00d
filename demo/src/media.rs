//! Media: from whoever produces it to everybody who can consume it.

use std::sync::Arc;

use client::{
    AnyTransport, AppData, CloseReason, Consumer, ConsumerEvent, ConsumerOptions, MediaKind, Producer, ProducerEvent,
    ProducerOptions, RtpParameters, Transport as _,
};
use protoo::RequestError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::followup::Followup;
use crate::member::Member;
use crate::refusal::Refusal;
use crate::room::{Peer, Room};

/// What is produced, on which transport.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Produce {
    /// Not for broadcasters, where it is in the path.
    #[serde(default)]
    pub(crate) transport_id: String,
    kind: MediaKind,
    rtp_parameters: RtpParameters,
    #[serde(default)]
    app_data: Map<String, Value>,
}

impl Room {
    /// Takes what a member produces; all others get it.
    pub(crate) async fn produce(
        self: &Arc<Self>,
        owner: &Arc<Member>,
        transport: &AnyTransport,
        mut wanted: Produce,
        then: &mut Vec<Followup>,
    ) -> Result<Producer, Refusal> {
        owner.check_producers()?;
        wanted.app_data.insert("peerId".to_owned(), json!(owner.id));
        let options = ProducerOptions {
            app_data: AppData::new(Value::Object(wanted.app_data)),
            ..ProducerOptions::new(wanted.kind, wanted.rtp_parameters)
        };
        let producer = transport.produce(options).await?;
        let _roster = self.roster();
        {
            let mut state = owner.lock();
            if state.closed {
                drop(state);
                producer.close();
                return Err(Refusal::gone());
            }
            state.producers.insert(producer.id().to_owned(), producer.clone());
        }
        let (room, owner_, followed) = (Arc::clone(self), Arc::clone(owner), producer.clone());
        tokio::spawn(async move { room.follow_producer(&owner_, &followed).await });
        self.send_to_all(owner, &producer, then);
        Ok(producer)
    }

    async fn follow_producer(&self, owner: &Member, producer: &Producer) {
        let mut events = producer.events();
        while let Some(event) = events.recv().await {
            if let ProducerEvent::Score(score) = event {
                self.tell(
                    owner,
                    "producerScore",
                    json!({ "producerId": producer.id(), "score": score }),
                );
            }
        }
        owner.lock().producers.remove(producer.id());
    }

    /// Sends a producer to a peer: the consumer starts once the peer has taken it.
    pub(crate) async fn push(&self, to: &Peer, owner: &Member, producer: &Producer) {
        let member = to.data();
        let Some(capabilities) = member.profile().and_then(|profile| profile.rtp_capabilities) else {
            return;
        };
        if !owner.branch.router.can_consume(producer.id(), &capabilities) {
            return;
        }
        let Some(transport) = member.receiving() else {
            return tracing::debug!(peer = to.id(), "no transport to receive with");
        };
        let Some(_turn) = turn(to).await else { return };
        let consume = async {
            member.branch.bring(&owner.branch, producer).await?;
            let options = ConsumerOptions {
                paused: true,
                ..ConsumerOptions::new(producer.id(), capabilities)
            };
            transport.consume(options).await
        };
        let consumer = match consume.await {
            Ok(consumer) => consumer,
            // It ended meanwhile.
            Err(_) if producer.is_closed() || to.is_closed() => return,
            Err(error) => return tracing::warn!(%error, peer = to.id(), "cannot consume"),
        };
        let events = consumer.events();
        let _counted = member.branch.slot.consumers.add();
        let id = consumer.id().to_owned();
        member.lock().consumers.insert(id, consumer.clone());
        let data = json!({
            "peerId": owner.id, "producerId": producer.id(), "id": consumer.id(), "kind": consumer.kind(),
            "rtpParameters": consumer.rtp_parameters(), "type": consumer.consumer_type(),
            "appData": producer.app_data().get::<Value>(), "producerPaused": consumer.is_producer_paused(),
        });
        // Sent when first polled, before any event of the consumer.
        let taken = to.request::<Value>("newConsumer", data);
        let start = async {
            let taken = taken.await;
            drop(_turn);
            settle(to, "newConsumer", &taken);
            let started = match taken {
                Ok(_) => consumer.resume().await.is_ok(),
                Err(_) => false,
            };
            if started {
                let data = json!({ "consumerId": consumer.id(), "score": consumer.score() });
                let _ = to.notify("consumerScore", data);
            } else {
                consumer.close();
            }
        };
        tokio::join!(biased; start, follow_consumer(to, &consumer, events));
    }
}

async fn follow_consumer(to: &Peer, consumer: &Consumer, mut events: client::Events<ConsumerEvent>) {
    let id = consumer.id();
    while let Some(event) = events.recv().await {
        let (method, data) = match event {
            ConsumerEvent::ProducerPaused => ("consumerPaused", json!({ "consumerId": id })),
            ConsumerEvent::ProducerResumed => ("consumerResumed", json!({ "consumerId": id })),
            ConsumerEvent::Score(score) => ("consumerScore", json!({ "consumerId": id, "score": score })),
            ConsumerEvent::LayersChange(layers) => {
                let (spatial, temporal) = (layers.map(|l| l.spatial_layer), layers.map(|l| l.temporal_layer));
                let data = json!({ "consumerId": id, "spatialLayer": spatial, "temporalLayer": temporal });
                ("consumerLayersChanged", data)
            }
            ConsumerEvent::Closed(CloseReason::ProducerClosed) => ("consumerClosed", json!({ "consumerId": id })),
            _ => continue,
        };
        let _ = to.notify(method, data);
    }
    to.data().lock().consumers.remove(id);
}

/// Waits until one more request to a peer may be unanswered.
pub(crate) async fn turn(to: &Peer) -> Option<tokio::sync::SemaphorePermit<'_>> {
    tokio::select! {
        permit = to.data().unanswered.acquire() => permit.ok(),
        () = to.closed() => None,
    }
}

/// Notes how a request to a peer ended. One that never answers is sent away.
pub(crate) fn settle(to: &Peer, method: &str, result: &Result<Value, RequestError>) {
    match result {
        Ok(_) => to.data().answered(),
        Err(RequestError::Timeout) => {
            tracing::warn!(peer = to.id(), method, "no answer");
            if to.data().not_answered() {
                tracing::warn!(peer = to.id(), "it never answers");
                to.close();
            }
        }
        Err(RequestError::Rejected(reason)) => {
            to.data().answered();
            tracing::debug!(peer = to.id(), method, %reason, "refused");
        }
        Err(error) => tracing::debug!(peer = to.id(), method, %error, "not taken"),
    }
}
