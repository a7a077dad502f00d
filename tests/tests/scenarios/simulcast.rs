//! Three streams of one picture, of which a receiver gets one at a time.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tests::simulator::Simulation;
use tests::simulator::media::{FRAME_TICKS, Got, PARTS, STREAM};
use tests::simulator::network::{Direction, Link};

use crate::SECOND;

/// By how much timestamps may be moved at a switch.
const MAX_SHIFT: i32 = 75 * 90;

fn prefer(simulation: &mut Simulation, layer: usize) {
    let internal = json!({ "routerId": "r", "transportId": "out0", "consumerId": "w0" });
    simulation.request(
        "consumer.setPreferredLayers",
        internal,
        json!({ "spatialLayer": layer }),
    );
}

/// Which stream a packet is of.
fn stream(got: &Got) -> usize {
    (got.number / STREAM) as usize
}

/// The receiver sees one stream: no number is missing but where a frame was cut short by a switch, and time goes as the
/// frames were taken.
#[track_caller]
fn assert_one_stream(simulation: &Simulation, what: &str) -> usize {
    let mut got: Vec<&Got> = simulation.receivers[0].got.iter().collect();
    got.sort_by_key(|got| got.sequence);
    let moved = |got: &Got| got.timestamp.wrapping_sub(got.number % STREAM / PARTS * FRAME_TICKS);
    let mut switches = 0;
    for two in got.windows(2) {
        let [one, other] = [two[0], two[1]];
        let switched = stream(one) != stream(other);
        switches += usize::from(switched);
        let meant = u64::from(switched && !one.marker);
        assert_eq!(other.sequence - one.sequence, 1 + meant, "{what}: {one:?} {other:?}");
        assert!(!switched || (other.key && other.first), "{what}: {one:?} {other:?}");
        assert!(
            other.timestamp.wrapping_sub(one.timestamp).cast_signed() >= 0,
            "{what}: {one:?} {other:?}"
        );
        let drift = moved(other).wrapping_sub(moved(got[0])).cast_signed();
        assert!(drift.abs() <= MAX_SHIFT, "{what}: {drift} ticks off: {other:?}");
    }
    switches
}

#[test]
fn a_hundred_switches_leave_one_stream() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = Simulation::new(seed);
        simulation.add_simulcast_sender(&[1000, 1100, 1200], 0);
        let delay = 20_000 + seed * 7000;
        (simulation.network.link.min_delay, simulation.network.link.max_delay) = (delay, delay);
        simulation.add_receiver(0);
        simulation.run(3 * SECOND);
        let mut layer = 2;
        for round in 0..100 {
            layer = (layer + rng.random_range(1..3)) % 3;
            prefer(&mut simulation, layer);
            simulation.run(rng.random_range(300_000..SECOND));
            let last = simulation.receivers[0].got.last().expect("media");
            assert_eq!(stream(last), layer, "seed {seed}, round {round}");
        }
        simulation.senders.iter_mut().for_each(|sender| sender.running = false);
        simulation.run(SECOND);
        let switches = assert_one_stream(&simulation, &format!("seed {seed}"));
        assert!((100..=102).contains(&switches), "seed {seed}: {switches} switches");
    }
}

#[test]
fn a_stream_that_ends_is_left_and_one_that_comes_is_taken() {
    for seed in 0..4 {
        let mut simulation = Simulation::new(seed);
        simulation.add_simulcast_sender(&[1000, 1100, 1200], 0);
        simulation.senders[2].running = false;
        simulation.add_receiver(0);
        simulation.run(3 * SECOND);
        let sees = |simulation: &Simulation, layer: usize, what: &str| {
            let last = simulation.receivers[0].got.last().expect("media");
            assert!(last.at + SECOND / 5 > simulation.now(), "seed {seed}, {what}: {last:?}");
            assert_eq!(stream(last), layer, "seed {seed}, {what}");
        };
        sees(&simulation, 1, "without the highest");
        for round in 0..3 {
            let now = simulation.now();
            simulation.senders[2].resume(now);
            // Its clock has to be known, which takes until its next report.
            simulation.run(5 * SECOND / 2);
            sees(&simulation, 2, &format!("round {round}, the highest came"));
            simulation.senders[2].running = false;
            // The others going on tells that it was turned off.
            simulation.run(3 * SECOND / 4);
            sees(&simulation, 1, &format!("round {round}, the highest has just gone"));
            simulation.run(9 * SECOND / 4);
            sees(&simulation, 1, &format!("round {round}, the highest went"));
        }
        let switches = assert_one_stream(&simulation, &format!("seed {seed}"));
        assert!((6..=8).contains(&switches), "seed {seed}: {switches} switches");
    }
}

/// A request that is lost is repeated after a second: a long time to see nothing.
#[test]
fn a_sender_that_loses_packets_is_asked_twice_when_a_stream_has_gone() {
    for (loss, times) in [(0, 1), (100, 2)] {
        let mut simulation = Simulation::new(6);
        simulation.add_simulcast_sender(&[1000, 1100, 1200], 0);
        let lossy = Link {
            loss,
            ..Link::default()
        };
        let address = simulation.senders[0].address;
        simulation.network.links.insert((address, Direction::From), lossy);
        simulation.add_receiver(0);
        simulation.run(5 * SECOND);
        simulation.senders[2].running = false;
        let before = simulation.senders[1].key_requests.len();
        simulation.run(SECOND);
        let asked = &simulation.senders[1].key_requests[before..];
        assert_eq!(asked.len(), times, "loss {loss}: {asked:?}");
        assert_eq!(asked[0], asked[times - 1], "loss {loss}: {asked:?}");
    }
}

#[test]
fn switches_over_a_bad_network_change_no_packet_and_repeat_no_number() {
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut simulation = Simulation::new(seed);
        simulation.add_simulcast_sender(&[1000, 1100, 1200], 0);
        simulation.add_receiver(0);
        simulation.run(2 * SECOND);
        let bad = Link {
            loss: 50,
            burst: 3,
            max_delay: 40_000,
            ..Link::default()
        };
        let (sender, receiver) = (simulation.senders[0].address, simulation.receivers[0].address);
        simulation.network.links.insert((sender, Direction::From), bad);
        simulation.network.links.insert((receiver, Direction::To), bad);
        for _ in 0..40 {
            prefer(&mut simulation, rng.random_range(0..3));
            simulation.run(rng.random_range(200_000..SECOND));
        }
        simulation.network.links.clear();
        prefer(&mut simulation, 0);
        simulation.run(3 * SECOND);
        // The receiver itself asserts that packets are as sent and that no number stands for two.
        let receiver = &simulation.receivers[0];
        let last = receiver.got.last().expect("media");
        assert!(
            last.at + SECOND / 5 > simulation.now() && stream(last) == 0,
            "seed {seed}: {last:?}"
        );
        let first = receiver.got[0]
            .timestamp
            .wrapping_sub(receiver.got[0].number % STREAM / PARTS * FRAME_TICKS);
        for got in &receiver.got {
            let moved = got.timestamp.wrapping_sub(got.number % STREAM / PARTS * FRAME_TICKS);
            let drift = moved.wrapping_sub(first).cast_signed();
            assert!(drift.abs() <= MAX_SHIFT, "seed {seed}: {drift} ticks off: {got:?}");
        }
    }
}
