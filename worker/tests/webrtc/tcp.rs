use std::net::SocketAddr;

use serde_json::json;
use worker::engine::ports::SocketId;

use crate::world::{World, is_success, peer};

const LISTENER: SocketId = SocketId(1);

#[test]
fn a_connection_is_a_path_until_it_closes() {
    let mut world = World::new();
    let transport = world.transport("t", json!({"enableUdp": false, "enableTcp": true}));
    let first = world.connect(LISTENER, peer(1));
    let answers = world.receive(first, peer(1), &transport.nominate());
    assert!(is_success(&answers[0].bytes));
    assert_eq!((answers[0].socket, answers[0].to), (first, peer(1)));
    assert_eq!(world.events_of("t"), ["selected 1", "ice completed", "dtls connecting"]);
    assert_eq!(world.dump("t")["iceSelectedTuple"]["protocol"], "tcp");
    let second = world.connect(LISTENER, peer(2));
    world.receive(second, peer(2), &transport.check());
    world.disconnect(first);
    assert_eq!(world.events_of("t"), ["selected 2"]);
    world.disconnect(second);
    assert_eq!(world.events_of("t"), ["ice disconnected"]);
    assert_eq!(world.network.open.len(), 1);
}

/// Threat 23: connections that say nothing, or nothing true, are bounded.
#[test]
fn connections_without_a_proven_peer_make_room_for_newer_ones() {
    let mut world = World::new();
    let transport = world.transport("t", json!({"enableUdp": false, "enableTcp": true}));
    let good = world.connect(LISTENER, peer(1));
    world.receive(good, peer(1), &transport.nominate());
    for port in 2..2000 {
        let connection = world.connect(LISTENER, peer(port));
        assert_eq!(
            world.receive(connection, peer(port), &transport.check_with(&[], "guess")),
            []
        );
    }
    assert!(world.network.open.contains_key(&good));
    assert!(world.network.open.len() <= 2 + 64, "{}", world.network.open.len());
    let late = world.connect(LISTENER, peer(5000));
    assert_eq!(world.receive(late, peer(5000), &transport.nominate()).len(), 1);
}

/// One address with many connections does not push out that of another.
#[test]
fn whoever_opens_many_connections_pushes_out_its_own() {
    let mut world = World::new();
    let transport = world.transport("t", json!({"enableUdp": false, "enableTcp": true}));
    let other = SocketAddr::from(([198, 51, 100, 7], 4000));
    let patient = world.connect(LISTENER, other);
    for port in 1..500 {
        world.connect(LISTENER, peer(port));
    }
    assert!(world.network.open.contains_key(&patient));
    assert!(world.engine.is_unproven(patient));
    assert_eq!(world.receive(patient, other, &transport.nominate()).len(), 1);
    assert!(!world.engine.is_unproven(patient));
}

#[test]
fn a_path_too_many_closes_its_connection() {
    let mut world = World::new();
    let transport = world.transport("t", json!({"enableUdp": false, "enableTcp": true}));
    for port in 1..50 {
        let connection = world.connect(LISTENER, peer(port));
        world.receive(connection, peer(port), &transport.check());
    }
    assert_eq!(world.network.open.len(), 1 + 8);
    world.wait(31_000_000);
    assert_eq!(world.network.open.len(), 1);
    assert!(world.events_of("t").contains(&"ice disconnected".to_owned()));
}

#[test]
fn a_connection_to_no_listener_is_closed_at_once() {
    let mut world = World::new();
    world.transport("t", json!({}));
    let udp = SocketId(1);
    let connection = world.connect(udp, peer(1));
    assert!(!world.network.open.contains_key(&connection));
    world.disconnect(connection);
}
