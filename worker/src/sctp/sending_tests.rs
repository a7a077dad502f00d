//! What waits on its way out, and how long: limits, buffers, resets.

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use super::sending::MAX_UNFINISHED;
use super::tests::{DELAY, Net, ORDERED, UNORDERED, number, numbered, settings};
use super::*;

#[test]
fn unordered_messages_do_not_wait_for_lost_ones() {
    let mut net = Net::connected();
    net.loss = 0.1;
    for index in 0..300 {
        net.send(0, 1, &numbered(index, 100), UNORDERED).unwrap();
        net.run_for(5_000);
    }
    net.run_for(60_000_000);
    let numbers: Vec<u32> = net.received[1].iter().map(number).collect();
    assert!(!numbers.is_sorted(), "some overtook a lost one");
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        (0..300).collect::<Vec<_>>(),
        "unordered without a limit is reliable"
    );
}

#[test]
fn limits_of_lifetime_and_retransmissions_give_messages_up() {
    for (lifetime, max_retransmissions) in [(Some(30), None), (None, Some(0))] {
        for ordered in [false, true] {
            let mut net = Net::connected();
            net.loss = 0.1;
            let delivery = Delivery {
                ordered,
                lifetime,
                max_retransmissions,
            };
            let mut sent_at = Vec::new();
            for index in 0..300 {
                sent_at.push(net.now);
                net.send(0, 1, &numbered(index, 100), delivery).unwrap();
                net.run_for(20_000);
            }
            net.loss = 0.0;
            net.run_for(10_000_000);
            let count = net.received[1].len();
            assert!((200..300).contains(&count), "{count} of 300 with {delivery:?}");
            assert_eq!(net.ends[0].buffered_amount(), 0, "given up is not buffered");
            if ordered {
                assert!(net.received[1].is_sorted_by_key(number));
            } else {
                let late = net.received[1]
                    .iter()
                    .map(|message| message.at - sent_at[number(message) as usize])
                    .max();
                assert!(late.unwrap() <= 60_000, "{late:?}");
            }
            // The association is as good as before.
            net.send(0, 2, b"after", ORDERED).unwrap();
            net.run_for(1_000_000);
            assert_eq!(net.received[1].last().unwrap().payload, b"after");
        }
    }
}

#[test]
fn a_message_that_is_given_up_when_part_of_it_has_left_costs_no_other_one() {
    for (lifetime, max_retransmissions) in [(Some(60), None), (Some(500), None), (None, Some(0)), (None, Some(1))] {
        let limited = Delivery {
            ordered: false,
            lifetime,
            max_retransmissions,
        };
        for (seed, length) in (0..).zip([500, 500, 500, 3000, 3000, 3000]) {
            let what = format!("seed {seed}, {limited:?}");
            let mut net = Net::connected();
            net.rng = ChaCha12Rng::seed_from_u64(seed);
            net.loss = 0.1;
            // More than the network carries, so that messages leave in parts.
            for index in 0..300 {
                for stream in 0..3 {
                    net.send(0, stream, &numbered(index, length), ORDERED).unwrap();
                }
                net.send(0, 7, &numbered(index, length), limited).unwrap();
                net.run_for(10_000);
                if net.ends[0].buffered_amount() > 200_000 {
                    net.run_for(3_000_000);
                }
            }
            net.loss = 0.0;
            net.run_for(120_000_000);
            for stream in 0..3 {
                let messages = net.received[1].iter().filter(|message| message.stream == stream);
                let numbers: Vec<u32> = messages.map(number).collect();
                assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "{what}, stream {stream}");
            }
            assert_eq!(net.ends[0].buffered_amount(), 0, "{what}");
        }
    }
}

#[test]
fn a_full_buffer_refuses_until_the_peer_has_acknowledged() {
    let small = Settings {
        max_message_size: 5000,
        send_buffer_size: 20_000,
        ..settings(1)
    };
    let mut net = Net::new(small, settings(2));
    net.connect();
    for _ in 0..4 {
        net.send(0, 0, &[1; 5000], ORDERED).unwrap();
    }
    assert_eq!(net.send(0, 0, &[1; 5000], ORDERED), Err(SendError::BufferFull));
    assert_eq!(net.send(0, 9, b"x", UNORDERED), Err(SendError::BufferFull));
    assert_eq!(net.ends[0].buffered_amount(), 20_000, "in flight counts too");
    assert_eq!(net.send(0, 0, &[1; 5001], ORDERED), Err(SendError::TooLarge));
    net.run_for(1_000_000);
    assert_eq!(net.ends[0].buffered_amount(), 0);
    net.send(0, 0, &[1; 5000], ORDERED).unwrap();
    net.run_for(1_000_000);
    assert_eq!(net.received[1].len(), 5);
}

