//! What pages ask for.

use std::sync::Arc;

use client::{ConsumerLayers, DtlsParameters, RtpCapabilities, SctpCapabilities, Transport as _};
use protoo::{Request, Responder};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::data::ProduceData;
use crate::followup::Followup;
use crate::media::Produce;
use crate::member::{Member, Profile};
use crate::refusal::{Refusal, parse, text};
use crate::room::{Peer, Room};

type Answer = Result<Value, Refusal>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    display_name: String,
    device: Map<String, Value>,
    rtp_capabilities: Option<RtpCapabilities>,
    sctp_capabilities: Option<SctpCapabilities>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateTransport {
    #[serde(default)]
    force_tcp: bool,
    #[serde(default)]
    consuming: bool,
    sctp_capabilities: Option<SctpCapabilities>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    transport_id: String,
    dtls_parameters: DtlsParameters,
}

#[derive(Deserialize)]
struct SetPriority {
    priority: u8,
}

impl Room {
    /// Answers a request. Handlers of one peer are begun in the order in which its requests came.
    pub(crate) async fn handle(self: &Arc<Self>, peer: &Peer, request: Request, responder: Responder) {
        let mut then = Vec::new();
        let answer = self.answer(peer, &request.method, request.data, &mut then).await;
        if let Err(refusal) = &answer {
            tracing::debug!(method = request.method, %refusal, "refused");
        }
        responder.respond(answer.map_err(Into::into));
        self.follow_up(then);
    }

    async fn answer(self: &Arc<Self>, peer: &Peer, method: &str, data: Value, then: &mut Vec<Followup>) -> Answer {
        let member = peer.data();
        match method {
            "getRouterRtpCapabilities" => Ok(serde_json::to_value(self.home.router.rtp_capabilities())?),
            "join" => self.join(peer, parse(data)?, then),
            "createWebRtcTransport" => {
                let wanted: CreateTransport = parse(data)?;
                let streams = wanted.sctp_capabilities.map(|sctp| sctp.num_streams);
                self.create_transport(member, wanted.force_tcp, wanted.consuming, streams)
                    .await
            }
            "applyNetworkThrottle" => done(self.throttle.apply(&self.id, &data).await),
            "resetNetworkThrottle" => done(self.throttle.reset(&data).await),
            "restartIce" => restart_ice(member, &data).await,
            "connectWebRtcTransport" => connect(member, parse(data)?).await,
            "getTransportStats"
            | "getProducerStats"
            | "getConsumerStats"
            | "getDataProducerStats"
            | "getDataConsumerStats"
            | "getConsumerDump"
            | "getTransportDump" => report(member, method, &data).await,
            _ => self.answer_joined(member, method, data, then).await,
        }
    }

    /// Methods for those who have joined.
    async fn answer_joined(
        self: &Arc<Self>,
        member: &Arc<Member>,
        method: &str,
        data: Value,
        then: &mut Vec<Followup>,
    ) -> Answer {
        let producer = || {
            member.check_joined()?;
            member.producer(text(&data, "producerId")?)
        };
        let consumer = || {
            member.check_joined()?;
            member.consumer(text(&data, "consumerId")?)
        };
        match method {
            "produce" => {
                member.check_joined()?;
                let wanted: Produce = parse(data)?;
                let transport = member.transport(&wanted.transport_id)?;
                let producer = self.produce(member, &transport, wanted, then).await?;
                return Ok(json!({ "id": producer.id() }));
            }
            "produceData" => {
                member.check_joined()?;
                let wanted: ProduceData = parse(data)?;
                let transport = member.transport(&wanted.transport_id)?;
                let producer = self.produce_data(member, &transport, wanted, then).await?;
                return Ok(json!({ "id": producer.id() }));
            }
            "changeDisplayName" => self.change_display_name(member, text(&data, "displayName")?)?,
            "closeProducer" => producer()?.close(),
            "pauseProducer" => producer()?.pause().await?,
            "resumeProducer" => producer()?.resume().await?,
            "pauseConsumer" => consumer()?.pause().await?,
            "resumeConsumer" => consumer()?.resume().await?,
            "requestConsumerKeyFrame" => consumer()?.request_key_frame().await?,
            "setConsumerPreferredLayers" => {
                let (consumer, layers) = (consumer()?, parse::<ConsumerLayers>(data.clone())?);
                consumer.set_preferred_layers(layers).await?;
            }
            "setConsumerPriority" => {
                let (consumer, wanted) = (consumer()?, parse::<SetPriority>(data.clone())?);
                consumer.set_priority(wanted.priority).await?;
            }
            _ => return Err(Refusal::NotFound(format!("unknown method {method:?}"))),
        }
        Ok(json!({}))
    }

