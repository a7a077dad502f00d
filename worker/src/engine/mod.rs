//! The engine: every piece of SFU state and every decision, without sockets, clock or threads.
//!
//! It is told what happened (a command, datagrams, that time has passed), each with `now` in microseconds of a
//! monotonic clock, and appends what follows to an [`Outbox`]. Sockets are asked for through [`Ports`]. So a whole
//! worker runs in a test in virtual time.

mod commands;
pub mod consumer;
pub mod forward;
pub mod keys;
pub mod listener;
pub mod mangle;
pub mod outbox;
pub mod ports;
pub mod producer;
pub mod router;
pub mod timers;
pub mod trace;
pub mod transport;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use channel_proto::command::{PayloadCommand, Request, Target};
use channel_proto::reply::{Failure, Reply, Response};
use hashbrown::HashMap;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use slotmap::SlotMap;

use consumer::decisions::Why;
use forward::Pending;
use keys::{RouterKey, TransportKey};
use outbox::{ChannelMessage, Outbox};
use ports::{Ports, SocketId};
use router::Router;
use timers::{Timers, Wake};
use transport::Kind;
use transport::direct::MAX_PACKET;

/// A datagram that a socket received.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Where it came from.
    pub source: SocketAddr,
    /// Its bytes; decrypted in place.
    pub bytes: &'a mut [u8],
}

/// What the engine needs to know at start.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Process id that `worker.dump` tells.
    pub pid: u32,
    /// Seed of all random choices; secret and fresh in a real worker, since keys come from it.
    pub seed: [u8; 32],
    /// Microseconds from the zero of `now` to the Unix epoch; read once, so that NTP times never step.
    pub unix_offset: u64,
}

/// All routers of a worker.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    routers: SlotMap<RouterKey, Router>,
    router_ids: BTreeMap<String, RouterKey>,
    sockets: HashMap<SocketId, (RouterKey, TransportKey)>,
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
}

macro_rules! context {
    ($engine:ident, $now:expr, $ports:expr, $outbox:expr) => {
        Context {
            now: $now,
            ports: $ports,
            outbox: $outbox,
            timers: &mut $engine.timers,
            rng: &mut $engine.rng,
            unix_offset: $engine.config.unix_offset,
        }
    };
}
use context;

impl Engine {
    /// A worker without routers.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            routers: SlotMap::with_key(),
            router_ids: BTreeMap::new(),
            sockets: HashMap::new(),
            timers: Timers::default(),
            rng: ChaCha12Rng::from_seed(config.seed),
            batch: Vec::new(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64, ports: &mut dyn Ports, outbox: &mut Outbox) {
        while let Some(wake) = self.timers.pop_due(now) {
            let mut context = context!(self, now, ports, outbox);
            let (Wake::Rtcp(router, _)
            | Wake::Inactivity(router, _)
            | Wake::KeyFrameRequests(router, _)
            | Wake::SpatialLayers(router, _)
            | Wake::TransportFeedback(router, _)
            | Wake::Nack(router, _)) = wake;
            let Some(router) = self.routers.get_mut(router) else {
                continue;
            };
            match wake {
                Wake::Rtcp(_, transport) => router.send_reports(transport, &mut context),
                Wake::Inactivity(_, producer) => router.check_inactivity(producer, &mut context),
                Wake::KeyFrameRequests(_, producer) => router.repeat_key_frame_requests(producer, &mut context),
                Wake::SpatialLayers(_, producer) => router.check_spatial_layers(producer, &mut context),
                Wake::TransportFeedback(_, transport) => router.report_arrivals(transport, &mut context),
                Wake::Nack(_, producer) => router.repeat_requests(producer, &mut context),
            }
        }
    }

    /// Takes datagrams that one socket received in one go.
    pub fn handle_datagrams(
        &mut self,
        now: u64,
        socket: SocketId,
        datagrams: &mut [Datagram<'_>],
        ports: &mut dyn Ports,
        outbox: &mut Outbox,
    ) {
        let Some((router, transport)) = self.sockets.get(&socket).copied() else {
            return;
        };
        let Some(router) = self.routers.get_mut(router) else {
            return;
        };
        let mut context = context!(self, now, ports, outbox);
        let mut batch = std::mem::take(&mut self.batch);
        for (index, datagram) in datagrams.iter_mut().enumerate() {
            router.receive_datagram(
                transport,
                datagram.source,
                datagram.bytes,
                index,
                &mut batch,
                &mut context,
            );
        }
        let bytes = |index: usize| {
            datagrams
                .get(index)
                .map(|datagram| &*datagram.bytes)
                .unwrap_or_default()
        };
        router.forward(&mut batch, bytes, &mut context);
        batch.clear();
        self.batch = batch;
    }

    /// Tells that `listener` accepted a connection from `remote`. It is called `connection` from now on, which no other
    /// socket may be called. The engine closes it at once if it has no use for it.
    pub fn handle_connection(
        &mut self,
        now: u64,
        listener: SocketId,
        connection: SocketId,
        remote: SocketAddr,
        ports: &mut dyn Ports,
        outbox: &mut Outbox,
    ) {
        let _ = (now, listener, remote, outbox);
        ports.close(connection);
    }

    /// Tells that a connection is gone: closed by the peer, broken, or given up by whoever holds it.
    pub fn handle_disconnection(&mut self, now: u64, connection: SocketId, ports: &mut dyn Ports, outbox: &mut Outbox) {
        let _ = (now, connection, ports, outbox);
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
            PayloadCommand::DataProducerSend(target, _) => {
                required(target.data_producer_id.as_deref(), "dataProducerId")?;
                Err(Failure::error("DataProducer not found"))
            }
            PayloadCommand::DataConsumerSend(_, target, _) => {
                required(target.data_consumer_id.as_deref(), "dataConsumerId")?;
                Err(Failure::error("DataConsumer not found"))
            }
        }
    }

    /// Closes everything.
    pub fn close(&mut self, now: u64, ports: &mut dyn Ports, outbox: &mut Outbox) {
        for (_, router) in &mut self.routers {
            let transports: Vec<_> = router.transports.keys().collect();
            let mut context = context!(self, now, ports, outbox);
            for transport in transports {
                router.close_transport(transport, &mut context);
            }
        }
        self.routers.clear();
        self.router_ids.clear();
        self.sockets.clear();
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

/// An id that a command cannot do without.
fn required<'a>(id: Option<&'a str>, key: &str) -> Result<&'a str, Failure> {
    id.ok_or_else(|| Failure::error(format!("missing internal.{key}")))
}
