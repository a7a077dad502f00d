//! An engine with sockets that only count.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use channel_proto::dialect::json::{self, decode_request, encode_notification, encode_response};
use serde_json::{Value, json};
use worker::dtls::Certificate;
use worker::engine::outbox::{ChannelMessage, Outbox, Run};
use worker::engine::ports::{BindError, Ports, SocketId};
use worker::engine::{Config, Datagram, Engine};
use worker::rtp::packet::{RtpHeader, is_rtcp};

/// Port of those who get media.
pub const SINK: u16 = 40_000;
/// The port behind the last one of those.
const SINK_END: u16 = SINK + 2;
/// Most sockets of the engine.
const MAX_SOCKETS: usize = 200;
/// Most timers that are let run for one wait, so that no input runs for long.
const MAX_TIMERS: usize = 2_000;

#[derive(Default)]
struct Network {
    next: u32,
    open: HashMap<SocketId, bool>,
    sent: u64,
}

impl Network {
    fn open(&mut self, ip: IpAddr, port: u16, listener: bool) -> Result<(SocketId, SocketAddr), BindError> {
        if self.open.len() >= MAX_SOCKETS {
            return Err(BindError("no more available ports".to_owned()));
        }
        self.next += 1;
        let id = SocketId(self.next);
        self.open.insert(id, listener);
        let port = if port == 0 { 20_000 + self.next as u16 } else { port };
        Ok((id, SocketAddr::new(ip, port)))
    }
}

impl Ports for Network {
    fn open_udp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port, false)
    }

    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open(ip, port, true)
    }

    fn close(&mut self, socket: SocketId) {
        self.open.remove(&socket);
    }

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs {
            assert!(self.open.contains_key(&run.socket), "sent from a socket that is closed");
            let bytes = &arena[run.start..run.start + run.length];
            assert!(!bytes.is_empty() && run.segment > 0);
            if matches!(run.destination.port(), SINK..SINK_END) {
                bytes.chunks(run.segment).for_each(assert_sound);
            }
            self.sent += bytes.len() as u64;
        }
    }
}

/// What receivers in the clear get is RTP or RTCP, whatever the sender has sent.
fn assert_sound(datagram: &[u8]) {
    if is_rtcp(datagram) {
        let (mut rest, mut packets) = (datagram, 0);
        while let Some(&[_, _, high, low]) = rest.first_chunk::<4>() {
            let length = 4 * (1 + usize::from(u16::from_be_bytes([high, low])));
            rest = rest.get(length..).expect("a whole packet");
            packets += 1;
        }
        assert!(rest.is_empty() && packets > 0);
    } else if let Err(error) = RtpHeader::parse(datagram) {
        panic!("{error}: {datagram:02x?}");
    }
}

thread_local! {
    static CERTIFICATE: Rc<Certificate> = Rc::new(Certificate::generate().expect("a certificate"));
}

