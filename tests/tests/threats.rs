//! Attacks of those who have no credentials of a session, or only those of one. Sessions of others, and the session
//! that is attacked, survive; nothing is sent to those who proved nothing; what is held stays bounded.
//!
//! SECURITY.md lists all threats with the tests that show what comes of them; here are those on whole sessions.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tests::memory::{Counting, held};
use tests::simulator::Simulation;
use tests::simulator::network::{Arrival, Protocol};
use tests::simulator::peer::OPUS;
use worker::dtls::{Association, Certificate, Event, Role};
use worker::srtp::SrtpSender;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: u64 = 1_000_000;
const SSRC: u32 = 1111;
/// Bytes that an attack may make the engine hold.
const SLACK: isize = 256 * 1024;

/// A sender and a receiver, not connected yet.
fn pair(seed: u64, on_server: bool) -> Simulation {
    let mut simulation = Simulation::new(seed);
    if on_server {
        simulation.add_server();
    }
    for active in [true, false] {
        simulation.add_peer(Protocol::Udp, active, on_server);
    }
    simulation.produce(0, SSRC);
    simulation.consume(1, 0, SSRC, 2222);
    simulation
}

fn connected(seed: u64, on_server: bool) -> Simulation {
    let mut simulation = pair(seed, on_server);
    connect(&mut simulation, seed);
    simulation
}

#[track_caller]
fn connect(simulation: &mut Simulation, seed: u64) {
    let done = simulation.run_until(30 * SECOND, |simulation| {
        simulation.peers.iter().all(|peer| peer.connected)
    });
    assert!(done, "seed {seed}: {:?}", simulation.told);
    simulation.run(SECOND);
}

/// Peer 0 sends some packets, and peer 1 gets them all.
#[track_caller]
fn assert_alive(simulation: &mut Simulation, seed: u64) {
    simulation.peers[1].received.clear();
    for number in 0..50_u16 {
        let now = simulation.now();
        simulation.peers[0].send(SSRC, &number.to_be_bytes().repeat(40), now);
        simulation.run(20_000);
    }
    simulation.run(SECOND);
    assert_eq!(simulation.peers[1].received.len(), 50, "seed {seed}");
    let ends = |(_, _, _, data): &(u64, String, String, Value)| {
        matches!(data["dtlsState"].as_str(), Some("closed" | "failed")) || data["iceState"] == "disconnected"
    };
    assert!(!simulation.told.iter().any(ends), "seed {seed}: {:?}", simulation.told);
}

/// Address of the transport of a peer.
fn transport_address(simulation: &mut Simulation, peer: usize) -> SocketAddr {
    let internal = json!({ "routerId": "r", "transportId": format!("t{peer}") });
    let dump = simulation.request("transport.dump", internal, json!({}));
    let port = dump["iceCandidates"][0]["port"].as_u64().expect("a port");
    SocketAddr::from(([10, 0, 0, 1], port as u16))
}

fn stranger(number: u32) -> SocketAddr {
    SocketAddr::from((
        0x0b00_0000_u32.wrapping_add(number / 60_000).to_be_bytes(),
        (number % 60_000) as u16 + 1000,
    ))
}

/// Packets of DTLS: a ClientHello that offers nothing but the NULL cipher, alerts, fragments that lie, noise.
fn hostile_dtls(rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    let record = |kind: u8, body: &[u8]| {
        let mut bytes = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5];
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    };
    let fragment = |kind: u8, length: [u8; 3], offset: [u8; 3], size: [u8; 3], body: &[u8]| {
        record(22, &[&[kind][..], &length, &[0, 0], &offset, &size, body].concat())
    };
    let hello = [&[0xfe, 0xfd][..], &[1; 32], &[0, 0, 0, 2, 0, 0, 1, 0]].concat();
    let size = [0, 0, hello.len() as u8];
    let mut noise = vec![0; 600];
    rng.fill_bytes(&mut noise);
    noise[0] = 20 + noise[0] % 44;
    vec![
        fragment(1, size, [0; 3], size, &hello),
        record(21, &[2, 40]),
        record(21, &[1, 0]),
        record(20, &[1]),
        record(23, b"data"),
        // A message of 16 MiB, of which a byte comes; one of which nothing comes; one beyond its end.
        fragment(11, [0xff; 3], [0; 3], [0, 0, 1], &[0]),
        fragment(11, [0, 0, 9], [0, 0, 4], [0; 3], &[]),
        fragment(12, [0, 0, 9], [0, 0, 8], [0, 0, 4], &[0; 4]),
        noise,
    ]
}

