//! Messages through SCTP associations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::simulator::Simulation;
use tests::simulator::data::DataPeer;
use tests::simulator::network::{Direction, Link};

use super::SECOND;

/// What a transport may hold for its peer, in bytes.
const BUFFER: u32 = 4_000_000;

fn internal(transport: &str, producer: &str, consumer: &str) -> Value {
    json!({ "routerId": "r", "transportId": transport, "dataProducerId": producer, "dataConsumerId": consumer })
}

/// Peers that are connected, and a direct transport.
fn world(seed: u64, buffers: &[u32]) -> Simulation {
    let mut simulation = Simulation::new(seed);
    let direct = json!({ "direct": true, "maxMessageSize": 262_144 });
    simulation.request("router.createDirectTransport", internal("direct", "", ""), direct);
    for buffer in buffers {
        simulation.add_data_peer(*buffer);
    }
    let up = simulation.run_until(60 * SECOND, |simulation| {
        let told = simulation.told.iter();
        let up = told.filter(|(_, _, _, data)| data["sctpState"] == "connected").count();
        up == simulation.data_peers.len() && simulation.data_peers.iter().all(DataPeer::is_connected)
    });
    assert!(up, "seed {seed}: {:?}", simulation.told);
    simulation.told.clear();
    simulation
}

fn lossy(loss: u32) -> Link {
    Link {
        loss,
        min_delay: 10_000,
        max_delay: 30_000,
        ..Link::default()
    }
}

/// A data producer or data consumer on this stream, if it is not on the direct transport.
fn stream(transport: &str, stream: u16, mut parameters: Value) -> Value {
    if transport == "direct" {
        return json!({ "type": "direct" });
    }
    parameters["streamId"] = stream.into();
    json!({ "type": "sctp", "sctpStreamParameters": parameters })
}

fn produce(simulation: &mut Simulation, transport: &str, id: &str, on: u16) {
    let data = stream(transport, on, json!({}));
    simulation.request("transport.produceData", internal(transport, id, ""), data);
}

fn consume(simulation: &mut Simulation, transport: &str, producer: &str, id: &str, on: u16) {
    let data = stream(transport, on, json!({}));
    simulation.request("transport.consumeData", internal(transport, producer, id), data);
}

/// A message that says its number, and whether it is whole.
fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..length).map(|index| (index as u32 * 31 + number) as u8).collect();
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

#[track_caller]
fn number(payload: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*payload.first_chunk().expect("a number"));
    assert!(
        payload == numbered(number, payload.len()),
        "message {number} has changed"
    );
    number
}

#[test]
fn a_hundred_megabytes_arrive_whole_and_in_order_through_five_percent_of_loss() {
    const LENGTH: usize = 64 * 1024;
    const COUNT: u32 = 1600;
    let mut simulation = world(1, &[BUFFER, BUFFER]);
    simulation.network.link = lossy(50);
    produce(&mut simulation, "d0", "p", 0);
    consume(&mut simulation, "d1", "p", "c", 9);
    consume(&mut simulation, "direct", "p", "parent", 0);
    let (mut sent, mut arrived, mut handed) = (0, 0, 0);
    while arrived < COUNT {
        // The receiver tells the sender how far it is, as any application has to that sends more than buffers hold.
        while sent < COUNT && sent < arrived + 32 {
            let now = simulation.now();
            if simulation.data_peers[0].send(0, &numbered(sent, LENGTH), now).is_err() {
                break;
            }
            sent += 1;
        }
        let more = simulation.run_until(60 * SECOND, |simulation| !simulation.data_peers[1].messages.is_empty());
        assert!(more, "stalled after {arrived} of {sent}");
        for message in simulation.data_peers[1].messages.drain(..) {
            assert_eq!((message.stream, number(&message.payload)), (9, arrived));
            assert_eq!(message.payload.len(), LENGTH);
            arrived += 1;
        }
        for (target, payload) in simulation.handed.drain(..) {
            assert_eq!((target.as_str(), number(&payload)), ("parent", handed));
            handed += 1;
        }
    }
    assert_eq!(handed, COUNT);
    let full = simulation.told.iter().find(|told| told.2 == "sctpsendbufferfull");
    assert_eq!(full, None, "nothing was refused");
}

