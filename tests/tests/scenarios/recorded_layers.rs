//! Layers of what a browser's encoder sent once (`tests/media`), chosen by a receiver: what it gets can be decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tests::simulator::Simulation;
use tests::simulator::network::Protocol;

const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// Id of the dependency descriptor in what is sent.
const DESCRIPTOR_ID: u8 = 12;
/// File, codec, mode. The mode with `_KEY` uses lower spatial layers in key frames only.
pub const RECORDINGS: [(&str, &str, &str); 3] = [
    ("av1-l3t3", "AV1", "L3T3"),
    ("vp9-l3t3", "VP9", "L3T3"),
    ("vp9-l3t3-key", "VP9", "L3T3_KEY"),
];

/// A recorded packet.
#[derive(Clone)]
pub struct Packet {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub timestamp: u32,
    pub frame: usize,
}

/// A frame of one spatial layer.
pub struct Frame {
    pub spatial: u8,
    pub temporal: u8,
    refers_to: Vec<usize>,
    packets: usize,
    pub timestamp: u32,
}

pub struct Recording {
    pub packets: Vec<Packet>,
    pub frames: Vec<Frame>,
}

/// A packet that the receiver got.
pub struct Got {
    /// Which of the recorded ones it is.
    pub index: usize,
    pub sequence: u16,
    marker: bool,
}

pub fn load(name: &str) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("media").join(name);
    let text = std::fs::read_to_string(path.with_extension("txt")).expect("a recording");
    let mut recording = Recording {
        packets: Vec::new(),
        frames: Vec::new(),
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        recording.add(line);
    }
    recording
}

impl Recording {
    fn add(&mut self, line: &str) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [
            at,
            sequence,
            timestamp,
            marker,
            frame,
            spatial,
            temporal,
            refers_to,
            length,
            payload,
            descriptor,
        ] = fields[..]
        else {
            panic!("{line}")
        };
        let number = |text: &str| text.parse::<u32>().expect("a number");
        let (timestamp, frame) = (number(timestamp), number(frame) as usize);
        let mut bytes = vec![0x80, 96 | (number(marker) as u8) << 7];
        bytes.extend((number(sequence) as u16).to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(5_u32.to_be_bytes());
        if descriptor != "-" {
            let descriptor = hex::decode(descriptor).expect("hex");
            let mut block = vec![DESCRIPTOR_ID, descriptor.len() as u8];
            block.extend(descriptor);
            block.resize(block.len().next_multiple_of(4), 0);
            bytes[0] |= 0x10;
            bytes.extend([0x10, 0, 0, (block.len() / 4) as u8]);
            bytes.extend(block);
        }
        let before = bytes.len();
        bytes.extend(hex::decode(payload).expect("hex"));
        bytes.resize((before + number(length) as usize).max(bytes.len()), 0);
        // Tells them apart when they come out.
        bytes.extend((self.packets.len() as u32).to_be_bytes());
        if frame == self.frames.len() {
            self.frames.push(Frame {
                spatial: number(spatial) as u8,
                temporal: number(temporal) as u8,
                refers_to: refers_to
                    .split(',')
                    .filter(|frame| *frame != "-")
                    .map(|frame| number(frame) as usize)
                    .collect(),
                packets: 0,
                timestamp,
            });
        }
        self.frames[frame].packets += 1;
        self.packets.push(Packet {
            at: u64::from(number(at)) * 1000,
            bytes,
            timestamp,
            frame,
        });
    }

    /// Lets packets that have changed places arrive at times in order.
    pub fn order_times(&mut self) {
        let mut latest = 0;
        for packet in &mut self.packets {
            latest = packet.at.max(latest);
            packet.at = latest;
        }
    }

    /// Whether all layers of a picture hang together.
    pub fn is_key_picture(&self, timestamp: u32) -> bool {
        let mut lowest = self
            .frames
            .iter()
            .filter(|frame| frame.timestamp == timestamp && frame.spatial == 0);
        lowest.any(|frame| frame.refers_to.is_empty())
    }
}

/// A receiver of a recording.
pub struct Call {
    pub simulation: Simulation,
    pub recording: Recording,
    pub sender: SocketAddr,
    to: SocketAddr,
}

