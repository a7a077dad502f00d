//! Video over bad networks, from a sender through the worker to receivers, in virtual time. Each failure names its seed.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tests::simulator::Simulation;
use tests::simulator::media::{FRAME_TICKS, Got, PARTS, Receiver};
use tests::simulator::network::{Direction, Link};

const SECOND: u64 = 1_000_000;
const NONE: [u64; 0] = [];

/// A sender and so many receivers.
fn room(seed: u64, receivers: usize) -> Simulation {
    let mut simulation = Simulation::new(seed);
    simulation.add_sender(1111, 0);
    for _ in 0..receivers {
        simulation.add_receiver(0);
    }
    simulation
}

/// What a receiver got stands in the order of the sender: numbers and times apart as sent, none changed or made up.
#[track_caller]
fn assert_faithful(receiver: &Receiver, what: &str) {
    let mut got: Vec<&Got> = receiver.got.iter().collect();
    got.sort_by_key(|got| got.sequence);
    for two in got.windows(2) {
        let [one, other] = [two[0], two[1]];
        assert_eq!(
            other.sequence - one.sequence,
            u64::from(other.number) - u64::from(one.number),
            "{what}: {one:?} {other:?}"
        );
        let frames = other.number / PARTS - one.number / PARTS;
        assert_eq!(
            other.timestamp.wrapping_sub(one.timestamp),
            frames * FRAME_TICKS,
            "{what}: {one:?} {other:?}"
        );
    }
    for got in got {
        let place = (got.number % PARTS == 0, got.number % PARTS == PARTS - 1);
        assert_eq!((got.first, got.marker), place, "{what}: {got:?}");
    }
}

#[test]
fn loss_is_repaired_on_both_sides() {
    for (seed, loss) in (0..).zip([0, 10, 50, 100, 200]) {
        for burst in [1, 4] {
            let what = format!("seed {seed}, loss {loss} of 1000, bursts of {burst}");
            let mut simulation = room(seed, 3);
            simulation.run(SECOND);
            simulation.network.link = Link {
                loss,
                burst,
                ..Link::default()
            };
            simulation.run(10 * SECOND);
            simulation.network.link = Link::default();
            simulation.run(3 * SECOND);
            let sent = simulation.senders[0].number as usize;
            for receiver in &simulation.receivers {
                assert_faithful(receiver, &what);
                let gaps = receiver.gaps().len();
                assert!(gaps * 200 <= sent, "{what}: {gaps} of {sent} packets missing");
                assert!(receiver.got.len() + gaps + 20 >= sent, "{what}");
            }
            assert_eq!(simulation.senders[0].repeated > 0, loss > 0, "{what}");
        }
    }
}

#[test]
fn overtaking_and_doubled_packets_change_nothing() {
    for seed in 0..8 {
        let mut simulation = room(seed, 2);
        simulation.network.link = Link {
            duplicates: 200,
            min_delay: 10_000,
            max_delay: 60_000,
            ..Link::default()
        };
        simulation.run(8 * SECOND);
        simulation.network.link = Link::default();
        simulation.senders[0].running = false;
        simulation.run(2 * SECOND);
        for receiver in &simulation.receivers {
            assert_faithful(receiver, &format!("seed {seed}"));
            assert_eq!(receiver.gaps(), NONE, "seed {seed}");
            assert!(receiver.doubled > 0, "seed {seed}: the network doubles packets");
        }
    }
}

#[test]
fn sequence_numbers_and_timestamps_wrap() {
    for seed in 0..4 {
        for first in [65_400, 65_530, 65_535, 0] {
            let mut simulation = room(seed, 2);
            simulation.senders[0].sequence = first;
            simulation.senders[0].timestamp = 0_u32.wrapping_sub(20 * FRAME_TICKS);
            simulation.network.link.loss = 100;
            simulation.run(6 * SECOND);
            simulation.network.link.loss = 0;
            simulation.run(2 * SECOND);
            for receiver in &simulation.receivers {
                let what = format!("seed {seed}, first {first}");
                assert_faithful(receiver, &what);
                let gaps = receiver.gaps().len();
                assert!(gaps <= 5 && receiver.got.len() > 600, "{what}: {gaps} gaps");
            }
        }
    }
}

