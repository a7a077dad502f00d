//! What has come out of the processes and sockets of a replay and has not been looked at yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::UdpSocket;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::dtls_peer::{DtlsPeer, Keys};
use crate::packets::{Hint, describe, is_asynchronous};
use crate::recording::text;
use crate::srtp::Decryptor;
use crate::worker_process::Event;

/// State shared with the threads that read.
#[derive(Default)]
pub(crate) struct Session {
    state: Mutex<State>,
    changed: Condvar,
}

/// Everything pending.
#[derive(Default)]
pub(crate) struct State {
    pub processes: Vec<Process>,
    pub peers: BTreeMap<String, Vec<Value>>,
    /// Packets that arrive at a peer are passed on: from which socket, and to which transport.
    pub taps: HashMap<String, (Arc<UdpSocket>, String)>,
    /// Texts that are replaced in output.
    pub scrubs: Vec<(String, String)>,
    decryptors: HashMap<(String, String), Decryptor>,
    /// DTLS of peers that have it.
    pub dtls: HashMap<String, DtlsPeer>,
    /// What their handshakes agreed on.
    pub keys: HashMap<String, Keys>,
}

/// What is known of one process.
#[derive(Default)]
pub(crate) struct Process {
    /// Its name, in recordings of several processes.
    pub label: Option<String>,
    /// Channel, PayloadChannel, standard output, standard error.
    lanes: [Vec<Value>; 4],
    pub methods: HashMap<u64, String>,
    pub payload_methods: HashMap<u64, String>,
    /// The transports that requests are about.
    pub targets: HashMap<u64, String>,
    pub fences: HashSet<u64>,
    pub responses: HashSet<u64>,
    pub payload_responses: HashSet<u64>,
    pub running: bool,
    exit: Option<Value>,
    exit_reported: bool,
    payload_header: Option<Value>,
    /// By id, in order: of two that share a port, the first one is named.
    pub transports: BTreeMap<String, Value>,
}

impl Process {
    pub fn new(label: Option<String>) -> Self {
        Self {
            label,
            ..Self::default()
        }
    }

    pub fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    fn line(&self, step: &str) -> Value {
        match &self.label {
            Some(label) => json!({ "step": step, "proc": label }),
            None => json!({ "step": step }),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Channel(frame) => self.channel(&frame),
            Event::Payload(frame) => self.payload(&frame),
            Event::Stdout(line) => self.text(2, "stdout", line),
            Event::Stderr(line) => self.text(3, "stderr", line),
            Event::Exit { code, signal } => {
                let mut line = self.line("exit");
                line["code"] = json!(code);
                line["signal"] = json!(signal);
                self.exit = Some(line);
            }
        }
    }

    fn text(&mut self, lane: usize, step: &str, text: String) {
        let mut line = self.line(step);
        line["text"] = Value::String(text);
        self.lanes[lane].push(line);
    }

    fn channel(&mut self, frame: &[u8]) {
        if frame.first() != Some(&b'{') {
            let mut line = self.line("log");
            line["level"] = json!(
                frame
                    .first()
                    .map(|level| char::from(*level).to_string())
                    .unwrap_or_default()
            );
            line["text"] = json!(String::from_utf8_lossy(frame.get(1..).unwrap_or_default()));
            self.lanes[0].push(line);
            return;
        }
        let parsed = serde_json::from_slice::<Map<String, Value>>(frame);
        let Ok(content) = parsed else {
            self.text(
                0,
                "notification",
                format!("not JSON: {}", String::from_utf8_lossy(frame)),
            );
            return;
        };
        let mut line;
        if let Some(id) = content.get("id").and_then(Value::as_u64) {
            if self.fences.remove(&id) {
                return;
            }
            self.responses.insert(id);
            let method = self.methods.get(&id).cloned();
            if let (Some(method), Some(data)) = (&method, content.get("data").and_then(Value::as_object)) {
                self.learn(id, method, data);
            }
            line = self.line("response");
            line["of"] = json!(method);
        } else {
            if content.get("event").and_then(Value::as_str) == Some("running") {
                self.running = true;
            }
            line = self.line("notification");
        }
        if let Value::Object(object) = &mut line {
            object.extend(content);
        }
        self.lanes[0].push(line);
    }

    fn learn(&mut self, id: u64, method: &str, data: &Map<String, Value>) {
        let creates = method.starts_with("router.create") && method.contains("Transport");
        if !creates && !["transport.dump", "transport.connect", "transport.restartIce"].contains(&method) {
            return;
        }
        let Some(transport) = self.targets.get(&id) else { return };
        let known = self.transports.entry(transport.clone()).or_insert_with(|| json!({}));
        if let Value::Object(known) = known {
            known.extend(data.clone());
        }
    }

    fn payload(&mut self, frame: &[u8]) {
        let mut line = self.line("payload-recv");
        if let Some(header) = self.payload_header.take() {
            let data = !["rtp", "rtcp"].contains(&text(&header, "event"));
            let description = describe(frame, if data { Hint::Data } else { Hint::Unknown });
            if is_asynchronous(&description, false) {
                line["async"] = json!(true);
            }
            line["header"] = header;
            line["payload_hex"] = json!(hex::encode(frame));
            add(&mut line, description);
        } else {
            let header: Value = serde_json::from_slice(frame).unwrap_or(Value::Null);
            let Some(id) = header["id"].as_u64() else {
                self.payload_header = Some(header);
                return;
            };
            self.payload_responses.insert(id);
            line["of"] = json!(self.payload_methods.get(&id));
            line["header"] = header;
        }
        self.lanes[1].push(line);
    }
}

