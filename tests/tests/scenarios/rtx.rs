//! Losses are repaired with and without retransmission streams, on either side.

use tests::simulator::Simulation;
use tests::simulator::network::Link;

use crate::{SECOND, assert_faithful};

#[test]
fn losses_are_repaired_with_and_without_rtx() {
    for (seed, (sender, receiver)) in (0..).zip([(true, true), (true, false), (false, true), (false, false)]) {
        let what = format!("seed {seed}, RTX of the sender {sender}, of the receiver {receiver}");
        let mut simulation = Simulation::new(seed);
        simulation.options.rtx = sender;
        simulation.add_sender(1111, 0);
        simulation.options.rtx = receiver;
        simulation.add_receiver(0);
        simulation.run(SECOND);
        simulation.network.link = Link {
            loss: 80,
            ..Link::default()
        };
        simulation.run(10 * SECOND);
        simulation.network.link = Link::default();
        simulation.senders[0].running = false;
        simulation.run(2 * SECOND);
        let (sent, got) = (simulation.senders[0].number as usize, &simulation.receivers[0]);
        assert_faithful(got, &what);
        assert!(got.gaps().len() <= 3, "{what}: {:?}", got.gaps());
        assert!(got.got.len() + 20 >= sent, "{what}: {} of {sent}", got.got.len());
        assert!(simulation.senders[0].repeated > 20, "{what}");
        assert_eq!(got.got.iter().any(|got| got.repeated), receiver, "{what}");
    }
}
