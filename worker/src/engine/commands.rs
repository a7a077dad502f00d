//! What each command does: look up the entity, judge the arguments, act, reply.

use channel_proto::command::{Command, Consume, Produce, Target, TransportOptions};
use channel_proto::event::Event;
use channel_proto::reply::{Consumed, Failure, IceRestarted, Priority, Produced, Reply, WorkerDump};
use rand::Rng as _;
use slotmap::SlotMap;

use super::consumer::claims::Cause;
use super::consumer::{Consumer, KeyFrameOf};
use super::data::sctp::Sctp;
use super::decisions::Why;
use super::keys::{ConsumerKey, ProducerKey, ServerKey, TransportKey};
use super::outbox::Outbox;
use super::ports::Ports;
use super::producer::Producer;
use super::router::Router;
use super::transport::direct::Direct;
use super::transport::pipe::Pipe;
use super::transport::plain::Plain;
use super::transport::webrtc::WebRtc;
use super::transport::{Kind, Transport};
use super::webrtc_server::WebRtcServer;
use super::{After, Context, Engine, context, required, unknown_method};

/// Least bitrate that `setMaxOutgoingBitrate` takes, in bits per second.
const MIN_OUTGOING_BITRATE: u32 = 30_000;
/// Where outgoing sequence numbers begin. Not near the wrap: a receiver that loses the first packets there guesses
/// the wrong SRTP rollover counter and never decrypts anything.
const FIRST_SEQUENCE: std::ops::Range<u16> = 1000..32_767;

/// The association of a new transport, if SCTP is enabled.
fn new_sctp(options: &TransportOptions, over_dtls: bool, context: &mut Context<'_>) -> Option<Box<Sctp>> {
    let options = options.sctp?;
    Some(Box::new(Sctp::new(options, over_dtls, context.now, context.rng)))
}

impl Engine {
    pub(super) fn execute(
        &mut self,
        now: u64,
        target: &Target,
        command: Command,
        ports: &mut dyn Ports,
        outbox: &mut Outbox,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        match command {
            Command::WorkerDump => Ok(Reply::WorkerDump(WorkerDump {
                pid: self.config.pid,
                web_rtc_server_ids: self.server_ids(),
                router_ids: self.router_ids.keys().cloned().collect(),
            })),
            Command::WorkerCreateRouter => self.create_router(target),
            Command::WorkerCreateWebRtcServer(arguments) => {
                let id = required(target.web_rtc_server_id.as_deref(), "webRtcServerId")?;
                if self.find_server(id).is_some() {
                    return Err(Failure::error("a WebRtcServer with same webRtcServerId already exists"));
                }
                let server = WebRtcServer::open(id.to_owned(), &arguments?.listen_infos, ports)?;
                let key = self.servers.insert(server);
                if let Some(server) = self.servers.get(key) {
                    server.register_sockets(key, &mut self.sockets);
                }
                Ok(Reply::None)
            }
            Command::WebRtcServerClose | Command::WebRtcServerDump => {
                let id = required(target.web_rtc_server_id.as_deref(), "webRtcServerId")?;
                let key = self.find_server(id);
                let key = key.ok_or_else(|| Failure::error("WebRtcServer not found"))?;
                if matches!(command, Command::WebRtcServerClose) {
                    self.close_server(key, now, ports, outbox);
                    return Ok(Reply::None);
                }
                let dump = self.servers.get(key).map(WebRtcServer::dump);
                Ok(dump.map_or(Reply::None, Reply::WebRtcServerDump))
            }
            // The process answers these before they get here.
            Command::WorkerClose | Command::WorkerGetResourceUsage | Command::WorkerUpdateSettings(_) => {
                Err(unknown_method(command.method()))
            }
            command => {
                let router_key = self.find_router(target)?;
                let mut context = context!(self, now, ports, outbox);
                let Some(router) = self.routers.get_mut(router_key) else {
                    return Err(Failure::error("Router not found"));
                };
                let result = router.execute(target, command, &mut context, after);
                if matches!(result, Ok(Outcome::RouterClosed))
                    && let Some(router) = self.routers.remove(router_key)
                {
                    self.router_ids.remove(&router.id);
                }
                result.map(|outcome| match outcome {
                    Outcome::Reply(reply) => reply,
                    Outcome::RouterClosed => Reply::None,
                })
            }
        }
    }

    fn find_server(&self, id: &str) -> Option<ServerKey> {
        find_server(&self.servers, id)
    }

