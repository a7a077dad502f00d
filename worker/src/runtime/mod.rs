//! The process around the engine: descriptors, sockets, signals, the clock, and Tokio on one thread.

mod channel;
mod fds;
mod log;
mod ports;
mod settings;
mod tcp;
mod udp;

use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use channel_proto::command::{Command, PayloadCommand, Request};
use channel_proto::dialect::json::{self, PayloadHeaderError, RequestError};
use channel_proto::event::Notification;
use channel_proto::frame::FrameItem;
use channel_proto::reply::{Failure, Reply, ResourceUsage, Response};
use smallvec::SmallVec;
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::bwe::pacer::Pacing;
use crate::dtls::Certificate;
use crate::engine::data::messages::SEND_BUFFER_FULL;
use crate::engine::outbox::{ChannelMessage, Outbox};
use crate::engine::ports::{Ports as _, SocketId};
use crate::engine::{Config, Datagram, Engine};
use channel::{FrameReader, FrameWriter};
use log::ChannelLog;
pub use log::complain;
use ports::{Opened, Readable, SocketPorts};
pub use settings::{Parsed, Settings};
use tcp::{Connection, Received};
use udp::{Endpoint, ReceiveBuffers};

/// The end was orderly.
pub const EXIT_OK: u8 = 0;
/// The process cannot run here.
pub const EXIT_FAILED: u8 = 1;
/// The settings are wrong.
pub const EXIT_WRONG_SETTINGS: u8 = 42;

/// Datagrams that the engine gets in one go.
const BATCH: usize = 64;
/// After the last frame, so that the parent can read what is in the pipes.
const GRACE: Duration = Duration::from_millis(200);
/// Pause before the next try when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a TCP peer to prove that it is one.
const PROOF_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to get rid of what is queued for the parent at the end.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Everything of the process that its tasks share; one of them at a time uses it.
struct Worker {
    engine: RefCell<Engine>,
    ports: RefCell<SocketPorts>,
    outbox: RefCell<Outbox>,
    buffers: RefCell<ReceiveBuffers>,
    channel: FrameWriter,
    payload_channel: FrameWriter,
    log: ChannelLog,
    started: Instant,
    timer_changed: Notify,
    shutdown: Notify,
}

/// Runs a worker with these settings until its parent ends it; returns the exit code.
pub fn run(settings: &Settings) -> u8 {
    let runtime = match LocalRuntime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return EXIT_FAILED;
        }
    };
    let certificate = match certificate(settings) {
        Ok(certificate) => Rc::new(certificate),
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return EXIT_FAILED;
        }
    };
    match runtime.block_on(serve(settings, certificate)) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            complain(format_args!(
                "cannot start: {error}; a parent must pass file descriptors 3 to 6"
            ));
            EXIT_FAILED
        }
    }
}

/// The certificate of the files in the settings, or a new one.
fn certificate(settings: &Settings) -> Result<Certificate, Box<dyn std::error::Error>> {
    match (&settings.dtls_certificate_file, &settings.dtls_private_key_file) {
        (Some(certificate), Some(key)) => {
            let read = |path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(Certificate::from_pem(&read(certificate)?, &read(key)?)?)
        }
        _ => Ok(Certificate::generate()?),
    }
}

