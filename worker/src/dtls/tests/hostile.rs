//! What strangers and broken peers send.

use super::super::flight::Flights;
use super::super::hello::{best_suite, offered_suites};
use super::super::records::{Gate, fragments, records};
use super::*;

fn record(content_type: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type, 0xfe, 0xfd];
    record.extend_from_slice(&epoch.to_be_bytes());
    record.extend_from_slice(&sequence.to_be_bytes()[2..]);
    record.extend_from_slice(&(body.len() as u16).to_be_bytes());
    record.extend_from_slice(body);
    record
}

fn fragment(message_type: u8, length: u32, sequence: u16, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let mut fragment = vec![message_type];
    fragment.extend_from_slice(&length.to_be_bytes()[1..]);
    fragment.extend_from_slice(&sequence.to_be_bytes());
    fragment.extend_from_slice(&offset.to_be_bytes()[1..]);
    fragment.extend_from_slice(&(bytes.len() as u32).to_be_bytes()[1..]);
    fragment.extend_from_slice(bytes);
    fragment
}

/// A ClientHello body with these SRTP profiles.
fn hello(profiles: &[u16]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let mut srtp = ((profiles.len() * 2) as u16).to_be_bytes().to_vec();
    srtp.extend(profiles.iter().flat_map(|profile| profile.to_be_bytes()));
    srtp.push(0);
    let mut extensions = vec![0, 23, 0, 0, 0, 14];
    extensions.extend_from_slice(&(srtp.len() as u16).to_be_bytes());
    extensions.extend_from_slice(&srtp);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    body
}

#[test]
fn the_suite_is_ours_to_choose_whatever_the_order_of_the_peer() {
    let best = |profiles: &[u16]| best_suite(&hello(profiles));
    assert_eq!(best(&[1, 2, 7, 8]), Some(SrtpCryptoSuite::AeadAes256Gcm));
    assert_eq!(best(&[8, 7, 2, 1]), Some(SrtpCryptoSuite::AeadAes256Gcm));
    assert_eq!(best(&[1, 7]), Some(SrtpCryptoSuite::AeadAes128Gcm));
    assert_eq!(best(&[2, 1]), Some(SrtpCryptoSuite::AesCm128HmacSha1_80));
    assert_eq!(best(&[5, 6]), None);
    assert_eq!(best(&[]), None);
}

#[test]
fn a_message_in_fragments_of_any_order_is_put_together() {
    let body = hello(&[8]);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for round in 0..100 {
        // Sizes differ from copy to copy, so fragments overlap.
        let mut parts = Vec::new();
        for _ in 0..2 {
            let mut start = 0;
            while start < body.len() {
                let end = body.len().min(start + rng.random_range(1..40));
                parts.push(fragment(1, body.len() as u32, 0, start as u32, &body[start..end]));
                start = end;
            }
        }
        for index in (1..parts.len()).rev() {
            parts.swap(index, rng.random_range(0..=index));
        }
        let mut flights = Flights::new(Role::Server);
        let mut found = None;
        for part in &parts {
            let datagram = record(22, 0, 5, part);
            records(&datagram).for_each(|record| assert!(flights.push(&record)));
            found = found.or(flights.take());
        }
        let flight = found.unwrap_or_else(|| panic!("round {round}: all fragments were there"));
        assert_eq!(flight.client_hello.as_deref(), Some(body.as_slice()), "round {round}");
    }
}

#[test]
fn every_cut_of_a_hello_is_refused() {
    let body = hello(&[7, 8]);
    assert!(offered_suites(&body).is_some());
    for length in 0..body.len() {
        let offered = offered_suites(&body[..length]);
        // Without extensions it is a hello too.
        let without = length == body.len() - (2 + 6 + 2 + 7);
        assert_eq!(offered.is_some(), without, "{length} of {} bytes", body.len());
    }
}

#[test]
fn odd_fragments_do_not_pass() {
    for (odd, what) in [
        (fragment(11, 0xff_ffff, 0, 0, &[0; 10]), "a message of 16 MiB"),
        (fragment(11, 20, 0, 15, &[0; 10]), "a fragment beyond its message"),
        (fragment(11, 20, 0, 5, &[]), "an empty fragment of a message"),
        (fragment(11, 20, 0, 0, &[0; 10])[..15].to_vec(), "a fragment cut off"),
        (Vec::new(), "nothing"),
    ] {
        assert_eq!(fragments(&odd), None, "{what}");
        assert!(
            Gate::default().filter(&record(22, 0, 0, &odd), false).is_empty(),
            "{what}"
        );
    }
    // ServerHelloDone has no body.
    assert!(fragments(&fragment(14, 0, 3, 0, &[])).is_some());
}

