//! An engine with sockets that are lists, and peers that check.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use aws_lc_rs::hmac;
use channel_proto::dialect::json::{decode_request, encode_notification, encode_response};
use serde_json::{Value, json};
use worker::dtls::Certificate;
use worker::engine::outbox::{ChannelMessage, Outbox, Run};
use worker::engine::ports::{BindError, Ports, SocketId};
use worker::engine::{Config, Datagram, Engine};

/// A packet that the engine sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub socket: SocketId,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// Sockets that are lists.
#[derive(Debug, Default)]
pub struct Network {
    next: u32,
    pub open: BTreeMap<SocketId, SocketAddr>,
    pub sent: Vec<Sent>,
    /// Packets of each call that sent several of one size to one peer.
    pub runs: Vec<usize>,
    /// Only counts what is sent: keeping it would allocate.
    pub counting: bool,
    /// Packets counted so.
    pub counted: usize,
    /// Fails the opening of this port.
    pub taken: Option<u16>,
}

impl Network {
    fn open(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        if self.taken == Some(port) {
            return Err(BindError("taken".to_owned()));
        }
        self.next += 1;
        let port = if port == 0 { 20_000 + self.next as u16 } else { port };
        let (id, address) = (SocketId(self.next), SocketAddr::new(ip, port));
        self.open.insert(id, address);
        Ok((id, address))
    }
}

impl Ports for Network {
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port)
    }

    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port)
    }

    fn close(&mut self, socket: SocketId) {
        assert!(self.open.remove(&socket).is_some(), "{socket:?} closed twice");
    }

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            assert!(self.open.contains_key(&run.socket), "{:?} is closed", run.socket);
            if self.counting {
                self.counted += run.length.div_ceil(run.segment);
                continue;
            }
            self.runs.push(run.length.div_ceil(run.segment));
            for packet in arena[run.start..run.start + run.length].chunks(run.segment) {
                self.sent.push(Sent {
                    socket: run.socket,
                    to: run.destination,
                    bytes: packet.to_vec(),
                });
            }
        }
    }
}

/// An engine in its world.
pub struct World {
    pub engine: Engine,
    pub network: Network,
    outbox: Outbox,
    /// Microseconds.
    pub now: u64,
    /// What was told, oldest first: target, event, data.
    pub told: Vec<(String, String, Value)>,
}

impl World {
    /// With a router `r`.
    pub fn new() -> Self {
        let certificate = Rc::new(Certificate::generate().unwrap());
        let mut world = Self {
            engine: Engine::new(Config {
                pid: 1,
                seed: [7; 32],
                unix_offset: 0,
                certificate,
                pacing: worker::bwe::pacer::Pacing::default(),
            }),
            network: Network::default(),
            outbox: Outbox::new(),
            now: 1_000_000,
            told: Vec::new(),
        };
        world.request("worker.createRouter", json!({"routerId": "r"}), json!({}));
        world
    }

    /// Sends a request that must be accepted; returns its data.
    #[track_caller]
    pub fn request(&mut self, method: &str, internal: Value, data: Value) -> Value {
        let response = self.try_request(method, internal, data);
        assert_eq!(response["accepted"], true, "{method}: {response}");
        response["data"].clone()
    }

    /// Sends a request; returns the response.
    pub fn try_request(&mut self, method: &str, internal: Value, data: Value) -> Value {
        let frame = json!({"id": 1, "method": method, "internal": internal, "data": data}).to_string();
        let request = decode_request(frame.as_bytes()).unwrap();
        self.engine
            .handle_request(self.now, request, &mut self.network, &mut self.outbox);
        self.collect().expect("a response")
    }

    /// A transport `id` of router `r` with sockets of its own.
    pub fn transport(&mut self, id: &str, options: Value) -> Transport {
        let mut data = json!({"listenIps": [{"ip": "127.0.0.1"}]});
        data.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        let dump = self.request("router.createWebRtcTransport", internal(id), data);
        Transport::of(&dump)
    }

    /// A transport `id` of router `r` on the sockets of server `s`.
    pub fn transport_on_server(&mut self, id: &str, options: Value) -> Transport {
        let mut internal = internal(id);
        internal["webRtcServerId"] = "s".into();
        Transport::of(&self.request("router.createWebRtcTransportWithServer", internal, options))
    }

    /// A packet arrives; returns what was sent upon it.
    pub fn receive(&mut self, socket: SocketId, source: SocketAddr, packet: &[u8]) -> Vec<Sent> {
        self.receive_all(socket, source, &[packet.to_vec()])
    }

    /// A packet arrives; what is sent upon it stays with what was sent.
    pub fn receive_kept(&mut self, socket: SocketId, source: SocketAddr, packet: &[u8]) {
        let answers = self.receive(socket, source, packet);
        self.network.sent.extend(answers);
    }

    /// Packets arrive in one go; returns what was sent upon them.
    pub fn receive_all(&mut self, socket: SocketId, source: SocketAddr, packets: &[Vec<u8>]) -> Vec<Sent> {
        let before = self.network.sent.len();
        let mut packets = packets.to_vec();
        let mut datagrams: Vec<_> = packets.iter_mut().map(|bytes| Datagram { source, bytes }).collect();
        self.handle(socket, &mut datagrams);
        self.collect();
        self.network.sent.split_off(before)
    }

