//! Doing again what a recording says was done, and writing down what comes back.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::deviations::{Deviations, kind};
use crate::dtls_peer::DtlsPeer;
use crate::frame::{Deframer, MAX_FRAME, encode};
use crate::normalise::Masks;
use crate::peers::{TcpPeer, UdpPeer};
use crate::recording::{Line, Recording, is_output, text};
use crate::sequence::{FirstNumbers, translate_feedback};
use crate::session::{Session, State};
use crate::srtp::Encryptor;
use crate::stun::Credentials;
use crate::worker_process::{WorkerProcess, binary};

mod dtls;
mod processes;
mod rhythm;
mod sockets;

/// Ids of the requests that close a window.
const FIRST_FENCE: u64 = 3_000_000_000;
/// How long output may take that was recorded in a window.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same once it has failed to come several times.
const IMPATIENCE: Duration = Duration::from_millis(30);
/// How often it may fail to come before patience ends.
const DISAPPOINTMENTS: usize = 6;

/// Replays a recording.
///
/// # Errors
/// The machine does not let us: no process, no socket, no file. What a worker does is never an error.
pub fn replay(recording: &Recording, masks: &Masks, deviations: &Deviations) -> anyhow::Result<Vec<Line>> {
    let mut replay = Replay::new(recording, masks, deviations)?;
    for line in recording.lines.iter().filter(|line| !is_output(line.step())) {
        if deviations.omits(line.number) {
            replay.output.push(line.clone());
            continue;
        }
        replay
            .action(line)
            .with_context(|| format!("line {} ({})", line.number, line.step()))?;
    }
    replay.flush();
    Ok(replay.output)
}

/// A process, and what is known of what was written to it.
struct Running {
    worker: WorkerProcess,
    written: Deframer,
    next_fence: u64,
    /// Whether it will not answer any more, being about to end or unable to.
    silent: bool,
}