/// Threat 1, ASVS V17.2.6.
#[test]
fn client_hello_race() {
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = pair(seed, seed % 2 == 0);
        let before = simulation.network.bytes_to(stranger(1));
        // Before, during and after the handshake, many times.
        for _ in 0..60 {
            for peer in 0..2 {
                let to = transport_address(&mut simulation, peer);
                for mut packet in hostile_dtls(&mut rng) {
                    simulation.receive(to, stranger(1), Protocol::Udp, &mut packet);
                }
            }
            simulation.run(5_000);
        }
        connect(&mut simulation, seed);
        assert_eq!(
            simulation.network.bytes_to(stranger(1)),
            before,
            "seed {seed}: answered"
        );
        assert_alive(&mut simulation, seed);
    }
}

/// Threat 1 from the address of the peer itself, as one may forge it who sees its packets. It may disturb a handshake
/// that is going on, but not a session.
#[test]
fn garbage_dtls_from_the_peers_own_address() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = connected(seed, seed % 2 == 0);
        for peer in 0..2 {
            let (to, from) = (
                transport_address(&mut simulation, peer),
                simulation.peers[peer].public_address,
            );
            let before = held();
            for _ in 0..500 {
                for mut packet in hostile_dtls(&mut rng) {
                    simulation.receive(to, from, Protocol::Udp, &mut packet);
                }
            }
            simulation.run(SECOND);
            assert!(held() - before < SLACK, "seed {seed}: {} bytes", held() - before);
        }
        assert_alive(&mut simulation, seed);
    }
}

/// A binding request with this user name and an integrity that nobody made.
fn binding(rng: &mut ChaCha8Rng, username: &[u8], integrity: bool) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut put = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend((value.len() as u16).to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    put(0x0006, username);
    put(0x0024, &[0x6e, 0, 1, 0xff]);
    put(0x802a, &[7; 8]);
    put(0x0025, &[]);
    if integrity {
        put(0x0008, &rng.random::<[u8; 20]>());
    }
    let mut message = vec![0, 1];
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend(rng.random::<[u8; 12]>());
    message.extend(attributes);
    message
}

/// Threats 7, 10 and 24: whatever is not authentic gets no answer, leaves no trace, and costs no memory.
#[test]
fn stun_floods_and_malformed_stun() {
    for (seed, on_server) in [(1, false), (2, true)] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = connected(seed, on_server);
        let internal = json!({ "routerId": "r", "transportId": "t0" });
        let dump = simulation.request("transport.dump", internal, json!({}));
        let fragment = dump["iceParameters"]["usernameFragment"].as_str().expect("text");
        let known = format!("{fragment}:peer").into_bytes();
        let to = transport_address(&mut simulation, 0);
        let before = (held(), simulation.network.sent);
        for number in 0..20_000 {
            let from = stranger(number);
            let mut message = match number % 5 {
                0 => binding(&mut rng, &known, true),
                1 => binding(&mut rng, &known, false),
                2 => binding(&mut rng, b"nobody:peer", true),
                3 => binding(&mut rng, &vec![b'a'; 600], true),
                _ => {
                    let mut message = binding(&mut rng, &known, true);
                    let at = rng.random_range(0..message.len());
                    message[at] ^= 1 << rng.random_range(0..8);
                    message.truncate(rng.random_range(0..=message.len()));
                    message
                }
            };
            simulation.receive(to, from, Protocol::Udp, &mut message);
        }
        assert_eq!(simulation.network.sent, before.1, "seed {seed}: answered");
        assert!(held() - before.0 < SLACK, "seed {seed}: {} bytes", held() - before.0);
        // From the peer's own address too.
        let from = simulation.peers[0].public_address;
        for _ in 0..1000 {
            let mut message = binding(&mut rng, &known, true);
            simulation.receive(to, from, Protocol::Udp, &mut message);
        }
        assert_eq!(simulation.network.sent, before.1, "seed {seed}: answered");
        assert_alive(&mut simulation, seed);
    }
}

/// Threat 7: no type of message makes the worker send anything to somebody who proved nothing.
#[test]
fn stun_reflection() {
    let mut simulation = connected(3, true);
    let to = transport_address(&mut simulation, 0);
    let sent = simulation.network.sent;
    for kind in 0..0x4000_u16 {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
        message.extend(b"transaction!");
        simulation.receive(to, stranger(u32::from(kind)), Protocol::Udp, &mut message);
    }
    assert_eq!(simulation.network.sent, sent);
    assert_alive(&mut simulation, 3);
}

