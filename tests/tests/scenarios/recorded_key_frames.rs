//! Key frames of what a browser's encoder sent once (`tests/media`) whose packets overtake each other: no layer that a
//! receiver is to get is lost, or another key frame is asked for.

use std::collections::BTreeSet;
use std::ops::Range;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tests::simulator::Simulation;

use crate::recorded_layers::{Call, Packet, RECORDINGS, Recording, assert_decodable, layers, load};

/// Pictures from here on have all layers.
const ALL_LAYERS: usize = 60;

/// A receiver of a recording whose key frames are mixed with what follows them.
struct Mixed {
    call: Call,
    original: Recording,
    what: String,
    k_svc: bool,
    /// Packets of each picture, as they were sent.
    pictures: Vec<Range<usize>>,
    /// Pictures with which a receiver can begin or climb.
    keys: Vec<usize>,
}

impl Mixed {
    /// `mix` changes the order of the packets of a key picture, so many at the beginning of what it gets, and of those of
    /// the two pictures behind it.
    fn new(seed: u64, recording: (&str, &str, &str), mut mix: impl FnMut(&mut [Packet], usize)) -> Self {
        let mut call = Call::new(seed, recording, (2, 2));
        let original = load(recording.0);
        let mut pictures: Vec<Range<usize>> = Vec::new();
        for (place, packet) in original.packets.iter().enumerate() {
            match pictures.last_mut() {
                Some(last) if original.packets[last.start].timestamp == packet.timestamp => last.end = place + 1,
                _ => pictures.push(place..place + 1),
            }
        }
        let is_key = |at: &usize| original.is_key_picture(original.packets[pictures[*at].start].timestamp);
        let keys: Vec<usize> = (ALL_LAYERS..pictures.len() - 2).filter(is_key).collect();
        for key in &keys {
            let (start, end) = (pictures[*key].start, pictures[key + 2].end);
            mix(&mut call.recording.packets[start..end], pictures[*key].len());
        }
        call.recording.order_times();
        Self {
            call,
            original,
            what: format!("seed {seed}, {recording:?}"),
            k_svc: recording.2.ends_with("_KEY"),
            pictures,
            keys,
        }
    }

    /// The picture halfway from the key picture before the one with a number, counted from 0, to that.
    fn halfway(&self, number: usize) -> usize {
        let before = number.checked_sub(1).map_or(ALL_LAYERS, |before| self.keys[before]);
        let next = self.keys.get(number).copied();
        before.midpoint(next.unwrap_or(self.pictures.len()))
    }

    /// Plays it; `change` may do something halfway before each key picture. Returns the frames that came, which can all be
    /// decoded.
    #[track_caller]
    fn play(&mut self, mut change: impl FnMut(&mut Simulation, usize)) -> BTreeSet<usize> {
        let halves: Vec<usize> = (0..self.keys.len())
            .map(|number| self.pictures[self.halfway(number)].start)
            .collect();
        let got = self.call.play(|simulation, place| {
            if let Some(number) = halves.iter().position(|half| *half == place) {
                change(simulation, number);
            }
        });
        let numbers: BTreeSet<u16> = got.iter().map(|got| got.sequence).collect();
        assert_eq!(numbers.len(), got.len(), "{}: a number was used twice", self.what);
        assert_decodable(&self.original, &got, &self.what)
    }

    /// Everything came that is of use to somebody who gets the highest layer, from a key picture to halfway to the next.
    #[track_caller]
    fn assert_all_from(&self, number: usize, came: &BTreeSet<usize>) {
        for picture in self.keys[number]..self.halfway(number + 1) {
            for packet in &self.original.packets[self.pictures[picture].clone()] {
                let spatial = self.original.frames[packet.frame].spatial;
                let unused = self.k_svc && spatial < 2 && picture != self.keys[number];
                let (frame, what) = (packet.frame, &self.what);
                assert!(
                    unused || came.contains(&frame),
                    "{what}: frame {frame} of picture {picture}, layer {spatial}"
                );
            }
        }
    }

    /// How often the sender was asked for a key frame.
    fn key_frame_requests(&mut self) -> u64 {
        let internal = json!({ "routerId": "r", "transportId": "in", "producerId": "p" });
        let stats = self.call.simulation.request("producer.getStats", internal, json!({}));
        stats[0]["pliCount"].as_u64().expect("a number")
    }
}

/// Up with every other key picture, down before or with those between.
fn up_and_down(simulation: &mut Simulation, number: usize) {
    let chosen = if number.is_multiple_of(2) { (0, 2) } else { (2, 2) };
    simulation.request("consumer.setPreferredLayers", Call::consumer(), layers(chosen));
}

#[test]
fn a_receiver_begins_with_a_key_frame_whose_first_packet_comes_late() {
    for seed in 0..12 {
        for recording in RECORDINGS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut mixed = Mixed::new(seed, recording, |packets, _| {
                let to = rng.random_range(1..packets.len());
                packets[..=to].rotate_left(1);
                packets[..to].shuffle(&mut rng);
            });
            let came = mixed.play(|simulation, _| {
                simulation.request("consumer.pause", Call::consumer(), json!({}));
                simulation.request("consumer.resume", Call::consumer(), json!({}));
            });
            for number in 0..mixed.keys.len() {
                mixed.assert_all_from(number, &came);
            }
        }
    }
}

#[test]
fn a_receiver_climbs_with_a_key_frame_whose_packets_come_in_any_order() {
    for seed in 0..24 {
        for recording in RECORDINGS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut mixed = Mixed::new(seed, recording, |packets, of_key| {
                // At least one packet of it comes before the next pictures.
                packets.swap(0, rng.random_range(0..of_key));
                packets[1..].shuffle(&mut rng);
            });
            let came = mixed.play(up_and_down);
            for number in 0..mixed.keys.len() {
                if number % 2 == 1 {
                    mixed.assert_all_from(number, &came);
                }
            }
        }
    }
}

/// What was left out of the pictures behind it cannot be sent any more: what was sent behind that has taken its numbers.
#[test]
fn a_key_frame_that_comes_after_pictures_behind_it_is_asked_for_again() {
    for recording in RECORDINGS {
        let requests = [false, true].map(|late| {
            let mut mixed = Mixed::new(1, recording, |packets, of_key| {
                if late {
                    packets.rotate_left(of_key);
                }
            });
            let came = mixed.play(up_and_down);
            for number in 0..mixed.keys.len() {
                if number % 2 == 1 && !late {
                    mixed.assert_all_from(number, &came);
                }
            }
            mixed.key_frame_requests()
        });
        assert!(requests[1] > requests[0], "{recording:?}: {requests:?}");
    }
}