#[test]
fn a_receiver_that_is_gone_for_a_while_costs_no_more_than_the_buffer() {
    let mut net = Net::connected();
    net.loss = 1.0;
    let mut accepted = 0;
    for _ in 0..10_000 {
        accepted += usize::from(net.send(0, 0, &[5; 1000], ORDERED).is_ok());
        net.run_for(1_000);
    }
    assert_eq!(accepted, 262);
    net.loss = 0.0;
    net.run_for(120_000_000);
    assert_eq!(net.received[1].len(), accepted);
    assert_eq!(net.ends[0].buffered_amount(), 0);
}

#[test]
fn very_many_tiny_messages_are_bounded_by_their_number() {
    let mut net = Net::connected();
    net.loss = 1.0;
    let accepted = (0..40_000).filter(|_| net.send(0, 0, b"x", ORDERED).is_ok()).count();
    assert_eq!(accepted, MAX_UNFINISHED);
    net.loss = 0.0;
    net.run_for(120_000_000);
    assert_eq!(net.received[1].len(), accepted);
}

#[test]
fn messages_leave_before_their_stream_is_reset_and_it_can_be_used_again() {
    let mut net = Net::connected();
    net.loss = 0.05;
    for index in 0..12 {
        net.send(0, 4, &numbered(index, 20_000), ORDERED).unwrap();
    }
    let now = net.now;
    net.ends[0].reset_stream(now, 4);
    net.send(0, 4, &numbered(100, 100), ORDERED).unwrap();
    net.send(0, 5, b"another stream", ORDERED).unwrap();
    net.run_for(60_000_000);
    let numbers: Vec<u32> = net.received[1]
        .iter()
        .filter(|message| message.stream == 4)
        .map(number)
        .collect();
    assert_eq!(numbers, (0..12).chain([100]).collect::<Vec<_>>());
    assert_eq!(net.resets[1], [[4]]);
    assert!(net.resets[0].is_empty());
    assert_eq!(net.ends[0].buffered_amount(), 0);
    for round in 0..20 {
        let now = net.now;
        net.ends[0].reset_stream(now, 4);
        net.send(0, 4, &numbered(round, 10), ORDERED).unwrap();
        net.run_for(5_000_000);
    }
    assert_eq!(net.received[1].iter().filter(|message| message.stream == 4).count(), 33);
    assert_eq!(net.resets[1].len(), 21);
}

#[test]
fn a_reset_asked_for_while_one_is_under_way_is_done_too() {
    let mut net = Net::connected();
    let now = net.now;
    net.ends[0].reset_stream(now, 4);
    // The peer knows, we do not yet know that it does: it may have begun to use the stream anew, and closed it.
    net.run_for(DELAY + 1000);
    assert_eq!(net.resets[1], [[4]]);
    let now = net.now;
    net.ends[0].reset_stream(now, 4);
    net.run_for(1_000_000);
    assert_eq!(net.resets[1], [[4], [4]]);
    net.send(0, 4, &numbered(1, 10), ORDERED).unwrap();
    net.run_for(1_000_000);
    assert_eq!(net.received[1].len(), 1);
}

#[test]
fn a_thousand_streams_are_reset_at_once_and_used_again() {
    let mut net = Net::connected();
    net.loss = 0.05;
    for round in 0..3 {
        for stream in 0..1000 {
            net.send(0, stream, &numbered(round, 20), ORDERED).unwrap();
            let now = net.now;
            net.ends[0].reset_stream(now, stream);
        }
        net.run_for(60_000_000);
        let mut streams: Vec<u16> = net.resets[1].drain(..).flatten().collect();
        streams.sort_unstable();
        assert_eq!(streams, (0..1000).collect::<Vec<_>>(), "each once");
        assert_eq!(net.received[1].len(), 1000 * (round as usize + 1));
    }
    assert_eq!(net.ends[0].state(), State::Connected);
}