/// Packets of SRTP that peer 0 sends, as they are on the wire.
fn captured(simulation: &mut Simulation, count: u16) -> Vec<Arrival> {
    simulation.network.tap = Some(Vec::new());
    for number in 0..count {
        let now = simulation.now();
        simulation.peers[0].send(SSRC, &number.to_be_bytes().repeat(40), now);
        simulation.run(20_000);
    }
    simulation.run(SECOND);
    let mut packets = simulation.network.tap.take().unwrap_or_default();
    let from = simulation.peers[0].public_address;
    packets
        .retain(|packet| packet.from == from && matches!(packet.bytes[0], 128..192) && packet.bytes[1] & 0x7f == OPUS);
    packets
}

/// Threat 4, ASVS V17.2.3 to 5: packets that are forged, from the peer's address and from others.
#[test]
fn srtp_forgeries() {
    let mut simulation = connected(4, false);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let packets = captured(&mut simulation, 40);
    assert!(packets.len() >= 40);
    let received = simulation.peers[1].received.len();
    assert_eq!(received, 40);
    let before = held();
    for number in 0..60_000 {
        let packet = &packets[rng.random_range(0..packets.len())];
        let mut bytes = packet.bytes.clone();
        // The sequence number or SSRC of another packet, or any bit.
        match number % 3 {
            0 => bytes[2..4].copy_from_slice(&rng.random::<[u8; 2]>()),
            1 => bytes[8..12].copy_from_slice(&rng.random::<[u8; 4]>()),
            _ => {}
        }
        let at = rng.random_range(12..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        let from = if number % 2 == 0 { packet.from } else { stranger(number) };
        simulation.receive(packet.to, from, Protocol::Udp, &mut bytes);
    }
    simulation.run(SECOND);
    assert!(held() - before < SLACK, "{} bytes", held() - before);
    assert_eq!(
        simulation.peers[1].received.len(),
        received,
        "nothing forged got through"
    );
    assert_alive(&mut simulation, 4);
}

/// Threat 4: packets that were sent, again.
#[test]
fn srtp_replays() {
    let mut simulation = connected(5, false);
    let packets = captured(&mut simulation, 200);
    assert!(packets.len() >= 200);
    assert_eq!(simulation.peers[1].received.len(), 200);
    let internal = json!({ "routerId": "r", "transportId": "t0" });
    let stats = |simulation: &mut Simulation| {
        let stats = simulation.request("transport.getStats", internal.clone(), json!({}));
        stats[0]["rtpBytesReceived"].as_u64().expect("a number")
    };
    let before = stats(&mut simulation);
    for _ in 0..5 {
        for packet in &packets {
            for from in [packet.from, stranger(1)] {
                simulation.receive(packet.to, from, Protocol::Udp, &mut packet.bytes.clone());
            }
        }
    }
    simulation.run(SECOND);
    assert_eq!(stats(&mut simulation), before, "nothing replayed was accepted");
    assert_eq!(simulation.peers[1].received.len(), 200);
    assert_alive(&mut simulation, 5);
}

/// Threat 23, in the engine: connections without a proven peer are bounded, and push out each other only.
#[test]
fn connection_floods() {
    let mut simulation = Simulation::new(6);
    simulation.add_server();
    for active in [true, false] {
        simulation.add_peer(Protocol::Tcp, active, true);
    }
    simulation.produce(0, SSRC);
    simulation.consume(1, 0, SSRC, 2222);
    connect(&mut simulation, 6);
    let to = SocketAddr::from(([10, 0, 0, 1], 4444));
    let before = held();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut most = 0;
    for number in 0..20_000 {
        let message = binding(&mut rng, b"nobody:peer", true);
        simulation.network.send(Arrival {
            from: stranger(number),
            to,
            protocol: Protocol::Tcp,
            bytes: message,
        });
        if number % 100 == 0 {
            simulation.run(30_000);
            most = most.max(simulation.network.open_sockets());
        }
    }
    assert!(most < 1000, "{most} sockets");
    assert!(held() - before < 4 * SLACK, "{} bytes", held() - before);
    assert_alive(&mut simulation, 6);
}

/// Threat 9: a plain transport that learns its peer learns it from authentic packets only, and once.
#[test]
fn comedia_latching() {
    let mut simulation = Simulation::new(7);
    let suite = SrtpCryptoSuite::AeadAes128Gcm;
    let internal = json!({ "routerId": "r", "transportId": "plain" });
    let options = json!({ "listenIp": { "ip": "10.0.0.1" }, "rtcpMux": true, "comedia": true,
        "enableSrtp": true, "srtpCryptoSuite": suite.as_str() });
    let dump = simulation.request("router.createPlainTransport", internal.clone(), options);
    let to = SocketAddr::from((
        [10, 0, 0, 1],
        dump["tuple"]["localPort"].as_u64().expect("a port") as u16,
    ));
    let key = vec![3; suite.master_length()];
    let parameters = json!({ "srtpParameters": { "cryptoSuite": suite.as_str(), "keyBase64": STANDARD.encode(&key) } });
    simulation.request("transport.connect", internal.clone(), parameters);
    simulation.produce_video("plain", "v", &[SSRC], 0);
    let mut sender = SrtpSender::new(suite, &key).expect("a key");
    let mut packet = |sequence: u8| {
        let mut packet = vec![0x80, 96, 0, sequence, 0, 0, 0, 9];
        packet.extend(SSRC.to_be_bytes());
        packet.extend([0x10, 0, 1, 2, 3]);
        sender.protect_rtp(&mut packet, 0, 12).expect("a packet");
        packet
    };
    let peer_of = |simulation: &mut Simulation| {
        let dump = simulation.request("transport.dump", internal.clone(), json!({}));
        dump["tuple"].get("remotePort").and_then(Value::as_u64)
    };
    let mut forged = packet(1);
    forged[14] ^= 1;
    simulation.receive(to, stranger(1), Protocol::Udp, &mut forged);
    assert_eq!(peer_of(&mut simulation), None, "learnt from a forged packet");
    simulation.receive(to, stranger(2), Protocol::Udp, &mut packet(2));
    assert_eq!(peer_of(&mut simulation), Some(u64::from(stranger(2).port())));
    simulation.receive(to, stranger(3), Protocol::Udp, &mut packet(3));
    assert_eq!(
        peer_of(&mut simulation),
        Some(u64::from(stranger(2).port())),
        "learnt twice"
    );
}

/// Threat 19: a peer that makes up SSRCs is given room for few.
#[test]
fn ssrc_flood() {
    let mut simulation = Simulation::new(8);
    simulation.add_sender(SSRC, 0);
    simulation.run(SECOND);
    let (from, to) = (simulation.senders[0].address, simulation.senders[0].to);
    let before = held();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for _ in 0..100_000 {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 9];
        packet.extend(rng.random::<[u8; 4]>());
        // The MID of the producer, as element 1 of 5 bytes.
        packet.extend([0xbe, 0xde, 0, 2, 0x14]);
        packet.extend(b"video\0\0");
        packet.extend([0x10, 0, 1, 2]);
        simulation.receive(to, from, Protocol::Udp, &mut packet);
    }
    let internal = json!({ "routerId": "r", "transportId": "in0" });
    let dump = simulation.request("transport.dump", internal, json!({}));
    let table = dump["rtpListener"]["ssrcTable"].as_object().expect("a table");
    assert!(table.len() <= 64, "{} SSRCs", table.len());
    assert!(held() - before < SLACK, "{} bytes", held() - before);
}

