use serde_json::{Value, json};
use worker::engine::ports::SocketId;

use crate::world::{World, internal, is_success, peer};

const SOCKET: SocketId = SocketId(1);

/// A world with a server `s` on one UDP socket and one TCP listener.
fn with_server() -> World {
    let mut world = World::new();
    let infos = json!([{"protocol": "udp", "ip": "127.0.0.1", "port": 4000},
        {"protocol": "tcp", "ip": "127.0.0.1", "port": 4000}]);
    world.request(
        "worker.createWebRtcServer",
        json!({"webRtcServerId": "s"}),
        json!({"listenInfos": infos}),
    );
    world
}

fn dump(world: &mut World) -> Value {
    world.request("webRtcServer.dump", json!({"webRtcServerId": "s"}), json!({}))
}

#[test]
fn one_socket_serves_transports_of_many_routers() {
    let mut world = with_server();
    world.request("worker.createRouter", json!({"routerId": "other"}), json!({}));
    let one = world.transport_on_server("t1", json!({}));
    let internal = json!({"routerId": "other", "transportId": "t2", "webRtcServerId": "s"});
    let two = world.request("router.createWebRtcTransportWithServer", internal, json!({}));
    let two = crate::world::Transport::of(&two);
    assert_eq!(world.network.open.len(), 2);
    for (transport, port) in [(&one, 1), (&two, 2)] {
        let answers = world.receive(SOCKET, peer(port), &transport.nominate());
        assert!(is_success(&answers[0].bytes));
        assert_eq!(answers[0].to, peer(port));
    }
    assert_eq!(world.events_of("t1")[0], "selected 1");
    assert_eq!(world.events_of("t2")[0], "selected 2");
    let dump = dump(&mut world);
    assert_eq!(dump["webRtcTransportIds"], json!(["t1", "t2"]));
    assert_eq!(dump["localIceUsernameFragments"].as_array().unwrap().len(), 2);
    // 192.0.2.1, ports 1 and 2.
    let hashes: Vec<_> = [1_u64, 2].map(|port| (port << 48) | 0xc000_0201_0000).into();
    let told: Vec<_> = dump["tupleHashes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["tupleHash"].as_u64().unwrap())
        .collect();
    assert_eq!(told, hashes);
}

/// Threat 24.
#[test]
fn a_check_for_nobody_is_not_answered() {
    let mut world = with_server();
    let mut transport = world.transport_on_server("t", json!({}));
    world.receive(SOCKET, peer(1), &transport.nominate());
    transport.fragment.replace_range(..1, "_");
    for port in [1, 2] {
        assert_eq!(world.receive(SOCKET, peer(port), &transport.nominate()), []);
    }
    assert_eq!(world.receive(SOCKET, peer(9), &[22; 40]), []);
}

/// Threat 17: whose a packet is depends on the whole path and on proof.
#[test]
fn nobody_takes_over_the_path_of_another_session() {
    let mut world = with_server();
    let victim = world.transport_on_server("victim", json!({}));
    let attacker = world.transport_on_server("attacker", json!({}));
    let owner = |world: &mut World| dump(world)["tupleHashes"][0]["webRtcTransportId"].clone();
    world.receive(SOCKET, peer(1), &victim.nominate());
    for _ in 0..10 {
        // Answered, since it is authentic, but the packets of this path stay the victim's.
        assert_eq!(world.receive(SOCKET, peer(1), &attacker.nominate()).len(), 1);
        assert_eq!(owner(&mut world), "victim");
        world.wait(2_500_000);
        world.receive(SOCKET, peer(1), &victim.check());
    }
    // A peer that begins anew from the same port gets it, once the old session is silent.
    world.wait(8_000_000);
    world.receive(SOCKET, peer(1), &attacker.nominate());
    assert_eq!(owner(&mut world), "attacker");
}

#[test]
fn fragments_follow_restarts() {
    let mut world = with_server();
    let old = world.transport_on_server("t", json!({}));
    let fragments = |world: &mut World| -> usize { dump(world)["localIceUsernameFragments"].as_array().unwrap().len() };
    let mut new = old.clone();
    for _ in 0..3 {
        new = crate::world::Transport::of(&world.request("transport.restartIce", internal("t"), json!({})));
        assert_eq!(fragments(&mut world), 2);
    }
    assert_eq!(world.receive(SOCKET, peer(1), &old.check()), []);
    assert_eq!(world.receive(SOCKET, peer(1), &new.check()).len(), 1);
    assert_eq!(fragments(&mut world), 1);
}

#[test]
fn closing_the_server_takes_its_transports_along_and_tells_dependents() {
    let mut world = with_server();
    let transport = world.transport_on_server("t", json!({}));
    world.receive(SOCKET, peer(1), &transport.nominate());
    let connection = world.connect(SocketId(2), peer(5));
    world.receive(connection, peer(5), &transport.check());
    let waiting = world.connect(SocketId(2), peer(6));
    assert!(world.network.open.contains_key(&waiting));
    world.request(
        "router.createDirectTransport",
        internal("d"),
        json!({"direct": true, "maxMessageSize": 1}),
    );
    let mut producer = internal("t");
    producer["producerId"] = "p".into();
    let opus = |payload_type: u8| json!([{"mimeType": "audio/opus", "payloadType": payload_type, "clockRate": 48000}]);
    let produce = json!({"kind": "audio", "rtpParameters": {"codecs": opus(111), "encodings": [{"ssrc": 5}]},
        "rtpMapping": {"codecs": [{"payloadType": 111, "mappedPayloadType": 100}],
            "encodings": [{"ssrc": 5, "mappedSsrc": 6}]}});
    world.request("transport.produce", producer, produce);
    let mut consumer = internal("d");
    consumer["producerId"] = "p".into();
    consumer["consumerId"] = "c".into();
    let consume = json!({"kind": "audio", "type": "simple", "consumableRtpEncodings": [{"ssrc": 6}],
        "rtpParameters": {"codecs": opus(100), "encodings": [{"ssrc": 7}]}});
    world.request("transport.consume", consumer, consume);
    world.told.clear();
    world.request("webRtcServer.close", json!({"webRtcServerId": "s"}), json!({}));
    assert_eq!(world.told, [("c".to_owned(), "producerclose".to_owned(), Value::Null)]);
    assert!(world.network.open.is_empty(), "{:?}", world.network.open);
    let gone = world.try_request("transport.dump", internal("t"), json!({}));
    assert_eq!(gone["error"], "Error");
    assert_eq!(world.receive(SOCKET, peer(1), &transport.nominate()), []);
    world.wait(60_000_000);
}

#[test]
fn closing_a_router_frees_its_transports_on_the_server() {
    let mut world = with_server();
    let transport = world.transport_on_server("t", json!({}));
    world.receive(SOCKET, peer(1), &transport.nominate());
    world.request("router.close", json!({"routerId": "r"}), json!({}));
    let dump = dump(&mut world);
    for key in ["webRtcTransportIds", "localIceUsernameFragments", "tupleHashes"] {
        assert_eq!(dump[key], json!([]), "{key}");
    }
    assert_eq!(world.network.open.len(), 2);
}