async fn serve(settings: &Settings, certificate: Rc<Certificate>) -> io::Result<()> {
    let requests = FrameReader::new(fds::adopt(3)?)?;
    let channel = FrameWriter::new("channel", fds::adopt(4)?)?;
    let payloads = FrameReader::new(fds::adopt(5)?)?;
    let payload_channel = FrameWriter::new("payloadChannel", fds::adopt(6)?)?;

    let log = ChannelLog::default();
    log.set_level(settings.log_level);
    log.set_tags(&settings.log_tags);
    // Fails only if this process already has a subscriber, which then gets the lines.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log.clone()));
    tracing::debug!(target: "info", version = env!("CARGO_PKG_VERSION"), ?settings, "starting");

    let pid = std::process::id();
    let mut seed = [0; 32];
    rand::fill(&mut seed);
    let started = Instant::now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let worker = Rc::new(Worker {
        engine: RefCell::new(Engine::new(Config {
            pid,
            seed,
            unix_offset: unix.as_micros() as u64,
            certificate,
            pacing: Pacing {
                max_delay: u64::from(settings.max_pacing_delay) * 1000,
            },
        })),
        ports: RefCell::new(SocketPorts::new(settings.rtc_min_port, settings.rtc_max_port)),
        outbox: RefCell::default(),
        buffers: RefCell::default(),
        channel,
        payload_channel,
        log,
        started,
        timer_changed: Notify::new(),
        shutdown: Notify::new(),
    });

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Taking them is ignoring them; SIGPIPE is ignored by the standard library.
    let ignored = [
        SignalKind::hangup(),
        SignalKind::alarm(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ]
    .map(signal);

    worker
        .channel
        .push(&json::encode_notification(&Notification::Running { pid }));
    worker.flush();
    spawn_local(read_requests(Rc::clone(&worker), requests));
    spawn_local(read_payloads(Rc::clone(&worker), payloads));
    spawn_local(keep_time(Rc::clone(&worker)));
    for payload in [false, true] {
        let worker = Rc::clone(&worker);
        spawn_local(async move {
            let writer = if payload {
                &worker.payload_channel
            } else {
                &worker.channel
            };
            writer.run().await;
        });
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = worker.shutdown.notified() => {}
    }
    drop(ignored);
    worker.close().await;
    Ok(())
}

impl Worker {
    /// Microseconds since the start; never 0, which would look like "not yet" in the first instant.
    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64 + 1
    }

    /// Lets the engine work, then sends what it put out.
    fn step<T>(self: &Rc<Self>, work: impl FnOnce(&mut Engine, u64, &mut SocketPorts, &mut Outbox) -> T) -> T {
        let now = self.now();
        let (result, opened) = {
            let mut engine = self.engine.borrow_mut();
            let (mut ports, mut outbox) = (self.ports.borrow_mut(), self.outbox.borrow_mut());
            let before = engine.next_timeout();
            let result = work(&mut engine, now, &mut ports, &mut outbox);
            outbox.flush(&mut *ports);
            for message in outbox.channel.drain(..) {
                match message {
                    ChannelMessage::Response(response) => self.channel.push(&json::encode_response(&response)),
                    ChannelMessage::Notification(event) => self.channel.push(&json::encode_notification(&event)),
                }
            }
            for (header, payload) in outbox.payloads.drain(..) {
                self.payload_channel.push(&json::encode_payload_notification(&header));
                self.payload_channel.push(&payload);
            }
            if engine.next_timeout() != before {
                self.timer_changed.notify_one();
            }
            (result, ports.take_opened())
        };
        for Opened { id, socket, closed } in opened {
            let worker = Rc::clone(self);
            match socket {
                Readable::Udp(endpoint) => spawn_local(read_udp(worker, id, endpoint, closed)),
                Readable::Listener(listener) => spawn_local(accept(worker, id, listener, closed)),
                Readable::Connection(connection) => spawn_local(carry(worker, id, connection, closed)),
            };
        }
        self.flush();
        result
    }

    fn flush(&self) {
        for line in self.log.take() {
            self.channel.push(&line);
        }
        self.channel.flush();
        self.payload_channel.flush();
    }

    fn respond(&self, id: u32, result: Result<Reply, Failure>) {
        self.channel.push(&json::encode_response(&Response { id, result }));
        self.flush();
    }

    fn on_request(self: &Rc<Self>, request: Request) {
        match request.command {
            Command::WorkerClose => self.shutdown.notify_one(),
            Command::WorkerGetResourceUsage => self.respond(request.id, resource_usage()),
            Command::WorkerUpdateSettings(Ok(settings)) => {
                if let Some(level) = settings.log_level {
                    self.log.set_level(level);
                }
                if let Some(tags) = settings.log_tags {
                    self.log.set_tags(&tags);
                }
                self.respond(request.id, Ok(Reply::None));
            }
            Command::WorkerUpdateSettings(Err(error)) => self.respond(request.id, Err(error.into())),
            _ => self.step(|engine, now, ports, outbox| engine.handle_request(now, request, ports, outbox)),
        }
    }

    fn on_payload(self: &Rc<Self>, command: &PayloadCommand, payload: &[u8]) {
        let result =
            self.step(|engine, now, ports, outbox| engine.handle_payload(now, command, payload, ports, outbox));
        if let PayloadCommand::DataConsumerSend(id, ..) = command {
            let result = result.map_err(|failure| Failure {
                // Clients compare this one.
                reason: if failure.reason == SEND_BUFFER_FULL {
                    failure.reason
                } else {
                    format!("{} [method:dataConsumer.send]", failure.reason)
                },
                ..failure
            });
            self.payload_channel
                .push(&json::encode_response(&Response { id: *id, result }));
        } else if let Err(failure) = result {
            tracing::error!(target: "message", "{failure}");
        }
        self.flush();
    }

    async fn close(&self) {
        let now = self.now();
        {
            let (mut ports, mut outbox) = (self.ports.borrow_mut(), self.outbox.borrow_mut());
            self.engine.borrow_mut().close(now, &mut *ports, &mut outbox);
            outbox.flush(&mut *ports);
        }
        let end = Instant::now() + LAST_FLUSH;
        self.flush();
        while self.channel.queued_bytes() + self.payload_channel.queued_bytes() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.flush();
        }
        tokio::time::sleep(GRACE).await;
    }
}

