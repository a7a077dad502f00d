//! A worker process, and peers of it that are an independent WebRTC implementation (str0m) on real sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::config::Fingerprint;
use str0m::ice::IceCreds;
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tests::peers::{TcpPeer, UdpPeer};
use tests::worker_process::{self, Options, WorkerProcess};

/// Generous: these tests share the machine with others.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest wait before conditions are looked at again.
const STEP: Duration = Duration::from_millis(50);
const ROUTER: &str = "00000000-0000-4000-8000-000000000001";

/// What comes in from outside.
enum Arrival {
    Worker(worker_process::Event),
    /// For the peer of this index.
    Packet(usize, SocketAddr, Vec<u8>),
}

/// The way of a peer to the worker.
enum Link {
    Udp(UdpPeer),
    Tcp(TcpPeer),
}

/// A WebRTC client.
pub struct Peer {
    rtc: Rtc,
    link: Link,
    /// Its transport in the worker.
    pub transport: String,
    local: SocketAddr,
    remote: SocketAddr,
    protocol: Protocol,
    /// ICE and DTLS are up.
    pub connected: bool,
    /// The worker has ended the connection.
    pub closed: bool,
    /// Answers to its connectivity checks.
    pub answers: usize,
    /// Media lines for which a key frame was asked.
    pub key_frame_requests: BTreeSet<Mid>,
    /// Payloads that arrived, by SSRC and extended sequence number.
    pub received: HashMap<Ssrc, BTreeMap<u64, Vec<u8>>>,
}

impl Peer {
    /// Expects a stream of the worker.
    pub fn expect(&mut self, kind: MediaKind, mid: &str, ssrc: u32, rtx: Option<u32>) {
        let mut api = self.rtc.direct_api();
        api.declare_media(mid.into(), kind);
        api.expect_stream_rx(ssrc.into(), rtx.map(Ssrc::from), mid.into(), None);
    }

    /// Declares a stream to the worker.
    pub fn declare(&mut self, kind: MediaKind, mid: &str, ssrc: u32, rtx: Option<u32>) {
        let mut api = self.rtc.direct_api();
        api.declare_media(mid.into(), kind);
        api.declare_stream_tx(ssrc.into(), rtx.map(Ssrc::from), mid.into(), None);
    }

    /// Sends a packet of a declared stream.
    pub fn write(&mut self, ssrc: u32, payload_type: u8, sequence: u64, timestamp: u32, payload: &[u8]) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx(&ssrc.into()).expect("a declared stream");
        let packet = RtpWrite::new(
            payload_type.into(),
            sequence.into(),
            timestamp,
            Instant::now(),
            payload.to_vec(),
        );
        stream.write_rtp(packet.marker(true).nackable(true));
    }

    /// Payloads that arrived on a stream, in order, each once.
    pub fn payloads(&self, ssrc: u32) -> Vec<&[u8]> {
        let stream = self.received.get(&ssrc.into());
        stream
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(Vec::as_slice)
            .collect()
    }

    /// New ICE credentials of both sides.
    pub fn restart_ice(&mut self, remote: IceCreds) {
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        api.set_remote_ice_credentials(remote);
    }

    /// Lets it work: sends what it wants to send; returns when it wants to be called again.
    fn poll(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    assert_eq!((transmit.proto, transmit.destination), (self.protocol, self.remote));
                    // The worker may be gone.
                    let _ = match &mut self.link {
                        Link::Udp(socket) => socket.send(&transmit.contents, transmit.destination),
                        Link::Tcp(connection) => connection.send(&transmit.contents),
                    };
                }
                Ok(Output::Event(event)) => self.on_event(event),
                Err(error) => panic!("{}: {error}", self.transport),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed => self.closed = true,
            Event::KeyframeRequest(request) => {
                self.key_frame_requests.insert(request.mid);
            }
            Event::RtpPacket(packet) => {
                let stream = self.received.entry(packet.header.ssrc).or_default();
                stream.insert(*packet.seq_no, packet.payload.to_vec());
            }
            _ => {}
        }
    }

    fn receive(&mut self, source: SocketAddr, bytes: &[u8]) {
        // A success response to a Binding request (RFC 8489 section 5).
        self.answers += usize::from(bytes.starts_with(&[1, 1]));
        if let Ok(received) = Receive::new(self.protocol, source, self.local, bytes) {
            let input = Input::Receive(Instant::now(), received);
            self.rtc.handle_input(input).expect("a packet that it can handle");
        }
    }
}