impl Call {
    pub fn new(seed: u64, (name, codec, mode): (&str, &str, &str), preferred: (u8, u8)) -> Self {
        let mut simulation = Simulation::new(seed);
        let (sender, receiver) = ([10, 2, 0, 1], [10, 3, 0, 1]);
        let (sender, receiver) = (SocketAddr::from((sender, 5000)), SocketAddr::from((receiver, 5000)));
        let to = simulation.plain_transport("in", None);
        simulation.plain_transport("out", Some(receiver));
        let parameters = |ssrc: u32| {
            json!({
                "codecs": [{ "mimeType": format!("video/{codec}"), "payloadType": 96, "clockRate": 90_000,
                    "rtcpFeedback": [{ "type": "nack" }, { "type": "nack", "parameter": "pli" }] }],
                "headerExtensions": [{ "uri": DEPENDENCY_DESCRIPTOR, "id": DESCRIPTOR_ID }],
                "encodings": [{ "ssrc": ssrc, "scalabilityMode": mode }],
            })
        };
        let mapping = json!({ "codecs": [{ "payloadType": 96, "mappedPayloadType": 96 }],
            "encodings": [{ "ssrc": 5, "mappedSsrc": 6 }] });
        let produce = json!({ "kind": "video", "rtpParameters": parameters(5), "rtpMapping": mapping });
        let internal = json!({ "routerId": "r", "transportId": "in", "producerId": "p" });
        simulation.request("transport.produce", internal, produce);
        let consume = json!({ "kind": "video", "type": "svc", "consumableRtpEncodings": [{ "ssrc": 6 }],
            "rtpParameters": parameters(7), "preferredLayers": layers(preferred) });
        simulation.request("transport.consume", Self::consumer(), consume);
        simulation.network.tap = Some(Vec::new());
        Self {
            simulation,
            recording: load(name),
            sender,
            to,
        }
    }

    pub fn consumer() -> Value {
        json!({ "routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p" })
    }

    /// Plays the recording; `change` may do something before each packet, of which it is told the place. Returns what the
    /// receiver got.
    pub fn play(&mut self, mut change: impl FnMut(&mut Simulation, usize)) -> Vec<Got> {
        let start = self.simulation.now();
        for (place, packet) in self.recording.packets.iter().enumerate() {
            let wait = (start + packet.at).saturating_sub(self.simulation.now());
            self.simulation.run(wait);
            change(&mut self.simulation, place);
            let mut bytes = packet.bytes.clone();
            self.simulation.receive(self.to, self.sender, Protocol::Udp, &mut bytes);
        }
        let sent = self.simulation.network.tap.take().expect("a tap");
        let media = sent.iter().filter(|packet| packet.to.ip().to_string() == "10.3.0.1");
        let media = media.filter(|packet| !(192..224).contains(&packet.bytes[1]));
        media
            .map(|packet| Got {
                index: u32::from_be_bytes(packet.bytes[packet.bytes.len() - 4..].try_into().expect("four bytes"))
                    as usize,
                sequence: u16::from_be_bytes([packet.bytes[2], packet.bytes[3]]),
                marker: packet.bytes[1] & 0x80 != 0,
            })
            .collect()
    }
}

pub fn layers((spatial, temporal): (u8, u8)) -> Value {
    json!({ "spatialLayer": spatial, "temporalLayer": temporal })
}

/// Whole frames, and each with all that it refers to. Returns the frames that came.
#[track_caller]
pub fn assert_decodable(recording: &Recording, got: &[Got], what: &str) -> BTreeSet<usize> {
    let mut frames: BTreeMap<usize, usize> = BTreeMap::new();
    for got in got {
        *frames.entry(recording.packets[got.index].frame).or_default() += 1;
    }
    for (frame, packets) in &frames {
        let Frame {
            spatial,
            temporal,
            refers_to,
            packets: whole,
            ..
        } = &recording.frames[*frame];
        let what = format!("{what}: frame {frame} of layer {spatial}:{temporal}");
        assert_eq!(packets, whole, "{what} is not whole");
        for other in refers_to {
            assert!(frames.contains_key(other), "{what} needs frame {other}");
        }
    }
    frames.into_keys().collect()
}

#[track_caller]
fn assert_without_gaps(got: &[Got], what: &str) {
    for two in got.windows(2) {
        assert_eq!(
            two[1].sequence,
            two[0].sequence.wrapping_add(1),
            "{what}: packet {}",
            two[1].index
        );
    }
}

