//! Data over SCTP with a peer that shares no code with the worker: `peers/usrsctp_peer.c`, over real sockets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::worker_process::{Event, Options, WorkerProcess};

/// Generous: these tests share the machine with others.
const LIMIT: Duration = Duration::from_secs(30);

/// Whatever happens, in order.
#[derive(Debug)]
enum Happened {
    /// A response or notification.
    Channel(Value),
    /// A header or payload.
    Payload(Vec<u8>),
    /// A line of the peer.
    Peer(String),
    Other,
}

/// A router with a direct transport and a plain one whose peer is usrsctp.
struct World {
    worker: WorkerProcess,
    peer: Child,
    commands: ChildStdin,
    happenings: Receiver<Happened>,
    /// What was not yet asked for.
    seen: Vec<Happened>,
    next_id: u64,
    port: u16,
}

fn compile(directory: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/usrsctp_peer.c");
    let program = directory.join("usrsctp_peer");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    compiler.arg(&program).arg(source).args(["-lusrsctp", "-lpthread"]);
    let output = compiler.output().expect("cc");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`make tools` installs usrsctp: {errors}");
    program
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (sender, happenings) = mpsc::channel();
        let tell = sender.clone();
        let worker = WorkerProcess::spawn(&Options::default(), move |event| {
            let _ = tell.send(match event {
                Event::Channel(frame) => Happened::Channel(serde_json::from_slice(&frame).unwrap()),
                Event::Payload(frame) => Happened::Payload(frame),
                _ => Happened::Other,
            });
        });
        let mut peer = Command::new(compile(directory.path()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(peer.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(Happened::Peer(line));
            }
        });
        let mut world = Self {
            worker: worker.unwrap(),
            commands: peer.stdin.take().unwrap(),
            peer,
            happenings,
            seen: Vec::new(),
            next_id: 1,
            port: 0,
        };
        let port = world.peer_line("port");
        let port: u16 = port.trim_start_matches("port ").parse().unwrap();
        world.request("worker.createRouter", "", json!({}));
        let direct = json!({ "direct": true, "maxMessageSize": 262_144 });
        world.request("router.createDirectTransport", "direct", direct);
        let plain = world.request(
            "router.createPlainTransport",
            "plain",
            json!({
                "listenIp": { "ip": "127.0.0.1" },
                "enableSctp": true,
                "numSctpStreams": { "OS": 1024, "MIS": 1024 },
                "maxSctpMessageSize": 262_144,
                "sctpSendBufferSize": 1_000_000,
                "isDataChannel": true,
            }),
        );
        world.port = u16::try_from(plain["tuple"]["localPort"].as_u64().unwrap()).unwrap();
        // Both at once, as pipes and browsers do.
        world.command(&format!("connect {}", world.port));
        world.request("transport.connect", "plain", json!({ "ip": "127.0.0.1", "port": port }));
        world
    }

    /// Also waits until both say that the association is up.
    fn connected() -> Self {
        let mut world = Self::new();
        assert_eq!(world.peer_line("up"), "up 1024 1024");
        world.notification("sctpstatechange", |data| data["sctpState"] == "connected");
        let dump = world.request("transport.dump", "plain", json!({}));
        assert_eq!(dump["sctpParameters"]["OS"], 1024);
        assert_eq!(dump["sctpState"], "connected");
        world
    }

    /// A direct producer whose messages go to the peer on `stream`, and a direct consumer of what comes on it.
    fn channel(&mut self, stream: u16, ordered: bool) {
        let parameters = json!({ "streamId": stream, "ordered": ordered });
        let sctp = json!({ "type": "sctp", "sctpStreamParameters": parameters });
        self.request(
            &format!("transport.produceData out{stream}"),
            "direct",
            json!({ "type": "direct" }),
        );
        self.request(&format!("transport.consumeData out{stream}"), "plain", sctp.clone());
        self.request(&format!("transport.produceData in{stream}"), "plain", sctp);
        self.request(
            &format!("transport.consumeData in{stream}"),
            "direct",
            json!({ "type": "direct" }),
        );
    }

    fn next(&mut self, what: &str, mut wanted: impl FnMut(&Happened) -> bool) -> Happened {
        let end = Instant::now() + LIMIT;
        let mut checked = 0;
        loop {
            if let Some(index) = self.seen.iter().skip(checked).position(&mut wanted) {
                return self.seen.remove(checked + index);
            }
            checked = self.seen.len();
            let left = end.saturating_duration_since(Instant::now());
            match self.happenings.recv_timeout(left) {
                Ok(happened) => self.seen.push(happened),
                Err(_) => panic!("{what} was awaited; there is {:?}", self.seen),
            }
        }
    }

    fn peer_line(&mut self, word: &str) -> String {
        let wanted =
            |happened: &Happened| matches!(happened, Happened::Peer(line) if line.split(' ').next() == Some(word));
        let Happened::Peer(line) = self.next(word, wanted) else {
            unreachable!()
        };
        line
    }

    fn notification(&mut self, event: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let wanted = |happened: &Happened| matches!(happened, Happened::Channel(value) if value["event"] == event && holds(&value["data"]));
        let Happened::Channel(value) = self.next(event, wanted) else {
            unreachable!()
        };
        value
    }

    /// `method` may name a data producer behind it; its data consumer is called the same.
    fn request(&mut self, method: &str, transport: &str, data: Value) -> Value {
        let (method, name) = method.split_once(' ').unwrap_or((method, ""));
        let id = self.next_id;
        self.next_id += 1;
        let internal = json!({
            "routerId": "r", "transportId": transport, "dataProducerId": name, "dataConsumerId": name,
        });
        let request = json!({ "id": id, "method": method, "internal": internal, "data": data });
        self.worker.send(request.to_string().as_bytes());
        let wanted = |happened: &Happened| matches!(happened, Happened::Channel(value) if value["id"] == id);
        let Happened::Channel(response) = self.next(method, wanted) else {
            unreachable!()
        };
        assert_eq!(response["accepted"], true, "{method}: {response}");
        response["data"].clone()
    }

    fn command(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    fn send(&mut self, stream: u16, ppid: u32, payload: &[u8]) {
        let name = format!("out{stream}");
        let internal = json!({ "routerId": "r", "transportId": "direct", "dataProducerId": name });
        let header = json!({ "event": "dataProducer.send", "internal": internal, "data": { "ppid": ppid } });
        self.worker.send_payload(header.to_string().as_bytes(), Some(payload));
    }

    /// The next message that the direct consumer of a stream got: PPID and bytes.
    fn message(&mut self) -> (String, u64, Vec<u8>) {
        let payload = |happened: &Happened| matches!(happened, Happened::Payload(_));
        let Happened::Payload(header) = self.next("a message", payload) else {
            unreachable!()
        };
        let Happened::Payload(payload) = self.next("a payload", payload) else {
            unreachable!()
        };
        let header: Value = serde_json::from_slice(&header).unwrap();
        let target = header["targetId"].as_str().unwrap().to_owned();
        (target, header["data"]["ppid"].as_u64().unwrap(), payload)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.peer.kill();
        let _ = self.peer.wait();
    }
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + seed) as u8).collect()
}

