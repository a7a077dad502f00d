//! Sequence numbers and timestamps that wrap.

use tests::simulator::media::FRAME_TICKS;

use crate::{SECOND, assert_faithful, room};

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
