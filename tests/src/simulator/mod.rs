//! The engine in virtual time: no sockets, no clock, thousands of peers, and every failure comes back with its seed.

pub mod bottleneck;
pub mod data;
pub mod media;
pub mod network;
pub mod peer;
pub mod video;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use channel_proto::dialect::json::{decode_payload_header, decode_request, encode_notification, encode_response};
use channel_proto::event::PayloadEvent;
use serde_json::{Value, json};
use worker::bwe::pacer::Pacing;
use worker::dtls::Certificate;
use worker::engine::outbox::{ChannelMessage, Outbox};
use worker::engine::{Config, Datagram, Engine};

use data::DataPeer;
use media::{RECEIVED_TYPE, Receiver, SENT_TYPE, STREAM, Sender};
use network::{Arrival, Network, Protocol};
use peer::Peer;
use video::{Source, Viewer};

/// An engine, a network and peers.
#[derive(Debug)]
pub struct Simulation {
    /// What is tested.
    pub engine: Engine,
    /// What is between it and the peers.
    pub network: Network,
    /// The peers.
    pub peers: Vec<Peer>,
    /// Senders of video over plain transports.
    pub senders: Vec<Sender>,
    /// Receivers of video over plain transports.
    pub receivers: Vec<Receiver>,
    /// Peers of SCTP over plain transports.
    pub data_peers: Vec<DataPeer>,
    /// Messages that the parent was handed: data consumer and bytes.
    pub handed: Vec<(String, Bytes)>,
    /// How senders and receivers of video are that are added from now on.
    pub options: VideoOptions,
    /// Sources of video of known bitrates.
    pub sources: Vec<Source>,
    /// Viewers who report what arrives.
    pub viewers: Vec<Viewer>,
    /// Notifications: when, target, event, data.
    pub told: Vec<(u64, String, String, Value)>,
    receiver_at: HashMap<SocketAddr, usize>,
    outbox: Outbox,
    epoch: Instant,
    next_id: u32,
}

/// How senders and receivers of video are.
#[derive(Debug, Clone, Copy)]
pub struct VideoOptions {
    /// Whether packets are sent again in streams of their own.
    pub rtx: bool,
    /// Whether streams of senders are named by RIDs, `r0` and so on, instead of SSRCs.
    pub rids: bool,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self { rtx: true, rids: false }
    }
}

/// RIDs of streams.
const RIDS: [&str; 3] = ["r0", "r1", "r2"];

impl Simulation {
    /// With a router `r`.
    pub fn new(seed: u64) -> Self {
        let mut engine_seed = [0; 32];
        engine_seed[..8].copy_from_slice(&seed.to_le_bytes());
        let mut simulation = Self {
            engine: Engine::new(Config {
                pid: 1,
                seed: engine_seed,
                unix_offset: 1_700_000_000_000_000,
                certificate: Rc::new(Certificate::generate().expect("a certificate")),
                pacing: Pacing::default(),
            }),
            network: Network::new(seed),
            peers: Vec::new(),
            senders: Vec::new(),
            receivers: Vec::new(),
            data_peers: Vec::new(),
            handed: Vec::new(),
            options: VideoOptions::default(),
            sources: Vec::new(),
            viewers: Vec::new(),
            told: Vec::new(),
            receiver_at: HashMap::new(),
            outbox: Outbox::new(),
            epoch: Instant::now(),
            next_id: 0,
        };
        simulation.network.now = 1_000_000;
        simulation.request("worker.createRouter", json!({ "routerId": "r" }), json!({}));
        simulation
    }

    /// Virtual time in microseconds.
    pub fn now(&self) -> u64 {
        self.network.now
    }

    /// Sends a request that must be accepted; returns its data.
    #[track_caller]
    pub fn request(&mut self, method: &str, internal: Value, data: Value) -> Value {
        self.next_id += 1;
        let frame = json!({ "id": self.next_id, "method": method, "internal": internal, "data": data }).to_string();
        let request = decode_request(frame.as_bytes()).expect("a request");
        let now = self.network.now;
        self.engine
            .handle_request(now, request, &mut self.network, &mut self.outbox);
        let response = self.collect().expect("a response");
        assert_eq!(response["accepted"], true, "{method}: {response}");
        response["data"].clone()
    }

