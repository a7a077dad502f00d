//! Receivers that come later.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{NONE, SECOND, assert_faithful, room};

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
