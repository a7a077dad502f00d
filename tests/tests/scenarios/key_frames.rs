//! Many ask for key frames.

use tests::simulator::Simulation;

use crate::SECOND;

/// How often a sender was asked within any second.
fn most_in_a_second(times: &[u64]) -> usize {
    let within = |start: &u64| times.iter().filter(|at| (*start..start + SECOND).contains(at)).count();
    times.iter().map(within).max().unwrap_or_default()
}

#[test]
fn five_hundred_receivers_ask_for_key_frames_and_one_request_a_second_goes_out() {
    for (delay, obeys) in [(1000, true), (0, false)] {
        let mut simulation = Simulation::new(5);
        simulation.add_sender(1111, delay);
        simulation.senders[0].obeys = obeys;
        for index in 0..500 {
            simulation.add_receiver(0);
            simulation.receivers[index].key_every = Some(300_000);
            simulation.run(500);
        }
        simulation.run(4 * SECOND);
        let asked = &simulation.senders[0].key_requests;
        assert!(most_in_a_second(asked) <= 1, "delay {delay}: {asked:?}");
        assert!(asked.len() >= 3, "delay {delay}: {asked:?}");
    }
}