    /// A peer with a WebRTC transport of the id `t<index>`; on server `s` if `on_server`. Returns its index.
    pub fn add_peer(&mut self, protocol: Protocol, active: bool, on_server: bool) -> usize {
        let index = self.peers.len();
        let mut internal = json!({ "routerId": "r", "transportId": format!("t{index}") });
        let dump = if on_server {
            internal["webRtcServerId"] = "s".into();
            self.request(
                "router.createWebRtcTransportWithServer",
                internal,
                json!({ "enableTcp": true }),
            )
        } else {
            let data = json!({ "listenIps": [{ "ip": "10.0.0.1" }], "enableTcp": true });
            self.request("router.createWebRtcTransport", internal, data)
        };
        self.add_peer_of(&dump, protocol, active);
        let parameters = self.peers[index].dtls_parameters();
        let internal = json!({ "routerId": "r", "transportId": format!("t{index}") });
        self.request("transport.connect", internal, json!({ "dtlsParameters": parameters }));
        index
    }

    /// A peer that knows the transport of this dump; the transport does not know it yet.
    pub fn add_peer_of(&mut self, dump: &Value, protocol: Protocol, active: bool) {
        let index = self.peers.len();
        let address = SocketAddr::from(([10, 1, (index / 200) as u8, (index % 200) as u8 + 1], 5000));
        let mut peer = Peer::new(address, protocol, active, self.epoch, self.now());
        peer.connect(dump);
        peer.handle_timeout(self.now());
        self.peers.push(peer);
    }

    /// Opens server `s` with a UDP socket and a TCP listener.
    pub fn add_server(&mut self) {
        let listen = |protocol: &str| json!({ "protocol": protocol, "ip": "10.0.0.1", "port": 4444 });
        self.request(
            "worker.createWebRtcServer",
            json!({ "webRtcServerId": "s" }),
            json!({ "listenInfos": [listen("udp"), listen("tcp")] }),
        );
    }

    /// The peer sends Opus under this SSRC; the producer has the id `p<index>`.
    pub fn produce(&mut self, peer: usize, ssrc: u32) {
        let parameters = json!({
            "mid": format!("m{ssrc}"),
            "codecs": [{ "mimeType": "audio/opus", "payloadType": peer::OPUS, "clockRate": 48_000, "channels": 2 }],
            "encodings": [{ "ssrc": ssrc }],
        });
        let mapping = json!({
            "codecs": [{ "payloadType": peer::OPUS, "mappedPayloadType": 100 }],
            "encodings": [{ "ssrc": ssrc, "mappedSsrc": ssrc + 1 }],
        });
        let internal = json!({
            "routerId": "r", "transportId": format!("t{peer}"), "producerId": format!("p{peer}"),
        });
        let data = json!({ "kind": "audio", "rtpParameters": parameters, "rtpMapping": mapping });
        self.request("transport.produce", internal, data);
        self.peers[peer].declare_sending(ssrc);
    }

    /// The peer gets what another one sends under `mapped` + 1; the consumer has the id `c<peer>`.
    pub fn consume(&mut self, peer: usize, producer: usize, produced: u32, ssrc: u32) {
        let parameters = json!({
            "codecs": [{ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48_000, "channels": 2 }],
            "encodings": [{ "ssrc": ssrc }],
        });
        let internal = json!({
            "routerId": "r", "transportId": format!("t{peer}"), "consumerId": format!("c{peer}"),
            "producerId": format!("p{producer}"),
        });
        let data = json!({
            "kind": "audio", "type": "simple", "rtpParameters": parameters,
            "consumableRtpEncodings": [{ "ssrc": produced + 1 }],
        });
        self.request("transport.consume", internal, data);
        self.peers[peer].declare_receiving(ssrc);
    }

    /// A plain transport of this id, which learns its peer or is told of one; returns its address.
    pub fn plain_transport(&mut self, id: &str, peer: Option<SocketAddr>) -> SocketAddr {
        let internal = json!({ "routerId": "r", "transportId": id });
        let options = json!({ "listenIp": { "ip": "10.0.0.1" }, "rtcpMux": true, "comedia": peer.is_none() });
        let dump = self.request("router.createPlainTransport", internal.clone(), options);
        if let Some(peer) = peer {
            let data = json!({ "ip": peer.ip().to_string(), "port": peer.port() });
            self.request("transport.connect", internal, data);
        }
        let port = dump["tuple"]["localPort"].as_u64().expect("a port");
        SocketAddr::from(([10, 0, 0, 1], port as u16))
    }

    /// A sender of VP8 with transport `in<index>` and producer `v<index>`; requests for key frames keep `delay` ms
    /// between them. Returns its index.
    pub fn add_sender(&mut self, ssrc: u32, delay: u32) -> usize {
        self.add_simulcast_sender(&[ssrc], delay)
    }

