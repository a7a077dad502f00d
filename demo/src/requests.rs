use std::sync::{Arc, PoisonError};

use client::{
    AppData, CloseReason, Consumer, ConsumerEvent, ConsumerOptions, DtlsParameters, MediaKind, Producer, ProducerEvent,
    ProducerOptions, RtpCapabilities, RtpParameters, Transport, WebRtcTransport, WebRtcTransportOptions,
};
use protoo::{Rejection, Request, Responder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::room::{Peer, Profile, Room};

/// A consumer to be made: for whom, of whose producer.
type Push = (Peer, RtpCapabilities, String, Producer);
type Answer = Result<Value, Rejection>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    display_name: String,
    device: Map<String, Value>,
    rtp_capabilities: Option<RtpCapabilities>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateTransport {
    #[serde(default)]
    force_tcp: bool,
    #[serde(default)]
    consuming: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    transport_id: String,
    dtls_parameters: DtlsParameters,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Produce {
    transport_id: String,
    kind: MediaKind,
    rtp_parameters: RtpParameters,
    #[serde(default)]
    app_data: Map<String, Value>,
}

impl Room {
    pub(crate) async fn handle(self: &Arc<Self>, peer: &Peer, request: Request, responder: Responder) {
        let mut pushes = Vec::new();
        let answer = self.answer(peer, &request.method, request.data, &mut pushes).await;
        responder.respond(answer);
        for (to, capabilities, owner, producer) in pushes {
            let room = Arc::clone(self);
            tokio::spawn(async move { room.push(&to, capabilities, &owner, &producer).await });
        }
    }

    async fn answer(&self, peer: &Peer, method: &str, data: Value, pushes: &mut Vec<Push>) -> Answer {
        match method {
            "getRouterRtpCapabilities" => serde_json::to_value(self.router.rtp_capabilities()).map_err(failed),
            "join" => self.join(peer, parse(data)?, pushes),
            "createWebRtcTransport" => self.create_transport(peer, parse(data)?).await,
            "connectWebRtcTransport" => connect(peer, parse(data)?).await,
            "restartIce" => {
                let parameters = transport(peer, &id(&data, "transportId")?)?
                    .restart_ice()
                    .await
                    .map_err(failed)?;
                serde_json::to_value(parameters).map_err(failed)
            }
            "produce" => self.produce(peer, parse(data)?, pushes).await,
            "closeProducer" => done({
                let producer = producer(peer, &data)?;
                producer.close();
                Ok(())
            }),
            "pauseProducer" => done(producer(peer, &data)?.pause().await),
            "resumeProducer" => done(producer(peer, &data)?.resume().await),
            "pauseConsumer" => done(consumer(peer, &data)?.pause().await),
            "resumeConsumer" => done(consumer(peer, &data)?.resume().await),
            "requestConsumerKeyFrame" => done(consumer(peer, &data)?.request_key_frame().await),
            "changeDisplayName" => self.change_display_name(peer, &data),
            _ => Err(Rejection::new(500, format!("unknown method {method:?}"))),
        }
    }

    fn join(&self, peer: &Peer, join: Join, pushes: &mut Vec<Push>) -> Answer {
        check_name(&join.display_name)?;
        let profile = Profile {
            display_name: join.display_name,
            device: Value::Object(join.device),
            rtp_capabilities: join.rtp_capabilities,
        };
        let _roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = peer.data().lock();
            if state.closed || state.profile.is_some() {
                return Err(Rejection::new(500, "already joined"));
            }
            state.profile = Some(profile.clone());
        }
        let describe = |peer: &Peer, profile: &Profile| json!({ "id": peer.id(), "displayName": profile.display_name, "device": profile.device });
        let others = self.others(peer);
        for (other, _) in &others {
            let Some(capabilities) = &profile.rtp_capabilities else {
                break;
            };
            let producers: Vec<Producer> = other.data().lock().producers.values().cloned().collect();
            let owner = other.id().to_owned();
            pushes.extend(
                producers
                    .into_iter()
                    .map(|p| (peer.clone(), capabilities.clone(), owner.clone(), p)),
            );
        }
        self.tell_others(peer, "newPeer", &describe(peer, &profile));
        let peers: Vec<Value> = others.iter().map(|(other, profile)| describe(other, profile)).collect();
        Ok(json!({ "peers": peers }))
    }

    async fn create_transport(&self, peer: &Peer, wanted: CreateTransport) -> Answer {
        let options = WebRtcTransportOptions {
            enable_udp: !wanted.force_tcp,
            enable_tcp: true,
            prefer_udp: !wanted.force_tcp,
            initial_available_outgoing_bitrate: 1_000_000,
            ..WebRtcTransportOptions::with_server(self.server.clone())
        };
        let transport = self.router.create_web_rtc_transport(options).await.map_err(failed)?;
        {
            let mut state = peer.data().lock();
            if state.closed {
                transport.close();
                return Err(Rejection::new(500, "the peer has left"));
            }
            state
                .transports
                .insert(transport.id().to_owned(), (transport.clone(), wanted.consuming));
        }
        Ok(json!({
            "id": transport.id(),
            "iceParameters": transport.ice_parameters(),
            "iceCandidates": transport.ice_candidates(),
            "dtlsParameters": transport.dtls_parameters(),
        }))
    }

    async fn produce(&self, peer: &Peer, mut wanted: Produce, pushes: &mut Vec<Push>) -> Answer {
        joined(peer)?;
        let transport = transport(peer, &wanted.transport_id)?;
        wanted.app_data.insert("peerId".to_owned(), json!(peer.id()));
        let options = ProducerOptions {
            app_data: AppData::new(Value::Object(wanted.app_data)),
            ..ProducerOptions::new(wanted.kind, wanted.rtp_parameters)
        };
        let producer = transport.produce(options).await.map_err(failed)?;
        let _roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = peer.data().lock();
            if state.closed {
                producer.close();
                return Err(Rejection::new(500, "the peer has left"));
            }
            state.producers.insert(producer.id().to_owned(), producer.clone());
        }
        tokio::spawn(follow_producer(peer.clone(), producer.clone()));
        for (other, profile) in self.others(peer) {
            if let Some(capabilities) = profile.rtp_capabilities {
                pushes.push((other, capabilities, peer.id().to_owned(), producer.clone()));
            }
        }
        Ok(json!({ "id": producer.id() }))
    }

    fn change_display_name(&self, peer: &Peer, data: &Value) -> Answer {
        let name = id(data, "displayName")?;
        check_name(&name)?;
        let old = {
            let mut state = peer.data().lock();
            let profile = state.profile.as_mut().ok_or_else(not_joined)?;
            std::mem::replace(&mut profile.display_name, name.clone())
        };
        let data = json!({ "peerId": peer.id(), "displayName": name, "oldDisplayName": old });
        self.tell_others(peer, "peerDisplayNameChanged", &data);
        Ok(json!({}))
    }

    /// Sends a producer to a peer: the consumer starts once the peer has taken it.
    async fn push(&self, to: &Peer, capabilities: RtpCapabilities, owner: &str, producer: &Producer) {
        if !self.router.can_consume(producer.id(), &capabilities) {
            return;
        }
        let receiving = to
            .data()
            .lock()
            .transports
            .values()
            .find(|(_, consuming)| *consuming)
            .cloned();
        let Some((transport, _)) = receiving else {
            tracing::warn!(peer = to.id(), "no transport to receive with");
            return;
        };
        let options = ConsumerOptions {
            paused: true,
            ..ConsumerOptions::new(producer.id(), capabilities)
        };
        let consumer = match transport.consume(options).await {
            Ok(consumer) => consumer,
            Err(error) => return tracing::warn!(%error, peer = to.id(), "cannot consume"),
        };
        let events = consumer.events();
        to.data()
            .lock()
            .consumers
            .insert(consumer.id().to_owned(), consumer.clone());
        let data = json!({
            "peerId": owner, "producerId": producer.id(), "id": consumer.id(), "kind": consumer.kind(),
            "rtpParameters": consumer.rtp_parameters(), "type": consumer.consumer_type(),
            "appData": producer.app_data().get::<Value>(), "producerPaused": consumer.is_producer_paused(),
        });
        // Sent when first polled, before any event of the consumer.
        let taken = to.request::<Value>("newConsumer", data);
        let follow = follow_consumer(to, &consumer, events);
        let start = async {
            let result = match taken.await {
                Ok(_) => consumer.resume().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match result {
                Ok(()) => {
                    let _ = to.notify(
                        "consumerScore",
                        json!({ "consumerId": consumer.id(), "score": consumer.score() }),
                    );
                }
                Err(error) => {
                    tracing::warn!(error, peer = to.id(), "the consumer was not taken");
                    consumer.close();
                }
            }
        };
        tokio::join!(biased; start, follow);
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

async fn follow_producer(peer: Peer, producer: Producer) {
    let mut events = producer.events();
    while let Some(event) = events.recv().await {
        if let ProducerEvent::Score(score) = event {
            let _ = peer.notify("producerScore", json!({ "producerId": producer.id(), "score": score }));
        }
    }
    peer.data().lock().producers.remove(producer.id());
}

async fn connect(peer: &Peer, wanted: Connect) -> Answer {
    done(
        transport(peer, &wanted.transport_id)?
            .connect(wanted.dtls_parameters)
            .await,
    )
}

fn parse<T: DeserializeOwned>(data: Value) -> Result<T, Rejection> {
    serde_json::from_value(data).map_err(|error| Rejection::new(400, error.to_string()))
}

fn id(data: &Value, key: &str) -> Result<String, Rejection> {
    let value = data.get(key).and_then(Value::as_str);
    value
        .map(str::to_owned)
        .ok_or_else(|| Rejection::new(400, format!("{key} is missing or no text")))
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let good = (1..=128).contains(&name.chars().count());
    good.then_some(())
        .ok_or_else(|| Rejection::new(400, "displayName must have 1 to 128 characters"))
}

fn not_joined() -> Rejection {
    Rejection::new(500, "not joined")
}

fn joined(peer: &Peer) -> Result<(), Rejection> {
    peer.data()
        .lock()
        .profile
        .is_some()
        .then_some(())
        .ok_or_else(not_joined)
}

fn transport(peer: &Peer, id: &str) -> Result<WebRtcTransport, Rejection> {
    let found = peer
        .data()
        .lock()
        .transports
        .get(id)
        .map(|(transport, _)| transport.clone());
    found.ok_or_else(|| Rejection::new(500, format!("transport {id:?} not found")))
}

fn producer(peer: &Peer, data: &Value) -> Result<Producer, Rejection> {
    joined(peer)?;
    let id = id(data, "producerId")?;
    let found = peer.data().lock().producers.get(&id).cloned();
    found.ok_or_else(|| Rejection::new(500, format!("producer {id:?} not found")))
}

fn consumer(peer: &Peer, data: &Value) -> Result<Consumer, Rejection> {
    joined(peer)?;
    let id = id(data, "consumerId")?;
    let found = peer.data().lock().consumers.get(&id).cloned();
    found.ok_or_else(|| Rejection::new(500, format!("consumer {id:?} not found")))
}

fn failed(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(500, error.to_string())
}

fn done(result: client::Result<()>) -> Answer {
    result.map(|()| json!({})).map_err(failed)
}
