//! What a receiver gets of three simulcast streams while layers change: one stream in which nothing is odd.
//!
//! The engine runs in virtual time; all choices come from seeds.

mod room;

use std::collections::HashSet;

use channel_proto::event::Event;
use channel_proto::rtp_parameters::ConsumerLayers;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use room::Room;
use serde_json::{Value, json};

const SENDER: u16 = 9;
const RECEIVER: u16 = 10;
/// Microseconds between frames.
const TICK: u64 = 33_000;
/// Of timestamps, in ticks per tick.
const STEP: u32 = 2970;

/// One VP8 stream with three temporal layers.
struct Stream {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    /// Frames since the key frame.
    position: usize,
    /// Frames until a key frame, if one is wanted.
    key_frame_in: Option<u32>,
}

/// What a packet says about its origin: its own payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    stream: u8,
    tick: u32,
    layer: u8,
    part: u8,
    key: bool,
}

/// A packet as the receiver got it.
#[derive(Debug, Clone, Copy)]
struct Received {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    picture_id: u16,
    tl0: u8,
    origin: Origin,
}

fn read(packet: &[u8]) -> Received {
    let words = 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]));
    let payload = &packet[16 + words..];
    let bytes = &payload[7..];
    Received {
        sequence: u16::from_be_bytes([packet[2], packet[3]]),
        timestamp: u32::from_be_bytes(packet[4..8].try_into().unwrap()),
        marker: packet[1] & 0x80 != 0,
        picture_id: u16::from_be_bytes([payload[2] & 0x7f, payload[3]]),
        tl0: payload[4],
        origin: Origin {
            stream: bytes[0],
            tick: u32::from_be_bytes(bytes[1..5].try_into().unwrap()),
            layer: payload[5] >> 6,
            part: bytes[5],
            key: payload[0] & 0x10 != 0 && payload[6] & 1 == 0,
        },
    }
}

impl Stream {
    fn new(index: u32, rng: &mut ChaCha12Rng) -> Self {
        Self {
            ssrc: 1000 + index,
            sequence: rng.random(),
            timestamp: rng.random(),
            picture_id: rng.random::<u16>() & 0x7fff,
            tl0: rng.random(),
            position: 0,
            key_frame_in: Some(0),
        }
    }

    fn frame(&mut self, index: u8, tick: u32, parts: u8) -> Vec<Vec<u8>> {
        let key = self.key_frame_in == Some(0);
        self.key_frame_in = self.key_frame_in.and_then(|frames| frames.checked_sub(1));
        if key {
            self.position = 0;
        }
        let layer = [0_u8, 2, 1, 2][self.position % 4];
        // The first frames of layers 1 and 2 after one of layer 0 need nothing else.
        let layer_sync = matches!(self.position % 4, 1 | 2);
        self.position += 1;
        self.tl0 = self.tl0.wrapping_add(u8::from(layer == 0));
        let packets = (0..parts).map(|part| {
            let mut packet = vec![0x80, 96 | u8::from(part + 1 == parts) << 7];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.timestamp.to_be_bytes());
            packet.extend(self.ssrc.to_be_bytes());
            packet.extend([if part == 0 { 0x90 } else { 0x80 }, 0xf0]);
            packet.extend((self.picture_id | 0x8000).to_be_bytes());
            packet.extend([self.tl0, layer << 6 | u8::from(layer_sync) << 5 | 1, u8::from(!key)]);
            packet.push(index);
            packet.extend(tick.to_be_bytes());
            packet.push(part);
            packet.extend([0; 40]);
            self.sequence = self.sequence.wrapping_add(1);
            packet
        });
        let packets = packets.collect();
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(STEP);
        packets
    }

    fn sender_report(&self, tick: u32) -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(self.ssrc.to_be_bytes());
        let ntp = (3_900_000_000_u64 << 32) + ((u64::from(tick) * TICK) << 32) / 1_000_000;
        report.extend(ntp.to_be_bytes());
        report.extend(self.timestamp.to_be_bytes());
        report.extend([0; 8]);
        report
    }
}