    /// The same with several streams, each a [`Sender`] at the same address. Returns the index of the first one.
    pub fn add_simulcast_sender(&mut self, ssrcs: &[u32], delay: u32) -> usize {
        let index = self.senders.len();
        let address = SocketAddr::from(([10, 2, 0, index as u8 + 1], 5000));
        let to = self.plain_transport(&format!("in{index}"), None);
        self.produce_video(&format!("in{index}"), &format!("v{index}"), ssrcs, delay);
        for (stream, ssrc) in ssrcs.iter().enumerate() {
            let mut sender = Sender::new(address, to, *ssrc, self.now());
            sender.number = STREAM * stream as u32;
            // Streams have nothing in common but the time.
            sender.timestamp = sender.timestamp.wrapping_add(STREAM * 97 * stream as u32);
            sender.sequence = sender.sequence.wrapping_add(20_000 * stream as u16);
            sender.rtx = self.options.rtx;
            sender.rid = self.options.rids.then(|| RIDS[stream]);
            self.senders.push(sender);
        }
        index
    }

    /// A producer of VP8 on a transport, with retransmissions under the next SSRCs.
    pub fn produce_video(&mut self, transport: &str, producer: &str, ssrcs: &[u32], delay: u32) {
        let options = self.options;
        let encoding = |(index, ssrc): (usize, &u32)| match (options.rids, options.rtx) {
            (true, _) => json!({ "rid": RIDS[index] }),
            (false, true) => json!({ "ssrc": ssrc, "rtx": { "ssrc": ssrc + 1 } }),
            (false, false) => json!({ "ssrc": ssrc }),
        };
        let mapped = |(index, ssrc): (usize, &u32)| match options.rids {
            true => json!({ "rid": RIDS[index], "mappedSsrc": mapped(*ssrc) }),
            false => json!({ "ssrc": ssrc, "mappedSsrc": mapped(*ssrc) }),
        };
        let extensions = ["mid", "rtp-stream-id", "repaired-rtp-stream-id"].iter().enumerate();
        let extensions: Vec<_> = extensions
            .map(|(index, name)| json!({ "id": index + 1, "uri": format!("urn:ietf:params:rtp-hdrext:sdes:{name}") }))
            .collect();
        let parameters = json!({
            "mid": "video", "codecs": video_codecs(SENT_TYPE, options.rtx), "headerExtensions": extensions,
            "encodings": ssrcs.iter().enumerate().map(encoding).collect::<Vec<_>>(),
        });
        let types: Vec<_> = (0..=u8::from(options.rtx))
            .map(|add| json!({ "payloadType": SENT_TYPE + add, "mappedPayloadType": RECEIVED_TYPE + add }))
            .collect();
        let encodings: Vec<_> = ssrcs.iter().enumerate().map(mapped).collect();
        let mapping = json!({ "codecs": types, "encodings": encodings });
        let internal = json!({ "routerId": "r", "transportId": transport, "producerId": producer });
        let data = json!({ "kind": "video", "rtpParameters": parameters, "rtpMapping": mapping,
            "keyFrameRequestDelay": delay });
        self.request("transport.produce", internal, data);
    }

    /// A receiver of what producer `v<sender>` sends, with transport `out<index>` and consumer `w<index>`; of several
    /// streams it gets one at a time. Returns its index.
    pub fn add_receiver(&mut self, sender: usize) -> usize {
        let index = self.receivers.len();
        let address = SocketAddr::from(([10, 3, (index / 200) as u8, (index % 200) as u8 + 1], 5000));
        let to = self.plain_transport(&format!("out{index}"), Some(address));
        let ssrc = 1_000_000 + 10 * index as u32;
        let produced: Vec<u32> = self
            .senders
            .iter()
            .filter(|other| other.to == self.senders[sender].to)
            .map(|other| other.ssrc)
            .collect();
        self.consume_video(
            &format!("out{index}"),
            &format!("w{index}"),
            &format!("v{sender}"),
            &produced,
            ssrc,
        );
        self.receiver_at.insert(address, index);
        self.receivers.push(Receiver::new(address, to, ssrc, self.now()));
        index
    }

