//! The worker as a process: its pipes, their framing, its end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use serde_json::{Value, json};
use tests::frame::{MAX_FRAME, encode};
use tests::worker_process::{Event, Options, WorkerProcess, binary};

/// Generous: these tests share the machine with others.
const LIMIT: Duration = Duration::from_secs(20);

struct Worker {
    process: WorkerProcess,
    events: Receiver<Event>,
}

impl Worker {
    fn start() -> Self {
        let (sender, events) = mpsc::channel();
        let sink = move |event| {
            let _ = sender.send(event);
        };
        let worker = Self {
            process: WorkerProcess::spawn(&Options::default(), sink).unwrap(),
            events,
        };
        let running = worker.channel();
        assert_eq!(running["event"], "running");
        assert_eq!(running["targetId"].as_i64(), Some(worker.process.id().into()));
        worker
    }

    fn event(&self) -> Event {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left).expect("something from the worker") {
                Event::Stderr(_) => {}
                event => return event,
            }
        }
    }

    /// The next frame of the Channel.
    fn channel(&self) -> Value {
        match self.event() {
            Event::Channel(frame) => serde_json::from_slice(&frame).unwrap(),
            other => panic!("a frame of the Channel was expected, not {other:?}"),
        }
    }

    fn request(&mut self, id: u64) -> Value {
        self.process.send(&dump(id));
        self.channel()
    }

    fn assert_ends(&self) {
        let end = Event::Exit {
            code: Some(0),
            signal: None,
        };
        assert_eq!(self.event(), end);
    }
}

fn dump(id: u64) -> Vec<u8> {
    json!({ "id": id, "method": "worker.dump" }).to_string().into_bytes()
}

#[test]
fn running_carries_the_process_id() {
    Worker::start();
}

#[test]
fn the_worker_ends_when_a_reading_pipe_is_closed() {
    for fd in [3, 5] {
        let mut worker = Worker::start();
        worker.process.close(fd);
        worker.assert_ends();
    }
}

#[test]
fn the_worker_ends_when_its_parent_is_gone_with_all_pipes() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for child_fd in 3..=6 {
        let (here, there) = UnixStream::pair().unwrap();
        ours.push(here);
        theirs.push(FdMapping {
            parent_fd: OwnedFd::from(there),
            child_fd,
        });
    }
    let options = Options::default();
    let mut command = Command::new(binary());
    command
        .args(&options.args)
        .env_clear()
        .envs(&options.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .fd_mappings(theirs)
        .unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    // It is up when it has said so.
    let mut first = [0];
    ours[1].read_exact(&mut first).unwrap();
    // Standard error too: what it has to say about its end is heard by nobody.
    drop((child.stdout.take(), child.stderr.take(), ours));
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                panic!("it lives on without a parent");
            }
        }
    };
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut worker = Worker::start();
    let requests: Vec<u8> = (0..5000).flat_map(|id| encode(&dump(id))).collect();
    worker.process.write(3, &requests);
    for id in 0..5000 {
        let response = worker.channel();
        assert_eq!((&response["id"], &response["accepted"]), (&json!(id), &json!(true)));
    }
}

#[test]
fn frames_may_be_split_anywhere() {
    let mut worker = Worker::start();
    let stream = [encode(&dump(1)), encode(&dump(2))].concat();
    for split in 1..stream.len() {
        worker.process.write(3, &stream[..split]);
        // Lets the worker see the first part alone, mostly.
        std::thread::sleep(Duration::from_millis(1));
        worker.process.write(3, &stream[split..]);
        assert_eq!(worker.channel()["id"], json!(1), "split at {split}");
        assert_eq!(worker.channel()["id"], json!(2), "split at {split}");
    }
}

#[test]
fn a_frame_of_the_largest_size_is_read() {
    let mut worker = Worker::start();
    let mut request = dump(1);
    request.resize(MAX_FRAME, b' ');
    worker.process.send(&request);
    assert_eq!(worker.channel()["id"], json!(1));
}

#[test]
fn an_oversized_frame_is_skipped() {
    let mut worker = Worker::start();
    let mut request = dump(1);
    request.resize(MAX_FRAME + 1, b' ');
    worker.process.send(&request);
    assert_eq!(worker.request(2)["id"], json!(2));
}

#[test]
fn an_oversized_payload_is_skipped_with_its_header() {
    let mut worker = Worker::start();
    let header = json!({ "id": 7, "method": "dataConsumer.send", "internal": {}, "data": { "ppid": 51 } }).to_string();
    worker
        .process
        .send_payload(header.as_bytes(), Some(&vec![0; MAX_FRAME + 1]));
    // Whatever became of it, the next message is read from its beginning.
    let header = header.replace('7', "8");
    worker.process.send_payload(header.as_bytes(), Some(b"payload"));
    loop {
        let Event::Payload(frame) = worker.event() else {
            panic!("a frame of the PayloadChannel was expected")
        };
        let response: Value = serde_json::from_slice(&frame).unwrap();
        if response["id"] == json!(8) {
            assert!(response.get("error").is_some(), "{response}");
            break;
        }
    }
    assert_eq!(worker.request(1)["id"], json!(1));
}

#[test]
fn a_length_that_never_comes_does_not_disturb() {
    let mut worker = Worker::start();
    worker.process.write(5, &u32::MAX.to_le_bytes());
    assert_eq!(worker.request(1)["id"], json!(1));
}

/// A TCP peer has a while to prove that it is one; half a frame does not keep a connection.
#[test]
fn a_tcp_connection_without_a_proven_peer_is_closed() {
    let mut worker = Worker::start();
    let mut ask = |method: &str, data: Value| {
        let ids = json!({"routerId": "00000000-0000-4000-8000-000000000001", "transportId": "t"});
        let request = json!({"id": 1, "method": method, "internal": ids, "data": data});
        worker.process.send(request.to_string().as_bytes());
        worker.channel()
    };
    ask("worker.createRouter", json!({}));
    let options = json!({"listenIps": [{"ip": "127.0.0.1"}], "enableUdp": false, "enableTcp": true});
    let transport = ask("router.createWebRtcTransport", options);
    let port = transport["data"]["iceCandidates"][0]["port"].as_u64().expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The end, or an error as the bytes were not read: not the time-out.
    match stream.read(&mut [0; 16]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