/// Worker, peers and what they have said.
pub struct World {
    worker: WorkerProcess,
    sender: Sender<Arrival>,
    arrivals: Receiver<Arrival>,
    /// The peers.
    pub peers: Vec<Peer>,
    next_id: u64,
    responses: HashMap<u64, Value>,
    /// Notifications of the worker: target, event, data.
    pub notifications: Vec<(String, String, Value)>,
}

impl World {
    /// A worker with one router and without peers.
    pub fn new() -> Self {
        let (sender, arrivals) = mpsc::channel();
        let to_us = sender.clone();
        let sink = move |event| {
            let _ = to_us.send(Arrival::Worker(event));
        };
        let mut world = Self {
            worker: WorkerProcess::spawn(&Options::default(), sink).expect("a worker"),
            sender,
            arrivals,
            peers: Vec::new(),
            next_id: 1,
            responses: HashMap::new(),
            notifications: Vec::new(),
        };
        world.request("worker.createRouter", json!({}), json!({}));
        world
    }

    /// Sends a request and waits for its data. The router need not be named.
    pub fn request(&mut self, method: &str, mut internal: Value, data: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        internal["routerId"] = json!(ROUTER);
        let request = json!({"id": id, "method": method, "internal": internal, "data": data});
        self.worker.send(request.to_string().as_bytes());
        self.run_until(method, |world| world.responses.contains_key(&id));
        let response = self.responses.remove(&id).expect("it is there");
        assert_eq!(response["accepted"], true, "{request}: {response}");
        response["data"].clone()
    }