    fn server_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.servers.values().map(|server| server.id().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Closes the transports of a server, silently as far as they are concerned, and its sockets.
    fn close_server(&mut self, key: ServerKey, now: u64, ports: &mut dyn Ports, outbox: &mut Outbox) {
        let transports = self.servers.get(key).map(WebRtcServer::transports);
        for (router, transport) in transports.unwrap_or_default() {
            let mut context = context!(self, now, ports, outbox);
            if let Some(router) = self.routers.get_mut(router) {
                router.close_transport(transport, &mut context);
            }
        }
        if let Some(server) = self.servers.remove(key) {
            server.close(&mut self.sockets, ports);
        }
    }

    fn create_router(&mut self, target: &Target) -> Result<Reply, Failure> {
        let id = required(target.router_id.as_deref(), "routerId")?;
        if self.router_ids.contains_key(id) {
            return Err(Failure::error("a Router with same routerId already exists"));
        }
        let key = self.routers.insert_with_key(|key| Router::new(key, id.to_owned()));
        self.router_ids.insert(id.to_owned(), key);
        Ok(Reply::None)
    }
}

/// The server of this id. There are few.
fn find_server(servers: &SlotMap<ServerKey, WebRtcServer>, id: &str) -> Option<ServerKey> {
    servers.iter().find(|(_, server)| server.id() == id).map(|(key, _)| key)
}

/// What a command did to a router, as far as the engine must know.
enum Outcome {
    Reply(Reply),
    RouterClosed,
}

impl Router {
    fn execute(
        &mut self,
        target: &Target,
        command: Command,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Outcome, Failure> {
        match command {
            Command::RouterClose => {
                for transport in self.transports.keys().collect::<Vec<_>>() {
                    // Silently: whoever closes a router knows what it held.
                    let told = context.outbox.channel.len();
                    self.close_transport(transport, context);
                    context.outbox.channel.truncate(told);
                }
                Ok(Outcome::RouterClosed)
            }
            Command::RouterDump => Ok(Outcome::Reply(Reply::RouterDump(self.dump()))),
            Command::RouterCreatePlainTransport(options) => {
                let id = self.new_transport_id(target)?;
                let options = options?;
                let plain = Plain::open(&options, context.ports, context.rng)?;
                let initial = options.options.initial_available_outgoing_bitrate;
                let sctp = new_sctp(&options.options, false, context);
                let kind = Kind::Plain(Box::new(plain));
                let key = self.add_transport(id, kind, sctp, initial, context);
                Ok(Outcome::Reply(self.transport_dump(key)))
            }
            Command::RouterCreateDirectTransport(options) => {
                let id = self.new_transport_id(target)?;
                let options = options?;
                let kind = Kind::Direct(Direct {
                    flag: options.direct,
                    max_message_size: options.max_message_size,
                });
                let key = self.add_transport(id, kind, None, None, context);
                *after = After::TransportConnected(self.key, key);
                Ok(Outcome::Reply(self.transport_dump(key)))
            }
            Command::RouterCreateWebRtcTransport(options) => {
                let id = self.new_transport_id(target)?;
                let options = options?;
                let web_rtc = WebRtc::open(&options, context.certificate, context.ports, context.rng)?;
                let initial = options.options.initial_available_outgoing_bitrate;
                let sctp = new_sctp(&options.options, true, context);
                let kind = Kind::WebRtc(Box::new(web_rtc));
                let key = self.add_transport(id, kind, sctp, initial, context);
                Ok(Outcome::Reply(self.transport_dump(key)))
            }
            Command::RouterCreateWebRtcTransportWithServer(options) => {
                let id = self.new_transport_id(target)?;
                let server_id = required(target.web_rtc_server_id.as_deref(), "webRtcServerId")?;
                let server_key = find_server(context.servers, server_id);
                let Some((server_key, server)) = server_key.and_then(|key| Some((key, context.servers.get(key)?)))
                else {
                    return Err(Failure::error(
                        "wrong internal.webRtcServerId (no associated WebRtcServer found)",
                    ));
                };
                let options = options?;
                let web_rtc = WebRtc::with_server(&options, server_key, server, context.certificate, context.rng)?;
                let initial = options.options.initial_available_outgoing_bitrate;
                let sctp = new_sctp(&options.options, true, context);
                let kind = Kind::WebRtc(Box::new(web_rtc));
                let key = self.add_transport(id, kind, sctp, initial, context);
                Ok(Outcome::Reply(self.transport_dump(key)))
            }
            Command::RouterCreatePipeTransport(options) => {
                let id = self.new_transport_id(target)?;
                let options = options?;
                let pipe = Pipe::open(&options, context.ports, context.rng)?;
                let initial = options.options.initial_available_outgoing_bitrate;
                let sctp = new_sctp(&options.options, false, context);
                let kind = Kind::Pipe(Box::new(pipe));
                let key = self.add_transport(id, kind, sctp, initial, context);
                Ok(Outcome::Reply(self.transport_dump(key)))
            }
            Command::RouterCreateActiveSpeakerObserver(_)
            | Command::RouterCreateAudioLevelObserver(_)
            | Command::RtpObserverClose
            | Command::RtpObserverPause
            | Command::RtpObserverResume
            | Command::RtpObserverAddProducer(_)
            | Command::RtpObserverRemoveProducer(_) => {
                self.execute_on_observer(target, command, context).map(Outcome::Reply)
            }
            command => {
                let id = required(target.transport_id.as_deref(), "transportId")?;
                let key = self.transport_ids.get(id).copied();
                let key = key.ok_or_else(|| Failure::error("Transport not found"))?;
                if matches!(command, Command::TransportClose) {
                    self.close_transport(key, context);
                    return Ok(Outcome::Reply(Reply::None));
                }
                self.execute_on_transport(key, target, command, context, after)
                    .map(Outcome::Reply)
            }
        }
    }

    fn new_transport_id(&self, target: &Target) -> Result<String, Failure> {
        let id = required(target.transport_id.as_deref(), "transportId")?;
        if self.transport_ids.contains_key(id) {
            return Err(Failure::error("a Transport with same transportId already exists"));
        }
        Ok(id.to_owned())
    }

    fn add_transport(
        &mut self,
        id: String,
        kind: Kind,
        sctp: Option<Box<Sctp>>,
        initial_outgoing_bitrate: Option<u32>,
        context: &mut Context<'_>,
    ) -> TransportKey {
        let mut transport = Transport::new(id.clone(), kind, sctp);
        if let Some(bitrate) = initial_outgoing_bitrate {
            transport.initial_outgoing_bitrate = bitrate;
        }
        let key = self.transports.insert(transport);
        self.transport_ids.insert(id, key);
        if let Some(transport) = self.transports.get(key) {
            transport.register((self.key, key), context);
        }
        key
    }

    fn transport_dump(&self, key: TransportKey) -> Reply {
        self.transports.get(key).map_or(Reply::None, |transport| {
            Reply::TransportDump(Box::new(transport.dump(self)))
        })
    }

    fn execute_on_transport(
        &mut self,
        key: TransportKey,
        target: &Target,
        command: Command,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        let method = command.method();
        let Some(transport) = self.transports.get_mut(key) else {
            return Err(Failure::error("Transport not found"));
        };
        match command {
            Command::TransportDump => Ok(self.transport_dump(key)),
            Command::TransportGetStats => Ok(Reply::TransportStats(Box::new([transport.stats(context.now)]))),
            Command::TransportConnect(arguments) => {
                let connected = match &mut transport.kind {
                    Kind::WebRtc(web_rtc) => {
                        let connected = web_rtc.connect(arguments?, context.now)?;
                        // What it leads to at once is told before it is answered.
                        self.follow_web_rtc(key, context);
                        return Ok(Reply::WebRtcConnected(connected));
                    }
                    Kind::Plain(plain) => plain.connect(arguments?, context.rng)?,
                    Kind::Pipe(pipe) => pipe.connect(arguments?, context.rng)?,
                    Kind::Direct(_) => return Err(unknown_method(method)),
                };
                *after = After::TransportConnected(self.key, key);
                Ok(Reply::Connected(connected))
            }
            Command::TransportRestartIce => {
                let Some(web_rtc) = transport.web_rtc() else {
                    return Err(unknown_method(method));
                };
                let ice_parameters = web_rtc.restart_ice((self.key, key), context);
                self.follow_web_rtc(key, context);
                Ok(Reply::IceRestarted(IceRestarted { ice_parameters }))
            }
            Command::TransportSetMaxIncomingBitrate(arguments) => {
                let bitrate = arguments?.bitrate;
                transport.set_max_incoming_bitrate(bitrate, context.now, context.outbox);
                Ok(Reply::None)
            }
            Command::TransportSetMaxOutgoingBitrate(arguments) => {
                let bitrate = arguments?.bitrate;
                if bitrate < MIN_OUTGOING_BITRATE {
                    let reason = format!("bitrate must be >= {MIN_OUTGOING_BITRATE}");
                    return Err(Failure::type_error(reason));
                }
                transport.set_max_outgoing_bitrate(bitrate, context.now);
                self.allocate_layers(key, &Cause::of(Why::Bandwidth), context);
                Ok(Reply::None)
            }
            Command::TransportEnableTraceEvent(arguments) => {
                transport.trace.set(&arguments?.types);
                Ok(Reply::None)
            }
            Command::TransportProduce(arguments) => {
                let id = required(target.producer_id.as_deref(), "producerId")?;
                if transport.producers.contains_key(id) {
                    return Err(Failure::error("a Producer with same producerId already exists"));
                }
                self.produce(key, id, arguments?)
            }
            Command::TransportConsume(arguments) => {
                let producer_id = required(target.producer_id.as_deref(), "producerId")?;
                let id = required(target.consumer_id.as_deref(), "consumerId")?;
                if transport.consumers.contains_key(id) {
                    return Err(Failure::error("a Consumer with same consumerId already exists"));
                }
                self.consume(key, id, producer_id, arguments?, context, after)
            }
            Command::TransportProduceData(_)
            | Command::TransportConsumeData(_)
            | Command::DataProducerClose
            | Command::DataProducerDump
            | Command::DataProducerGetStats
            | Command::DataConsumerClose
            | Command::DataConsumerDump
            | Command::DataConsumerGetStats
            | Command::DataConsumerGetBufferedAmount
            | Command::DataConsumerSetBufferedAmountLowThreshold(_) => {
                self.execute_on_data(key, target, command, context, after)
            }
            Command::ProducerClose
            | Command::ProducerDump
            | Command::ProducerGetStats
            | Command::ProducerPause
            | Command::ProducerResume
            | Command::ProducerEnableTraceEvent(_) => {
                let id = required(target.producer_id.as_deref(), "producerId")?;
                let producer = transport.producers.get(id).copied();
                let producer = producer.ok_or_else(|| Failure::error("Producer not found"))?;
                self.execute_on_producer(producer, command, context)
            }
            command => {
                let id = required(target.consumer_id.as_deref(), "consumerId")?;
                let consumer = transport.consumers.get(id).copied();
                let consumer = consumer.ok_or_else(|| Failure::error("Consumer not found"))?;
                self.execute_on_consumer(consumer, command, context, after)
            }
        }
    }

    fn produce(&mut self, transport_key: TransportKey, id: &str, produce: Produce) -> Result<Reply, Failure> {
        let producer_type = channel_proto::rtp_parameters::producer_type(&produce.rtp_parameters)?;
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return Err(Failure::error("Transport not found"));
        };
        let producer = Producer::new(id.to_owned(), transport_key, producer_type, produce);
        let key = self.producers.insert(producer);
        let Some(producer) = self.producers.get(key) else {
            return Err(Failure::error("Producer not found"));
        };
        let registered = transport.listener.add(key, &producer.rtp_parameters).and_then(|()| {
            if self.producer_ids.contains_key(id) {
                transport.listener.remove(key);
                return Err(Failure::error(format!(
                    "Producer already present in mapProducers [producerId:{id}]"
                )));
            }
            Ok(())
        });
        if let Err(failure) = registered {
            self.producers.remove(key);
            return Err(failure);
        }
        transport.adopt_extensions(&producer.rtp_parameters);
        transport.watch_incoming(&producer.rtp_parameters);
        transport.producers.insert(id.to_owned(), key);
        self.producer_ids.insert(id.to_owned(), key);
        Ok(Reply::Produced(Produced { producer_type }))
    }