/// Threat 5: no explicit nonce of AES-GCM is used twice on a DTLS connection, whatever is repeated.
#[test]
fn dtls_nonces() {
    let certificate = || Rc::new(Certificate::generate().expect("a certificate"));
    let mut now = SECOND;
    let mut ends = [
        Association::new(certificate(), Role::Client, now),
        Association::new(certificate(), Role::Server, now),
    ];
    let mut nonces: [BTreeSet<Vec<u8>>; 2] = Default::default();
    let mut sealed = [0, 0];
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut connected = [false, false];
    for _ in 0..400 {
        for side in 0..2 {
            while let Some(packet) = ends[side].poll_output() {
                for record in records(&packet).filter(|record| record[3..5] != [0, 0]) {
                    sealed[side] += 1;
                    nonces[side].insert(record[13..21].to_vec());
                }
                if rng.random_range(0..4) > 0 {
                    ends[1 - side].handle(&packet, now);
                }
            }
            while let Some(event) = ends[side].poll_event() {
                connected[side] |= matches!(event, Event::Connected(_));
            }
            if connected[side] {
                ends[side].send(b"the same", now);
            }
        }
        now += 100_000;
        ends.iter_mut().for_each(|end| end.handle_timeout(now));
    }
    assert_eq!(connected, [true, true]);
    for side in 0..2 {
        assert!(sealed[side] > 200, "{sealed:?}");
        assert_eq!(nonces[side].len(), sealed[side], "side {side}");
    }
}

/// The records of a datagram.
fn records(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = 13 + usize::from(u16::from_be_bytes([*datagram.get(11)?, *datagram.get(12)?]));
        let (record, rest) = datagram.split_at_checked(length)?;
        datagram = rest;
        Some(record)
    })
}