    /// Lets everybody work until the condition holds.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LIMIT;
        while !done(self) {
            assert!(Instant::now() < end, "{what}: waited in vain; {:?}", self.notifications);
            self.step();
        }
    }

    /// Lets everybody work for some time.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = Instant::now();
        let mut wake = now + STEP;
        for peer in &mut self.peers {
            wake = wake.min(peer.poll());
        }
        let first = self.arrivals.recv_timeout(wake.saturating_duration_since(now)).ok();
        for arrival in first.into_iter().chain(self.arrivals.try_iter().collect::<Vec<_>>()) {
            match arrival {
                Arrival::Worker(event) => self.on_worker(event),
                Arrival::Packet(index, source, bytes) => {
                    // It may have come before the peer was ready.
                    if let Some(peer) = self.peers.get_mut(index) {
                        peer.receive(source, &bytes);
                        peer.poll();
                    }
                }
            }
        }
        let now = Instant::now();
        for peer in &mut self.peers {
            peer.rtc.handle_input(Input::Timeout(now)).expect("time");
        }
    }

    fn on_worker(&mut self, event: worker_process::Event) {
        match event {
            worker_process::Event::Channel(frame) => {
                let message: Value = serde_json::from_slice(&frame).expect("JSON");
                if let Some(id) = message["id"].as_u64() {
                    self.responses.insert(id, message);
                } else {
                    let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
                    let notification = (text("targetId"), text("event"), message["data"].clone());
                    self.notifications.push(notification);
                }
            }
            worker_process::Event::Exit { .. } => panic!("the worker has ended: {event:?}"),
            _ => {}
        }
    }

    /// Creates a transport and a peer that connects to it over this protocol. `active`: it is the client in DTLS.
    /// Returns its index.
    pub fn add_peer(&mut self, protocol: Protocol, active: bool) -> usize {
        self.add(protocol, active, true)
    }

    /// The same, but the worker is told of another certificate.
    pub fn add_impostor(&mut self, protocol: Protocol, active: bool) -> usize {
        self.add(protocol, active, false)
    }

    fn add(&mut self, protocol: Protocol, active: bool, honest: bool) -> usize {
        let index = self.peers.len();
        let transport = format!("11111111-0000-4000-8000-{index:012}");
        let udp = protocol == Protocol::Udp;
        let options = json!({
            "listenIps": [{"ip": "127.0.0.1"}], "enableUdp": udp, "enableTcp": !udp,
            "initialAvailableOutgoingBitrate": 600_000,
        });
        let created = self.request(
            "router.createWebRtcTransport",
            json!({"transportId": transport}),
            options,
        );
        let port = created["iceCandidates"][0]["port"].as_u64().expect("a port");
        let remote = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));

        let sender = self.sender.clone();
        let (link, local) = if udp {
            let sink = move |bytes: &[u8], port| {
                let source = SocketAddr::from(([127, 0, 0, 1], port));
                let _ = sender.send(Arrival::Packet(index, source, bytes.to_vec()));
            };
            let socket = UdpPeer::open("127.0.0.1", sink).expect("a socket");
            let local = SocketAddr::from(([127, 0, 0, 1], socket.port().expect("a port")));
            (Link::Udp(socket), local)
        } else {
            let sink = move |bytes: Option<&[u8]>| {
                if let Some(bytes) = bytes {
                    let _ = sender.send(Arrival::Packet(index, remote, bytes.to_vec()));
                }
            };
            let connection = TcpPeer::connect(remote, sink).expect("a connection");
            let local = connection.local_address().expect("an address");
            (Link::Tcp(connection), local)
        };

        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, protocol).expect("a candidate"));
        rtc.add_remote_candidate(Candidate::host(remote, protocol).expect("a candidate"));
        let fingerprints = created["dtlsParameters"]["fingerprints"]
            .as_array()
            .expect("fingerprints");
        let fingerprint = fingerprints
            .iter()
            .find(|one| one["algorithm"] == "sha-256")
            .expect("one of SHA-256");
        let value = fingerprint["value"].as_str().expect("text");
        let remote_fingerprint: Fingerprint = format!("sha-256 {value}").parse().expect("a fingerprint");
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(credentials(&created["iceParameters"]));
        api.set_remote_fingerprint(remote_fingerprint);
        api.start_dtls(active).expect("DTLS");
        let own = api.local_dtls_fingerprint().to_string();
        let (_, own) = own.split_once(' ').expect("algorithm and value");
        let announced = if honest { own } else { value };
        self.peers.push(Peer {
            rtc,
            link,
            transport: transport.clone(),
            local,
            remote,
            protocol,
            connected: false,
            closed: false,
            answers: 0,
            key_frame_requests: BTreeSet::new(),
            received: HashMap::new(),
        });
        let role = if active { "client" } else { "server" };
        let parameters = json!({"role": role, "fingerprints": [{"algorithm": "sha-256", "value": announced}]});
        let connected = self.request(
            "transport.connect",
            json!({"transportId": transport}),
            json!({"dtlsParameters": parameters}),
        );
        let ours = if active { "server" } else { "client" };
        assert_eq!(connected["dtlsLocalRole"], ours);
        index
    }

    /// Has there been such a notification?
    pub fn was_told(&self, target: &str, event: &str, data: &Value) -> bool {
        let wanted = |(id, name, found): &(String, String, Value)| {
            let fields = data.as_object().expect("an object");
            id == target && name == event && fields.iter().all(|(field, value)| found[field] == *value)
        };
        self.notifications.iter().any(wanted)
    }
}

/// ICE credentials of the worker.
pub fn credentials(parameters: &Value) -> IceCreds {
    let text = |field: &str| parameters[field].as_str().expect("text").to_owned();
    IceCreds {
        ufrag: text("usernameFragment"),
        pass: text("password"),
    }
}