    fn consume(
        &mut self,
        transport_key: TransportKey,
        id: &str,
        producer_id: &str,
        consume: Consume,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        let producer_key = self.producer_ids.get(producer_id).copied();
        let not_found = || Failure::error(format!("Producer not found [producerId:{producer_id}]"));
        let producer_key: ProducerKey = producer_key.ok_or_else(not_found)?;
        let producer = self.producers.get_mut(producer_key).ok_or_else(not_found)?;
        let first_sequence = || context.rng.random_range(FIRST_SEQUENCE);
        let consumer = Consumer::new(
            id.to_owned(),
            transport_key,
            producer_key,
            producer,
            consume,
            first_sequence,
        )?;
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return Err(Failure::error("Transport not found"));
        };
        let reply = Consumed {
            paused: consumer.paused(),
            producer_paused: consumer.producer_paused(),
            score: consumer.score(producer),
            preferred_layers: consumer.preferred_layers(),
        };
        if producer.paused {
            context.outbox.notify(id, Event::ProducerPause);
        }
        let random = (context.rng.random(), context.rng.random());
        transport.watch_outgoing(consumer.kind(), consumer.parameters(), context.pacing, random);
        let key: ConsumerKey = self.consumers.insert(consumer);
        producer.consumers.push(key);
        transport.consumers.insert(id.to_owned(), key);
        for (ssrc, rtx_ssrc) in self.consumers.get(key).into_iter().flat_map(Consumer::ssrcs) {
            transport.ssrcs.insert(ssrc, key);
            transport.rtx_ssrcs.extend(rtx_ssrc.map(|ssrc| (ssrc, key)));
        }
        *after = After::ConsumerConnected(self.key, key);
        Ok(Reply::Consumed(reply))
    }