fn add(line: &mut Value, description: Map<String, Value>) {
    if let Value::Object(object) = line {
        object.extend(description);
    }
}

impl State {
    /// Everything pending, lane by lane.
    pub fn pending(&self) -> impl Iterator<Item = &Value> {
        let exits = self.processes.iter().filter(|process| !process.exit_reported);
        let exits = exits.filter_map(|process| process.exit.as_ref());
        let lanes = self.processes.iter().flat_map(|process| process.lanes.iter().flatten());
        lanes.chain(self.peers.values().flatten()).chain(exits)
    }

    /// Takes everything pending out, lane by lane.
    pub fn drain(&mut self) -> Vec<Value> {
        let mut lines: Vec<Value> = self.pending().cloned().collect();
        for process in &mut self.processes {
            process.lanes.iter_mut().for_each(Vec::clear);
            process.exit_reported |= process.exit.is_some();
        }
        self.peers.values_mut().for_each(Vec::clear);
        for line in &mut lines {
            scrub(line, &self.scrubs);
        }
        lines
    }

    fn sender(&self, port: u16) -> Option<(String, &Value)> {
        let at = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_u64) == Some(port.into());
        for (id, transport) in self.processes.iter().flat_map(|process| &process.transports) {
            if at(transport, "/tuple/localPort") {
                return Some((format!("{id} rtp"), transport));
            }
            if at(transport, "/rtcpTuple/localPort") {
                return Some((format!("{id} rtcp"), transport));
            }
            let candidates = transport["iceCandidates"].as_array();
            let mut candidates = candidates
                .into_iter()
                .flatten()
                .filter(|candidate| candidate["protocol"] == "udp");
            if candidates.any(|candidate| at(candidate, "/port")) {
                return Some((format!("{id} ice"), transport));
            }
        }
        None
    }

    /// Takes note of a datagram that arrived at a peer.
    pub fn datagram(&mut self, peer: &str, packet: &[u8], port: u16) {
        if let Some((socket, transport)) = self.taps.get(peer) {
            let transports = self
                .processes
                .iter()
                .find_map(|process| process.transports.get(transport));
            let port = transports
                .and_then(|transport| transport.pointer("/tuple/localPort"))
                .and_then(Value::as_u64);
            if let Some(port) = port.and_then(|port| u16::try_from(port).ok()) {
                let _ = socket.send_to(packet, ("127.0.0.1", port));
            }
        }
        if let (Some(dtls), Some(20..64)) = (self.dtls.get(peer), packet.first()) {
            dtls.receive(packet);
            // Alerts alone were recorded.
            if packet.first() != Some(&21) {
                return;
            }
        }
        let sender = self.sender(port);
        let from = sender.as_ref().map_or("unknown", |(name, _)| name).to_owned();
        let mut line = json!({ "step": "udp-recv", "at": peer, "from": from, "hex": hex::encode(packet) });
        let mut description = describe(packet, Hint::Unknown);
        let keys = match self.keys.get(peer) {
            Some(_) if description.contains_key("dtls") => Value::Null,
            Some(keys) => json!({ "cryptoSuite": keys.suite, "keyBase64": keys.remote }),
            None => sender
                .map(|(_, transport)| transport["srtpParameters"].clone())
                .unwrap_or_default(),
        };
        if let (Some(suite), Some(key)) = (keys["cryptoSuite"].as_str(), keys["keyBase64"].as_str()) {
            let slot = (peer.to_owned(), key.to_owned());
            if !self.decryptors.contains_key(&slot)
                && let Ok(decryptor) = Decryptor::new(suite, key)
            {
                self.decryptors.insert(slot.clone(), decryptor);
            }
            let plain = self
                .decryptors
                .get_mut(&slot)
                .and_then(|decryptor| decryptor.decrypt(packet));
            if let Some(plain) = &plain {
                description = describe(plain, Hint::Unknown);
            }
            line["plain_hex"] = json!(plain.map(hex::encode));
        }
        if is_asynchronous(&description, true) {
            line["async"] = json!(true);
        }
        add(&mut line, description);
        self.peers.entry(peer.to_owned()).or_default().push(line);
    }

    /// Takes note of something else that happened at a peer.
    pub fn peer_line(&mut self, peer: &str, mut line: Value, packet: Option<&[u8]>) {
        if let Some(packet) = packet {
            line["hex"] = json!(hex::encode(packet));
            add(&mut line, describe(packet, Hint::Unknown));
        }
        self.peers.entry(peer.to_owned()).or_default().push(line);
    }
}

fn scrub(value: &mut Value, scrubs: &[(String, String)]) {
    match value {
        Value::String(string) => {
            for (from, to) in scrubs {
                if string.contains(from.as_str()) {
                    *string = string.replace(from.as_str(), to);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| scrub(element, scrubs)),
        Value::Object(object) => object.values_mut().for_each(|element| scrub(element, scrubs)),
        _ => {}
    }
}

impl Session {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Changes the state and wakes up who waits for it.
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Takes note of what a process did.
    pub fn event(&self, process: usize, event: Event) {
        self.update(|state| state.processes[process].handle(event));
    }

    /// Waits until a condition holds. False when it does not within the limit.
    pub fn wait(&self, limit: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if condition(&state) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect("not poisoned").0;
        }
    }
}
