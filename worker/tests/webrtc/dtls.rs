use serde_json::json;
use worker::dtls::Role;
use worker::engine::ports::SocketId;

use crate::peer::Peer;
use crate::world::{World, internal, peer};

/// A ClientHello that offers nothing but the NULL cipher.
fn null_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[1; 32]);
    // No session, no cookie, one suite, no compression.
    body.extend_from_slice(&[0, 0, 0, 2, 0, 0, 1, 0]);
    let length = body.len() as u8;
    let mut packet = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, length + 12];
    packet.extend_from_slice(&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length]);
    packet.extend_from_slice(&body);
    packet
}

/// A fatal alert in the clear.
const ALERT: [u8; 15] = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];

fn garbage() -> Vec<Vec<u8>> {
    let mut packets = vec![
        ALERT.to_vec(),
        vec![22; 13],
        vec![23; 60],
        vec![20; 1400],
        vec![63; 65_000],
    ];
    // A handshake fragment that claims to be 16 MiB long, and one of no length.
    packets.push(vec![
        22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12, 1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    packets.push(vec![
        22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 8, 0, 12, 11, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0,
    ]);
    packets
}

#[test]
fn both_roles_lead_to_keys() {
    for (told, role, local) in [
        ("client", Role::Client, "server"),
        ("server", Role::Server, "client"),
        ("auto", Role::Server, "client"),
    ] {
        let mut world = World::new();
        let mut peer = Peer::new(&mut world, "t", 1, peer(1));
        peer.tell_parent(&mut world, told);
        assert_eq!(world.dump("t")["dtlsParameters"]["role"], local);
        assert_eq!(world.events_of("t"), [] as [&str; 0]);
        peer.start(&world, role);
        world.receive_kept(SocketId(1), peer.address, &peer.transport.nominate());
        // The answer to the check is not for DTLS.
        world.network.sent.remove(0);
        peer.converse(&mut world);
        assert_eq!(
            world.events_of("t"),
            ["selected 1", "ice completed", "dtls connecting", "dtls connected"]
        );
        assert!(peer.sender.is_some());
    }
}

#[test]
fn a_handshake_that_is_over_waits_for_the_fingerprint() {
    let mut world = World::new();
    let mut peer = Peer::new(&mut world, "t", 1, peer(1));
    peer.check(&mut world);
    peer.handshake(&mut world, Role::Client);
    assert!(peer.sender.is_some());
    assert_eq!(world.events_of("t"), ["selected 1", "ice completed", "dtls connecting"]);
    peer.tell_parent(&mut world, "client");
    assert_eq!(world.told[0].2["dtlsState"], "connected");
    let pem = world.told[0].2["dtlsRemoteCert"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n"));
}

#[test]
fn another_role_than_assumed_starts_the_handshake_anew() {
    let mut world = World::new();
    let mut peer = Peer::new(&mut world, "t", 1, peer(1));
    peer.check(&mut world);
    assert_eq!(world.dump("t")["dtlsParameters"]["role"], "server");
    world.told.clear();
    peer.start(&world, Role::Server);
    peer.tell_parent(&mut world, "server");
    peer.converse(&mut world);
    assert_eq!(world.events_of("t"), ["dtls connecting", "dtls connected"]);
}

/// ASVS V17.2.8.
#[test]
fn a_certificate_that_was_not_announced_gets_nothing() {
    let mut world = World::new();
    let (mut speaker, stranger) = (
        Peer::new(&mut world, "t", 1, peer(1)),
        Peer::new(&mut world, "u", 2, peer(2)),
    );
    speaker.check(&mut world);
    world.request("transport.connect", internal("t"), stranger.dtls_parameters("client"));
    speaker.handshake(&mut world, Role::Client);
    assert_eq!(world.events_of("t").last().unwrap(), "dtls failed");
    assert!(speaker.ended);
    speaker.produce(&mut world, 5);
    let packet = speaker.rtp(5, 1, 20);
    assert_eq!(world.receive(SocketId(1), speaker.address, &packet), []);
    let stats = world.request("transport.getStats", internal("t"), json!({}));
    assert_eq!(stats[0]["rtpBytesReceived"], 0);
}

/// Threat 1, ASVS V17.2.6: a ClientHello, or anything else of DTLS, from an address that no check vouches for.
#[test]
fn dtls_of_strangers_is_not_looked_at() {
    let mut world = World::new();
    let mut peer = Peer::new(&mut world, "t", 1, peer(1));
    let stranger = crate::world::peer(666);
    let disturb = |world: &mut World| {
        for packet in garbage().into_iter().chain([null_hello()]) {
            assert_eq!(world.receive(SocketId(1), stranger, &packet), []);
        }
    };
    disturb(&mut world);
    peer.check(&mut world);
    disturb(&mut world);
    peer.tell_parent(&mut world, "client");
    peer.start(&world, Role::Client);
    disturb(&mut world);
    peer.converse(&mut world);
    disturb(&mut world);
    assert_eq!(
        world.events_of("t"),
        ["selected 1", "ice completed", "dtls connecting", "dtls connected"]
    );
    assert!(peer.sender.is_some());
}

/// Threat 1, second half: garbage on the peer's own path, which whoever sees its packets can forge.
#[test]
fn garbage_on_the_path_of_a_session_is_survived() {
    let mut world = World::new();
    let mut peer = Peer::connected(&mut world, "t", 1, peer(1));
    for packet in garbage().into_iter().chain([null_hello()]) {
        world.receive(SocketId(1), peer.address, &packet);
    }
    assert_eq!(world.events_of("t"), [] as [&str; 0]);
    assert_eq!(world.dump("t")["dtlsState"], "connected");
    peer.produce(&mut world, 5);
    let packet = peer.rtp(5, 1, 20);
    world.receive(SocketId(1), peer.address, &packet);
    assert_eq!(world.events_of("p5"), ["score"]);
}

#[test]
fn either_side_may_end_it() {
    let mut world = World::new();
    let mut one = Peer::connected(&mut world, "t", 1, peer(1));
    one.close(&mut world);
    assert_eq!(world.events_of("t"), ["dtls closed"]);
    let mut other = Peer::connected(&mut world, "u", 2, peer(2));
    world.request("transport.close", internal("u"), json!({}));
    assert_eq!(world.events_of("u"), [] as [&str; 0]);
    other.converse(&mut world);
    assert!(other.ended);
}

#[test]
fn a_peer_that_never_speaks_dtls_fails_as_client_only() {
    for (told, last) in [("client", None), ("server", Some("dtls failed"))] {
        let mut world = World::new();
        let peer = Peer::new(&mut world, "t", 1, peer(1));
        peer.tell_parent(&mut world, told);
        peer.check(&mut world);
        world.told.clear();
        for _ in 0..12 {
            world.wait(5_000_000);
            peer.check(&mut world);
        }
        let events = world.events_of("t");
        assert_eq!(events.last().map(String::as_str), last);
    }
}

/// Wake-ups of the past must not plan new ones, or their number grows with every handshake.
#[test]
fn planned_wakes_do_not_pile_up() {
    let mut world = World::new();
    let peers: Vec<_> = (1..=10)
        .map(|number| Peer::connected(&mut world, &format!("t{number}"), number, peer(number as u16)))
        .collect();
    for _ in 0..100 {
        world.wait(2_500_000);
        for peer in &peers {
            peer.check(&mut world);
        }
    }
    // One for consent and one for reports.
    assert!(
        world.engine.planned_wakes() <= 2 * peers.len(),
        "{}",
        world.engine.planned_wakes()
    );
}
