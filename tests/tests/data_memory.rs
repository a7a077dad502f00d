//! What an SCTP peer can have a worker hold, in bytes.

use bytes::Bytes;
use serde_json::json;
use tests::memory::{Counting, held};
use tests::simulator::Simulation;
use tests::simulator::data::{DataPeer, ORDERED};
use worker::sctp::chunks::{DATA, FORWARD_TSN, chunks, push_element, write_checksum};
use worker::sctp::{Association, Output, Settings, State};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most that one association may hold: its window of 5 MiB, and what 65,536 small chunks cost.
const MOST: isize = 24 << 20;
/// What an attacker sends, in bytes.
const SENT: usize = 20 << 20;
/// Chunks of a packet.
const AT_ONCE: u32 = 50;

type Chunk = (u8, u8, Vec<u8>);

fn packet(tag: [u8; 4], pieces: &[Chunk]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend_from_slice(&tag);
    packet.extend_from_slice(&[0; 4]);
    for (kind, flags, value) in pieces {
        push_element(&mut packet, [*kind, *flags], &[value]);
    }
    write_checksum(&mut packet);
    packet
}

fn packets(association: &mut Association) -> Vec<Vec<u8>> {
    let outputs = std::iter::from_fn(|| association.poll());
    let packets = outputs.filter_map(|output| match output {
        Output::Packet(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

/// A connected association, the tag of its peer's packets, and the peer's next sequence number.
fn victim() -> (Association, [u8; 4], u32) {
    let end = |seed: u8| {
        let settings = Settings {
            max_message_size: 262_144,
            send_buffer_size: 262_144,
            over_dtls: false,
            secret: [seed; 32],
            seed: seed.into(),
        };
        let mut end = Association::new(settings, 0);
        end.connect(0);
        end
    };
    let (mut ours, mut peer) = (end(1), end(2));
    while ours.state() != State::Connected || peer.state() != State::Connected {
        for packet in packets(&mut ours) {
            peer.receive(0, &packet);
        }
        for packet in packets(&mut peer) {
            ours.receive(0, &packet);
        }
    }
    for packet in packets(&mut peer) {
        ours.receive(0, &packet);
    }
    packets(&mut ours);
    peer.send(0, 0, 53, Bytes::from_static(b"x"), ORDERED)
        .expect("connected");
    let sent = packets(&mut peer).remove(0);
    let chunk = chunks(&sent).find(|chunk| chunk.kind == DATA).expect("a chunk of data");
    let number = u32::from_be_bytes(*chunk.value().first_chunk().expect("a number"));
    (ours, *sent[4..].first_chunk().expect("a tag"), number)
}

fn data(number: u32, stream: u16, sequence: u16, flags: u8, payload: &[u8]) -> Chunk {
    let mut value = number.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&sequence.to_be_bytes());
    value.extend_from_slice(&53_u32.to_be_bytes());
    value.extend_from_slice(payload);
    (DATA, flags, value)
}

fn forward(number: u32, streams: std::ops::Range<u16>) -> Chunk {
    let mut value = number.to_be_bytes().to_vec();
    for stream in streams {
        value.extend_from_slice(&stream.to_be_bytes());
        value.extend_from_slice(&[0, 1]);
    }
    (FORWARD_TSN, 0, value)
}

/// A request to reset all streams once everything up to `last` has come.
fn reset(first: u32, last: u32) -> Chunk {
    let mut value = Vec::new();
    let parts = [&first.to_be_bytes()[..], &[0; 4], &last.to_be_bytes()];
    push_element(&mut value, [0, 13], &parts);
    (130, 0, value)
}

/// The most that is held while the peer sends these chunks, numbered from its next sequence number on. `at_once` of
/// them make a packet.
#[track_caller]
fn assert_bounded(what: &str, at_once: u32, chunk: impl Fn(u32, u32) -> Chunk) {
    let (mut ours, tag, first) = victim();
    let (before, mut most, mut sent, mut index) = (held(), 0, 0, 0);
    while sent < SENT && ours.state() == State::Connected {
        let pieces: Vec<Chunk> = (index..index + at_once)
            .map(|index| chunk(first, first.wrapping_add(index)))
            .collect();
        index += at_once;
        let packet = packet(tag, &pieces);
        sent += packet.len();
        ours.receive(u64::from(index) * 10, &packet);
        drop((packet, pieces));
        while ours.poll().is_some() {}
        most = most.max(held() - before);
    }
    assert!(most < MOST, "{what}: {most} bytes");
    assert!(before > 0, "the counter counts");
}

#[test]
fn a_peer_cannot_have_much_held() {
    assert_bounded("a message without end in tiny pieces", AT_ONCE, |_, number| {
        data(number, 0, 0, 0, b"x")
    });
    assert_bounded("a message without end in large pieces", 1, |_, number| {
        data(number, 0, 0, 0, &[7; 1100])
    });
    assert_bounded("messages behind one that never comes", AT_ONCE, |_, number| {
        data(number, 1, (number % 30_000) as u16 + 1, 3, b"x")
    });
    assert_bounded("as many beginnings as streams", AT_ONCE, |_, number| {
        data(number, number as u16, 0, 2, b"x")
    });
    assert_bounded("every other piece is missing", AT_ONCE, |first, number| {
        data(first.wrapping_add(number.wrapping_sub(first) * 2 + 1), 0, 0, 0, b"x")
    });
    assert_bounded("one whole message for two that never are", AT_ONCE, |_, number| {
        if number % 3 == 0 {
            data(number, 1, 0, 7, b"x")
        } else {
            data(number, 2, 9, 3, b"x")
        }
    });
    assert_bounded("messages that wait for a reset", AT_ONCE, |first, number| {
        if number == first {
            reset(first, first)
        } else {
            data(number, 0, 0, 7, b"x")
        }
    });
    assert_bounded("steps forward that wait for a reset", AT_ONCE, |first, number| {
        if number == first {
            reset(first, first)
        } else {
            forward(number, 0..0)
        }
    });
    assert_bounded(
        "steps forward of many streams that wait for a reset",
        1,
        |first, number| {
            if number == first {
                reset(first, first)
            } else {
                forward(number, 0..280)
            }
        },
    );
    assert_bounded("steps forward of all streams", 1, |_, number| {
        let start = (number % 200) as u16 * 280;
        forward(number, start..start + 280)
    });
}

#[test]
fn what_waits_for_many_is_held_once() {
    const RECEIVERS: usize = 50;
    const LENGTH: usize = 64 * 1024;
    let mut simulation = Simulation::new(1);
    let internal = |transport: &str, consumer: &str| json!({ "routerId": "r", "transportId": transport, "dataProducerId": "p", "dataConsumerId": consumer });
    let direct = json!({ "direct": true, "maxMessageSize": LENGTH });
    simulation.request("router.createDirectTransport", internal("direct", ""), direct);
    let produce = json!({ "type": "direct" });
    simulation.request("transport.produceData", internal("direct", ""), produce);
    let consume = json!({ "type": "sctp", "sctpStreamParameters": { "streamId": 1 } });
    for index in 0..RECEIVERS {
        simulation.add_data_peer(1_000_000);
        let to = internal(&format!("d{index}"), &format!("c{index}"));
        simulation.request("transport.consumeData", to, consume.clone());
    }
    let up = simulation.run_until(10_000_000, |simulation| {
        simulation.data_peers.iter().all(DataPeer::is_connected)
    });
    assert!(up);
    // From here on nobody hears anything.
    simulation.network.link.loss = 1000;
    let before = held();
    for _ in 0..10 {
        simulation
            .payload("dataProducer.send", &internal("direct", ""), &[7; LENGTH])
            .expect("a message that is taken");
    }
    let buffered = simulation.request("dataConsumer.getBufferedAmount", internal("d7", "c7"), json!({}));
    assert_eq!(buffered["bufferedAmount"], 10 * LENGTH);
    // The first is being sent to each; the others wait for all together.
    let grown = held() - before;
    assert!(grown < 3 * (RECEIVERS * LENGTH) as isize, "{grown} bytes");
}
