//! Data producers and data consumers of both kinds, with peers in virtual time.

mod room;

use bytes::Bytes;
use channel_proto::event::Event;
use channel_proto::reply::Reply;
use room::Room;
use serde_json::{Value, json};
use worker::sctp::{Association, Delivery, Output, SendError, Settings, State};

const ORDERED: Delivery = Delivery {
    ordered: true,
    lifetime: None,
    max_retransmissions: None,
};
/// Ports of peers: this and the number of their socket.
const PEERS: u16 = 5000;

/// A router with a direct transport and any number of plain ones, each with a peer.
struct World {
    room: Room,
    peers: Vec<Association>,
    /// What came to the peers: which of them, stream, bytes.
    received: Vec<(usize, u16, Vec<u8>)>,
}

fn internal(transport: &str, producer: &str, consumer: &str) -> Value {
    json!({ "routerId": "r", "transportId": transport, "dataProducerId": producer, "dataConsumerId": consumer })
}

impl World {
    fn new(peers: usize) -> Self {
        let mut room = Room::new();
        room.request("worker.createRouter", json!({ "routerId": "r" }), json!({}));
        let direct = json!({ "direct": true, "maxMessageSize": 262_144 });
        room.request("router.createDirectTransport", internal("direct", "", ""), direct);
        let mut world = Self {
            room,
            peers: Vec::new(),
            received: Vec::new(),
        };
        for peer in 0..peers {
            let id = internal(&format!("t{peer}"), "", "");
            let options = json!({
                "listenIp": { "ip": "127.0.0.1" }, "enableSctp": true, "maxSctpMessageSize": 5000,
                "sctpSendBufferSize": 20_000, "numSctpStreams": { "OS": 16, "MIS": 16 },
            });
            world.room.request("router.createPlainTransport", id.clone(), options);
            let address = json!({ "ip": "127.0.0.1", "port": PEERS + 1 + peer as u16 });
            let settings = Settings {
                max_message_size: 5000,
                send_buffer_size: 100_000,
                over_dtls: false,
                secret: [peer as u8; 32],
                seed: peer as u64,
            };
            let mut association = Association::new(settings, world.room.now);
            association.connect(world.room.now);
            world.peers.push(association);
            world.room.request("transport.connect", id, address);
        }
        world.run(1_000_000);
        assert!(world.peers.iter().all(|peer| peer.state() == State::Connected));
        world.room.told.clear();
        world
    }

