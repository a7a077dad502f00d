//! Nothing comes through for a while.

use tests::simulator::media::PARTS;
use tests::simulator::network::{Direction, Link};

use crate::{SECOND, assert_faithful, room};

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