#[test]
fn nothing_comes_through_for_seconds_and_then_it_goes_on() {
    for seed in 0..4 {
        for direction in [Direction::From, Direction::To] {
            let what = format!("seed {seed}, {direction:?}");
            let mut simulation = room(seed, 1);
            simulation.run(2 * SECOND);
            let address = match direction {
                Direction::From => simulation.senders[0].address,
                Direction::To => simulation.receivers[0].address,
            };
            let dead = Link {
                loss: 1000,
                ..Link::default()
            };
            simulation.network.links.insert((address, direction), dead);
            simulation.run(5 * SECOND);
            simulation.network.links.clear();
            let heard = simulation.receivers[0].got.len();
            simulation.run(3 * SECOND);
            let receiver = &simulation.receivers[0];
            assert_faithful(receiver, &what);
            let since = &receiver.got[heard..];
            assert!(since.len() > 250, "{what}: {} packets since", since.len());
            // Too much is missing to repair it all: the stream begins again with a key frame, or is repaired.
            let end = receiver.got.iter().map(|got| got.number).max().unwrap_or_default();
            let (gaps, keys) = (receiver.gaps().len(), since.iter().filter(|got| got.key).count());
            assert!(
                gaps == 0 || keys > 0,
                "{what}: {gaps} gaps, {keys} packets of key frames"
            );
            let sent = simulation.senders[0].number;
            assert!(end + 4 * PARTS >= sent, "{what}: {end} of {sent}");
        }
    }
}

#[test]
fn steps_of_delay_lose_nothing() {
    for seed in 0..4 {
        let mut simulation = room(seed, 1);
        for delay in [20_000, 300_000, 5_000, 150_000, 20_000] {
            simulation.network.link = Link {
                min_delay: delay,
                max_delay: delay,
                ..Link::default()
            };
            simulation.run(2 * SECOND);
        }
        simulation.senders[0].running = false;
        simulation.run(2 * SECOND);
        let receiver = &simulation.receivers[0];
        assert_faithful(receiver, &format!("seed {seed}"));
        assert_eq!(receiver.gaps(), NONE, "seed {seed}");
        assert_eq!(receiver.got.len(), simulation.senders[0].number as usize, "seed {seed}");
    }
}

#[test]
fn a_narrow_link_of_one_receiver_harms_no_other() {
    let mut simulation = room(3, 2);
    let narrow = Link {
        rate: 200_000,
        ..Link::default()
    };
    let address = simulation.receivers[0].address;
    simulation.network.links.insert((address, Direction::To), narrow);
    simulation.run(10 * SECOND);
    let [one, other] = &simulation.receivers[..] else {
        panic!("two receivers")
    };
    assert_faithful(one, "seed 3");
    assert_faithful(other, "seed 3");
    assert_eq!(other.gaps(), NONE, "seed 3");
    assert!(other.got.len() + 20 > simulation.senders[0].number as usize, "seed 3");
    assert!(one.got.len() < other.got.len() / 2, "seed 3");
    // What it asks for again is bounded too: not more than comes through, and half as much again.
    let (narrow, wide) = (
        simulation.network.bytes_to(one.address),
        simulation.network.bytes_to(other.address),
    );
    assert!(narrow < wide * 5 / 2, "seed 3: {narrow} and {wide} bytes");
}

#[test]
fn a_sender_that_starts_anew_with_another_ssrc_is_heard_again() {
    for seed in 0..4 {
        let mut simulation = room(seed, 2);
        simulation.network.link = Link {
            loss: 30,
            max_delay: 50_000,
            ..Link::default()
        };
        simulation.run(3 * SECOND);
        // It comes back from the same address while packets of its former life are still on their way.
        let internal = json!({ "routerId": "r", "transportId": "in0", "producerId": "v0" });
        simulation.request("producer.close", internal, json!({}));
        for receiver in &mut simulation.receivers {
            receiver.forget();
        }
        simulation.produce_video("in0", "again", 2222, 0);
        for index in 0..2 {
            let ssrc = simulation.receivers[index].ssrc + 5;
            simulation.consume_video(&format!("out{index}"), &format!("again{index}"), "again", 2222, ssrc);
            let (address, to) = (simulation.receivers[index].address, simulation.receivers[index].to);
            // What is still on its way to the former receiver is none of the new one's business.
            simulation.run(0);
            let now = simulation.now();
            simulation.receivers[index] = Receiver::new(address, to, ssrc, now);
            simulation.receivers[index].ignores = Some(ssrc - 5);
        }
        let sender = &mut simulation.senders[0];
        (sender.ssrc, sender.sequence, sender.timestamp, sender.key_wanted) = (2222, 30_000, 77, true);
        simulation.run(3 * SECOND);
        simulation.network.link = Link::default();
        simulation.run(SECOND);
        for receiver in &simulation.receivers {
            assert_faithful(receiver, &format!("seed {seed}"));
            assert!(receiver.gaps().len() <= 3 && receiver.got.len() > 400, "seed {seed}");
            assert!(receiver.got.iter().any(|got| got.key), "seed {seed}");
        }
    }
}

