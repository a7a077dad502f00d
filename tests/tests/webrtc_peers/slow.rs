//! Threat 23: strangers with TCP connections, who announce much and send little.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use str0m::net::Protocol;

use crate::world::World;

/// More than the worker lets wait.
const STRANGERS: usize = 600;

/// Descriptors that a process has open, and its resident memory in KiB.
fn usage(pid: u64) -> (usize, u64) {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
    (descriptors, kibibytes.expect("a number"))
}

#[test]
fn slow_tcp_frames_and_connection_floods() {
    let mut world = World::new();
    let peer = world.add_peer(Protocol::Tcp, true);
    world.run_until("a session", |world| world.peers[peer].connected);
    let pid = world.request("worker.dump", json!({}), json!({}))["pid"]
        .as_u64()
        .expect("a pid");
    let internal = json!({"transportId": world.peers[peer].transport});
    let dump = world.request("transport.dump", internal, json!({}));
    let port = dump["iceCandidates"][0]["port"].as_u64().expect("a port") as u16;
    let before = usage(pid);

    let mut strangers: Vec<TcpStream> = Vec::new();
    for number in 0..STRANGERS {
        let mut stranger = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        // The longest frame there is; of it comes a part, byte by byte.
        let _ = stranger.write_all(&[0xff, 0xff]);
        let _ = stranger.write_all(&vec![number as u8; number % 50]);
        strangers.push(stranger);
        if number % 50 == 0 {
            world.run_for(Duration::from_millis(20));
        }
    }
    for _ in 0..10 {
        for stranger in &mut strangers {
            let _ = stranger.write_all(&[0]);
        }
        world.run_for(Duration::from_millis(20));
    }
    world.run_until("closed connections", |_| usage(pid).0 < before.0 + STRANGERS / 2);
    let after = usage(pid);
    assert!(after.1 < before.1 + 32 * 1024, "from {} to {} KiB", before.1, after.1);
    // The first ones had to go.
    strangers[0]
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let end = strangers[0].read(&mut [0; 1]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");

    let answers = world.peers[peer].answers;
    world.run_until("answers to checks", |world| world.peers[peer].answers > answers + 1);
    assert!(!world.peers[peer].closed);
}
