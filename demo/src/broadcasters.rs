//! The HTTP API for sources and sinks of media without signalling of their own: ffmpeg, GStreamer, cameras.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use client::{
    AnyTransport, ConsumerOptions, DataConsumerOptions, DtlsParameters, PlainConnectOptions, RtpCapabilities,
    SctpCapabilities, Transport as _,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tower_http::timeout::TimeoutLayer;

use crate::Config;
use crate::data::ProduceData;
use crate::media::Produce;
use crate::member::{Member, Profile};
use crate::refusal::Refusal;
use crate::room::Room;
use crate::rooms::Rooms;
use crate::token::bears;

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// Most consumers, of media and data together, on one transport.
const MAX_CONSUMERS: usize = 1000;
/// How long a request may take, its body included.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Response, Refusal>;
type Shared = State<Arc<Rooms>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    id: String,
    display_name: String,
    device: Device,
    rtp_capabilities: Option<RtpCapabilities>,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    version: Option<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum CreateTransport {
    WebRtc {
        sctp_capabilities: Option<SctpCapabilities>,
    },
    Plain {
        #[serde(default)]
        rtcp_mux: bool,
        #[serde(default = "yes")]
        comedia: bool,
    },
}

fn yes() -> bool {
    true
}

/// With the parameters of DTLS, or with where a plain source or sink is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    dtls_parameters: Option<DtlsParameters>,
    ip: Option<IpAddr>,
    port: Option<u16>,
    rtcp_port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consume {
    producer_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsumeData {
    data_producer_id: String,
}

/// The part of the site below `/rooms`.
pub(crate) fn routes(rooms: &Arc<Rooms>, config: &Config) -> Router {
    let token = Token(config.broadcaster_token.clone().map(Into::into));
    Router::new()
        .route("/rooms/{room}", get(capabilities))
        .route("/rooms/{room}/broadcasters", post(create))
        .route("/rooms/{room}/broadcasters/{broadcaster}", delete(remove))
        .route(
            "/rooms/{room}/broadcasters/{broadcaster}/transports",
            post(create_transport),
        )
        .nest(
            "/rooms/{room}/broadcasters/{broadcaster}/transports/{transport}",
            Router::new()
                .route("/connect", post(connect))
                .route("/producers", post(produce))
                .route("/consume", post(consume))
                .route("/consume/data", post(consume_data))
                .route("/produce/data", post(produce_data)),
        )
        .route_layer(from_fn_with_state(token, authorize))
        .route_layer(DefaultBodyLimit::max(MAX_BODY))
        .route_layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE))
        .with_state(Arc::clone(rooms))
}

/// What whoever uses the API must know; nothing if anybody may.
#[derive(Debug, Clone)]
struct Token(Option<Arc<str>>);