/// An engine, its sockets, and virtual time.
pub struct World {
    engine: Engine,
    network: Network,
    outbox: Outbox,
    connections: HashMap<u16, SocketId>,
    next_id: u32,
    now: u64,
}

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl World {
    /// Nothing in it.
    pub fn new() -> Self {
        Self {
            engine: Engine::new(Config {
                pid: 1,
                seed: [5; 32],
                unix_offset: 1_700_000_000_000_000,
                certificate: CERTIFICATE.with(Rc::clone),
                pacing: worker::bwe::pacer::Pacing::default(),
            }),
            network: Network::default(),
            outbox: Outbox::new(),
            connections: HashMap::new(),
            next_id: 0,
            now: 1_000_000,
        }
    }

    /// A frame of the parent; returns the answer, if it is a request.
    pub fn frame(&mut self, frame: &[u8]) -> Option<Value> {
        let request = decode_request(frame).ok()?;
        let id = request.id;
        self.engine
            .handle_request(self.now, request, &mut self.network, &mut self.outbox);
        let answers: Vec<_> = self.collect().into_iter().filter(|answer| answer["id"] == id).collect();
        assert_eq!(answers.len(), 1, "one answer to {}", String::from_utf8_lossy(frame));
        answers.into_iter().next()
    }

    /// A request that must be accepted.
    pub fn accepted(&mut self, method: &str, internal: Value, data: Value) -> Value {
        self.next_id += 1;
        let frame = json!({ "id": self.next_id, "method": method, "internal": internal, "data": data });
        let mut answer = self.frame(frame.to_string().as_bytes()).expect("a request");
        assert_eq!(answer["accepted"], true, "{frame}: {answer}");
        answer["data"].take()
    }

    /// A datagram comes to a socket; the first one is 1.
    pub fn datagram(&mut self, socket: u32, port: u16, bytes: &[u8]) {
        self.datagrams(socket, port, &[bytes]);
    }

    /// Datagrams come in one go.
    pub fn datagrams(&mut self, socket: u32, port: u16, batch: &[&[u8]]) {
        let mut copies: Vec<_> = batch.iter().map(|bytes| bytes.to_vec()).collect();
        let mut datagrams: Vec<_> = copies
            .iter_mut()
            .map(|bytes| Datagram {
                source: source(port),
                bytes,
            })
            .collect();
        let listener = self.network.open.get(&SocketId(socket)) == Some(&true);
        let socket = match self.connections.get(&port) {
            Some(connection) if listener => *connection,
            _ => SocketId(socket),
        };
        self.engine
            .handle_datagrams(self.now, socket, &mut datagrams, &mut self.network, &mut self.outbox);
        self.collect();
    }

    /// A peer connects to a listener.
    pub fn connect(&mut self, listener: u32, port: u16) {
        let listener = SocketId(listener);
        if self.network.open.get(&listener) != Some(&true) {
            return;
        }
        self.disconnect(port);
        self.network.next += 1;
        let connection = SocketId(self.network.next);
        self.network.open.insert(connection, false);
        self.connections.insert(port, connection);
        self.engine
            .handle_connection(listener, connection, source(port), &mut self.network);
    }

    /// The connection of a peer breaks.
    pub fn disconnect(&mut self, port: u16) {
        let Some(connection) = self.connections.remove(&port) else {
            return;
        };
        if self.network.open.remove(&connection).is_some() {
            self.engine
                .handle_disconnection(self.now, connection, &mut self.network, &mut self.outbox);
            self.collect();
        }
    }

    /// Microseconds pass.
    pub fn wait(&mut self, micros: u64) {
        let until = self.now + micros;
        for _ in 0..MAX_TIMERS {
            let Some(at) = self.engine.next_timeout().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.engine
                .handle_timeout(self.now, &mut self.network, &mut self.outbox);
            self.collect();
        }
        self.now = until;
    }

    /// Consumer `c0` wants other layers.
    pub fn prefer_layers(&mut self, spatial: u8, temporal: u8) {
        for consumer in ["c0", "c1"] {
            let internal = json!({ "routerId": "r", "transportId": "out", "consumerId": consumer });
            let layers = json!({ "spatialLayer": spatial, "temporalLayer": temporal });
            self.accepted("consumer.setPreferredLayers", internal, layers);
        }
    }

    /// Transport `t0` gets other credentials.
    pub fn restart_ice(&mut self) {
        let internal = json!({ "routerId": "r", "transportId": "t0" });
        self.accepted("transport.restartIce", internal, Value::Null);
    }

    /// Asks everything for its dump and figures.
    pub fn dump(&mut self) {
        let router = self.accepted("router.dump", json!({ "routerId": "r" }), Value::Null);
        let ids = |list: &Value| -> Vec<String> {
            let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        for transport in ids(&router["transportIds"]) {
            let internal = json!({ "routerId": "r", "transportId": transport });
            let dump = self.accepted("transport.dump", internal.clone(), Value::Null);
            self.accepted("transport.getStats", internal.clone(), Value::Null);
            for (kind, list) in [("producer", "producerIds"), ("consumer", "consumerIds")] {
                for id in ids(&dump[list]) {
                    let mut internal = internal.clone();
                    internal[format!("{kind}Id")] = id.into();
                    self.accepted(&format!("{kind}.dump"), internal.clone(), Value::Null);
                    self.accepted(&format!("{kind}.getStats"), internal, Value::Null);
                }
            }
        }
    }

    /// Closes the engine, which leaves nothing behind; returns how many bytes it has sent.
    pub fn end(mut self) -> u64 {
        self.engine.close(self.now, &mut self.network, &mut self.outbox);
        self.collect();
        assert!(self.network.open.is_empty(), "sockets left: {:?}", self.network.open);
        self.network.sent
    }

    /// Takes what the engine put out, spelled as the parent gets it.
    fn collect(&mut self) -> Vec<Value> {
        self.outbox.flush(&mut self.network);
        for (header, _) in self.outbox.payloads.drain(..) {
            let header = json::encode_payload_notification(&header);
            assert!(serde_json::from_slice::<Value>(&header).is_ok());
        }
        let spelled = self.outbox.channel.drain(..).map(|message| match message {
            ChannelMessage::Response(answer) => encode_response(&answer),
            ChannelMessage::Notification(notification) => encode_notification(&notification),
        });
        spelled
            .map(|bytes| serde_json::from_slice(&bytes).expect("JSON"))
            .collect()
    }
}
