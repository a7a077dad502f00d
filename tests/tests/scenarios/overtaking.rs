//! Packets that overtake each other, and that come twice.

use tests::simulator::network::Link;

use crate::{NONE, SECOND, assert_faithful, room};

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