#[test]
fn each_choice_of_layers_can_be_decoded_and_is_all_that_was_chosen() {
    for recording in RECORDINGS {
        let k_svc = recording.2.ends_with("_KEY");
        for chosen in (0..9).map(|choice| (choice / 3, choice % 3)) {
            let what = format!("{recording:?}, layers {chosen:?}");
            let mut call = Call::new(1, recording, chosen);
            let got = call.play(|_, _| {});
            let recording = &call.recording;
            assert_without_gaps(&got, &what);
            let came = assert_decodable(recording, &got, &what);
            // Once all layers are there and a key frame has been: half of the recording.
            let half = recording.frames.len() / 2;
            let wanted = |frame: &Frame| {
                let spatial = frame.spatial == chosen.0
                    || frame.spatial < chosen.0 && (!k_svc || recording.is_key_picture(frame.timestamp));
                spatial && frame.temporal <= chosen.1
            };
            let expected: BTreeSet<usize> = (half..recording.frames.len())
                .filter(|frame| wanted(&recording.frames[*frame]))
                .collect();
            let came: BTreeSet<usize> = came.into_iter().filter(|frame| *frame >= half).collect();
            let difference: Vec<_> = came.symmetric_difference(&expected).collect();
            assert!(difference.is_empty() && came.len() > 15, "{what}: {difference:?}");
            // The last packet of a picture says so.
            for two in got.windows(2) {
                let [one, other] = [0, 1].map(|at| &recording.packets[two[at].index]);
                let frame = &recording.frames[one.frame];
                if one.frame >= half && frame.spatial == chosen.0 {
                    // The encoder gave up the end of one frame for a key frame, so the marker of the highest layer counts.
                    let last = if chosen.0 == 2 {
                        one.bytes[1] & 0x80 != 0
                    } else {
                        one.timestamp != other.timestamp
                    };
                    assert_eq!(two[0].marker, last, "{what}: packet {}", two[0].index);
                }
            }
        }
    }
}

#[test]
fn whenever_layers_change_what_comes_can_be_decoded() {
    for seed in 0..12 {
        for recording in RECORDINGS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut call = Call::new(seed, recording, (2, 2));
            let mut next = 0;
            let got = call.play(|simulation, _| {
                if simulation.now() >= next {
                    next = simulation.now() + rng.random_range(100_000..900_000);
                    let chosen = (rng.random_range(0..3), rng.random_range(0..3));
                    simulation.request("consumer.setPreferredLayers", Call::consumer(), layers(chosen));
                }
            });
            let what = format!("seed {seed}, {recording:?}");
            assert_without_gaps(&got, &what);
            let came = assert_decodable(&call.recording, &got, &what);
            assert!(came.len() > 80, "{what}: {} frames", came.len());
        }
    }
}

/// Packets that overtake others by a few places.
#[test]
fn overtaking_changes_nothing_of_what_can_be_decoded() {
    for seed in 0..12 {
        for recording in RECORDINGS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let chosen = (rng.random_range(0..3), rng.random_range(0..3));
            let mut call = Call::new(seed, recording, chosen);
            for at in 0..call.recording.packets.len() - 4 {
                let end = at + rng.random_range(2..5);
                if rng.random_range(0..10) == 0 {
                    call.recording.packets[at..end].rotate_left(1);
                }
            }
            call.recording.order_times();
            let got = call.play(|_, _| {});
            let what = format!("seed {seed}, {recording:?}, layers {chosen:?}");
            // What is left out but comes late leaves a gap: later ones have their numbers already.
            let numbers: BTreeSet<u16> = got.iter().map(|got| got.sequence).collect();
            assert_eq!(numbers.len(), got.len(), "{what}: a number was used twice");
            let came = assert_decodable(&load(recording.0), &got, &what);
            assert!(came.len() > 40, "{what}: {} frames", came.len());
        }
    }
}

/// Of a layer that needs those below in key frames only nothing can be seen any more once its sender turns it off. Encoders
/// do that without a word.
#[test]
fn a_layer_that_is_turned_off_is_left_at_once() {
    let mut call = Call::new(1, RECORDINGS[2], (2, 2));
    let half = call.recording.packets.len() / 2;
    let (on, off) = call.recording.packets.split_at(half);
    let off_at = off[0].at;
    let (highest, frames) = (2, &call.recording.frames);
    let goes_on = |packet: &&Packet| frames[packet.frame].spatial < highest;
    let mut packets: Vec<Packet> = on.iter().chain(off.iter().filter(goes_on)).cloned().collect();
    for end in (half + 1..=packets.len()).rev() {
        if packets
            .get(end)
            .is_none_or(|next| next.timestamp != packets[end - 1].timestamp)
        {
            packets[end - 1].bytes[1] |= 0x80;
        }
    }
    call.recording.packets = packets;
    let start = call.simulation.now();
    let mut asked = Vec::new();
    let sender = call.sender;
    call.play(|simulation, _| {
        let now = simulation.now() - start;
        let sent = simulation.network.tap.iter().flatten();
        let requests = sent
            .filter(|packet| packet.to == sender && packet.bytes[1] == 206)
            .count();
        asked.resize(requests, now);
    });
    let after = asked
        .iter()
        .find(|at| **at > off_at)
        .expect("a request for a key frame")
        - off_at;
    assert!((200_000..600_000).contains(&after), "{after} us");
}
