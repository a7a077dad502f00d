//! A receiver asks for everything again, all the time.

use tests::simulator::media::feedback;
use tests::simulator::network::Protocol;

use crate::{SECOND, assert_faithful, room};

#[test]
fn what_a_storm_of_requests_brings_is_bounded() {
    for seed in 0..3 {
        let mut simulation = room(seed, 2);
        simulation.run(2 * SECOND);
        let [hostile, honest] = [0, 1].map(|index| simulation.receivers[index].address);
        let before = [hostile, honest].map(|address| simulation.network.bytes_to(address));
        let asked = simulation.senders[0].repeated;
        for _ in 0..5000 {
            let (to, ssrc) = (simulation.receivers[0].to, simulation.receivers[0].ssrc);
            let newest = simulation.receivers[0].got.last().expect("media").sequence as u16;
            // The last thousand packets, in one compound.
            let items: Vec<u8> = (0..60)
                .flat_map(|item| {
                    let [high, low] = newest.wrapping_sub(17 * (item + 1)).to_be_bytes();
                    [high, low, 0xff, 0xff]
                })
                .collect();
            let mut request = feedback(205, 1, ssrc, &items);
            simulation.receive(to, hostile, Protocol::Udp, &mut request);
            simulation.run(1000);
        }
        let brought = |index: usize, address| simulation.network.bytes_to(address) - before[index];
        let [storm, usual] = [brought(0, hostile), brought(1, honest)];
        // Beyond the stream itself: 128 KiB, and a quarter of what the stream has.
        assert!(
            storm <= usual * 5 / 4 + usual / 20 + 160_000,
            "seed {seed}: {storm} bytes, {usual} without asking"
        );
        assert_eq!(
            simulation.senders[0].repeated, asked,
            "seed {seed}: the sender was bothered"
        );
        assert_faithful(&simulation.receivers[1], &format!("seed {seed}"));
        assert_eq!(simulation.receivers[1].gaps(), crate::NONE, "seed {seed}");
    }
}
