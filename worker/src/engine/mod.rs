//! The engine: every piece of SFU state and every decision, without sockets, clock or threads.
//!
//! It is told what happened (a command, datagrams, that time has passed), each with `now` in microseconds of a
//! monotonic clock, and appends what follows to an [`Outbox`]. Sockets are asked for through [`Ports`]. So a whole
//! worker runs in a test in virtual time.

mod commands;
pub mod consumer;
pub mod data;
pub mod decisions;
pub mod forward;
mod key_frames;
pub mod keys;
pub mod listener;
pub mod mangle;
pub mod observer;
pub mod outbox;
pub mod ports;
pub mod producer;
pub mod router;
pub mod sockets;
pub mod timers;
pub mod trace;
pub mod transport;
pub mod webrtc_server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use channel_proto::command::{PayloadCommand, Request, Target};
use channel_proto::reply::{Failure, Reply, Response};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use slotmap::SlotMap;

use decisions::Why;
use forward::Pending;
use keys::{RouterKey, ServerKey, TransportKey};
use outbox::{ChannelMessage, Outbox};
use ports::{Ports, SocketId};
use router::Router;
use sockets::{Owner, Sockets};
use timers::{Timers, Wake};
use transport::Kind;
use transport::direct::MAX_PACKET;
use transport::webrtc::tuple;
use webrtc_server::WebRtcServer;

use crate::bwe::pacer::Pacing;
use crate::dtls::Certificate;

/// A datagram that a socket received.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Where it came from.
    pub source: SocketAddr,
    /// Its bytes; decrypted in place.
    pub bytes: &'a mut [u8],
}

/// What the engine needs to know at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Process id that `worker.dump` tells.
    pub pid: u32,
    /// Seed of all random choices; secret and fresh in a real worker, since keys come from it.
    pub seed: [u8; 32],
    /// Microseconds from the zero of `now` to the Unix epoch; read once, so that NTP times never step.
    pub unix_offset: u64,
    /// What this worker shows peers in DTLS.
    pub certificate: Rc<Certificate>,
    /// How bursts to receivers whose bandwidth is estimated are spread.
    pub pacing: Pacing,
}

/// All routers of a worker.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    routers: SlotMap<RouterKey, Router>,
    router_ids: BTreeMap<String, RouterKey>,
    servers: SlotMap<ServerKey, WebRtcServer>,
    sockets: Sockets,
    timers: Timers,
    rng: ChaCha12Rng,
    batch: Vec<Pending>,
}

/// What a step may use beside the router it works on.
pub struct Context<'a> {
    /// Microseconds of a monotonic clock.
    pub now: u64,
    /// Sockets.
    pub ports: &'a mut dyn Ports,
    /// Outputs.
    pub outbox: &'a mut Outbox,
    /// Wake-ups.
    pub timers: &'a mut Timers,
    /// Random choices.
    pub rng: &'a mut ChaCha12Rng,
    /// Whose packets those of a socket are.
    pub sockets: &'a mut Sockets,
    /// WebRtcServers.
    pub servers: &'a mut SlotMap<ServerKey, WebRtcServer>,
    /// What peers are shown in DTLS.
    pub certificate: &'a Rc<Certificate>,
    /// How bursts are spread.
    pub pacing: Pacing,
    unix_offset: u64,
}

impl Context<'_> {
    /// Microseconds since the Unix epoch.
    pub fn unix_micros(&self, now: u64) -> u64 {
        now.saturating_add(self.unix_offset)
    }
}

/// What follows once the response has been queued.
enum After {
    Nothing,
    TransportConnected(RouterKey, TransportKey),
    ConsumerConnected(RouterKey, keys::ConsumerKey),
    LayersPreferred(RouterKey, keys::ConsumerKey),
    BufferedAmountLow(RouterKey, keys::DataConsumerKey),
}

macro_rules! context {
    ($engine:ident, $now:expr, $ports:expr, $outbox:expr) => {
        Context {
            now: $now,
            ports: $ports,
            outbox: $outbox,
            timers: &mut $engine.timers,
            rng: &mut $engine.rng,
            sockets: &mut $engine.sockets,
            servers: &mut $engine.servers,
            certificate: &$engine.config.certificate,
            pacing: $engine.config.pacing,
            unix_offset: $engine.config.unix_offset,
        }
    };
}
use context;