    /// A consumer of a producer that [`produce_video`](Self::produce_video) made with these SSRCs.
    pub fn consume_video(&mut self, transport: &str, consumer: &str, producer: &str, produced: &[u32], ssrc: u32) {
        let rtx = self.options.rtx;
        let kind = if produced.len() > 1 { "simulcast" } else { "simple" };
        let mut encoding = json!({ "ssrc": ssrc, "scalabilityMode": format!("S{}T1", produced.len()) });
        if rtx {
            encoding["rtx"] = json!({ "ssrc": ssrc + 1 });
        }
        let parameters = json!({ "codecs": video_codecs(RECEIVED_TYPE, rtx), "encodings": [encoding] });
        let internal = json!({
            "routerId": "r", "transportId": transport, "consumerId": consumer, "producerId": producer,
        });
        let consumable: Vec<_> = produced.iter().map(|ssrc| json!({ "ssrc": mapped(*ssrc) })).collect();
        let data = json!({ "kind": "video", "type": kind, "rtpParameters": parameters,
            "consumableRtpEncodings": consumable });
        self.request("transport.consume", internal, data);
    }

    /// A peer of SCTP with transport `d<index>`, which may hold so many bytes for it. Returns its index.
    pub fn add_data_peer(&mut self, send_buffer_size: u32) -> usize {
        let index = self.data_peers.len();
        let address = SocketAddr::from(([10, 4, (index / 200) as u8, (index % 200) as u8 + 1], 5000));
        let internal = json!({ "routerId": "r", "transportId": format!("d{index}") });
        let options = json!({
            "listenIp": { "ip": "10.0.0.1" }, "enableSctp": true, "numSctpStreams": { "OS": 1024, "MIS": 1024 },
            "maxSctpMessageSize": 262_144, "sctpSendBufferSize": send_buffer_size, "isDataChannel": true,
        });
        let dump = self.request("router.createPlainTransport", internal.clone(), options);
        let port = dump["tuple"]["localPort"].as_u64().expect("a port") as u16;
        let data = json!({ "ip": address.ip().to_string(), "port": address.port() });
        self.request("transport.connect", internal, data);
        self.data_peers.push(DataPeer::new(
            address,
            SocketAddr::from(([10, 0, 0, 1], port)),
            index as u64,
            self.now(),
        ));
        index
    }

    /// A message of the parent for an entity; the reason if it is refused.
    ///
    /// # Errors
    /// The worker refuses it.
    pub fn payload(&mut self, method: &str, internal: &Value, payload: &[u8]) -> Result<(), String> {
        let mut header = json!({ "internal": internal, "data": { "ppid": 53 } });
        if method == "dataConsumer.send" {
            (header["id"], header["method"]) = (1.into(), method.into());
        } else {
            header["event"] = method.into();
        }
        let command = decode_payload_header(header.to_string().as_bytes()).expect("a header");
        let now = self.network.now;
        let result = self
            .engine
            .handle_payload(now, &command, payload, &mut self.network, &mut self.outbox);
        self.collect();
        result.map(|_| ()).map_err(|failure| failure.reason)
    }

    /// Lets things go on until the condition holds. False: it did not within `limit` microseconds.
    pub fn run_until(&mut self, limit: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.network.now + limit;
        while !done(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Lets this many microseconds pass.
    pub fn run(&mut self, duration: u64) {
        let end = self.network.now + duration;
        while self.step(end) {}
        self.network.now = end;
    }

    /// Lets the next thing happen, unless it would be after `end`.
    fn step(&mut self, end: u64) -> bool {
        self.send_of_peers();
        let peers = self.peers.iter().filter_map(Peer::deadline);
        let senders = self.senders.iter().filter_map(Sender::deadline);
        let receivers = self.receivers.iter().filter_map(Receiver::deadline);
        let data_peers = self.data_peers.iter().filter_map(DataPeer::deadline);
        let others = [self.engine.next_timeout(), self.network.next_arrival()];
        let sources = self.sources.iter().map(Source::deadline);
        let viewers = self.viewers.iter().filter_map(Viewer::deadline);
        let Some(next) = peers
            .chain(sources)
            .chain(viewers)
            .chain(senders)
            .chain(receivers)
            .chain(data_peers)
            .chain(others.into_iter().flatten())
            .min()
            .filter(|next| *next <= end)
        else {
            return false;
        };
        self.network.now = self.network.now.max(next);
        let now = self.network.now;
        while let Some(arrival) = self.network.arrive() {
            self.deliver(arrival);
        }
        if self.engine.next_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now, &mut self.network, &mut self.outbox);
            self.collect();
        }
        for peer in &mut self.peers {
            if peer.deadline().is_some_and(|at| at <= now) {
                peer.handle_timeout(now);
            }
        }
        self.senders.iter_mut().for_each(|sender| sender.handle_timeout(now));
        for peer in &mut self.data_peers {
            if peer.deadline().is_some_and(|at| at <= now) {
                peer.handle_timeout(now);
            }
        }
        self.sources.iter_mut().for_each(|source| source.handle_timeout(now));
        self.viewers.iter_mut().for_each(|viewer| viewer.handle_timeout(now));
        for receiver in &mut self.receivers {
            if receiver.deadline().is_some_and(|at| at <= now) {
                receiver.handle_timeout(now);
            }
        }
        true
    }