#[test]
fn messages_of_all_sizes_and_identifiers_come_back_as_they_went() {
    let mut world = World::connected();
    world.channel(1, true);
    for (number, length) in [1, 2, 100, 1170, 1171, 1200, 5000, 65_536, 262_144]
        .into_iter()
        .enumerate()
    {
        let ppid = [51, 53, 56, 57][number % 4];
        let payload = pattern(length, number);
        world.send(1, ppid, &payload);
        let sum: u32 = payload.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(world.peer_line("message"), format!("message 1 {ppid} {length} {sum} 0"));
        let (target, came_as, came) = world.message();
        assert_eq!((target.as_str(), came_as), ("in1", u64::from(ppid)));
        assert!(came == payload, "{length} bytes");
    }
    // Of no bytes: as the identifier says.
    world.send(1, 51, b"");
    assert_eq!(world.message(), ("in1".to_owned(), 56, vec![0]));
    let stats = world.request("dataConsumer.getStats out1", "plain", json!({}));
    assert_eq!(stats[0]["messagesSent"], 10);
    let stats = world.request("dataProducer.getStats in1", "plain", json!({}));
    assert_eq!(stats[0]["messagesReceived"], 10);
}

#[test]
fn many_streams_at_once_keep_their_order() {
    let mut world = World::connected();
    let streams: Vec<u16> = (0..20).map(|number| number * 50).collect();
    for stream in &streams {
        world.channel(*stream, true);
    }
    for round in 0..20_u8 {
        for stream in &streams {
            world.send(*stream, 53, &[round; 700]);
        }
    }
    let mut next = std::collections::HashMap::new();
    for _ in 0..20 * streams.len() {
        let (target, _, payload) = world.message();
        let expected: &mut u8 = next.entry(target).or_default();
        assert_eq!(payload, [*expected; 700]);
        *expected += 1;
    }
    assert!(next.len() == streams.len() && next.values().all(|count| *count == 20));
}

#[test]
fn unordered_messages_arrive_as_such() {
    let mut world = World::connected();
    world.channel(3, false);
    for number in 0..50 {
        world.send(3, 53, &pattern(2000, number));
    }
    let mut left: Vec<Vec<u8>> = (0..50).map(|number| pattern(2000, number)).collect();
    for _ in 0..50 {
        assert!(world.peer_line("message").ends_with(" 1"), "unordered");
        let (_, _, payload) = world.message();
        let index = left.iter().position(|expected| *expected == payload);
        left.remove(index.expect("one of those sent"));
    }
}

#[test]
fn streams_are_closed_in_both_directions_and_used_again() {
    let mut world = World::connected();
    for round in 0..3 {
        world.channel(7, true);
        world.send(7, 53, &pattern(30_000, round));
        // The two pipes are read independently.
        let end = Instant::now() + LIMIT;
        while world.request("dataProducer.getStats out7", "direct", json!({}))[0]["messagesReceived"] == 0 {
            assert!(Instant::now() < end);
        }
        // Closed with the message perhaps still under way: it arrives first.
        world.request("dataConsumer.close out7", "plain", json!({}));
        assert!(world.peer_line("message").starts_with("message 7 53 30000 "));
        assert_eq!(world.peer_line("reset"), "reset 7");
        assert_eq!(world.message().2, pattern(30_000, round));
        // The other side closes too.
        world.command("reset 7");
        assert_eq!(world.peer_line("reset"), "reset 7");
        world.request("dataProducer.close in7", "plain", json!({}));
        assert_eq!(world.peer_line("reset"), "reset 7");
        world.request("dataProducer.close out7", "direct", json!({}));
        world.notification("dataproducerclose", |_| true);
    }
}

#[test]
fn a_peer_that_is_gone_is_told() {
    let mut world = World::connected();
    world.channel(1, true);
    world.command("abort");
    world.notification("sctpstatechange", |data| data["sctpState"] == "closed");
    // What is sent now goes nowhere, and harms nobody.
    world.send(1, 53, b"hello?");
    let stats = world.request("dataConsumer.getStats out1", "plain", json!({}));
    assert_eq!(
        (&stats[0]["messagesSent"], &stats[0]["bufferedAmount"]),
        (&json!(0), &json!(0))
    );
}