    fn execute_on_producer(
        &mut self,
        key: ProducerKey,
        command: Command,
        context: &mut Context<'_>,
    ) -> Result<Reply, Failure> {
        let Some(producer) = self.producers.get_mut(key) else {
            return Err(Failure::error("Producer not found"));
        };
        match command {
            Command::ProducerClose => self.close_producer(key, context),
            Command::ProducerDump => return Ok(Reply::ProducerDump(Box::new(producer.dump()))),
            Command::ProducerGetStats => return Ok(Reply::RtpStreamStats(producer.stats(context.now))),
            Command::ProducerPause => self.set_producer_paused(key, true, context),
            Command::ProducerResume => self.set_producer_paused(key, false, context),
            Command::ProducerEnableTraceEvent(arguments) => producer.trace.set(&arguments?.types),
            command => return Err(unknown_method(command.method())),
        }
        Ok(Reply::None)
    }

    fn execute_on_consumer(
        &mut self,
        key: ConsumerKey,
        command: Command,
        context: &mut Context<'_>,
        after: &mut After,
    ) -> Result<Reply, Failure> {
        let Some(consumer) = self.consumers.get_mut(key) else {
            return Err(Failure::error("Consumer not found"));
        };
        match command {
            Command::ConsumerClose => {
                let transport = consumer.transport;
                self.close_consumer(key);
                self.allocate_layers(transport, &Cause::stopped(), context);
            }
            Command::ConsumerDump => return Ok(Reply::ConsumerDump(Box::new(consumer.dump()))),
            Command::ConsumerGetStats => {
                let now = context.now;
                let mut stats: Vec<_> = consumer.streams.iter_mut().map(|stream| stream.stats(now)).collect();
                if let Some(encoding) = consumer.current_encoding()
                    && let Some(producer) = self.producers.get_mut(consumer.producer)
                    && let Some(stream) = producer.stream_mut(encoding)
                {
                    stats.push(stream.stats(now));
                }
                return Ok(Reply::RtpStreamStats(stats));
            }
            Command::ConsumerPause => {
                if consumer.set_paused(true, context.now).layers_lost {
                    context.outbox.notify(&consumer.id, consumer.layers_event());
                }
                let transport = consumer.transport;
                self.allocate_layers(transport, &Cause::stopped(), context);
            }
            Command::ConsumerResume => {
                if consumer.set_paused(false, context.now).started {
                    self.consumer_started(key, context);
                }
            }
            // Those without layers accept whatever is asked.
            Command::ConsumerSetPreferredLayers(_) if !consumer.is_layered() => {}
            Command::ConsumerSetPreferredLayers(arguments) => {
                let before = consumer.preferred_layers();
                consumer.set_preferred_layers(&arguments?);
                let preferred = consumer.preferred_layers();
                if preferred != before {
                    *after = After::LayersPreferred(self.key, key);
                }
                return Ok(preferred.map_or(Reply::None, Reply::PreferredLayers));
            }
            Command::ConsumerSetPriority(arguments) => {
                let priority = arguments?.priority;
                let changed = std::mem::replace(&mut consumer.priority, priority) != priority;
                let transport = consumer.transport;
                if changed {
                    self.allocate_layers(transport, &Cause::of(Why::Parent), context);
                }
                return Ok(Reply::Priority(Priority { priority }));
            }
            Command::ConsumerRequestKeyFrame => {
                if consumer.active {
                    self.request_key_frame(key, KeyFrameOf::All, Why::Parent, context);
                }
            }
            Command::ConsumerEnableTraceEvent(arguments) => consumer.trace.set(&arguments?.types),
            command => return Err(unknown_method(command.method())),
        }
        Ok(Reply::None)
    }
}
