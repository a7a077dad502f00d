//! WebRTC transports with peers that are not ours, in virtual time.

use tests::simulator::Simulation;
use tests::simulator::network::{Link, Protocol};

const SECOND: u64 = 1_000_000;

/// All peers are connected, and the engine says so too.
fn connected(simulation: &mut Simulation) -> bool {
    let told = simulation.told.iter();
    let ours = told.filter(|(_, _, event, data)| event == "dtlsstatechange" && data["dtlsState"] == "connected");
    ours.count() == simulation.peers.len() && simulation.peers.iter().all(|peer| peer.connected)
}

#[track_caller]
fn connect(simulation: &mut Simulation, what: &str) {
    let done = simulation.run_until(90 * SECOND, connected);
    assert!(done, "{what}: {:?}\n{:?}", simulation.peers, simulation.told);
}

/// Peer 0 sends `count` packets, one each 20 ms; all that get through are in `received` of peer 1.
fn talk(simulation: &mut Simulation, ssrc: u32, count: u16) {
    for number in 0..count {
        let now = simulation.now();
        simulation.peers[0].send(ssrc, &number.to_be_bytes().repeat(40), now);
        simulation.run(20_000);
    }
    simulation.run(SECOND);
}

/// A sender and a receiver.
fn pair(seed: u64, link: Link, protocols: [Protocol; 2], active: [bool; 2]) -> Simulation {
    let mut simulation = Simulation::new(seed);
    simulation.network.link = link;
    for (protocol, active) in protocols.into_iter().zip(active) {
        simulation.add_peer(protocol, active, false);
    }
    simulation.produce(0, 1111);
    simulation.consume(1, 0, 1111, 2222);
    simulation
}

#[test]
fn media_passes_in_both_dtls_roles_and_over_udp_and_tcp() {
    use Protocol::{Tcp, Udp};
    for (seed, protocols) in (0..).zip([[Udp, Udp], [Udp, Tcp], [Tcp, Udp], [Tcp, Tcp]]) {
        for active in [[true, false], [false, true]] {
            let what = format!("seed {seed}, {protocols:?}, {active:?}");
            let mut simulation = pair(seed, Link::default(), protocols, active);
            connect(&mut simulation, &what);
            talk(&mut simulation, 1111, 100);
            let received = &simulation.peers[1].received;
            assert_eq!(received.len(), 100, "{what}");
            for (number, packet) in (0_u16..).zip(received) {
                assert_eq!(packet.payload, number.to_be_bytes().repeat(40), "{what}");
                assert_eq!(packet.ssrc, 2222, "{what}");
            }
            let steps: Vec<_> = received
                .windows(2)
                .map(|two| two[1].sequence_number - two[0].sequence_number)
                .collect();
            assert_eq!(steps, [1; 99], "{what}");
        }
    }
}

#[test]
fn a_bad_network_delays_the_connection_and_loses_only_what_it_loses() {
    for seed in 0..20 {
        let link = Link {
            // With twice as much str0m gives up now and then: it repeats its last flight, the answer to which was lost,
            // after 2, 5 and 6 s only.
            loss: 100,
            duplicates: 100,
            min_delay: 10_000,
            max_delay: 120_000,
            ..Link::default()
        };
        let active = [seed % 2 == 0, seed % 3 == 0];
        let mut simulation = pair(seed, link, [Protocol::Udp; 2], active);
        connect(&mut simulation, &format!("seed {seed}"));
        simulation.network.link = Link {
            duplicates: 100,
            ..Link::default()
        };
        talk(&mut simulation, 1111, 50);
        assert_eq!(simulation.peers[1].received.len(), 50, "seed {seed}");
    }
}

#[test]
fn events_come_in_the_order_that_clients_know() {
    let mut simulation = pair(7, Link::default(), [Protocol::Udp; 2], [true, true]);
    connect(&mut simulation, "seed 7");
    simulation.run(SECOND);
    let told: Vec<_> = simulation
        .told
        .iter()
        .filter(|(_, target, ..)| target == "t0")
        .map(|(_, _, event, data)| {
            let state = data.get("iceState").or(data.get("dtlsState"));
            format!("{event} {}", state.and_then(|state| state.as_str()).unwrap_or_default())
        })
        .collect();
    let (first, rest) = told.split_at(2);
    assert_eq!(
        first,
        ["iceselectedtuplechange ", "icestatechange connected"],
        "{told:?}"
    );
    assert!(rest.contains(&"dtlsstatechange connecting".to_owned()), "{told:?}");
    assert!(rest.contains(&"icestatechange completed".to_owned()), "{told:?}");
    assert_eq!(
        told.last().map(String::as_str),
        Some("dtlsstatechange connected"),
        "{told:?}"
    );
}