    /// Lets the engine have datagrams, which it changes, and sends what it puts out.
    pub fn handle(&mut self, socket: SocketId, datagrams: &mut [Datagram<'_>]) {
        self.engine
            .handle_datagrams(self.now, socket, datagrams, &mut self.network, &mut self.outbox);
        self.outbox.flush(&mut self.network);
    }

    /// What was sent to this address since the last call; the rest of what was sent is forgotten.
    pub fn sent_to(&mut self, address: SocketAddr) -> Vec<Vec<u8>> {
        let sent = std::mem::take(&mut self.network.sent).into_iter();
        sent.filter(|sent| sent.to == address).map(|sent| sent.bytes).collect()
    }

    /// A peer opens a connection.
    pub fn connect(&mut self, listener: SocketId, source: SocketAddr) -> SocketId {
        self.network.next += 1;
        let connection = SocketId(self.network.next);
        let local = self.network.open[&listener];
        self.network.open.insert(connection, local);
        self.engine
            .handle_connection(listener, connection, source, &mut self.network);
        connection
    }

    /// A peer closes a connection.
    pub fn disconnect(&mut self, connection: SocketId) {
        self.network.open.remove(&connection);
        self.engine
            .handle_disconnection(self.now, connection, &mut self.network, &mut self.outbox);
        self.collect();
    }

    /// Lets so many microseconds pass, with all that is planned in them.
    pub fn wait(&mut self, micros: u64) {
        let end = self.now + micros;
        while let Some(at) = self.engine.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine
                .handle_timeout(self.now, &mut self.network, &mut self.outbox);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) -> Option<Value> {
        self.outbox.flush(&mut self.network);
        let mut response = None;
        for message in self.outbox.channel.drain(..) {
            match message {
                ChannelMessage::Response(answer) => {
                    response = Some(serde_json::from_slice(&encode_response(&answer)).unwrap());
                }
                ChannelMessage::Notification(event) => {
                    let event: Value = serde_json::from_slice(&encode_notification(&event)).unwrap();
                    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                    self.told.push((text("targetId"), text("event"), event["data"].clone()));
                }
            }
        }
        response
    }

    /// What was told about a transport since the last call, in short.
    pub fn events_of(&mut self, target: &str) -> Vec<String> {
        let (of_target, rest) = std::mem::take(&mut self.told)
            .into_iter()
            .partition(|(other, ..)| other == target);
        self.told = rest;
        of_target
            .into_iter()
            .map(|(_, event, data)| match event.as_str() {
                "icestatechange" => format!("ice {}", data["iceState"].as_str().unwrap()),
                "dtlsstatechange" => format!("dtls {}", data["dtlsState"].as_str().unwrap()),
                "iceselectedtuplechange" => format!("selected {}", data["iceSelectedTuple"]["remotePort"]),
                other => other.to_owned(),
            })
            .collect()
    }

    /// A dump of transport `id`.
    pub fn dump(&mut self, id: &str) -> Value {
        self.request("transport.dump", internal(id), json!({}))
    }
}

/// Addresses transport `id` of router `r`.
pub fn internal(id: &str) -> Value {
    json!({"routerId": "r", "transportId": id})
}

/// What a peer is told about a transport.
#[derive(Debug, Clone)]
pub struct Transport {
    pub fragment: String,
    pub password: String,
}

impl Transport {
    pub fn of(dump: &Value) -> Self {
        let text = |key: &str| dump["iceParameters"][key].as_str().unwrap().to_owned();
        Self {
            fragment: text("usernameFragment"),
            password: text("password"),
        }
    }

    /// A check that does not choose.
    pub fn check(&self) -> Vec<u8> {
        self.check_with(&[], &self.password)
    }

    /// A check that chooses.
    pub fn nominate(&self) -> Vec<u8> {
        self.check_with(&[(0x0025, Vec::new())], &self.password)
    }

    /// A check with further attributes, signed with a password.
    pub fn check_with(&self, attributes: &[(u16, Vec<u8>)], password: &str) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend_from_slice(b"transaction!");
        append(&mut message, 0x0006, format!("{}:them", self.fragment).as_bytes());
        append(&mut message, 0x0024, &[0x6e, 0, 1, 0xff]);
        append(&mut message, 0x802a, &[7; 8]);
        for (kind, value) in attributes {
            append(&mut message, *kind, value);
        }
        set_length(&mut message, 24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &message);
        append(&mut message, 0x0008, tag.as_ref());
        set_length(&mut message, 8);
        let crc = crc32fast::hash(&message) ^ 0x5354_554e;
        append(&mut message, 0x8028, &crc.to_be_bytes());
        message
    }
}

fn append(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
    set_length(message, 0);
}

fn set_length(message: &mut [u8], ahead: usize) {
    let length = (message.len() - 20 + ahead) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// An address of some peer.
pub fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// Whether a packet is a good answer to a check.
pub fn is_success(packet: &[u8]) -> bool {
    packet.starts_with(&[1, 1])
}
