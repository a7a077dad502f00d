//! An engine in virtual time, with sockets that keep what is sent.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use channel_proto::dialect::json::{decode_payload_header, decode_request};
use channel_proto::event::{Event, Notification, PayloadNotification};
use channel_proto::reply::{Failure, Reply};
use serde_json::Value;
use worker::engine::outbox::{ChannelMessage, Outbox, Run};
use worker::engine::ports::{BindError, Ports, SocketId};
use worker::engine::{Config, Datagram, Engine};

/// An address and port on the loopback interface.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Sockets that keep what is sent.
#[derive(Default)]
struct Network {
    sockets: u16,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

impl Ports for Network {
    fn open_udp(&mut self, ip: IpAddr, _: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.sockets += 1;
        Ok((
            SocketId(self.sockets.into()),
            SocketAddr::new(ip, 20_000 + self.sockets),
        ))
    }

    fn open_tcp(&mut self, _: IpAddr, _: u16) -> Result<(SocketId, SocketAddr), BindError> {
        panic!("nobody asks for TCP here")
    }

    fn close(&mut self, _: SocketId) {}

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            let datagrams = arena[run.start..run.start + run.length].chunks(run.segment);
            self.sent
                .extend(datagrams.map(|datagram| (run.destination, datagram.to_vec())));
        }
    }
}

/// An engine and its surroundings.
pub struct Room {
    engine: Engine,
    network: Network,
    /// Microseconds.
    pub now: u64,
    /// What the parent was told about entities.
    pub told: Vec<(String, Event)>,
    /// What the parent was handed.
    pub payloads: Vec<(PayloadNotification, Bytes)>,
}

impl Room {
    /// An engine that has just started.
    pub fn new() -> Self {
        Self {
            engine: Engine::new(Config {
                pid: 1,
                seed: [7; 32],
                unix_offset: 0,
                certificate: std::rc::Rc::new(worker::dtls::Certificate::generate().expect("a certificate")),
                pacing: worker::bwe::pacer::Pacing::default(),
            }),
            network: Network::default(),
            now: 1_000_000,
            told: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// The answer to a request, which must be accepted.
    pub fn request(&mut self, method: &str, internal: Value, data: Value) -> Reply {
        let frame = serde_json::json!({"id": 1, "method": method, "internal": internal, "data": data}).to_string();
        let mut outbox = Outbox::new();
        let request = decode_request(frame.as_bytes()).unwrap();
        self.engine
            .handle_request(self.now, request, &mut self.network, &mut outbox);
        let answer = outbox.channel.iter().find_map(|message| match message {
            ChannelMessage::Response(response) => Some(response.result.clone()),
            ChannelMessage::Notification(_) => None,
        });
        self.deliver(outbox);
        answer
            .unwrap()
            .unwrap_or_else(|failure| panic!("{method}: {failure:?}"))
    }

    /// A message of the PayloadChannel: its header and payload.
    pub fn payload(&mut self, header: &Value, payload: &[u8]) -> Result<Reply, Failure> {
        let command = decode_payload_header(header.to_string().as_bytes()).unwrap();
        let mut outbox = Outbox::new();
        let result = self
            .engine
            .handle_payload(self.now, &command, payload, &mut self.network, &mut outbox);
        self.deliver(outbox);
        result
    }

    fn deliver(&mut self, mut outbox: Outbox) {
        outbox.flush(&mut self.network);
        self.payloads.append(&mut outbox.payloads);
        for message in outbox.channel {
            if let ChannelMessage::Notification(Notification::Entity { target_id, event }) = message {
                self.told.push((target_id, event));
            }
        }
    }

    /// A datagram arrives at a socket; the first one opened is 1.
    pub fn datagram(&mut self, socket: u32, source: u16, bytes: Vec<u8>) {
        self.datagrams(socket, source, vec![bytes]);
    }

    /// Datagrams arrive in one go, as the kernel gives them.
    pub fn datagrams(&mut self, socket: u32, source: u16, mut burst: Vec<Vec<u8>>) {
        let mut outbox = Outbox::new();
        let source = loopback(source);
        let mut datagrams: Vec<_> = burst.iter_mut().map(|bytes| Datagram { source, bytes }).collect();
        let socket = SocketId(socket);
        self.engine
            .handle_datagrams(self.now, socket, &mut datagrams, &mut self.network, &mut outbox);
        self.deliver(outbox);
    }

    /// Time passes.
    pub fn wait(&mut self, micros: u64) {
        let until = self.now + micros;
        while let Some(at) = self.engine.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut outbox = Outbox::new();
            self.engine.handle_timeout(self.now, &mut self.network, &mut outbox);
            self.deliver(outbox);
        }
        self.now = until;
    }

    /// Takes what was sent to a port since it was last taken. The rest stays.
    pub fn sent_to(&mut self, port: u16) -> Vec<Vec<u8>> {
        let address = loopback(port);
        let (taken, left) = std::mem::take(&mut self.network.sent)
            .into_iter()
            .partition::<Vec<_>, _>(|(to, _)| *to == address);
        self.network.sent = left;
        taken.into_iter().map(|(_, bytes)| bytes).collect()
    }
}