async fn authorize(State(Token(token)): State<Token>, request: Request, next: Next) -> Response {
    let good = token.is_none_or(|token| bears(request.headers(), &token));
    if good {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

/// Reads the JSON in a body, whatever type it is said to have.
fn read<T: DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    serde_json::from_str(body).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn answer(value: Value) -> Answer {
    Ok(([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response())
}

async fn capabilities(State(rooms): Shared, Path(room): Path<String>) -> Answer {
    answer(serde_json::to_value(rooms.get(&room)?.home.router.rtp_capabilities())?)
}

async fn create(State(rooms): Shared, Path(room): Path<String>, body: String) -> Answer {
    let room = rooms.get(&room)?;
    let wanted: Create = read(&body)?;
    Profile::check_name(&wanted.display_name)?;
    if !(1..=64).contains(&wanted.id.len()) || !wanted.id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Invalid("id must have 1 to 64 printable characters".to_owned()));
    }
    if let Some(capabilities) = &wanted.rtp_capabilities {
        client::ortc::normalize_capabilities(capabilities)?;
    }
    let mut device = Map::new();
    device.insert("flag".to_owned(), json!("broadcaster"));
    device.insert("name".to_owned(), json!(wanted.device.name));
    device.insert("version".to_owned(), json!(wanted.device.version));
    let profile = Profile {
        display_name: wanted.display_name,
        device,
        rtp_capabilities: wanted.rtp_capabilities,
        data: false,
    };
    let peers = room.add_broadcaster(&wanted.id, &profile).await?;
    answer(json!({ "peers": peers }))
}

async fn remove(State(rooms): Shared, Path((room, id)): Path<(String, String)>) -> Answer {
    let room = rooms.get(&room)?;
    room.remove_broadcaster(&room.broadcaster(&id)?);
    Ok("broadcaster deleted".into_response())
}

async fn create_transport(State(rooms): Shared, Path((room, id)): Path<(String, String)>, body: String) -> Answer {
    let room = rooms.get(&room)?;
    let member = room.broadcaster(&id)?;
    match read(&body)? {
        CreateTransport::WebRtc { sctp_capabilities } => {
            let streams = sctp_capabilities.map(|sctp| sctp.num_streams);
            answer(room.create_transport(&member, false, false, streams).await?)
        }
        CreateTransport::Plain { rtcp_mux, comedia } => {
            member.check_transports()?;
            let transport = member.branch.plain_transport(&room.config, rtcp_mux, comedia).await?;
            let tuple = transport.tuple();
            let mut told = json!({ "id": transport.id(), "ip": tuple.local_ip, "port": tuple.local_port });
            if let (Some(rtcp), Some(told)) = (transport.rtcp_tuple(), told.as_object_mut()) {
                told.insert("rtcpPort".to_owned(), json!(rtcp.local_port));
            }
            member.add_transport(transport.into(), false)?;
            answer(told)
        }
    }
}

/// Whether one more consumer may be on a transport.
fn check_consumers(transport: &AnyTransport) -> Result<(), Refusal> {
    let count = transport.consumers().len() + transport.data_consumers().len();
    if count < MAX_CONSUMERS {
        Ok(())
    } else {
        Err(Refusal::TooMany(format!("no more than {MAX_CONSUMERS} consumers")))
    }
}

/// Room, broadcaster and transport.
type Ids = Path<(String, String, String)>;

fn find(rooms: &Rooms, (room, broadcaster, transport): &(String, String, String)) -> Result<Found, Refusal> {
    let room = rooms.get(room)?;
    let member = room.broadcaster(broadcaster)?;
    let transport = member.transport(transport)?;
    Ok((room, member, transport))
}

type Found = (Arc<Room>, Arc<Member>, AnyTransport);

async fn connect(State(rooms): Shared, Path(ids): Ids, body: String) -> Answer {
    let (_, _, transport) = find(&rooms, &ids)?;
    let wanted: Connect = read(&body)?;
    match (transport, wanted.dtls_parameters) {
        (AnyTransport::WebRtc(transport), Some(parameters)) => transport.connect(parameters).await?,
        (AnyTransport::Plain(transport), None) => {
            let options = PlainConnectOptions {
                ip: wanted.ip,
                port: wanted.port,
                rtcp_port: wanted.rtcp_port,
                srtp_parameters: None,
            };
            transport.connect(options).await?;
        }
        _ => {
            let reason = "dtlsParameters are for webrtc transports, and they need them";
            return Err(Refusal::Invalid(reason.to_owned()));
        }
    }
    Ok(StatusCode::OK.into_response())
}

async fn produce(State(rooms): Shared, Path(ids): Ids, body: String) -> Answer {
    let (room, member, transport) = find(&rooms, &ids)?;
    let wanted: Produce = read(&body)?;
    let mut then = Vec::new();
    let producer = room.produce(&member, &transport, wanted, &mut then).await?;
    room.follow_up(then);
    answer(json!({ "id": producer.id() }))
}

async fn consume(State(rooms): Shared, Path(ids): Ids, Query(wanted): Query<Consume>) -> Answer {
    let (room, member, transport) = find(&rooms, &ids)?;
    check_consumers(&transport)?;
    let capabilities = member.profile().and_then(|profile| profile.rtp_capabilities);
    let capabilities = capabilities.ok_or_else(|| Refusal::Invalid("it has no rtpCapabilities".to_owned()))?;
    let id = &wanted.producer_id;
    let found = room
        .others(&member.id)
        .into_iter()
        .find_map(|(owner, _)| Some((owner.producer(id).ok()?, owner)));
    let (producer, owner) = found.ok_or_else(|| Refusal::not_found("producer", id))?;
    member.branch.bring(&owner.branch, &producer).await?;
    let consumer = transport.consume(ConsumerOptions::new(id, capabilities)).await?;
    let told = json!({
        "id": consumer.id(), "producerId": id, "kind": consumer.kind(),
        "rtpParameters": consumer.rtp_parameters(), "type": consumer.consumer_type(),
    });
    member
        .lock()
        .consumers
        .insert(consumer.id().to_owned(), consumer.clone());
    let counted = member.branch.slot.consumers.add();
    tokio::spawn(async move {
        let _counted = counted;
        let mut events = consumer.events();
        while events.recv().await.is_some() {}
        member.lock().consumers.remove(consumer.id());
    });
    answer(told)
}

async fn produce_data(State(rooms): Shared, Path(ids): Ids, body: String) -> Answer {
    let (room, member, transport) = find(&rooms, &ids)?;
    let wanted: ProduceData = read(&body)?;
    let mut then = Vec::new();
    let producer = room.produce_data(&member, &transport, wanted, &mut then).await?;
    room.follow_up(then);
    answer(json!({ "id": producer.id() }))
}

async fn consume_data(State(rooms): Shared, Path(ids): Ids, body: String) -> Answer {
    let (room, member, transport) = find(&rooms, &ids)?;
    check_consumers(&transport)?;
    let ConsumeData { data_producer_id: id } = read(&body)?;
    let others = room.others(&member.id).into_iter();
    let found = others
        .map(|(owner, _)| owner)
        .find_map(|owner| Some((owner.data_producer(&id).ok()?, owner)));
    let (producer, owner) = found.ok_or_else(|| Refusal::not_found("data producer", &id))?;
    member.branch.bring_data(&owner.branch, &producer).await?;
    let consumer = transport.consume_data(DataConsumerOptions::new(id)).await?;
    let stream = consumer.sctp_stream_parameters().map(|parameters| parameters.stream_id);
    answer(json!({ "id": consumer.id(), "streamId": stream }))
}

impl Room {
    fn broadcaster(&self, id: &str) -> Result<Arc<Member>, Refusal> {
        let found = self.broadcasters().get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("broadcaster", id))
    }

    /// Takes one in; returns whom it can consume, if it says what it can receive.
    async fn add_broadcaster(self: &Arc<Self>, id: &str, profile: &Profile) -> Result<Vec<Value>, Refusal> {
        if self.size() >= self.config.max_peers_per_room {
            return Err(Refusal::TooMany("the room is full".to_owned()));
        }
        let (branch, seat) = self.seat().await?;
        let member = Member::new(id, branch, seat, self.config.max_unanswered);
        let _roster = self.roster();
        {
            let mut broadcasters = self.broadcasters();
            if self.is_closed() {
                return Err(Refusal::not_found("room", &self.id));
            }
            if broadcasters.contains_key(id) || self.peers.has_peer(id) {
                return Err(Refusal::Conflict(format!("there is a {id:?} already")));
            }
            broadcasters.insert(id.to_owned(), Arc::clone(&member));
        }
        self.welcome(&member, profile)?;
        tracing::info!(room = self.id, broadcaster = id, "a broadcaster comes");
        if self.config.broadcaster_timeout > 0 {
            let patience = Duration::from_secs(self.config.broadcaster_timeout);
            tokio::spawn(watch(Arc::downgrade(self), Arc::downgrade(&member), patience));
        }
        Ok(match &profile.rtp_capabilities {
            Some(capabilities) => self.consumable(id, capabilities),
            None => Vec::new(),
        })
    }

    /// The peers that have joined, each with what can be consumed of it.
    fn consumable(&self, id: &str, capabilities: &RtpCapabilities) -> Vec<Value> {
        let peers = self.other_peers(id).into_iter();
        let described = peers.map(|(peer, profile)| {
            let member = peer.data();
            let producers: Vec<_> = member.lock().producers.values().cloned().collect();
            let router = &member.branch.router;
            let producers = producers
                .iter()
                .filter(|producer| router.can_consume(producer.id(), capabilities));
            let producers: Vec<_> = producers
                .map(|producer| json!({ "id": producer.id(), "kind": producer.kind() }))
                .collect();
            let mut told = member.describe(&profile);
            if let Some(told) = told.as_object_mut() {
                told.insert("producers".to_owned(), json!(producers));
            }
            told
        });
        described.collect()
    }

    fn remove_broadcaster(&self, member: &Arc<Member>) {
        let known = self.broadcasters().remove(&member.id);
        if let Some(known) = known {
            self.dismiss(&known);
            tracing::info!(room = self.id, broadcaster = member.id, "a broadcaster goes");
        }
    }
}

/// Removes a broadcaster from which nothing comes any more: a script that was killed cannot say goodbye.
async fn watch(room: std::sync::Weak<Room>, member: std::sync::Weak<Member>, patience: Duration) {
    let mut before = None;
    loop {
        tokio::time::sleep(patience).await;
        let (Some(room), Some(member)) = (room.upgrade(), member.upgrade()) else {
            return;
        };
        let transports: Vec<_> = {
            let state = member.lock();
            if state.closed {
                return;
            }
            state
                .transports
                .values()
                .map(|access| access.transport.clone())
                .collect()
        };
        let mut received = 0_u64;
        for transport in transports {
            let stats = transport.get_stats().await.unwrap_or_default();
            received += stats.iter().map(|stats| stats.bytes_received).sum::<u64>();
        }
        if before == Some(received) {
            tracing::info!(room = room.id, broadcaster = member.id, "nothing comes from it");
            return room.remove_broadcaster(&member);
        }
        before = Some(received);
    }
}