/// Streams of the data consumers below, by what they may drop.
const RELIABLE: u16 = 0;
const UNORDERED: u16 = 1;
const NEVER_AGAIN: u16 = 2;
const FIVE_TIMES: u16 = 3;
const SHORT_LIVED: u16 = 4;
/// How long messages on that one live, in microseconds.
const LIFETIME: u64 = 60_000;

#[test]
fn channels_drop_only_what_they_may() {
    for seed in 0..6 {
        let mut simulation = world(seed, &[BUFFER]);
        produce(&mut simulation, "direct", "p", 0);
        for (on, parameters) in [
            (RELIABLE, json!({})),
            (UNORDERED, json!({ "ordered": false })),
            (NEVER_AGAIN, json!({ "ordered": false, "maxRetransmits": 0 })),
            (FIVE_TIMES, json!({ "ordered": false, "maxRetransmits": 5 })),
            (
                SHORT_LIVED,
                json!({ "ordered": false, "maxPacketLifeTime": LIFETIME / 1000 }),
            ),
        ] {
            let internal = internal("d0", "p", &format!("c{on}"));
            simulation.request("transport.consumeData", internal, stream("d0", on, parameters));
        }
        simulation.network.link = lossy(50);
        let sent_at = send_one_by_one(&mut simulation, 0..1000);
        let by_stream = taken(&mut simulation);
        let numbers = |on: u16| by_stream[&on].iter().map(|(_, number)| *number).collect::<Vec<u32>>();
        let all: Vec<u32> = (0..1000).collect();
        assert_eq!(numbers(RELIABLE), all, "seed {seed}");
        for on in [UNORDERED, FIVE_TIMES] {
            let mut sorted = numbers(on);
            assert!(!sorted.is_sorted(), "seed {seed}: some overtook lost ones");
            sorted.sort_unstable();
            assert_eq!(sorted, all, "seed {seed}, stream {on}");
        }
        for on in [NEVER_AGAIN, SHORT_LIVED] {
            let count = numbers(on).len();
            assert_eq!(BTreeSet::from_iter(numbers(on)).len(), count, "seed {seed}: none twice");
            assert!((100..1000).contains(&count), "seed {seed}, stream {on}: {count}");
        }
        // Only those that are next may wait longer than they live, while nothing can leave.
        let late = by_stream[&SHORT_LIVED]
            .iter()
            .filter(|(at, number)| at - sent_at[*number as usize] > LIFETIME + 30_000);
        assert!(late.count() * 4 <= by_stream[&SHORT_LIVED].len(), "seed {seed}");
        // Without loss none may drop anything.
        simulation.network.link = Link::default();
        send_one_by_one(&mut simulation, 1000..1100);
        let by_stream = taken(&mut simulation);
        for on in 0..5 {
            let mut numbers: Vec<u32> = by_stream[&on].iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (1000..1100).collect::<Vec<_>>(), "seed {seed}, stream {on}");
        }
        let stats = simulation.request("dataConsumer.getStats", internal("d0", "p", "c2"), json!({}));
        let expected = (&json!(1100), &json!(1100 * 400), &json!(0));
        assert_eq!(
            (
                &stats[0]["messagesSent"],
                &stats[0]["bytesSent"],
                &stats[0]["bufferedAmount"]
            ),
            expected
        );
    }
}

/// The parent sends a message every 20 ms; returns when.
fn send_one_by_one(simulation: &mut Simulation, numbers: std::ops::Range<u32>) -> Vec<u64> {
    let mut sent_at = Vec::new();
    for number in numbers {
        sent_at.push(simulation.now());
        let to = internal("direct", "p", "");
        simulation
            .payload("dataProducer.send", &to, &numbered(number, 400))
            .expect("a message that is taken");
        simulation.run(20_000);
    }
    simulation.run(600 * SECOND);
    sent_at
}

/// When which messages came to the first peer, by stream.
fn taken(simulation: &mut Simulation) -> BTreeMap<u16, Vec<(u64, u32)>> {
    let mut by_stream: BTreeMap<u16, Vec<(u64, u32)>> = BTreeMap::new();
    for message in simulation.data_peers[0].messages.drain(..) {
        let came = (message.at, number(&message.payload));
        by_stream.entry(message.stream).or_default().push(came);
    }
    by_stream
}

