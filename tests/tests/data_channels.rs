//! Data channels over WebRTC transports, SCTP in DTLS, with peers that are not ours, in virtual time.

use serde_json::{Value, json};
use tests::simulator::Simulation;
use tests::simulator::network::{Link, Protocol};

const SECOND: u64 = 1_000_000;

fn internal(peer: usize, producer: &str, consumer: &str) -> Value {
    let transport = format!("t{peer}");
    json!({ "routerId": "r", "transportId": transport, "dataProducerId": producer, "dataConsumerId": consumer })
}

/// Peers with SCTP, the transport of each, and a data channel on each of these streams.
fn simulation(seed: u64, link: Link, peers: &[Protocol], streams: &[u16]) -> Simulation {
    let mut simulation = Simulation::new(seed);
    simulation.network.link = link;
    for (index, protocol) in peers.iter().enumerate() {
        let options = json!({
            "listenIps": [{ "ip": "10.0.0.1" }], "enableTcp": true, "enableSctp": true, "isDataChannel": true,
            "numSctpStreams": { "OS": 1024, "MIS": 1024 }, "maxSctpMessageSize": 262_144,
        });
        let dump = simulation.request("router.createWebRtcTransport", internal(index, "", ""), options);
        assert_eq!(dump["sctpState"], "new");
        simulation.add_peer_of(&dump, *protocol, index % 2 == 0);
        simulation.peers[index].open_channels(streams);
        let parameters = simulation.peers[index].dtls_parameters();
        let connect = json!({ "dtlsParameters": parameters });
        simulation.request("transport.connect", internal(index, "", ""), connect);
    }
    let count = peers.len();
    let up = simulation.run_until(60 * SECOND, |simulation| {
        let told = simulation.told.iter();
        let connected =
            told.filter(|(_, _, event, data)| event == "sctpstatechange" && data["sctpState"] == "connected");
        connected.count() == count && simulation.peers.iter().all(|peer| peer.open.len() == streams.len())
    });
    assert!(up, "seed {seed}: {:?}", simulation.told);
    simulation
}

fn sctp(stream: u16) -> Value {
    json!({ "type": "sctp", "sctpStreamParameters": { "streamId": stream } })
}

#[test]
fn messages_pass_between_peers_over_udp_and_tcp() {
    for (seed, protocols) in [
        (1, [Protocol::Udp, Protocol::Udp]),
        (2, [Protocol::Udp, Protocol::Tcp]),
        (3, [Protocol::Tcp, Protocol::Udp]),
    ] {
        let mut simulation = simulation(seed, Link::default(), &protocols, &[3, 8]);
        simulation.request("transport.produceData", internal(0, "p", ""), sctp(3));
        simulation.request("transport.consumeData", internal(1, "p", "c"), sctp(8));
        let now = simulation.now();
        let texts = [(false, b"text".to_vec()), (true, vec![7; 60_000]), (true, vec![0; 1])];
        for (binary, payload) in &texts {
            assert!(simulation.peers[0].send_message(3, *binary, payload, now));
        }
        simulation.run(5 * SECOND);
        let expected: Vec<_> = texts
            .into_iter()
            .map(|(binary, payload)| (8, binary, payload))
            .collect();
        assert!(simulation.peers[1].messages == expected, "seed {seed}");
        assert!(simulation.peers[0].messages.is_empty());
        let stats = simulation.request("dataConsumer.getStats", internal(1, "p", "c"), json!({}));
        assert_eq!(
            (&stats[0]["messagesSent"], &stats[0]["bytesSent"]),
            (&json!(3), &json!(60_005))
        );
    }
}

#[test]
fn a_bad_network_loses_nothing_and_keeps_the_order() {
    for seed in 0..5 {
        let link = Link {
            loss: 50,
            duplicates: 50,
            min_delay: 10_000,
            max_delay: 60_000,
            ..Link::default()
        };
        let mut simulation = simulation(seed, link, &[Protocol::Udp; 3], &[1]);
        simulation.request("transport.produceData", internal(0, "p", ""), sctp(1));
        for peer in 1..3 {
            simulation.request("transport.consumeData", internal(peer, "p", "c"), sctp(1));
        }
        for number in 0..100_u8 {
            let now = simulation.now();
            assert!(simulation.peers[0].send_message(1, true, &[number; 1500], now));
            simulation.run(50_000);
        }
        simulation.run(120 * SECOND);
        for peer in &simulation.peers[1..] {
            let numbers: Vec<u8> = peer.messages.iter().map(|(_, _, payload)| payload[0]).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}

#[test]
fn a_channel_is_closed_from_either_side() {
    let mut simulation = simulation(5, Link::default(), &[Protocol::Udp; 2], &[1, 2]);
    simulation.request("transport.produceData", internal(0, "p", ""), sctp(1));
    simulation.request("transport.consumeData", internal(1, "p", "c"), sctp(1));
    let now = simulation.now();
    simulation.peers[0].close_channel(1, now);
    simulation.run(5 * SECOND);
    assert_eq!(simulation.peers[0].closed, [1], "the worker closed its direction too");
    simulation.request("dataProducer.close", internal(0, "p", ""), json!({}));
    simulation.run(5 * SECOND);
    assert_eq!(simulation.peers[1].closed, [1]);
    // The other channels go on.
    simulation.request("transport.produceData", internal(0, "q", ""), sctp(2));
    simulation.request("transport.consumeData", internal(1, "q", "d"), sctp(2));
    let now = simulation.now();
    assert!(simulation.peers[0].send_message(2, false, b"still here", now));
    simulation.run(5 * SECOND);
    assert_eq!(simulation.peers[1].messages, [(2, false, b"still here".to_vec())]);
}