#[test]
fn a_handshake_without_end_does_not_fill_memory() {
    let mut gate = Gate::default();
    let junk = record(22, 0, 0, &fragment(11, 16_000, 9, 0, &[0; 1000]));
    let passed: usize = (0..10_000).map(|_| gate.filter(&junk, false).len()).sum();
    assert!(passed <= 100_000, "{passed} bytes");
    // In the clear nothing passes after the handshake; else what one Finished may be, until it was answered often.
    let finished = record(22, 1, 0, &[0; 48]);
    let large = record(22, 1, 0, &[0; 500]);
    assert!(gate.filter(&junk, true).is_empty() && gate.filter(&large, true).is_empty());
    for _ in 0..7 {
        assert_eq!(
            gate.filter(&[finished.clone(), finished.clone()].concat(), true),
            finished
        );
        gate.answered();
    }
    assert!(gate.filter(&finished, true).is_empty());
    let data = record(23, 1, 0, &[0; 500]);
    assert_eq!(gate.filter(&data, true), data);
}

/// Forged handshake records after the handshake must not use up the answers that the peer may still need.
#[test]
fn a_lost_last_flight_is_repeated_whatever_strangers_send() {
    let mut pair = Pair::new(Network::default(), 11);
    // Until the server has all; its last flight gets lost.
    while pair.ends[1].poll_event().is_none() {
        for end in [0, 1] {
            while let Some(packet) = pair.ends[end].poll_output() {
                pair.ends[1 - end].handle(&packet, 0);
            }
            if pair.ends[1].deadline().is_none() && pair.ends[1].send(b"x", 0) {
                while pair.ends[1].poll_output().is_some() {}
            }
        }
    }
    assert!(pair.ends[0].poll_event().is_none());
    for sequence in 100..300 {
        let packet = record(22, (sequence % 2) as u16, sequence, &fragment(20, 12, 9, 0, &[3; 12]));
        pair.ends[1].handle(&packet, 0);
    }
    assert!(pair.ends[1].poll_output().is_none());
    pair.run(1_000_000);
    assert_eq!(pair.events[0], ["connected"]);
    assert!(pair.ends[1].send(b"hello", pair.now));
    pair.run(2_000_000);
    assert_eq!(pair.data[0], [b"hello".to_vec()]);
}

#[test]
fn garbage_from_the_peers_address_disturbs_nothing() {
    for seed in 0..20 {
        let mut pair = Pair::new(
            Network {
                delay: 30_000,
                ..Network::default()
            },
            seed,
        );
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..300 {
            let mut junk = vec![0; rng.random_range(0..200)];
            rng.fill(junk.as_mut_slice());
            let kind = [20, 21, 22, 23, 25, 63][rng.random_range(0..6)];
            let packet = match round % 4 {
                0 => junk,
                1 => record(kind, 0, rng.random_range(0..1000), &junk),
                2 => record(kind, 1, rng.random_range(0..1000), &junk),
                // Warnings in the clear, close_notify among them.
                _ => record(21, 0, rng.random_range(0..1000), &[1, rng.random_range(0..120)]),
            };
            // A fatal alert in the clear during the handshake is the one thing that must end it.
            if records(&packet).any(|record| record.is_fatal_alert()) {
                continue;
            }
            let end = rng.random_range(0..2);
            let now = pair.now;
            pair.ends[end].handle(&packet, now);
            pair.run(now + 1000);
        }
        pair.run(40_000_000);
        pair.assert_connected(&format!("seed {seed}"));
    }
}

#[test]
fn forged_plain_alerts_do_not_end_a_connection() {
    let mut pair = Pair::new(Network::default(), 7);
    pair.run(1_000_000);
    pair.assert_connected("before");
    let now = pair.now;
    for sequence in 1000..1100 {
        for end in &mut pair.ends {
            end.handle(&record(21, 0, sequence, &[2, 40]), now);
            end.handle(&record(21, 0, sequence, &[1, 0]), now);
            end.handle(&record(21, 1, sequence, &[2, 40]), now);
            end.handle(&record(22, 0, sequence, &fragment(1, 5, 0, 0, &[1; 5])), now);
        }
    }
    assert!(pair.ends[0].send(b"still here", now) && pair.ends[1].send(b"so am I", now));
    pair.run(2_000_000);
    assert_eq!(pair.data, [[b"so am I".to_vec()], [b"still here".to_vec()]]);
    assert_eq!(pair.events, [["connected", "data"], ["connected", "data"]]);
    assert!(pair.sent.iter().all(|sent| *sent < 60), "{:?} packets", pair.sent);
}

#[test]
fn mutated_handshakes_never_panic() {
    for seed in 0..300 {
        let mut pair = Pair::new(
            Network {
                delay: 10_000,
                duplicates: 10,
                ..Network::default()
            },
            seed,
        );
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..40 {
            pair.collect();
            let mut packets: Vec<_> = pair.way.values_mut().collect();
            if packets.is_empty() {
                break;
            }
            let chosen = rng.random_range(0..packets.len());
            let (_, packet) = &mut *packets[chosen];
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..packet.len());
                match rng.random_range(0..3) {
                    0 => packet[at] = rng.random(),
                    1 => packet[at] ^= 1 << rng.random_range(0..8),
                    _ => packet.truncate(at.max(1)),
                }
            }
            let now = pair.now;
            pair.run(now + 50_000);
        }
        pair.run(35_000_000);
    }
}