#[test]
fn a_thousand_channels_share_an_association_and_end_together() {
    let mut simulation = world(3, &[BUFFER, BUFFER]);
    simulation.network.link = lossy(20);
    for round in 0..2 {
        for on in 0..1000 {
            produce(&mut simulation, "d0", &format!("p{on}"), on);
            consume(&mut simulation, "d1", &format!("p{on}"), &format!("c{on}"), 1023 - on);
        }
        for number in 0..3 {
            for on in 0..1000 {
                let now = simulation.now();
                simulation.data_peers[0]
                    .send(on, &numbered(number, 100), now)
                    .expect("room for it");
            }
        }
        simulation.run(60 * SECOND);
        let mut next = [0; 1024];
        for message in simulation.data_peers[1].messages.drain(..) {
            let expected = &mut next[usize::from(message.stream)];
            assert_eq!(number(&message.payload), *expected, "round {round}");
            *expected += 1;
        }
        assert!(next[..24].iter().all(|count| *count == 0) && next[24..].iter().all(|count| *count == 3));
        for on in 0..1000 {
            let producer = format!("p{on}");
            simulation.request("dataProducer.close", internal("d0", &producer, ""), json!({}));
        }
        simulation.run(60 * SECOND);
        let closed = simulation.told.drain(..).filter(|told| told.2 == "dataproducerclose");
        assert_eq!(closed.count(), 1000);
        for (peer, streams) in [(0, 0..1000), (1, 24..1024)] {
            let mut reset = std::mem::take(&mut simulation.data_peers[peer].resets);
            reset.sort_unstable();
            assert_eq!(reset, streams.collect::<Vec<u16>>(), "round {round}: each once");
        }
        let dump = simulation.request("transport.dump", internal("d1", "", ""), json!({}));
        assert_eq!(
            (&dump["dataConsumerIds"], &dump["sctpState"]),
            (&json!([]), &json!("connected"))
        );
    }
}

#[test]
fn a_slow_receiver_misses_messages_and_nobody_else_does() {
    const ALLOWED: u32 = 100_000;
    for seed in 0..3 {
        let mut simulation = world(seed, &[BUFFER, ALLOWED, ALLOWED]);
        produce(&mut simulation, "d0", "p", 0);
        consume(&mut simulation, "d1", "p", "fast", 0);
        consume(&mut simulation, "d2", "p", "slow", 0);
        produce(&mut simulation, "d2", "back", 1);
        consume(&mut simulation, "d1", "back", "of the slow one", 1);
        simulation.add_sender(1111, 0);
        simulation.add_receiver(0);
        // A fifth of what is sent.
        let slow = Link {
            rate: 300_000,
            ..Link::default()
        };
        let address = simulation.data_peers[2].address;
        simulation.network.links.insert((address, Direction::To), slow);
        let mut sent_at = Vec::new();
        for number in 0..2000 {
            let now = simulation.now();
            sent_at.push(now);
            let payload = numbered(number, 1000);
            simulation.data_peers[0].send(0, &payload, now).expect("room for it");
            if number % 10 == 0 {
                simulation.data_peers[2]
                    .send(1, &numbered(number / 10, 100), now)
                    .expect("room for it");
            }
            simulation.run(5_000);
            if number % 100 == 0 {
                let data = simulation.request("dataConsumer.getBufferedAmount", internal("d2", "p", "slow"), json!({}));
                assert!(
                    data["bufferedAmount"]
                        .as_u64()
                        .is_some_and(|bytes| bytes <= ALLOWED.into()),
                    "{data}"
                );
            }
        }
        simulation.run(SECOND);
        let (mut next, mut back) = (0, 0);
        for message in simulation.data_peers[1].messages.drain(..) {
            let expected = if message.stream == 0 { &mut next } else { &mut back };
            assert_eq!(number(&message.payload), *expected, "seed {seed}");
            *expected += 1;
            if message.stream == 0 {
                let took = message.at - sent_at[next as usize - 1];
                assert!(took <= 45_000, "seed {seed}: {took} us");
            }
        }
        assert_eq!((next, back), (2000, 200), "seed {seed}");
        assert!(simulation.receivers[0].got.len() > 1000 && simulation.receivers[0].gaps().is_empty());
        let full = |told: &&(u64, String, String, Value)| told.2 == "sctpsendbufferfull";
        let told: Vec<_> = simulation.told.iter().filter(full).collect();
        let refused = told.len();
        assert!(refused > 500 && told.iter().all(|told| told.1 == "slow"), "seed {seed}");
        // What it was sent it gets, and when there is room again, all.
        simulation.run(30 * SECOND);
        let low = |told: &&(u64, String, String, Value)| told.2 == "bufferedamountlow" && told.1 == "slow";
        assert!(simulation.told.iter().any(|told| low(&told)), "seed {seed}");
        let got: Vec<u32> = simulation.data_peers[2]
            .messages
            .drain(..)
            .map(|message| number(&message.payload))
            .collect();
        assert_eq!(got.len() + refused, 2000, "seed {seed}");
        assert!(got.is_sorted());
        for number in 0..20 {
            let now = simulation.now();
            simulation.data_peers[0]
                .send(0, &numbered(number, 1000), now)
                .expect("room for it");
            simulation.run(SECOND);
        }
        assert_eq!(simulation.data_peers[2].messages.len(), 20, "seed {seed}");
    }
}

