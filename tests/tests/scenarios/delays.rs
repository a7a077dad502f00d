//! The way becomes longer and shorter.

use tests::simulator::network::Link;

use crate::{NONE, SECOND, assert_faithful, room};

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
