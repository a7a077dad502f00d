use serde_json::json;
use worker::engine::ports::SocketId;

use crate::world::{World, internal, is_success, peer};

const SOCKET: SocketId = SocketId(1);

#[test]
fn events_come_in_the_order_that_clients_know() {
    let mut world = World::new();
    let transport = world.transport("t", json!({}));
    let answer = world.receive(SOCKET, peer(1), &transport.check());
    assert_eq!(answer.len(), 1);
    assert!(is_success(&answer[0].bytes));
    assert_eq!((answer[0].socket, answer[0].to), (SOCKET, peer(1)));
    assert_eq!(world.events_of("t"), ["selected 1", "ice connected", "dtls connecting"]);
    world.receive(SOCKET, peer(2), &transport.nominate());
    assert_eq!(world.events_of("t"), ["selected 2", "ice completed"]);
    let dump = world.dump("t");
    assert_eq!(dump["iceState"], "completed");
    assert_eq!(dump["dtlsState"], "connecting");
    assert_eq!(dump["dtlsParameters"]["role"], "server");
    let selected = json!({"localIp": "127.0.0.1", "localPort": 20_001, "remoteIp": "192.0.2.1", "remotePort": 2,
        "protocol": "udp"});
    assert_eq!(dump["iceSelectedTuple"], selected);
}

#[test]
fn every_address_gets_a_candidate_for_each_protocol() {
    let mut world = World::new();
    let listen_ips = json!([{"ip": "127.0.0.1", "announcedIp": "203.0.113.5"}, {"ip": "::1"}, {"ip": "10.0.0.1"}]);
    let data = json!({"listenIps": listen_ips, "enableUdp": true, "enableTcp": true, "preferUdp": true});
    let dump = world.request("router.createWebRtcTransport", internal("t"), data);
    let candidates: Vec<_> = dump["iceCandidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| {
            let text = |key: &str| candidate[key].as_str().unwrap_or("-").to_owned();
            (
                text("protocol"),
                text("ip"),
                text("tcpType"),
                candidate["priority"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("udp", "203.0.113.5", "-", 1_076_558_079),
        ("tcp", "203.0.113.5", "passive", 1_076_302_079),
        ("udp", "::1", "-", 1_076_532_479),
        ("tcp", "::1", "passive", 1_076_276_479),
        ("udp", "10.0.0.1", "-", 1_076_506_879),
        ("tcp", "10.0.0.1", "passive", 1_076_250_879),
    ]
    .map(|(protocol, ip, tcp, priority)| (protocol.to_owned(), ip.to_owned(), tcp.to_owned(), priority));
    assert_eq!(candidates, expected);
    assert_eq!(world.network.open.len(), 6);
    world.request("transport.close", internal("t"), json!({}));
    assert!(world.network.open.is_empty());
}

#[test]
fn a_port_that_is_taken_leaves_no_socket_open() {
    let mut world = World::new();
    world.network.taken = Some(7);
    let data = json!({"listenIps": [{"ip": "127.0.0.1"}], "enableTcp": true, "port": 7});
    let refused = world.try_request("router.createWebRtcTransport", internal("t"), data);
    assert_eq!(refused["error"], "Error");
    let infos =
        json!([{"protocol": "udp", "ip": "127.0.0.1", "port": 6}, {"protocol": "tcp", "ip": "127.0.0.1", "port": 7}]);
    let refused = world.try_request(
        "worker.createWebRtcServer",
        json!({"webRtcServerId": "s"}),
        json!({"listenInfos": infos}),
    );
    assert_eq!(refused["error"], "Error");
    assert!(world.network.open.is_empty());
}

/// Threats 7 and 24.
#[test]
fn strangers_get_no_answer_and_leave_no_trace() {
    let mut world = World::new();
    let transport = world.transport("t", json!({}));
    let mut unknown = transport.clone();
    unknown.fragment = "x".repeat(32);
    let mut bare = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bare.extend_from_slice(&[9; 12]);
    for packet in [
        bare,
        transport.check_with(&[], "guess"),
        unknown.check(),
        b"hello".to_vec(),
        vec![],
        vec![0x80; 2000],
        vec![22; 100],
        vec![0xff; 65_535],
    ] {
        assert_eq!(world.receive(SOCKET, peer(1), &packet), []);
    }
    assert_eq!(world.events_of("t"), [] as [&str; 0]);
    assert_eq!(world.dump("t")["iceState"], "new");
    let stats = world.request("transport.getStats", internal("t"), json!({}));
    assert_eq!(stats[0]["bytesSent"], 0);
}

#[test]
fn a_peer_that_falls_silent_is_disconnected_and_may_come_back() {
    let mut world = World::new();
    let transport = world.transport("t", json!({}));
    world.receive(SOCKET, peer(1), &transport.nominate());
    for _ in 0..10 {
        world.wait(20_000_000);
        world.receive(SOCKET, peer(1), &transport.nominate());
    }
    world.events_of("t");
    world.wait(29_999_999);
    assert!(!world.events_of("t").contains(&"ice disconnected".to_owned()));
    world.wait(1);
    assert!(world.events_of("t").contains(&"ice disconnected".to_owned()));
    assert!(world.dump("t").get("iceSelectedTuple").is_none());
    world.receive(SOCKET, peer(1), &transport.check());
    assert_eq!(world.events_of("t")[..2], ["selected 1", "ice connected"]);
}

#[test]
fn restarting_ice_keeps_the_session() {
    let mut world = World::new();
    let old = world.transport("t", json!({}));
    world.receive(SOCKET, peer(1), &old.nominate());
    let new = world.request("transport.restartIce", internal("t"), json!({}));
    let new = crate::world::Transport::of(&new);
    assert_ne!(new.fragment, old.fragment);
    world.events_of("t");
    for (transport, good) in [(&old, true), (&new, true), (&old, false), (&new, true)] {
        let answers = world.receive(SOCKET, peer(1), &transport.check());
        assert_eq!(answers.len(), usize::from(good));
    }
    assert_eq!(world.events_of("t"), [] as [&str; 0]);
    assert_eq!(world.dump("t")["iceState"], "completed");
}
