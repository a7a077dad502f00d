//! Random losses and bursts, on the way in and on the way out.

use tests::simulator::network::Link;

use crate::{SECOND, assert_faithful, room};

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