async fn read_requests(worker: Rc<Worker>, mut frames: FrameReader) {
    while let Some(frame) = frames.next().await {
        let frame = match frame {
            FrameItem::Frame(frame) => frame,
            FrameItem::Oversized(length) => {
                complain(format_args!("channel: skipped a frame of {length} bytes"));
                continue;
            }
        };
        match json::decode_request(&frame) {
            Ok(request) => {
                let closing = matches!(request.command, Command::WorkerClose);
                worker.on_request(request);
                if closing {
                    return;
                }
            }
            Err(RequestError::UnknownMethod { id, .. }) => worker.respond(id, Err(Failure::error("unknown method"))),
            Err(error) => complain(format_args!("channel: {error}")),
        }
    }
    complain(format_args!("channel remotely closed"));
    worker.shutdown.notify_one();
}

async fn read_payloads(worker: Rc<Worker>, mut frames: FrameReader) {
    while let Some(frame) = frames.next().await {
        let FrameItem::Frame(header) = frame else {
            tracing::error!(target: "message", "skipped an oversized frame");
            continue;
        };
        let header = match json::decode_payload_header(&header) {
            // No header, so nothing tells that a payload follows.
            Err(PayloadHeaderError::NotJson(error)) => {
                tracing::error!(target: "message", "header is not JSON: {error}");
                worker.flush();
                continue;
            }
            Err(PayloadHeaderError::UnknownMethod { id, method }) => {
                tracing::error!(target: "message", "unknown method '{method}'");
                let response = Response {
                    id,
                    result: Err(Failure::error("unknown method")),
                };
                worker.payload_channel.push(&json::encode_response(&response));
                worker.flush();
                None
            }
            Err(error) => {
                tracing::error!(target: "message", "{error}");
                worker.flush();
                None
            }
            Ok(header) => Some(header),
        };
        // The frame behind a header is its payload, whatever it holds.
        match (frames.next().await, header) {
            (Some(FrameItem::Frame(payload)), Some(header)) => worker.on_payload(&header, &payload),
            (Some(_), _) => {}
            (None, _) => break,
        }
    }
    complain(format_args!("payloadChannel remotely closed"));
    worker.shutdown.notify_one();
}

async fn keep_time(worker: Rc<Worker>) {
    loop {
        let next = worker.engine.borrow().next_timeout();
        match next {
            None => worker.timer_changed.notified().await,
            Some(at) => {
                let at = worker.started + Duration::from_micros(at);
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {
                        worker.step(|engine, now, ports, outbox| engine.handle_timeout(now, ports, outbox));
                    }
                    () = worker.timer_changed.notified() => {}
                }
            }
        }
    }
}