struct Replay<'a> {
    recording: &'a Recording,
    masks: &'a Masks,
    deviations: &'a Deviations,
    expected: HashMap<usize, Vec<Line>>,
    session: Arc<Session>,
    processes: Vec<Running>,
    udp: BTreeMap<String, UdpPeer>,
    tcp: BTreeMap<String, TcpPeer>,
    directory: TempDir,
    output: Vec<Line>,
    window: usize,
    disappointments: usize,
    /// Recorded credentials, by their user fragment, with those that took their place.
    credentials: HashMap<String, (Credentials, Credentials)>,
    recorded_numbers: FirstNumbers,
    replayed_numbers: FirstNumbers,
    /// Where sockets have sent to last.
    destinations: HashMap<String, SocketAddr>,
    /// A peer that starts its handshake once the next request is answered.
    pending_dtls: Option<Value>,
    encryptors: HashMap<String, Encryptor>,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording, masks: &'a Masks, deviations: &'a Deviations) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut expected: HashMap<usize, Vec<Line>> = HashMap::new();
        let outputs: Vec<Line> = recording
            .lines
            .iter()
            .filter(|line| is_output(line.step()))
            .cloned()
            .collect();
        for line in deviations.expected(&outputs) {
            expected.entry(line.window).or_default().push(line);
        }
        let session = Arc::new(Session::default());
        session.update(|state| {
            let program = binary();
            let home = program
                .parent()
                .map(|home| home.display().to_string())
                .unwrap_or_default();
            state.scrubs = vec![
                (directory.path().display().to_string(), "<TMP>".to_owned()),
                (program.display().to_string(), "<WORKER>".to_owned()),
                (home, "<WORKER_DIR>".to_owned()),
            ];
        });
        Ok(Self {
            recording,
            masks,
            deviations,
            expected,
            session,
            processes: Vec::new(),
            udp: BTreeMap::new(),
            tcp: BTreeMap::new(),
            directory,
            output: Vec::new(),
            window: 0,
            disappointments: 0,
            credentials: HashMap::new(),
            recorded_numbers: FirstNumbers::default(),
            replayed_numbers: FirstNumbers::default(),
            destinations: HashMap::new(),
            pending_dtls: None,
            encryptors: HashMap::new(),
        })
    }

    fn action(&mut self, line: &Line) -> anyhow::Result<()> {
        self.window = line.number;
        self.output.push(line.clone());
        let value = &line.value;
        match line.step() {
            "scenario" | "note" => return Ok(()),
            "files" => return self.files(value),
            "spawn" => self.spawn(value)?,
            "udp-open" => return self.udp_open(value),
            "request" => {
                self.request(value)?;
                if let Some(peer) = self.pending_dtls.take() {
                    self.dtls_start(&peer)?;
                }
            }
            "dtls-peer" => return self.dtls_peer(line),
            "dtls-peer-close" => {
                self.session
                    .update(|state| state.dtls.get(text(value, "at")).map(DtlsPeer::close));
                return Ok(());
            }
            "channel-frame" => {
                self.name_methods(value);
                self.write_channel(value, &encode(text(value, "text").as_bytes()))?;
            }
            "channel-bytes" => {
                self.name_methods(value);
                self.write_channel(value, &channel_bytes(value)?)?;
            }
            "payload-send" => self.payload_send(value)?,
            "payload-frame" => {
                let content = text(value, "text").as_bytes().to_vec();
                self.process(value)?.worker.send_payload(&content, None);
            }
            "payload-bytes" => self.payload_bytes(value)?,
            "udp-send" => self.udp_send(value)?,
            "tcp-connect" => self.tcp_connect(value)?,
            "tcp-send" => self.tcp_send(value)?,
            "tcp-close" => {
                if let Some(peer) = self.tcp.get(text(value, "name")) {
                    peer.close();
                }
                sleep(Duration::from_millis(30));
            }
            "signal" => self.signal(value)?,
            "close-fd" => self.close_fd(value)?,
            "wait" => {
                sleep(Duration::from_millis(value["ms"].as_u64().unwrap_or(0)));
                self.await_expected(PATIENCE, false);
                self.flush();
                return Ok(());
            }
            "wait-for" => {}
            "repeat" => self.repeat(value)?,
            other => bail!("unknown action {other}"),
        }
        if value["batch"] == json!(true) {
            return Ok(());
        }
        self.settle(value)
    }

    /// Waits for what belongs into the window, and closes it.
    fn settle(&mut self, value: &Value) -> anyhow::Result<()> {
        let awaits = value.get("await").is_some() || text(value, "step") == "wait-for";
        if awaits {
            let limit = Duration::from_millis(value["timeout_ms"].as_u64().unwrap_or(3000) + 2000);
            self.await_expected(limit, true);
        }
        if value["reply"] != json!(false) {
            self.fence(value)?;
        }
        if !awaits {
            self.await_expected(PATIENCE, false);
        }
        sleep(Duration::from_millis(3));
        self.flush();
        Ok(())
    }

    fn index(&self, value: &Value) -> anyhow::Result<usize> {
        let label = text(value, "proc");
        let state = self.session.lock();
        let index = match label {
            "" => state.processes.len().checked_sub(1),
            _ => state
                .processes
                .iter()
                .position(|process| process.label.as_deref() == Some(label)),
        };
        index.context("no such process")
    }

    fn process(&mut self, value: &Value) -> anyhow::Result<&mut Running> {
        let index = self.index(value)?;
        Ok(&mut self.processes[index])
    }

    fn expected(&self) -> &[Line] {
        self.expected.get(&self.window).map_or(&[], Vec::as_slice)
    }

    fn expects_exit(&self) -> bool {
        self.expected().iter().any(|line| line.step() == "exit")
    }

    /// Waits until everything that was recorded in this window has come, as far as its kind says.
    fn await_expected(&mut self, limit: Duration, asynchronous: bool) {
        if self.deviations.skips(self.window) {
            return;
        }
        // Where the client did not wait, what belongs here may have come before.
        let sorted = self.masks.is_sorted(&self.recording.name);
        let first = if sorted { 0 } else { self.window };
        let mut wanted: HashMap<String, usize> = HashMap::new();
        let expected = (first..=self.window).filter_map(|window| self.expected.get(&window));
        for line in expected.flatten() {
            let value = &line.value;
            let ignored = ["log", "stderr", "stdout", "no-response"].contains(&line.step())
                || self.masks.is_asynchronous(&self.recording.name, text(value, "event"))
                || (value["async"] == json!(true) && !asynchronous);
            if ignored {
                continue;
            }
            let count = wanted.entry(counted_kind(value)).or_default();
            *count = if value["async"] == json!(true) { 1 } else { *count + 1 };
        }
        for line in self.output.iter().filter(|_| sorted) {
            if let Some(count) = wanted.get_mut(&counted_kind(&line.value)) {
                *count = count.saturating_sub(1);
            }
        }
        wanted.retain(|_, count| *count > 0);
        if wanted.is_empty() {
            return;
        }
        let patient = asynchronous || self.disappointments < DISAPPOINTMENTS;
        let came = self.session.wait(if patient { limit } else { IMPATIENCE }, |state| {
            let mut missing = wanted.clone();
            for line in state.pending() {
                if let Some(count) = missing.get_mut(&counted_kind(line)) {
                    *count = count.saturating_sub(1);
                }
            }
            missing.values().all(|count| *count == 0)
        });
        self.disappointments += usize::from(!came);
    }

    /// Makes round trips, after which everything has been handled that was readable before.
    fn fence(&mut self, value: &Value) -> anyhow::Result<()> {
        let round_trips = match self.recording.name.as_str() {
            "46-sctp-data" | "44-flow-pipe" | "45-flow-pipe-rtx-srtp" => 8,
            _ => 2,
        };
        let Ok(index) = self.index(value) else { return Ok(()) };
        let session = Arc::clone(&self.session);
        for _ in 0..round_trips {
            let process = &mut self.processes[index];
            if process.silent || !process.written.at_boundary() {
                return Ok(());
            }
            let id = process.next_fence;
            process.next_fence += 1;
            let usable = session.update(|state| {
                let known = &mut state.processes[index];
                known.fences.insert(id);
                known.running && !known.has_exited()
            });
            if !usable {
                return Ok(());
            }
            process
                .worker
                .send(format!("{{\"id\":{id},\"method\":\"worker.dump\"}}").as_bytes());
            let answered = session.wait(PATIENCE, |state| {
                let known = &state.processes[index];
                !known.fences.contains(&id) || known.has_exited()
            });
            if !answered {
                process.silent = true;
            }
        }
        Ok(())
    }

    /// Closes the window: moves what is pending to the output.
    fn flush(&mut self) {
        let lines = self.session.update(State::drain);
        let window = self.window;
        for line in self.expected.get(&window).into_iter().flatten() {
            self.recorded_numbers.received(&line.value);
        }
        for value in lines {
            self.replayed_numbers.received(&value);
            self.pair_credentials(&value);
            self.output.push(Line {
                window,
                number: 0,
                value,
            });
        }
    }

    /// Remembers which credentials took the place of recorded ones.
    fn pair_credentials(&mut self, value: &Value) {
        let Some(replayed) = credentials(value) else { return };
        let counterpart = self.expected().iter().find(|line| kind(&line.value) == kind(value));
        if let Some(recorded) = counterpart.and_then(|line| credentials(&line.value)) {
            self.credentials.insert(recorded.ufrag.clone(), (recorded, replayed));
        }
    }

    fn request(&mut self, value: &Value) -> anyhow::Result<()> {
        let index = self.index(value)?;
        let mut frame = Map::new();
        for key in ["id", "method", "internal", "data"] {
            if let Some(part) = value.get(key) {
                frame.insert(key.to_owned(), part.clone());
            }
        }
        let mut frame = Value::Object(frame);
        for (pointer, source) in value["refs"].as_object().into_iter().flatten() {
            let replacement = self.reference(source.as_str().unwrap_or_default());
            if let (Some(place), Some(replacement)) = (frame.pointer_mut(pointer), replacement) {
                *place = replacement;
            }
        }
        self.recorded_numbers.request(value);
        self.replayed_numbers.request(value);
        let id = value["id"].as_u64().context("id")?;
        self.session.update(|state| {
            let process = &mut state.processes[index];
            process.methods.insert(id, text(value, "method").to_owned());
            let transport = value.pointer("/internal/transportId").and_then(Value::as_str);
            process
                .targets
                .extend(transport.map(|transport| (id, transport.to_owned())));
            process.responses.remove(&id);
        });
        self.write_channel(value, &encode(frame.to_string().as_bytes()))?;
        if value["reply"] == json!(false) {
            return Ok(());
        }
        // An answer that comes too early of the recorded ones is not waited for.
        let patience = if self.disappointments < DISAPPOINTMENTS {
            4000
        } else {
            500
        };
        let answered = self.session.wait(Duration::from_millis(patience), |state| {
            let process = &state.processes[index];
            process.responses.contains(&id) || process.has_exited()
        });
        if !answered {
            self.disappointments += 1;
            self.no_response(value, None, id, 4000);
        }
        Ok(())
    }

    fn no_response(&mut self, value: &Value, channel: Option<&str>, id: u64, waited: u64) {
        let method = if channel.is_some() {
            text(&value["header"], "method")
        } else {
            text(value, "method")
        };
        let mut line = json!({ "step": "no-response", "id": id, "of": method, "waited_ms": waited });
        for (key, content) in [
            ("proc", value.get("proc").and_then(Value::as_str)),
            ("channel", channel),
        ] {
            if let Some(content) = content {
                line[key] = json!(content);
            }
        }
        self.output.push(Line {
            window: self.window,
            number: 0,
            value: line,
        });
    }

    fn reference(&self, source: &str) -> Option<Value> {
        if let Some(peer) = source.strip_prefix("udp:") {
            return Some(json!(self.udp.get(peer)?.port().ok()?));
        }
        let (transport, pointer) = source.strip_prefix("response:")?.split_once("/data")?;
        let state = self.session.lock();
        state
            .processes
            .iter()
            .rev()
            .find_map(|process| process.transports.get(transport)?.pointer(pointer).cloned())
    }

    fn write_channel(&mut self, value: &Value, bytes: &[u8]) -> anyhow::Result<()> {
        let process = self.process(value)?;
        process.written.push(bytes);
        while process.written.next_frame().is_some() {}
        process.silent |= process
            .written
            .pending_length()
            .is_some_and(|length| length > MAX_FRAME);
        if bytes.len() > MAX_FRAME + 4 {
            process.silent = true;
        }
        process.worker.write(3, bytes);
        Ok(())
    }

    /// Gives ids in frames that are not quite requests the names that their recorded answers have.
    fn name_methods(&mut self, value: &Value) {
        let Ok(index) = self.index(value) else { return };
        let answers = self.expected().iter().filter(|line| line.step() == "response");
        let names: Vec<(u64, String)> = answers
            .filter_map(|line| Some((line.value["id"].as_u64()?, line.value["of"].as_str()?.to_owned())))
            .collect();
        self.session
            .update(|state| state.processes[index].methods.extend(names));
    }

    fn payload_send(&mut self, value: &Value) -> anyhow::Result<()> {
        let index = self.index(value)?;
        let mut payload = match value.get("generate") {
            Some(generate) => {
                let fill = hex::decode(text(generate, "fill"))?;
                fill.repeat(usize::try_from(generate["count"].as_u64().context("count")?)?)
            }
            None => hex::decode(text(value, "payload_hex"))?,
        };
        let header = &value["header"];
        if text(header, "event") == "transport.sendRtcp" && value.get("rtcp").is_some() {
            // The streams of a direct transport are told by their ssrcs alone.
            translate_feedback(&mut payload, None, &self.recorded_numbers, &self.replayed_numbers);
        }
        let header_text = header.as_str().map_or_else(|| header.to_string(), str::to_owned);
        let id = header["id"].as_u64();
        self.session.update(|state| {
            let process = &mut state.processes[index];
            if let Some(id) = id {
                process.payload_methods.insert(id, text(header, "method").to_owned());
                process.payload_responses.remove(&id);
            }
        });
        let omitted = value["payload_omitted"] == json!(true);
        let process = &mut self.processes[index];
        let payload_or_none = (!omitted).then_some(payload.as_slice());
        if value["batch"] == json!(true) {
            process.worker.hold_payload(header_text.as_bytes(), payload_or_none);
        } else {
            process.worker.send_payload(header_text.as_bytes(), payload_or_none);
        }
        process.silent |= payload.len() > MAX_FRAME;
        let (Some(id), false) = (id, value["batch"] == json!(true)) else {
            return Ok(());
        };
        let answered = self.session.wait(PATIENCE, |state| {
            let process = &state.processes[index];
            process.payload_responses.contains(&id) || process.has_exited()
        });
        if !answered {
            self.no_response(value, Some("payload"), id, 1500);
        } else if let Some(waited) = self.recorded_silence() {
            // What timers did in that time belongs to what follows.
            sleep(waited);
        }
        Ok(())
    }

    /// How long the recorded worker was given in vain to answer in this window, where acknowledgements take time.
    fn recorded_silence(&self) -> Option<Duration> {
        let mut lines = self.recording.lines.iter();
        let line = lines.find(|line| line.window == self.window && line.step() == "no-response")?;
        let waited = line.value["waited_ms"].as_u64().map(Duration::from_millis);
        waited.filter(|_| self.recording.name == "46-sctp-data")
    }

    fn payload_bytes(&mut self, value: &Value) -> anyhow::Result<()> {
        let bytes = hex::decode(text(value, "hex"))?;
        let splits = value["splits"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64);
        let mut from = 0;
        for split in splits.chain([bytes.len() as u64]) {
            let to = usize::try_from(split)?.min(bytes.len());
            self.process(value)?.worker.write(5, &bytes[from..to]);
            from = to;
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn credentials(value: &Value) -> Option<Credentials> {
    let parameters = value.pointer("/data/iceParameters")?;
    Some(Credentials {
        ufrag: parameters["usernameFragment"].as_str()?.to_owned(),
        password: parameters["password"].as_str()?.to_owned(),
    })
}

/// The kind under which output is counted; for what timers send, only where it arrives.
fn counted_kind(value: &Value) -> String {
    let asynchronous = if value["async"] == json!(true) {
        "asynchronous "
    } else {
        ""
    };
    format!("{asynchronous}{}", kind(value))
}

fn channel_bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    let Some(generate) = value.get("generate") else {
        return Ok(hex::decode(text(value, "hex"))?);
    };
    let count = usize::try_from(generate["count"].as_u64().context("count")?)?;
    let content = [
        text(generate, "prefix"),
        &text(generate, "fill").repeat(count),
        text(generate, "suffix"),
    ]
    .concat();
    Ok(if generate["framed"] == json!(true) {
        encode(content.as_bytes())
    } else {
        content.into_bytes()
    })
}
