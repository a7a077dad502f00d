//! Video and data over bad networks, from a sender through the worker to receivers, in virtual time. Each failure names
//! its seed.

mod data;
mod delays;
mod key_frames;
mod late_joiners;
mod loss;
mod nack_storm;
mod narrow_link;
mod overtaking;
mod pauses;
mod recorded_key_frames;
mod recorded_layers;
mod restarts;
mod rids;
mod rtx;
mod silence;
mod simulcast;
mod wraps;

use tests::simulator::Simulation;
use tests::simulator::media::{FRAME_TICKS, Got, PARTS, Receiver};

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