struct Conference {
    room: Room,
    rng: ChaCha12Rng,
    streams: Vec<Stream>,
    tick: u32,
    received: Vec<Received>,
    layer_events: Vec<Option<ConsumerLayers>>,
}

impl Conference {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let streams = (0..3).map(|index| Stream::new(index, &mut rng)).collect();
        let mut conference = Self {
            room: Room::new(),
            rng,
            streams,
            tick: 0,
            received: Vec::new(),
            layer_events: Vec::new(),
        };
        let codecs = |payload_type: u8| {
            json!([{"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
                "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]}])
        };
        let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
        let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
        let listen = |comedia: bool| json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": comedia});
        conference.request("worker.createRouter", &input, json!({}));
        conference.request("router.createPlainTransport", &input, listen(true));
        conference.request("router.createPlainTransport", &output, listen(false));
        let encodings: Vec<_> = (0..3)
            .map(|index| json!({"ssrc": 1000 + index, "scalabilityMode": "L1T3"}))
            .collect();
        let mapped: Vec<_> = (0..3)
            .map(|index| json!({"ssrc": 1000 + index, "mappedSsrc": 2000 + index}))
            .collect();
        let consumable: Vec<_> = (0..3).map(|index| json!({"ssrc": 2000 + index})).collect();
        let produce = json!({"kind": "video", "rtpParameters": {"codecs": codecs(96), "encodings": encodings},
            "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101}], "encodings": mapped}});
        conference.request("transport.produce", &input, produce);
        conference.request(
            "transport.connect",
            &output,
            json!({"ip": "127.0.0.1", "port": RECEIVER}),
        );
        let consume = json!({"kind": "video", "type": "simulcast", "consumableRtpEncodings": consumable,
            "rtpParameters": {"codecs": codecs(101), "encodings": [{"ssrc": 7, "scalabilityMode": "S3T3"}]}});
        conference.request("transport.consume", &output, consume);
        conference
    }

    fn now(&self) -> u64 {
        1_000_000 + u64::from(self.tick) * TICK
    }

    fn request(&mut self, method: &str, internal: &Value, data: Value) {
        self.room.now = self.now();
        self.room.request(method, internal.clone(), data);
        self.collect();
    }

    fn consumer(&mut self, method: &str, data: Value) {
        let internal = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
        self.request(method, &internal, data);
    }

    fn prefer(&mut self, spatial: u8, temporal: u8) {
        let layers = json!({"spatialLayer": spatial, "temporalLayer": temporal});
        self.consumer("consumer.setPreferredLayers", layers);
    }

    fn deliver(&mut self, mut packets: Vec<Vec<u8>>) {
        self.room.now = self.now();
        // Some of them in one go, as the kernel gives them.
        while !packets.is_empty() {
            let count = self.rng.random_range(1..=packets.len());
            self.room.datagrams(1, SENDER, packets.drain(..count).collect());
            self.collect();
        }
    }

    /// Lets a sixtieth of a second pass: every stream sends a frame, of which `disturb` makes what arrives.
    fn tick(&mut self, disturb: impl Fn(&mut ChaCha12Rng, Vec<Vec<u8>>) -> Vec<Vec<u8>>) {
        let mut packets = Vec::new();
        for index in 0..self.streams.len() {
            let parts = self.rng.random_range(1..=4);
            let tick = self.tick;
            packets.extend(self.streams[index].frame(index as u8, tick, parts));
        }
        let packets = disturb(&mut self.rng, packets);
        self.deliver(packets);
        self.tick += 1;
        if self.tick % 30 == 15 {
            let reports = self
                .streams
                .iter()
                .map(|stream| stream.sender_report(self.tick))
                .collect();
            self.deliver(reports);
        }
        self.room.now = self.now();
        self.room.wait(0);
        self.collect();
    }

    fn collect(&mut self) {
        for (_, event) in self.room.told.drain(..) {
            if let Event::LayersChange(layers) = event {
                self.layer_events.push(layers);
            }
        }
        let media = self
            .room
            .sent_to(RECEIVER)
            .into_iter()
            .filter(|packet| !(192..224).contains(&packet[1]));
        self.received.extend(media.map(|packet| read(&packet)));
        for packet in self.room.sent_to(SENDER).iter().filter(|packet| packet[1] == 206) {
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            let stream = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc).unwrap();
            let delay = self.rng.random_range(1..4);
            stream.key_frame_in.get_or_insert(delay);
        }
    }

    /// Changes something at random; often nothing.
    fn change(&mut self) {
        let ids = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
        match self.rng.random_range(0..120) {
            0..6 => {
                let (spatial, temporal) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
                self.prefer(spatial, temporal);
            }
            6 => self.consumer("consumer.pause", json!({})),
            7..10 => self.consumer("consumer.resume", json!({})),
            10 => self.request("producer.pause", &ids, json!({})),
            11..14 => self.request("producer.resume", &ids, json!({})),
            _ => {}
        }
    }
}

/// What holds of any two packets, whatever was lost on the way in.
fn assert_sane(received: &[Received], seed: u64) {
    let first = received
        .first()
        .unwrap_or_else(|| panic!("seed {seed}: nothing was received"));
    let (mut numbers, mut highest) = (HashSet::new(), i64::from(first.sequence));
    let mut base = None;
    for packet in received {
        let ahead = i64::from(packet.sequence.wrapping_sub(highest as u16).cast_signed());
        let number = highest + ahead;
        highest = highest.max(number);
        assert!(
            numbers.insert(number),
            "seed {seed}: the number of {packet:?} was used before"
        );
        // Timestamps follow the time of capture, apart from what a switch may add.
        let expected = packet.origin.tick.wrapping_mul(STEP);
        let offset = packet.timestamp.wrapping_sub(expected);
        let drift = offset.wrapping_sub(*base.get_or_insert(offset)).cast_signed();
        assert!(
            drift.abs() <= 75 * 90 + 2,
            "seed {seed}: timestamp of {packet:?} is {drift} off"
        );
    }
}

fn in_order(_: &mut ChaCha12Rng, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets
}

#[test]
fn without_losses_the_receiver_sees_no_seam() {
    for seed in 0..20 {
        let mut conference = Conference::new(seed);
        for _ in 0..1500 {
            conference.change();
            conference.tick(in_order);
        }
        let received = &conference.received;
        assert_sane(received, seed);
        let mut switches = 0;
        for pair in received.windows(2) {
            let [before, packet] = pair else { unreachable!() };
            let (from, to) = (before.origin, packet.origin);
            let same_frame = (from.stream, from.tick) == (to.stream, to.tick);
            let gap = packet.sequence.wrapping_sub(before.sequence) - 1;
            let meant = u16::from(from.stream != to.stream && !before.marker);
            assert_eq!(gap, meant, "seed {seed}: {before:?} {packet:?}");
            let pictures = packet.picture_id.wrapping_sub(before.picture_id) & 0x7fff;
            assert_eq!(pictures, u16::from(!same_frame), "seed {seed}: {before:?} {packet:?}");
            let lowest = packet.tl0.wrapping_sub(before.tl0);
            assert_eq!(
                lowest,
                u8::from(!same_frame && to.layer == 0),
                "seed {seed}: {before:?} {packet:?}"
            );
            if !same_frame {
                let later = packet.timestamp.wrapping_sub(before.timestamp).cast_signed();
                assert!(later > 0 && to.part == 0, "seed {seed}: {before:?} {packet:?}");
            }
            if from.stream != to.stream {
                switches += 1;
                assert!(to.key, "seed {seed}: {packet:?}");
            }
        }
        assert!(switches > 3, "seed {seed}: {switches} switches");
    }
}

#[test]
fn losses_and_reordering_give_no_number_twice() {
    for seed in 100..120 {
        let mut conference = Conference::new(seed);
        for _ in 0..1500 {
            conference.change();
            conference.tick(|rng, mut packets| {
                packets.retain(|_| rng.random_range(0..50) != 0);
                for index in 1..packets.len() {
                    let swap = index - rng.random_range(0..index.min(6));
                    if rng.random_range(0..8) == 0 {
                        packets.swap(index, swap);
                    }
                }
                packets
            });
        }
        assert_sane(&conference.received, seed);
    }
}

#[test]
fn layers_beyond_the_preferred_ones_are_left_out_and_no_others() {
    for (seed, (spatial, temporal)) in (0..9).map(|index| (200 + index, (index as u8 / 3, index as u8 % 3))) {
        let mut conference = Conference::new(seed);
        (0..60).for_each(|_| conference.tick(in_order));
        conference.prefer(spatial, temporal);
        (0..60).for_each(|_| conference.tick(in_order));
        let from = conference.received.len();
        let begun = conference.tick;
        (0..200).for_each(|_| conference.tick(in_order));
        let received = &conference.received[from..];
        assert!(
            received
                .iter()
                .all(|packet| packet.origin.stream == spatial && packet.origin.layer <= temporal)
        );
        let frames: HashSet<u32> = received.iter().map(|packet| packet.origin.tick).collect();
        let share = [50, 100, 200][usize::from(temporal)];
        assert_eq!(frames.len(), share, "layers {spatial}:{temporal} from frame {begun}");
    }
}

#[test]
fn a_packet_from_before_a_pause_does_not_come_after_it() {
    let mut conference = Conference::new(300);
    conference.prefer(0, 2);
    (0..30).for_each(|_| conference.tick(in_order));
    let late = conference.streams[0].frame(0, conference.tick, 2);
    conference.consumer("consumer.pause", json!({}));
    (0..5).for_each(|_| conference.tick(in_order));
    conference.consumer("consumer.resume", json!({}));
    (0..10).for_each(|_| conference.tick(in_order));
    let before = conference.received.len();
    assert!(before > 0);
    conference.deliver(late);
    assert_eq!(conference.received.len(), before);
    assert_eq!(conference.received.last().unwrap().origin.tick, conference.tick - 1);
}

#[test]
fn nothing_is_sent_and_nothing_is_claimed_while_paused() {
    let mut conference = Conference::new(400);
    (0..60).for_each(|_| conference.tick(in_order));
    assert!(conference.layer_events.iter().all(Option::is_some));
    conference.consumer("consumer.pause", json!({}));
    let (received, told) = (conference.received.len(), conference.layer_events.len());
    assert_eq!(conference.layer_events.last(), Some(&None));
    (0..60).for_each(|_| conference.tick(in_order));
    assert_eq!(
        (conference.received.len(), conference.layer_events.len()),
        (received, told)
    );
}

#[test]
fn parts_of_a_key_frame_that_overtook_its_first_one_are_sent_after_it() {
    for seed in 500..510 {
        let mut conference = Conference::new(seed);
        conference.prefer(0, 2);
        (0..60).for_each(|_| conference.tick(in_order));
        conference.prefer(1, 2);
        while conference.streams[1].key_frame_in != Some(0) {
            conference.tick(in_order);
        }
        let tick = conference.tick;
        let parts = conference.streams[1].frame(1, tick, 5);
        let order: [usize; 5] = [[2, 1, 0, 4, 3], [4, 3, 2, 1, 0]][seed as usize % 2];
        for part in order {
            conference.deliver(vec![parts[part].clone()]);
        }
        let received: Vec<_> = conference
            .received
            .iter()
            .filter(|packet| packet.origin.stream == 1)
            .collect();
        assert_eq!(received.iter().map(|packet| packet.origin.part).max(), Some(4));
        let first = received[0].sequence;
        for packet in &received {
            assert_eq!(
                packet.sequence.wrapping_sub(first),
                u16::from(packet.origin.part),
                "seed {seed}: {packet:?}"
            );
        }
        assert_eq!(received.len(), 5);
        assert_sane(&conference.received, seed);
    }
}