impl Engine {
    /// A worker without routers.
    pub fn new(config: Config) -> Self {
        Self {
            routers: SlotMap::with_key(),
            router_ids: BTreeMap::new(),
            servers: SlotMap::with_key(),
            sockets: Sockets::default(),
            timers: Timers::default(),
            rng: ChaCha12Rng::from_seed(config.seed),
            config,
            batch: Vec::new(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next()
    }

    /// How many wake-ups are planned: a small number for each transport and producer.
    pub fn planned_wakes(&self) -> usize {
        self.timers.len()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64, ports: &mut dyn Ports, outbox: &mut Outbox) {
        while let Some(wake) = self.timers.pop_due(now) {
            let mut context = context!(self, now, ports, outbox);
            let (Wake::Rtcp(router, _)
            | Wake::WebRtc(router, _)
            | Wake::Inactivity(router, _)
            | Wake::KeyFrameRequests(router, _)
            | Wake::SpatialLayers(router, _)
            | Wake::TransportFeedback(router, _)
            | Wake::Bandwidth(router, _)
            | Wake::Observer(router, _)
            | Wake::Nack(router, _)
            | Wake::Sctp(router, _)) = wake;
            let Some(router) = self.routers.get_mut(router) else {
                continue;
            };
            match wake {
                Wake::Rtcp(_, transport) => router.send_reports(transport, &mut context),
                Wake::WebRtc(_, transport) => router.wake_web_rtc(transport, &mut context),
                Wake::Inactivity(_, producer) => router.check_inactivity(producer, &mut context),
                Wake::KeyFrameRequests(_, producer) => router.repeat_key_frame_requests(producer, &mut context),
                Wake::SpatialLayers(_, producer) => router.check_spatial_layers_again(producer, &mut context),
                Wake::TransportFeedback(_, transport) => router.report_arrivals(transport, &mut context),
                Wake::Bandwidth(_, transport) => router.wake_bandwidth(transport, &mut context),
                Wake::Nack(_, producer) => router.repeat_requests(producer, &mut context),
                Wake::Observer(_, observer) => router.observe(observer, &mut context),
                Wake::Sctp(_, transport) => router.wake_sctp(transport, &mut context),
            }
        }
    }

    /// Takes datagrams that one socket or connection received in one go.
    pub fn handle_datagrams(
        &mut self,
        now: u64,
        socket: SocketId,
        datagrams: &mut [Datagram<'_>],
        ports: &mut dyn Ports,
        outbox: &mut Outbox,
    ) {
        let mut batch = std::mem::take(&mut self.batch);
        for (index, datagram) in datagrams.iter_mut().enumerate() {
            // Looked up anew each time: a packet may end the connection that it came on.
            let Some(socket_state) = self.sockets.get(socket) else {
                break;
            };
            let tuple = tuple(&socket_state.path(socket), datagram.source);
            let owner = match socket_state.owner {
                Owner::Transport(router, transport) => Some((router, transport)),
                Owner::Server(server) => self
                    .servers
                    .get(server)
                    .and_then(|server| server.find(datagram.bytes, &tuple)),
            };
            let Some((router, transport)) = owner else { continue };
            let Some(router) = self.routers.get_mut(router) else {
                continue;
            };
            let mut context = context!(self, now, ports, outbox);
            router.receive_datagram(transport, tuple, datagram.bytes, index, &mut batch, &mut context);
        }
        let bytes = |index: usize| {
            datagrams
                .get(index)
                .map(|datagram| &*datagram.bytes)
                .unwrap_or_default()
        };
        // Unstable, since a stable sort may allocate; the datagram keeps the order.
        batch.sort_unstable_by_key(Pending::order);
        for burst in batch.chunk_by_mut(|one, other| one.router == other.router) {
            if let Some(router) = burst.first().and_then(|first| self.routers.get_mut(first.router)) {
                let mut context = context!(self, now, ports, outbox);
                router.forward(burst, bytes, &mut context);
            }
        }
        batch.clear();
        self.batch = batch;
    }

    /// Tells that `listener` accepted a connection from `remote`. It is called `connection` from now on, which no other
    /// socket may be called. The engine closes it at once if it has no use for it.
    pub fn handle_connection(
        &mut self,
        listener: SocketId,
        connection: SocketId,
        remote: SocketAddr,
        ports: &mut dyn Ports,
    ) {
        self.sockets.accept(listener, connection, remote, ports);
    }

    /// Whether no peer has proved to be one on a connection yet. Whoever holds it may give it up after a while.
    pub fn is_unproven(&self, connection: SocketId) -> bool {
        self.sockets.is_unclaimed(connection)
    }

    /// Tells that a connection is gone: closed by the peer, broken, or given up by whoever holds it.
    pub fn handle_disconnection(&mut self, now: u64, connection: SocketId, ports: &mut dyn Ports, outbox: &mut Outbox) {
        let Some(socket) = self.sockets.disconnected(connection) else {
            return;
        };
        let owner = match socket.owner {
            Owner::Transport(router, transport) => Some((router, transport)),
            Owner::Server(server) => self
                .servers
                .get(server)
                .zip(socket.remote())
                .and_then(|(server, remote)| {
                    let path = socket.path(connection);
                    server.user(&tuple(&path, remote))
                }),
        };
        if let Some((router, transport)) = owner
            && let Some(router) = self.routers.get_mut(router)
        {
            let mut context = context!(self, now, ports, outbox);
            router.web_rtc_disconnected(transport, connection, &mut context);
        }
    }

    /// Carries out a command; its response is queued in the outbox.
    pub fn handle_request(&mut self, now: u64, request: Request, ports: &mut dyn Ports, outbox: &mut Outbox) {
        let Request { id, target, command } = request;
        let method = command.method();
        let mut after = After::Nothing;
        let result = self.execute(now, &target, command, ports, outbox, &mut after);
        let result = result.map_err(|failure| Failure {
            reason: format!("{} [method:{method}]", failure.reason),
            kind: failure.kind,
        });
        outbox.channel.push(ChannelMessage::Response(Response { id, result }));
        let mut context = context!(self, now, ports, outbox);
        match after {
            After::Nothing => {}
            After::TransportConnected(router, transport) => {
                if let Some(router) = self.routers.get_mut(router) {
                    router.transport_connected(transport, &mut context);
                }
            }
            After::ConsumerConnected(router, consumer) => {
                if let Some(router) = self.routers.get_mut(router) {
                    router.consumer_connected(consumer, &mut context);
                }
            }
            After::BufferedAmountLow(router, data_consumer) => {
                if let Some(router) = self.routers.get_mut(router) {
                    router.notify_buffered_amount_low(data_consumer, &mut context);
                }
            }
            After::LayersPreferred(router, consumer) => {
                if let Some(router) = self.routers.get_mut(router) {
                    router.choose_layers(consumer, Why::Preferred, true, None, &mut context);
                }
            }
        }
    }

    /// Takes a message of the PayloadChannel. A failure of a request is to be answered there.
    ///
    /// # Errors
    /// The message could not be delivered; of a notification that is for the log only.
    pub fn handle_payload(
        &mut self,
        now: u64,
        command: &PayloadCommand,
        payload: &[u8],
        ports: &mut dyn Ports,
        outbox: &mut Outbox,
    ) -> Result<Reply, Failure> {
        let (PayloadCommand::ProducerSend(target)
        | PayloadCommand::TransportSendRtcp(target)
        | PayloadCommand::DataProducerSend(target, _)
        | PayloadCommand::DataConsumerSend(_, target, _)) = command;
        let (router, transport) = self.find_transport(target)?;
        let Some(router) = self.routers.get_mut(router) else {
            return Err(Failure::error("Router not found"));
        };
        let mut context = context!(self, now, ports, outbox);
        match command {
            PayloadCommand::ProducerSend(_) | PayloadCommand::TransportSendRtcp(_) => {
                let direct = router
                    .transports
                    .get_mut(transport)
                    .filter(|transport| matches!(transport.kind, Kind::Direct(_)))
                    .ok_or_else(|| Failure::error("not a direct Transport"))?;
                direct.traffic.received.update(now, payload.len());
                if payload.len() > MAX_PACKET {
                    return Err(Failure::error(format!(
                        "packet of more than {MAX_PACKET} bytes dropped"
                    )));
                }
                if matches!(command, PayloadCommand::TransportSendRtcp(_)) {
                    router.receive_rtcp(transport, payload, &mut context);
                    return Ok(Reply::None);
                }
                let header = crate::rtp::packet::RtpHeader::parse(payload)
                    .map_err(|error| Failure::error(format!("not an RTP packet: {error}")))?;
                let mut batch = std::mem::take(&mut self.batch);
                router.receive_rtp(transport, &header, payload, 0, &mut batch, &mut context);
                router.forward(&mut batch, |_| payload, &mut context);
                batch.clear();
                self.batch = batch;
                Ok(Reply::None)
            }
            PayloadCommand::DataProducerSend(target, ppid) => {
                router.send_to_data_producer(transport, target, ppid, payload, &mut context)
            }
            PayloadCommand::DataConsumerSend(_, target, ppid) => {
                router.send_to_data_consumer(transport, target, ppid, payload, &mut context)
            }
        }
    }

    /// Closes everything.
    pub fn close(&mut self, now: u64, ports: &mut dyn Ports, outbox: &mut Outbox) {
        // Silently: whoever ends a worker knows what it held.
        let told = outbox.channel.len();
        for (_, router) in &mut self.routers {
            let transports: Vec<_> = router.transports.keys().collect();
            let mut context = context!(self, now, ports, outbox);
            for transport in transports {
                router.close_transport(transport, &mut context);
            }
        }
        self.routers.clear();
        self.router_ids.clear();
        for (_, server) in self.servers.drain() {
            server.close(&mut self.sockets, ports);
        }
        outbox.channel.truncate(told);
    }

    fn find_router(&self, target: &Target) -> Result<RouterKey, Failure> {
        let id = required(target.router_id.as_deref(), "routerId")?;
        self.router_ids
            .get(id)
            .copied()
            .ok_or_else(|| Failure::error("Router not found"))
    }

    fn find_transport(&self, target: &Target) -> Result<(RouterKey, TransportKey), Failure> {
        let router = self.find_router(target)?;
        let id = required(target.transport_id.as_deref(), "transportId")?;
        let transport = self
            .routers
            .get(router)
            .and_then(|router| router.transport_ids.get(id))
            .copied();
        Ok((router, transport.ok_or_else(|| Failure::error("Transport not found"))?))
    }
}

/// A method that this kind of entity does not have.
fn unknown_method(method: &str) -> Failure {
    Failure::error(format!("unknown method '{method}'"))
}

/// An id that a command cannot do without.
fn required<'a>(id: Option<&'a str>, key: &str) -> Result<&'a str, Failure> {
    id.ok_or_else(|| Failure::error(format!("missing internal.{key}")))
}