#[test]
fn media_goes_on_over_an_ice_restart() {
    let mut simulation = pair(8, Link::default(), [Protocol::Udp; 2], [true, false]);
    connect(&mut simulation, "seed 8");
    talk(&mut simulation, 1111, 20);
    for peer in 0..2 {
        let internal = serde_json::json!({ "routerId": "r", "transportId": format!("t{peer}") });
        let data = simulation.request("transport.restartIce", internal, serde_json::json!({}));
        simulation.peers[peer].restart_ice(&data["iceParameters"]);
    }
    talk(&mut simulation, 1111, 100);
    assert_eq!(simulation.peers[1].received.len(), 120, "seed 8");
}

#[test]
fn media_follows_a_peer_whose_address_changes() {
    let mut simulation = pair(9, Link::default(), [Protocol::Udp; 2], [true, false]);
    connect(&mut simulation, "seed 9");
    talk(&mut simulation, 1111, 20);
    for peer in &mut simulation.peers {
        peer.public_address.set_port(6000);
    }
    // Until the next checks of the peers open the new paths.
    simulation.run(15 * SECOND);
    simulation.peers[1].received.clear();
    talk(&mut simulation, 1111, 50);
    assert_eq!(simulation.peers[1].received.len(), 50, "seed 9");
}

#[test]
fn a_wrong_fingerprint_fails_and_lets_nothing_through() {
    let mut simulation = Simulation::new(10);
    let internal = serde_json::json!({ "routerId": "r", "transportId": "t0" });
    simulation.add_peer(Protocol::Udp, true, false);
    simulation.request("transport.close", internal.clone(), serde_json::json!({}));
    // The same peer on a new transport, which is told of another certificate.
    let dump = simulation.request(
        "router.createWebRtcTransport",
        internal.clone(),
        serde_json::json!({ "listenIps": [{ "ip": "10.0.0.1" }] }),
    );
    simulation.peers.clear();
    let mut parameters = {
        simulation.add_peer_of(&dump, Protocol::Udp, true);
        simulation.peers[0].dtls_parameters()
    };
    let value = parameters["fingerprints"][0]["value"]
        .as_str()
        .expect("a value")
        .replace('A', "B");
    parameters["fingerprints"][0]["value"] = value.into();
    simulation.request(
        "transport.connect",
        internal,
        serde_json::json!({ "dtlsParameters": parameters }),
    );
    simulation.produce(0, 1111);
    simulation.run(5 * SECOND);
    let states: Vec<_> = simulation
        .told
        .iter()
        .filter(|(_, _, event, _)| event == "dtlsstatechange")
        .collect();
    assert_eq!(
        states.last().map(|state| state.3["dtlsState"].as_str()),
        Some(Some("failed")),
        "{states:?}"
    );
}

#[test]
fn a_thousand_sessions_connect_to_one_server() {
    let mut simulation = Simulation::new(11);
    simulation.add_server();
    for index in 0..1000 {
        let protocol = if index % 10 == 0 { Protocol::Tcp } else { Protocol::Udp };
        simulation.add_peer(protocol, index % 3 != 0, true);
        simulation.run(2_000);
    }
    connect(&mut simulation, "seed 11");
    // The sockets of the server and a connection for each TCP peer.
    assert_eq!(simulation.network.open_sockets(), 2 + 100);
    simulation.request(
        "router.close",
        serde_json::json!({ "routerId": "r" }),
        serde_json::json!({}),
    );
    assert_eq!(simulation.network.open_sockets(), 2);
    let dump = simulation.request(
        "webRtcServer.dump",
        serde_json::json!({ "webRtcServerId": "s" }),
        serde_json::json!({}),
    );
    for list in ["webRtcTransportIds", "localIceUsernameFragments", "tupleHashes"] {
        assert_eq!(dump[list], serde_json::json!([]), "{list}");
    }
}

/// When which transport was told what, for a seed. Nothing is lost: which packets of a handshake there are to lose
/// depends on keys, which both DTLS stacks draw by themselves.
fn story(seed: u64) -> Vec<(u64, String, String)> {
    let mut simulation = Simulation::new(seed);
    simulation.network.link = Link {
        min_delay: 5_000,
        max_delay: 60_000,
        ..Link::default()
    };
    simulation.add_server();
    for index in 0..40 {
        simulation.add_peer(Protocol::Udp, index % 2 == 0, true);
        simulation.run(3_000);
    }
    connect(&mut simulation, &format!("seed {seed}"));
    let told = simulation.told.drain(..);
    told.map(|(at, target, event, _)| (at, target, event)).collect()
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    assert_eq!(story(12), story(12));
    assert_ne!(story(12), story(13));
}