#[test]
fn a_stream_is_reset_and_used_again_with_messages_under_way() {
    for seed in 0..5 {
        let mut simulation = world(seed, &[BUFFER]);
        simulation.network.link = lossy(50);
        produce(&mut simulation, "direct", "p", 0);
        for round in 0..20 {
            consume(&mut simulation, "d0", "p", "c", 7);
            for number in 0..5 {
                let payload = numbered(round * 5 + number, 20_000);
                simulation
                    .payload("dataConsumer.send", &internal("d0", "p", "c"), &payload)
                    .expect("a message that is taken");
            }
            simulation.request("dataConsumer.close", internal("d0", "p", "c"), json!({}));
            simulation.run(u64::from(round) * 20_000);
        }
        simulation.run(60 * SECOND);
        let peer = &mut simulation.data_peers[0];
        let numbers: Vec<u32> = peer
            .messages
            .drain(..)
            .map(|message| number(&message.payload))
            .collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "seed {seed}");
        assert!(
            !peer.resets.is_empty() && peer.resets.len() <= 20,
            "seed {seed}: {:?}",
            peer.resets
        );
    }
}

#[test]
fn an_association_goes_on_when_its_peer_begins_anew() {
    for seed in 0..5 {
        let mut simulation = world(seed, &[BUFFER, BUFFER]);
        simulation.network.link = lossy(30);
        produce(&mut simulation, "d0", "p", 3);
        consume(&mut simulation, "d1", "p", "c", 3);
        for round in 0..4 {
            for number in 0..20 {
                let now = simulation.now();
                let payload = numbered(number, 5000);
                simulation.data_peers[0].send(3, &payload, now).expect("room for it");
            }
            simulation.run(60 * SECOND);
            let messages = simulation.data_peers[1].messages.drain(..);
            let numbers: Vec<u32> = messages.map(|message| number(&message.payload)).collect();
            assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "seed {seed}, round {round}");
            // Now the one, now the other, with something under way.
            let now = simulation.now();
            simulation.data_peers[0]
                .send(3, &numbered(0, 100_000), now)
                .expect("room for it");
            simulation.run(70_000);
            let peer = round % 2;
            let (address, to) = (simulation.data_peers[peer].address, simulation.data_peers[peer].to);
            let number = 100 + round as u64;
            simulation.data_peers[peer] = DataPeer::new(address, to, number, simulation.now());
            let back = simulation.run_until(60 * SECOND, |simulation| simulation.data_peers[peer].is_connected());
            assert!(back, "seed {seed}, round {round}");
            simulation.run(20 * SECOND);
            simulation.data_peers[1].messages.clear();
            let amount = simulation.request("dataConsumer.getBufferedAmount", internal("d1", "p", "c"), json!({}));
            assert_eq!(amount["bufferedAmount"], 0, "seed {seed}, round {round}");
        }
        let states = simulation.told.iter().filter(|told| told.2 == "sctpstatechange");
        assert_eq!(states.count(), 0, "it never went down");
    }
}
