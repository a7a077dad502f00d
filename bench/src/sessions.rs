//! WebRTC sessions: what it costs a worker to take one in, and to keep it while nothing is sent.
//!
//! All transports are on one WebRtcServer. A peer here does what a browser does first: an ICE check that nominates its
//! path, then a DTLS handshake as the client. The costs of creating the transport over the channel are included.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_lc_rs::hmac;
use clap::Args;
use serde_json::{Value, json};
use worker::dtls::{Association, Certificate, Event, Role};

use crate::cpu;
use crate::worker::Worker;

/// Port of the WebRtcServer.
const PORT: u16 = 44_777;
/// Handshakes that run at the same time.
const AT_ONCE: usize = 32;
/// How long a batch of handshakes may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// From the last handshake to the measurement of memory: what was only needed for handshakes is gone then.
const SETTLE: Duration = Duration::from_secs(2);

/// What is measured.
#[derive(Debug, Args)]
pub struct SessionsArguments {
    /// A worker binary; may be repeated
    #[arg(long, value_name = "PATH", required = true)]
    worker: Vec<PathBuf>,
    /// How many sessions
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    sessions: u32,
}

/// One end of a session.
struct Peer {
    socket: UdpSocket,
    association: Association,
    check: Vec<u8>,
    checked: bool,
    connected: bool,
}

/// Measures every worker, and prints what came out.
///
/// # Errors
/// A worker cannot be started, or a session does not come up.
pub fn measure(arguments: &SessionsArguments) -> Result<()> {
    println!("{}", cpu::machine());
    println!("| worker | sessions | CPU per session | sessions per second of CPU | memory per session |");
    println!("|---|---|---|---|---|");
    for binary in &arguments.worker {
        let (cpu, memory) = measure_one(binary, arguments.sessions)?;
        let sessions = f64::from(arguments.sessions);
        println!(
            "| {} | {sessions} | {:.2} ms | {:.0} | {:.1} KiB |",
            binary.display(),
            cpu.as_secs_f64() * 1000.0 / sessions,
            sessions / cpu.as_secs_f64(),
            memory as f64 / 1024.0 / sessions,
        );
    }
    Ok(())
}

/// CPU time and resident memory in bytes that all sessions took.
fn measure_one(binary: &Path, sessions: u32) -> Result<(Duration, u64)> {
    let mut worker = Worker::spawn(binary)?;
    worker.request(
        "worker.createWebRtcServer",
        json!({"webRtcServerId": "server"}),
        Some(json!({"listenInfos": [{"protocol": "udp", "ip": "127.0.0.1", "port": PORT}]})),
    )?;
    let certificate = Rc::new(Certificate::generate().context("cannot make a certificate")?);
    let pid = worker.pid();
    let (cpu_before, memory_before) = (cpu::cpu_time(pid)?, cpu::resident_memory(pid)?);
    // Kept until the end: a closed socket would answer with ICMP errors.
    let mut sockets = Vec::new();
    let mut next = 0;
    while next < sessions {
        let batch = (next..sessions).take(AT_ONCE);
        let mut peers = batch
            .map(|index| join(&mut worker, index, &certificate))
            .collect::<Result<Vec<_>>>()?;
        next += peers.len() as u32;
        connect(&mut peers)?;
        sockets.extend(peers.into_iter().map(|peer| peer.socket));
        eprint!("\r{next}/{sessions}");
    }
    eprintln!();
    std::thread::sleep(SETTLE);
    let cpu = cpu::cpu_time(pid)?.saturating_sub(cpu_before);
    let memory = cpu::resident_memory(pid)?.saturating_sub(memory_before);
    Ok((cpu, memory))
}

/// Creates a transport and its peer.
fn join(worker: &mut Worker, index: u32, certificate: &Rc<Certificate>) -> Result<Peer> {
    let id = format!("session-{index}");
    let internal = json!({"routerId": "router", "transportId": id, "webRtcServerId": "server"});
    let dump = worker.request(
        "router.createWebRtcTransportWithServer",
        internal.clone(),
        Some(json!({"enableUdp": true, "enableTcp": false, "preferUdp": false, "preferTcp": false})),
    )?;
    let fingerprint = &certificate.fingerprints()[2];
    let parameters = json!({"role": "client", "fingerprints": [fingerprint]});
    worker.request(
        "transport.connect",
        internal,
        Some(json!({"dtlsParameters": parameters})),
    )?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (fragment, password) = (
        text(&dump["iceParameters"]["usernameFragment"]),
        text(&dump["iceParameters"]["password"]),
    );
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], PORT)))?;
    socket.set_nonblocking(true)?;
    Ok(Peer {
        socket,
        association: Association::new(Rc::clone(certificate), Role::Client, 0),
        check: check(&format!("{fragment}:peer"), password.as_bytes(), index),
        checked: false,
        connected: false,
    })
}

/// Lets peers connect.
fn connect(peers: &mut [Peer]) -> Result<()> {
    let begin = Instant::now();
    let mut buffer = [0; 2048];
    for peer in peers.iter() {
        peer.socket.send(&peer.check)?;
    }
    while peers.iter().any(|peer| !peer.connected) {
        if begin.elapsed() > PATIENCE {
            bail!("sessions do not come up");
        }
        for peer in peers.iter_mut().filter(|peer| !peer.connected) {
            let now = begin.elapsed().as_micros() as u64;
            while let Ok(length) = peer.socket.recv(&mut buffer) {
                let packet = buffer.get(..length).unwrap_or_default();
                // Its first two bits tell STUN from DTLS (RFC 7983).
                match packet.first() {
                    Some(0..4) => peer.checked = true,
                    _ => peer.association.handle(packet, now),
                }
            }
            peer.association.handle_timeout(now);
            if peer.checked {
                while let Some(packet) = peer.association.poll_output() {
                    peer.socket.send(&packet)?;
                }
            }
            while let Some(event) = peer.association.poll_event() {
                match event {
                    Event::Connected(_) => peer.connected = true,
                    Event::Failed | Event::Closed => bail!("a handshake failed"),
                    Event::Data(_) => {}
                }
            }
        }
        // Processor time is what is measured, so there is no hurry.
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// A binding request (RFC 8489, RFC 8445) that nominates.
fn check(username: &str, password: &[u8], number: u32) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend_from_slice(b"bench...");
    message.extend_from_slice(&number.to_be_bytes());
    attribute(&mut message, 0x0006, username.as_bytes());
    attribute(&mut message, 0x0024, &1_853_824_767_u32.to_be_bytes());
    attribute(&mut message, 0x802a, &u64::from(number).to_be_bytes());
    attribute(&mut message, 0x0025, &[]);
    // The length counts what is being added.
    set_length(&mut message, 24);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let integrity = hmac::sign(&key, &message);
    attribute(&mut message, 0x0008, integrity.as_ref());
    set_length(&mut message, 8);
    let fingerprint = crc32fast::hash(&message) ^ 0x5354_554e;
    attribute(&mut message, 0x8028, &fingerprint.to_be_bytes());
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
    set_length(message, 0);
}

fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - 20 + more) as u16;
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
