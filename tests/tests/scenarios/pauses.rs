//! Producers and consumers are paused and resumed.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tests::simulator::media::{FRAME_TICKS, PARTS};

use crate::{NONE, SECOND, room};

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