/// Reads a UDP socket until it is closed. Between polls it does not hold the socket, so that closing frees the port.
async fn read_udp(worker: Rc<Worker>, id: SocketId, endpoint: Weak<Endpoint>, closed: Rc<Notify>) {
    loop {
        let readable = std::future::poll_fn(|context| match endpoint.upgrade() {
            Some(endpoint) => endpoint.socket.poll_recv_ready(context),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        });
        tokio::select! {
            ready = readable => if ready.is_err() { return },
            () = closed.notified() => return,
        }
        let mut buffers = worker.buffers.borrow_mut();
        let Some(messages) = endpoint.upgrade().map(|endpoint| endpoint.receive(&mut buffers)) else {
            return;
        };
        let Ok(messages) = messages else { continue };
        let mut datagrams = buffers.datagrams(messages);
        loop {
            let mut batch: SmallVec<[Datagram<'_>; BATCH]> = datagrams
                .by_ref()
                .take(BATCH)
                .map(|(source, bytes)| Datagram { source, bytes })
                .collect();
            if batch.is_empty() {
                break;
            }
            worker.step(|engine, now, ports, outbox| engine.handle_datagrams(now, id, &mut batch, ports, outbox));
        }
    }
}

/// Accepts connections until the listener is closed.
async fn accept(worker: Rc<Worker>, id: SocketId, listener: Weak<TcpListener>, closed: Rc<Notify>) {
    loop {
        let accepted = std::future::poll_fn(|context| match listener.upgrade() {
            Some(listener) => listener.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        });
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = closed.notified() => return,
        };
        match accepted {
            None => return,
            Some(Ok((stream, remote))) => worker.step(|engine, _, ports, _| {
                let connection = ports.add_connection(stream);
                engine.handle_connection(id, connection, remote, ports);
            }),
            // No descriptor is free, most likely: others may close soon.
            Some(Err(error)) => {
                tracing::warn!(target: "ice", "cannot accept a TCP connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Carries a connection until it is closed by either side.
async fn carry(worker: Rc<Worker>, id: SocketId, connection: Weak<Connection>, closed: Rc<Notify>) {
    let proof_timeout = tokio::time::sleep(PROOF_TIMEOUT);
    tokio::pin!(proof_timeout);
    let mut waiting = true;
    loop {
        let ready = std::future::poll_fn(|context| match connection.upgrade() {
            Some(connection) => connection.poll_ready(context),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        });
        let received = tokio::select! {
            ready = ready => ready.and_then(|()| match connection.upgrade() {
                Some(connection) => connection.transfer(),
                None => Err(io::ErrorKind::NotConnected.into()),
            }),
            () = closed.notified() => return,
            () = &mut proof_timeout, if waiting => {
                waiting = false;
                if !worker.engine.borrow().is_unproven(id) {
                    continue;
                }
                tracing::debug!(target: "ice", "closed a TCP connection on which no peer has proved to be one");
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        match received {
            Ok(Received { source, mut frames }) => {
                let mut packets = frames.packets();
                while let Some(bytes) = packets.next() {
                    let mut batch = [Datagram { source, bytes }];
                    worker
                        .step(|engine, now, ports, outbox| engine.handle_datagrams(now, id, &mut batch, ports, outbox));
                }
                if let Some(connection) = connection.upgrade() {
                    connection.keep(frames);
                }
            }
            Err(_) => {
                worker.step(|engine, now, ports, outbox| {
                    ports.close(id);
                    engine.handle_disconnection(now, id, ports, outbox);
                });
                return;
            }
        }
    }
}

fn resource_usage() -> Result<Reply, Failure> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| Failure::error(error.to_string()))?;
    let milliseconds = |time: nix::sys::time::TimeVal| time.tv_sec() * 1000 + time.tv_usec() / 1000;
    Ok(Reply::ResourceUsage(ResourceUsage {
        ru_utime: milliseconds(usage.user_time()),
        ru_stime: milliseconds(usage.system_time()),
        ru_maxrss: usage.max_rss(),
        ru_ixrss: usage.shared_integral(),
        ru_idrss: usage.unshared_data_integral(),
        ru_isrss: usage.unshared_stack_integral(),
        ru_minflt: usage.minor_page_faults(),
        ru_majflt: usage.major_page_faults(),
        ru_nswap: usage.full_swaps(),
        ru_inblock: usage.block_reads(),
        ru_oublock: usage.block_writes(),
        ru_msgsnd: usage.ipc_sends(),
        ru_msgrcv: usage.ipc_receives(),
        ru_nsignals: usage.signals(),
        ru_nvcsw: usage.voluntary_context_switches(),
        ru_nivcsw: usage.involuntary_context_switches(),
    }))
}