    fn join(&self, peer: &Peer, join: Join, then: &mut Vec<Followup>) -> Answer {
        Profile::check_name(&join.display_name)?;
        if let Some(capabilities) = &join.rtp_capabilities {
            client::ortc::normalize_capabilities(capabilities)?;
        }
        let profile = Profile {
            display_name: join.display_name,
            device: join.device,
            rtp_capabilities: join.rtp_capabilities,
            data: join.sctp_capabilities.is_some(),
        };
        let _roster = self.roster();
        self.welcome(peer.data(), &profile)?;
        let others = self.others(peer.id());
        for (other, _) in &others {
            other.send_all_to(peer, then);
        }
        then.push(Followup::ConsumeBot(peer.clone()));
        let peers: Vec<Value> = others.iter().map(|(other, profile)| other.describe(profile)).collect();
        Ok(json!({ "peers": peers }))
    }

    /// Makes somebody one of those that have joined, and tells the others. Whoever calls this holds the roster.
    pub(crate) fn welcome(&self, member: &Member, profile: &Profile) -> Result<(), Refusal> {
        {
            let mut state = member.lock();
            if state.closed {
                return Err(Refusal::gone());
            }
            if state.profile.is_some() {
                return Err(Refusal::Conflict("already joined".to_owned()));
            }
            state.profile = Some(profile.clone());
        }
        self.tell_others(&member.id, "newPeer", &member.describe(profile));
        Ok(())
    }

    fn change_display_name(&self, member: &Member, name: &str) -> Result<(), Refusal> {
        Profile::check_name(name)?;
        let old = {
            let mut state = member.lock();
            let profile = state.profile.as_mut().ok_or_else(Refusal::not_joined)?;
            std::mem::replace(&mut profile.display_name, name.to_owned())
        };
        let data = json!({ "peerId": member.id, "displayName": name, "oldDisplayName": old });
        self.tell_others(&member.id, "peerDisplayNameChanged", &data);
        Ok(())
    }
}

async fn connect(member: &Member, wanted: Connect) -> Answer {
    let client::AnyTransport::WebRtc(transport) = member.transport(&wanted.transport_id)? else {
        return Err(Refusal::not_found("transport", &wanted.transport_id));
    };
    transport.connect(wanted.dtls_parameters).await?;
    Ok(json!({}))
}

async fn restart_ice(member: &Member, data: &Value) -> Answer {
    let id = text(data, "transportId")?;
    let client::AnyTransport::WebRtc(transport) = member.transport(id)? else {
        return Err(Refusal::not_found("transport", id));
    };
    Ok(serde_json::to_value(transport.restart_ice().await?)?)
}

/// What the worker knows of an object.
async fn report(member: &Member, method: &str, data: &Value) -> Answer {
    Ok(match method {
        "getTransportStats" => serde_json::to_value(member.transport(text(data, "transportId")?)?.get_stats().await?),
        "getProducerStats" => serde_json::to_value(member.producer(text(data, "producerId")?)?.get_stats().await?),
        "getConsumerStats" => serde_json::to_value(member.consumer(text(data, "consumerId")?)?.get_stats().await?),
        "getDataProducerStats" => {
            serde_json::to_value(member.data_producer(text(data, "dataProducerId")?)?.get_stats().await?)
        }
        "getDataConsumerStats" => {
            serde_json::to_value(member.data_consumer(text(data, "dataConsumerId")?)?.get_stats().await?)
        }
        "getTransportDump" => serde_json::to_value(member.transport(text(data, "transportId")?)?.dump().await?),
        _ => serde_json::to_value(member.consumer(text(data, "consumerId")?)?.dump().await?),
    }?)
}

fn done(result: Result<(), Refusal>) -> Answer {
    result.map(|()| json!({}))
}