    /// Carries packets both ways until nothing is under way. No time passes.
    fn exchange(&mut self) {
        loop {
            let mut moved = false;
            for (index, peer) in self.peers.iter_mut().enumerate() {
                let socket = index as u16 + 1;
                for packet in self.room.sent_to(PEERS + socket) {
                    peer.receive(self.room.now, &packet);
                }
                while let Some(output) = peer.poll() {
                    match output {
                        Output::Packet(packet) => {
                            self.room.datagram(socket.into(), PEERS + socket, packet);
                            moved = true;
                        }
                        Output::Message { stream, payload, .. } => self.received.push((index, stream, payload)),
                        Output::State(_) | Output::StreamsReset(_) => {}
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn run(&mut self, micros: u64) {
        for _ in 0..micros / 10_000 {
            self.exchange();
            self.room.wait(10_000);
            self.peers
                .iter_mut()
                .for_each(|peer| peer.handle_timeout(self.room.now));
        }
        self.exchange();
    }

    fn produce(&mut self, transport: &str, id: &str, stream: u16) {
        let data = Self::data(transport, stream);
        self.room
            .request("transport.produceData", internal(transport, id, ""), data);
    }

    fn consume(&mut self, transport: &str, producer: &str, id: &str, stream: u16) {
        let data = Self::data(transport, stream);
        self.room
            .request("transport.consumeData", internal(transport, producer, id), data);
    }

    fn data(transport: &str, stream: u16) -> Value {
        match transport {
            "direct" => json!({ "type": "direct" }),
            _ => json!({ "type": "sctp", "sctpStreamParameters": { "streamId": stream } }),
        }
    }

    fn send(&mut self, consumer: &str, payload: &[u8]) -> Result<Reply, String> {
        let header = json!({
            "id": 1, "method": "dataConsumer.send", "internal": internal("t0", "", consumer), "data": { "ppid": 53 },
        });
        self.room.payload(&header, payload).map_err(|failure| failure.reason)
    }

    fn buffered(&mut self, consumer: &str) -> u32 {
        let reply = self.room.request(
            "dataConsumer.getBufferedAmount",
            internal("t0", "", consumer),
            json!({}),
        );
        let Reply::BufferedAmount(amount) = reply else {
            panic!("{reply:?}")
        };
        amount.buffered_amount
    }

    /// Who was told that little waits, since this was last asked.
    fn low(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.room.told).into_iter();
        told.filter(|(_, event)| matches!(event, Event::BufferedAmountLow(_)))
            .map(|(target, _)| target)
            .collect()
    }
}

#[test]
fn a_message_reaches_consumers_of_both_kinds_on_any_transport_with_one_copy_for_the_parent() {
    let mut world = World::new(3);
    world.produce("t0", "p", 4);
    for (transport, id, stream) in [
        ("t1", "a", 1),
        ("t2", "b", 2),
        ("t2", "c", 3),
        ("direct", "d", 0),
        ("direct", "e", 0),
        ("t0", "f", 9),
    ] {
        world.consume(transport, "p", id, stream);
    }
    let now = world.room.now;
    world.peers[0]
        .send(now, 4, 51, Bytes::from_static(b"to all"), ORDERED)
        .unwrap();
    world.exchange();
    let mut received = std::mem::take(&mut world.received);
    received.sort();
    let expected = [(0, 9), (1, 1), (2, 2), (2, 3)].map(|(peer, stream)| (peer, stream, b"to all".to_vec()));
    assert_eq!(received, expected);
    let payloads = &world.room.payloads;
    let targets: Vec<_> = payloads.iter().map(|(header, _)| header.target_id.as_str()).collect();
    assert_eq!(targets, ["d", "e"]);
    assert_eq!(payloads[0].1, "to all");
    assert_eq!(payloads[0].1.as_ptr(), payloads[1].1.as_ptr(), "one copy");

    world
        .room
        .request("dataProducer.close", internal("t0", "p", ""), json!({}));
    let closed = world
        .room
        .told
        .iter()
        .filter(|(_, event)| *event == Event::DataProducerClose);
    assert_eq!(closed.count(), 6);
}

#[test]
fn a_message_of_an_unknown_stream_or_of_dcep_goes_nowhere() {
    let mut world = World::new(1);
    world.produce("t0", "p", 4);
    world.consume("direct", "p", "d", 0);
    let now = world.room.now;
    world.peers[0]
        .send(now, 5, 51, Bytes::from_static(b"unknown stream"), ORDERED)
        .unwrap();
    world.peers[0]
        .send(now, 4, 50, Bytes::from_static(b"open"), ORDERED)
        .unwrap();
    world.peers[0]
        .send(now, 4, 51, Bytes::from_static(b"known"), ORDERED)
        .unwrap();
    world.exchange();
    let payloads: Vec<_> = world
        .room
        .payloads
        .iter()
        .map(|(_, payload)| payload.as_ref())
        .collect();
    assert_eq!(payloads, [b"known"]);
}

#[test]
fn a_parent_that_has_seen_bytes_wait_learns_when_they_have_left() {
    let mut world = World::new(1);
    world.produce("direct", "p", 0);
    for (id, stream, threshold) in [("low", 1, 0), ("high", 2, 6000)] {
        world.consume("t0", "p", id, stream);
        let data = json!({ "threshold": threshold });
        world.room.request(
            "dataConsumer.setBufferedAmountLowThreshold",
            internal("t0", "p", id),
            data,
        );
    }
    assert_eq!(world.low(), ["low", "high"], "nothing waits already");
    for _ in 0..4 {
        world.send("low", &[1; 5000]).unwrap();
    }
    assert_eq!(world.send("low", &[1; 5000]), Err("sctpsendbufferfull".to_owned()));
    assert!(world.room.told.contains(&("low".to_owned(), Event::SctpSendBufferFull)));
    assert_eq!(world.buffered("high"), 20_000, "of the whole association");
    assert!(world.low().is_empty());
    world.run(500_000);
    let mut low = world.low();
    low.sort();
    assert_eq!(low, ["high", "low"], "once each");
    assert_eq!(world.buffered("low"), 0);
    assert_eq!(world.received.len(), 4);
}

#[test]
fn a_message_that_cannot_be_sent_is_answered() {
    let mut world = World::new(1);
    world.produce("direct", "p", 0);
    world.consume("t0", "p", "c", 1);
    assert!(world.send("c", &[1; 5001]).unwrap_err().contains("too large"));
    world.consume("t0", "p", "direct-only", 65_534);
    assert_eq!(
        world.send("direct-only", b"x"),
        Ok(Reply::None),
        "the peer takes all streams"
    );
    let now = world.room.now;
    world.peers[0].abort(now);
    world.exchange();
    assert!(world.send("c", b"x").unwrap_err().contains("not connected"));
    let closed = |(_, event): &(String, Event)| serde_json::to_value(event).unwrap()["data"]["sctpState"] == "closed";
    assert!(world.room.told.iter().any(closed));
}

#[test]
fn packets_of_strangers_do_not_reach_the_association() {
    let mut world = World::new(1);
    let now = world.room.now;
    world.peers[0].abort(now);
    let Some(Output::Packet(abort)) = world.peers[0].poll() else {
        panic!("an ABORT")
    };
    world.room.datagram(1, 9999, abort.clone());
    assert!(world.room.told.is_empty(), "from another address");
    world.room.datagram(1, PEERS + 1, abort);
    assert_eq!(world.room.told.len(), 1);
}

#[test]
fn over_comedia_sctp_makes_the_sender_known_only_without_srtp() {
    for (srtp, known) in [(false, true), (true, false)] {
        let mut room = Room::new();
        room.request("worker.createRouter", json!({ "routerId": "r" }), json!({}));
        let mut options = json!({
            "listenIp": { "ip": "127.0.0.1" }, "comedia": true, "enableSctp": true, "maxSctpMessageSize": 5000,
            "numSctpStreams": { "OS": 16, "MIS": 16 },
        });
        if srtp {
            options["enableSrtp"] = json!(true);
            options["srtpCryptoSuite"] = json!("AES_CM_128_HMAC_SHA1_80");
        }
        room.request("router.createPlainTransport", internal("t", "", ""), options);
        let settings = Settings {
            max_message_size: 5000,
            send_buffer_size: 5000,
            over_dtls: false,
            secret: [0; 32],
            seed: 0,
        };
        let mut peer = Association::new(settings, room.now);
        peer.connect(room.now);
        while let Some(output) = peer.poll() {
            if let Output::Packet(init) = output {
                room.datagram(1, 7777, init);
            }
        }
        assert_eq!(!room.sent_to(7777).is_empty(), known);
        assert_eq!(!room.told.is_empty(), known);
        assert_eq!(
            peer.send(room.now, 0, 53, Bytes::from_static(b"x"), ORDERED),
            Err(SendError::NotConnected)
        );
    }
}