    fn send_of_peers(&mut self) {
        for index in 0..self.peers.len() {
            for packet in self.peers[index].take_output() {
                self.network.send(packet);
            }
        }
        let senders = self.senders.iter_mut().flat_map(Sender::take_output);
        let receivers = self.receivers.iter_mut().flat_map(Receiver::take_output);
        let data_peers = self.data_peers.iter_mut().flat_map(DataPeer::take_output);
        let sources = self.sources.iter_mut().flat_map(Source::take_output);
        let viewers = self.viewers.iter_mut().flat_map(Viewer::take_output);
        let others = data_peers.chain(sources).chain(viewers);
        for packet in senders.chain(receivers).chain(others) {
            self.network.send(packet);
        }
    }

    fn deliver(&mut self, mut arrival: Arrival) {
        let now = self.network.now;
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.public_address == arrival.to) {
            peer.handle(&arrival, now);
            return;
        }
        let mut senders = self
            .senders
            .iter_mut()
            .filter(|sender| sender.address == arrival.to)
            .peekable();
        if senders.peek().is_some() {
            senders.for_each(|sender| sender.handle(&arrival, now));
            return;
        }
        if let Some(peer) = self.data_peers.iter_mut().find(|peer| peer.address == arrival.to) {
            peer.handle(&arrival, now);
            return;
        }
        if let Some(source) = self.sources.iter_mut().find(|source| source.address == arrival.to) {
            source.handle(&arrival);
            return;
        }
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.address == arrival.to) {
            viewer.handle(&arrival, now);
            return;
        }
        if let Some(index) = self.receiver_at.get(&arrival.to) {
            self.receivers[*index].handle(&arrival, now);
            return;
        }
        let (to, from, protocol) = (arrival.to, arrival.from, arrival.protocol);
        if protocol == Protocol::Tcp
            && self.network.socket(to, from, protocol).is_none()
            && let Some(listener) = self.network.listener(to)
        {
            let connection = self.network.connect(to, from);
            self.engine
                .handle_connection(listener, connection, from, &mut self.network);
        }
        self.receive(to, from, protocol, &mut arrival.bytes);
    }

    /// Hands a packet to the engine as if it had arrived now.
    pub fn receive(&mut self, to: SocketAddr, from: SocketAddr, protocol: Protocol, bytes: &mut [u8]) {
        let now = self.network.now;
        if let Some(socket) = self.network.socket(to, from, protocol) {
            let mut datagrams = [Datagram { source: from, bytes }];
            self.engine
                .handle_datagrams(now, socket, &mut datagrams, &mut self.network, &mut self.outbox);
            self.collect();
        }
    }

    /// Takes what the engine put out; returns the response, if there is one.
    fn collect(&mut self) -> Option<Value> {
        self.outbox.flush(&mut self.network);
        let mut response = None;
        for message in self.outbox.channel.drain(..) {
            match message {
                ChannelMessage::Response(answer) => {
                    response = serde_json::from_slice(&encode_response(&answer)).ok();
                }
                ChannelMessage::Notification(notification) => {
                    let mut value: Value = serde_json::from_slice(&encode_notification(&notification)).expect("JSON");
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let (target, event) = (text(&value["targetId"]), text(&value["event"]));
                    self.told.push((self.network.now, target, event, value["data"].take()));
                }
            }
        }
        for (notification, payload) in self.outbox.payloads.drain(..) {
            if matches!(notification.event, PayloadEvent::Message { .. }) {
                self.handed.push((notification.target_id, payload));
            }
        }
        response
    }
}

/// The SSRC that stands for a sender's inside the router.
fn mapped(ssrc: u32) -> u32 {
    ssrc + 2
}

/// VP8 with all feedback, and its retransmissions if there are any.
fn video_codecs(payload_type: u8, rtx: bool) -> Value {
    let mut codecs = vec![json!({
        "mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90_000,
        "rtcpFeedback": [{ "type": "nack" }, { "type": "nack", "parameter": "pli" }],
    })];
    if rtx {
        codecs.push(json!({
            "mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90_000,
            "parameters": { "apt": payload_type },
        }));
    }
    codecs.into()
}
