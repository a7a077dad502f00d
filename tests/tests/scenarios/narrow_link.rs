//! The link of a receiver is narrower than what it is sent.

use tests::simulator::network::{Direction, Link};

use crate::{NONE, SECOND, assert_faithful, room};

#[test]
fn a_narrow_link_of_one_receiver_harms_no_other() {
    let mut simulation = room(3, 2);
    let narrow = Link {
        rate: 200_000,
        ..Link::default()
    };
    let address = simulation.receivers[0].address;
    simulation.network.links.insert((address, Direction::To), narrow);
    simulation.run(10 * SECOND);
    let [one, other] = &simulation.receivers[..] else {
        panic!("two receivers")
    };
    assert_faithful(one, "seed 3");
    assert_faithful(other, "seed 3");
    assert_eq!(other.gaps(), NONE, "seed 3");
    assert!(other.got.len() + 20 > simulation.senders[0].number as usize, "seed 3");
    assert!(one.got.len() < other.got.len() / 2, "seed 3");
    // What it asks for again is bounded too: not more than comes through, and half as much again.
    let (narrow, wide) = (
        simulation.network.bytes_to(one.address),
        simulation.network.bytes_to(other.address),
    );
    assert!(narrow < wide * 5 / 2, "seed 3: {narrow} and {wide} bytes");
}
