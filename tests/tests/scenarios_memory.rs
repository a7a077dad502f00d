//! What was created and closed leaves nothing behind: no object in a dump, no socket, no timer, no byte.

use serde_json::{Value, json};
use tests::memory::{Counting, held};
use tests::simulator::Simulation;
use tests::simulator::media::Sender;
use tests::simulator::network::Protocol;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: u64 = 1_000_000;
/// Longest time after which an object that was closed may still have a timer, in microseconds.
const SETTLED: u64 = 60 * SECOND;
/// Bytes that tables of the engine, which keep their capacity, may hold more than before.
const SLACK: isize = 64 * 1024;

fn internal(key: &str, id: &str) -> Value {
    json!({ "routerId": "r", "transportId": "x", key: id })
}

/// Makes one of each kind of object, lets media flow, and closes them, each in one of the ways that there are.
fn cycle(simulation: &mut Simulation, number: usize) {
    let ip = json!({ "ip": "10.0.0.1" });
    let of = |transport: &str| json!({ "routerId": "r", "transportId": transport });
    let to = simulation.plain_transport("in0", None);
    simulation.produce_video("in0", "v0", &[1111], 1000);
    simulation.plain_transport("out0", Some("10.3.0.1:5000".parse().expect("an address")));
    simulation.consume_video("out0", "w0", "v0", &[1111], 2222);
    let web = json!({ "listenIps": [ip], "enableTcp": true, "enableSctp": true,
        "numSctpStreams": { "OS": 1024, "MIS": 1024 }, "maxSctpMessageSize": 262_144, "sctpSendBufferSize": 262_144 });
    simulation.request("router.createWebRtcTransport", of("web"), web.clone());
    let mut on_server = of("shared");
    on_server["webRtcServerId"] = "s".into();
    simulation.request("router.createWebRtcTransportWithServer", on_server, web);
    let digest = ["AB"; 32].join(":");
    let parameters = json!({ "role": "server", "fingerprints": [{ "algorithm": "sha-256", "value": digest }] });
    for transport in ["web", "shared"] {
        simulation.request(
            "transport.connect",
            of(transport),
            json!({ "dtlsParameters": parameters }),
        );
    }
    simulation.request(
        "router.createPipeTransport",
        of("pipe"),
        json!({ "listenIp": ip, "enableRtx": true }),
    );
    simulation.request(
        "router.createDirectTransport",
        of("direct"),
        json!({ "direct": true, "maxMessageSize": 1000 }),
    );
    let observer = json!({ "routerId": "r", "rtpObserverId": "o" });
    let levels = json!({ "maxEntries": 1, "threshold": -80, "interval": 500 });
    simulation.request("router.createAudioLevelObserver", observer.clone(), levels);
    let address = "10.2.0.1:5000".parse().expect("an address");
    simulation
        .senders
        .push(Sender::new(address, to, 1111, simulation.now()));
    simulation.run(150_000);
    simulation.senders.clear();
    match number % 3 {
        // One by one, from the leaves.
        0 => {
            let mut consumer = internal("consumerId", "w0");
            consumer["transportId"] = "out0".into();
            simulation.request("consumer.close", consumer, json!({}));
            let mut producer = internal("producerId", "v0");
            producer["transportId"] = "in0".into();
            simulation.request("producer.close", producer, json!({}));
            simulation.request("rtpObserver.close", observer, json!({}));
            for transport in ["in0", "out0", "web", "shared", "pipe", "direct"] {
                simulation.request("transport.close", of(transport), json!({}));
            }
        }
        // The transport of the producer first.
        1 => {
            for transport in ["in0", "out0", "web", "shared", "pipe", "direct"] {
                simulation.request("transport.close", of(transport), json!({}));
            }
            simulation.request("rtpObserver.close", observer, json!({}));
        }
        // All at once.
        _ => {
            simulation.request("router.close", json!({ "routerId": "r" }), json!({}));
            simulation.request("worker.createRouter", json!({ "routerId": "r" }), json!({}));
        }
    }
    simulation.told = Vec::new();
}

#[track_caller]
fn assert_empty(simulation: &mut Simulation) {
    let router = simulation.request("router.dump", json!({ "routerId": "r" }), json!({}));
    for (key, value) in router.as_object().expect("a dump") {
        let empty =
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(key == "id" || empty, "{key}: {value}");
    }
    let server = simulation.request("webRtcServer.dump", json!({ "webRtcServerId": "s" }), json!({}));
    for list in ["webRtcTransportIds", "localIceUsernameFragments", "tupleHashes"] {
        assert_eq!(server[list], json!([]), "{list}");
    }
    // Those of the server.
    assert_eq!(simulation.network.open_sockets(), 2);
    assert_eq!(simulation.engine.next_timeout(), None, "a timer is left");
}

#[test]
fn two_thousand_times_everything() {
    let mut simulation = Simulation::new(1);
    simulation.add_server();
    for number in 0..200 {
        cycle(&mut simulation, number);
    }
    simulation.run(SETTLED);
    assert_empty(&mut simulation);
    let before = held();
    assert!(before > 0, "the counter counts");
    for number in 0..2000 {
        cycle(&mut simulation, number);
    }
    simulation.run(SETTLED);
    assert_empty(&mut simulation);
    let grown = held() - before;
    assert!(grown < SLACK, "{grown} bytes more after 2,000 rounds");
}

#[test]
fn sessions_that_come_and_go() {
    let mut simulation = Simulation::new(2);
    simulation.add_server();
    let mut before = 0;
    for round in 0..12 {
        for index in 0..6 {
            let protocol = if index % 3 == 0 { Protocol::Tcp } else { Protocol::Udp };
            simulation.add_peer(protocol, index % 2 == 0, true);
        }
        let connected = simulation.run_until(20 * SECOND, |simulation| {
            simulation.peers.iter().all(|peer| peer.connected)
        });
        assert!(connected, "round {round}");
        for index in 0..6 {
            // Some say goodbye, of others the worker only hears that they are closed.
            if index < 3 {
                simulation.peers[index].disconnect();
            }
            let internal = json!({ "routerId": "r", "transportId": format!("t{index}") });
            simulation.request("transport.close", internal, json!({}));
        }
        simulation.peers = Vec::new();
        simulation.run(SETTLED);
        simulation.told = Vec::new();
        assert_empty(&mut simulation);
        if round == 3 {
            before = held();
        }
    }
    let grown = held() - before;
    assert!(grown < SLACK, "{grown} bytes more after 48 sessions");
}
