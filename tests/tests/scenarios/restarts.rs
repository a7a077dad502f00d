//! A sender begins anew.

use serde_json::json;
use tests::simulator::media::Receiver;
use tests::simulator::network::Link;

use crate::{SECOND, assert_faithful, room};

#[test]
fn a_sender_that_starts_anew_with_another_ssrc_is_heard_again() {
    for seed in 0..4 {
        let mut simulation = room(seed, 2);
        simulation.network.link = Link {
            loss: 30,
            max_delay: 50_000,
            ..Link::default()
        };
        simulation.run(3 * SECOND);
        // It comes back from the same address while packets of its former life are still on their way.
        let internal = json!({ "routerId": "r", "transportId": "in0", "producerId": "v0" });
        simulation.request("producer.close", internal, json!({}));
        for receiver in &mut simulation.receivers {
            receiver.forget();
        }
        simulation.produce_video("in0", "again", &[2222], 0);
        for index in 0..2 {
            let ssrc = simulation.receivers[index].ssrc + 5;
            simulation.consume_video(&format!("out{index}"), &format!("again{index}"), "again", &[2222], ssrc);
            let (address, to) = (simulation.receivers[index].address, simulation.receivers[index].to);
            // What is still on its way to the former receiver is none of the new one's business.
            simulation.run(0);
            let now = simulation.now();
            simulation.receivers[index] = Receiver::new(address, to, ssrc, now);
            simulation.receivers[index].ignores = Some(ssrc - 5);
        }
        let sender = &mut simulation.senders[0];
        (sender.ssrc, sender.sequence, sender.timestamp, sender.key_wanted) = (2222, 30_000, 77, true);
        simulation.run(3 * SECOND);
        simulation.network.link = Link::default();
        simulation.run(SECOND);
        for receiver in &simulation.receivers {
            assert_faithful(receiver, &format!("seed {seed}"));
            assert!(receiver.gaps().len() <= 3 && receiver.got.len() > 400, "seed {seed}");
            assert!(receiver.got.iter().any(|got| got.key), "seed {seed}");
        }
    }
}

#[test]
fn a_sender_that_starts_anew_with_the_same_ssrc_is_heard_again() {
    for seed in 0..4 {
        for step in [10_000, 30_000, 60_000_u16] {
            let mut simulation = room(seed, 1);
            simulation.run(2 * SECOND);
            let sender = &mut simulation.senders[0];
            sender.sequence = sender.sequence.wrapping_add(step);
            sender.timestamp = sender.timestamp.wrapping_add(u32::from(step) << 16);
            sender.key_wanted = true;
            let heard = simulation.receivers[0].got.len();
            simulation.run(3 * SECOND);
            let since = &simulation.receivers[0].got[heard..];
            assert!(since.len() > 300, "seed {seed}, step {step}: {}", since.len());
            assert!(since.iter().any(|got| got.key), "seed {seed}, step {step}");
        }
    }
}