#[test]
fn a_sender_that_starts_anew_with_the_same_ssrc_is_heard_again() {
    for seed in 0..4 {
        for step in [10_000, 30_000, 60_000_u16] {
            let mut simulation = room(seed, 1);
            simulation.run(2 * SECOND);
            let sender = &mut simulation.senders[0];
            sender.sequence = sender.sequence.wrapping_add(step);
            sender.timestamp = sender.timestamp.wrapping_add(u32::from(step) << 16);
            sender.key_wanted = true;
            let heard = simulation.receivers[0].got.len();
            simulation.run(3 * SECOND);
            let since = &simulation.receivers[0].got[heard..];
            assert!(since.len() > 300, "seed {seed}, step {step}: {}", since.len());
            assert!(since.iter().any(|got| got.key), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn pauses_of_either_side_leave_no_gap_and_end_with_a_key_frame() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = room(seed, 2);
        simulation.run(SECOND);
        for round in 0..10 {
            let what = format!("seed {seed}, round {round}");
            let producer = rng.random();
            let (kind, internal) = if producer {
                (
                    "producer",
                    json!({ "routerId": "r", "transportId": "in0", "producerId": "v0" }),
                )
            } else {
                (
                    "consumer",
                    json!({ "routerId": "r", "transportId": "out0", "consumerId": "w0" }),
                )
            };
            simulation.request(&format!("{kind}.pause"), internal.clone(), json!({}));
            simulation.run(100_000);
            let heard = simulation.receivers[0].got.len();
            simulation.run(rng.random_range(0..2 * SECOND));
            assert_eq!(simulation.receivers[0].got.len(), heard, "{what}: paused");
            simulation.request(&format!("{kind}.resume"), internal, json!({}));
            simulation.run(SECOND);
            let receiver = &simulation.receivers[0];
            let (before, after) = (&receiver.got[heard - 1], &receiver.got[heard]);
            assert!(after.key && after.first, "{what}: {after:?}");
            assert_eq!(after.sequence, before.sequence + 1, "{what}");
            let ticks = after.timestamp.wrapping_sub(before.timestamp);
            assert_eq!(
                ticks,
                (after.number / PARTS - before.number / PARTS) * FRAME_TICKS,
                "{what}"
            );
            assert_eq!(receiver.gaps(), NONE, "{what}");
        }
        if let Some(other) = simulation.receivers.get(1) {
            assert_eq!(other.gaps(), NONE, "seed {seed}");
        }
    }
}

#[test]
fn late_joiners_begin_with_a_key_frame() {
    for seed in 0..2 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = room(seed, 1);
        simulation.network.link.max_delay = 40_000;
        for _ in 0..40 {
            simulation.run(rng.random_range(0..SECOND / 2));
            simulation.add_receiver(0);
        }
        simulation.run(2 * SECOND);
        simulation.senders[0].running = false;
        simulation.run(SECOND);
        for (index, receiver) in simulation.receivers.iter().enumerate() {
            let what = format!("seed {seed}, receiver {index}");
            assert_faithful(receiver, &what);
            let first = receiver.got.iter().min_by_key(|got| got.sequence).expect("media");
            assert!(first.key && first.first, "{what}: {first:?}");
            assert_eq!(receiver.gaps(), NONE, "{what}");
        }
    }
}

/// How often a sender was asked within any second.
fn most_in_a_second(times: &[u64]) -> usize {
    let within = |start: &u64| times.iter().filter(|at| (*start..start + SECOND).contains(at)).count();
    times.iter().map(within).max().unwrap_or_default()
}

#[test]
fn five_hundred_receivers_ask_for_key_frames_and_one_request_a_second_goes_out() {
    for (delay, obeys) in [(1000, true), (0, false)] {
        let mut simulation = Simulation::new(5);
        simulation.add_sender(1111, delay);
        simulation.senders[0].obeys = obeys;
        for index in 0..500 {
            simulation.add_receiver(0);
            simulation.receivers[index].key_every = Some(300_000);
            simulation.run(500);
        }
        simulation.run(4 * SECOND);
        let asked = &simulation.senders[0].key_requests;
        assert!(most_in_a_second(asked) <= 1, "delay {delay}: {asked:?}");
        assert!(asked.len() >= 3, "delay {delay}: {asked:?}");
    }
}
