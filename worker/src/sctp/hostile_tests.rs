//! What an enemy may send.

use rand::{Rng as _, RngCore as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::chunks::{COOKIE_ECHO, DATA, FORWARD_TSN, INIT, SACK, elements, push_element, write_checksum};
use super::tests::{Net, ORDERED, settings};
use super::*;

fn packet(tag: [u8; 4], pieces: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend_from_slice(&tag);
    packet.extend_from_slice(&[0; 4]);
    for (kind, flags, value) in pieces {
        push_element(&mut packet, [*kind, *flags], &[value]);
    }
    write_checksum(&mut packet);
    packet
}

fn outputs(association: &mut Association) -> Vec<Output> {
    std::iter::from_fn(|| association.poll()).collect()
}

fn packets(association: &mut Association) -> Vec<Vec<u8>> {
    let packets = outputs(association).into_iter().filter_map(|output| match output {
        Output::Packet(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

/// An association that was told to connect, and the INIT of a peer.
fn connecting() -> (Association, Vec<u8>) {
    let mut ours = Association::new(settings(1), 0);
    ours.connect(0);
    outputs(&mut ours);
    let mut peer = Association::new(settings(2), 0);
    peer.connect(0);
    let init = packets(&mut peer).remove(0);
    (ours, init)
}

/// The stack's own cookie, which it would take, unsealed.
fn forged_cookie() -> Vec<u8> {
    let mut value = Vec::new();
    value.extend_from_slice(b"dcSCTP00");
    value.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 8]);
    value.resize(48, 1);
    value
}

#[test]
fn a_forged_cookie_makes_no_association() {
    let (mut ours, _) = connecting();
    for tag in [[0, 0, 0, 8], ours.tag.unwrap()] {
        ours.receive(1, &packet(tag, &[(COOKIE_ECHO, 0, forged_cookie())]));
        let mut longer = forged_cookie();
        longer.extend_from_slice(&[0; 24]);
        ours.receive(1, &packet(tag, &[(COOKIE_ECHO, 0, longer)]));
    }
    assert_eq!(ours.state(), State::Connecting);
    assert_eq!(outputs(&mut ours), []);
}

#[test]
fn a_cookie_is_good_for_a_minute_and_for_one_association() {
    for (at, key, expected) in [
        (500_000, 1, State::Connected),
        (cookie::LIFETIME + 3_000_000, 1, State::Connecting),
        (500_000, 3, State::Connecting),
    ] {
        let (mut ours, init) = connecting();
        ours.receive(500_000, &init);
        let init_ack = packets(&mut ours).remove(0);
        let mut peer = Association::new(settings(2), 0);
        peer.connect(0);
        outputs(&mut peer);
        peer.receive(500_000, &init_ack);
        let echo = packets(&mut peer)
            .into_iter()
            .find(|packet| has_cookie(packet))
            .unwrap();
        if key != 1 {
            ours = Association::new(settings(key), 0);
            ours.connect(0);
        }
        ours.receive(at, &echo);
        assert_eq!(ours.state(), expected, "at {at} with key {key}");
    }
}

#[test]
fn a_cookie_that_comes_again_changes_nothing() {
    let (mut ours, init) = connecting();
    ours.receive(1, &init);
    let init_ack = packets(&mut ours).remove(0);
    let mut peer = Association::new(settings(2), 0);
    peer.connect(0);
    outputs(&mut peer);
    peer.receive(2, &init_ack);
    let echo = packets(&mut peer).remove(0);
    ours.receive(3, &echo);
    let tag = ours.tag;
    ours.send(4, 0, 53, Bytes::from_static(b"kept"), ORDERED).unwrap();
    outputs(&mut ours);
    for _ in 0..100 {
        ours.receive(5, &echo);
        let answers = outputs(&mut ours);
        assert!(matches!(answers.as_slice(), [] | [Output::Packet(_)]), "{answers:?}");
    }
    assert_eq!(
        (ours.state(), ours.tag, ours.buffered_amount()),
        (State::Connected, tag, 4)
    );
}

#[test]
fn bit_flips_are_dropped() {
    let (_, init) = connecting();
    for bit in 0..init.len() * 8 {
        let (mut ours, _) = connecting();
        let mut flipped = init.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        ours.receive(1, &flipped);
        assert_eq!(outputs(&mut ours), [], "bit {bit}");
    }
}

#[test]
fn an_init_flood_holds_nothing() {
    let (mut ours, init) = connecting();
    for _ in 0..10_000 {
        ours.receive(1, &init);
        let answers = packets(&mut ours);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].len() <= init.len() + 100, "no amplification");
    }
    assert_eq!(ours.state(), State::Connecting);
}

/// Packets of an association under load, as a base for mutations.
fn captured() -> Vec<Vec<u8>> {
    let mut net = Net::new(settings(1), settings(2));
    let mut all = Vec::new();
    let now = net.now;
    net.ends.iter_mut().for_each(|end| end.connect(now));
    for round in 0..60_u16 {
        for from in 0..2 {
            if net.ends[from].state() == State::Connected {
                let _ = net.ends[from].send(now, round % 7, 51, vec![3; 100 * usize::from(round)].into(), ORDERED);
                if round % 20 == 19 {
                    net.ends[from].reset_stream(now, round % 7);
                }
            }
            for packet in packets(&mut net.ends[from]) {
                net.ends[1 - from].receive(now + u64::from(round) * 1000, &packet);
                all.push(packet);
            }
        }
    }
    assert!(all.len() > 100);
    all
}

#[test]
fn mutated_packets_with_good_checksums_neither_panic_nor_pile_up() {
    let all = captured();
    let mut rng = ChaCha12Rng::seed_from_u64(5);
    for round in 0..150 {
        let mut net = Net::connected();
        if round % 3 == 0 {
            net = Net::new(settings(1), settings(2));
            net.ends[0].connect(1);
            net.poll();
        }
        let now = net.now;
        for step in 0..200 {
            let mut bytes = all[rng.random_range(0..all.len())].clone();
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(12..bytes.len());
                bytes[at] = rng.next_u32() as u8;
            }
            if rng.random_bool(0.2) {
                bytes.truncate(rng.random_range(0..=bytes.len()));
            }
            // As from a peer: right tag, right checksum.
            if let (Some(tag), true) = (net.ends[0].tag, bytes.len() >= 12) {
                bytes[4..8].copy_from_slice(&tag);
            }
            write_checksum(&mut bytes);
            net.ends[0].receive(now + step, &bytes);
            assert!(outputs(&mut net.ends[0]).len() < 100);
        }
        for _ in 0..50 {
            if let Some(at) = net.ends[0].next_timeout() {
                net.ends[0].handle_timeout(at);
                outputs(&mut net.ends[0]);
            }
        }
    }
}

fn data(tsn: u32, stream: u16, ssn: u16, flags: u8, payload: &[u8]) -> (u8, u8, Vec<u8>) {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&53_u32.to_be_bytes());
    value.extend_from_slice(payload);
    (DATA, flags, value)
}

/// A connected end, the tag its packets need, and the sequence number that is next.
fn victim() -> (Association, [u8; 4], u32) {
    let mut net = Net::connected();
    net.run_for(1_000_000);
    let now = net.now;
    net.ends[1].send(now, 0, 53, Bytes::from_static(b"x"), ORDERED).unwrap();
    let sent = packets(&mut net.ends[1]).remove(0);
    let [ours, _] = net.ends;
    let chunk = chunks(&sent).find(|chunk| chunk.kind == DATA).unwrap();
    let tsn = u32::from_be_bytes(*chunk.value().first_chunk().unwrap());
    let tag = *sent[4..].first_chunk().unwrap();
    (ours, tag, tsn)
}

/// How many packets it takes until the association is given up.
fn bombard_anew(mut chunk: impl FnMut(u32) -> (u8, u8, Vec<u8>)) -> Option<u32> {
    let (ours, tag, tsn) = victim();
    bombard(ours, tag, |index| chunk(tsn.wrapping_add(index)))
}

/// The same, of this association, whose peer has this tag.
fn bombard(mut ours: Association, tag: [u8; 4], mut chunk: impl FnMut(u32) -> (u8, u8, Vec<u8>)) -> Option<u32> {
    for index in 0..3000_u32 {
        let pieces: Vec<_> = (0..50).map(|piece| chunk(index * 50 + piece)).collect();
        ours.receive(u64::from(index), &packet(tag, &pieces));
        for output in outputs(&mut ours) {
            if output == Output::State(State::Closed) {
                assert!(ours.socket.is_none() && ours.next_timeout().is_none());
                return Some(index);
            }
        }
    }
    None
}

#[test]
fn a_message_without_end_in_tiny_pieces_is_cut_off() {
    assert!(bombard_anew(|tsn| data(tsn, 0, 0, 0, b"x")).is_some());
}

#[test]
fn messages_behind_one_that_never_comes_are_cut_off() {
    // The sequence number of the stream begins with 1: 0 never comes.
    assert!(bombard_anew(|tsn| data(tsn, 1, (tsn % 30_000) as u16 + 1, 3, b"x")).is_some());
}

#[test]
fn complete_messages_do_not_make_up_for_many_that_never_are() {
    assert!(
        bombard_anew(|tsn| if tsn % 3 == 0 {
            data(tsn, 1, 0, 7, b"x")
        } else {
            data(tsn, 2, 9, 3, b"x")
        })
        .is_some()
    );
}

#[test]
fn complete_tiny_messages_go_on_for_ever() {
    assert_eq!(bombard_anew(|tsn| data(tsn, 1, 0, 7, b"x")), None);
}

#[test]
fn a_message_without_end_in_large_pieces_is_cut_off() {
    let (mut ours, tag, tsn) = victim();
    let cut_off = (0..10_000_u32).find(|index| {
        let piece = data(tsn.wrapping_add(*index), 0, 0, 0, &[1; 1100]);
        ours.receive(u64::from(*index), &packet(tag, &[piece]));
        ours.state() == State::Closed
    });
    let bytes = cut_off.unwrap() as usize * 1100;
    assert!((WINDOW.0 / 2 - 1100..=WINDOW.0 / 2).contains(&bytes), "{bytes}");
}

#[test]
fn messages_without_end_in_large_pieces_stay_within_the_window() {
    let (mut ours, tag, tsn) = victim();
    let mut taken = 0;
    for index in 0..10_000_u32 {
        let begins = if index % 1000 == 0 { 2 } else { 0 };
        let stream = (index / 1000) as u16;
        ours.receive(
            u64::from(index),
            &packet(tag, &[data(tsn.wrapping_add(index), stream, 0, begins, &[1; 1100])]),
        );
        for sent in packets(&mut ours) {
            if let Some(sack) = chunks(&sent).find(|chunk| chunk.kind == SACK) {
                let acknowledged = u32::from_be_bytes(*sack.value().first_chunk().unwrap());
                taken = acknowledged.wrapping_sub(tsn).wrapping_add(1);
            }
        }
    }
    assert!(
        taken > 1000 && usize::try_from(taken).unwrap() * 1100 <= WINDOW.0 + 1100,
        "{taken} taken"
    );
}

/// A request to reset all streams, once everything up to this sequence number has come (RFC 6525 4.1).
fn reset_all(number: u32, last: u32) -> (u8, u8, Vec<u8>) {
    let mut value = Vec::new();
    push_element(
        &mut value,
        [0, 13],
        &[&number.to_be_bytes(), &[0; 4], &last.to_be_bytes()],
    );
    (130, 0, value)
}

#[test]
fn what_waits_for_a_reset_that_never_comes_is_cut_off() {
    // Requests are numbered from the first sequence number of the peer on, and it has sent nothing before `tsn`.
    let (_, _, first) = victim();
    let forward = |tsn: u32, streams: u16| {
        let skipped = (0..streams).flat_map(|stream| [stream.to_be_bytes(), [0, 1]].concat());
        (FORWARD_TSN, 0, tsn.to_be_bytes().into_iter().chain(skipped).collect())
    };
    let deferred = |tsn: u32, other: (u8, u8, Vec<u8>)| if tsn == first { reset_all(first, first) } else { other };
    assert!(bombard_anew(|tsn| deferred(tsn, data(tsn, 0, 0, 3, b"x"))).is_some());
    assert!(bombard_anew(|tsn| deferred(tsn, forward(tsn, 0))).is_some());
    assert!(bombard_anew(|tsn| deferred(tsn, forward(tsn, 4))).is_some());
}

#[test]
fn a_cookie_that_is_not_taken_does_not_hide_the_peer() {
    let (mut ours, tag, tsn) = victim();
    ours.receive(0, &packet(tag, &[data(tsn, 0, 0, 3, b"x")]));
    let sack = packets(&mut ours).remove(0);
    // The peer asks for a cookie as the one that it is already, and brings it back: nothing begins anew.
    let mut init = sack[4..8].to_vec();
    init.extend_from_slice(&[0, 1, 0, 0, 0, 9, 0, 9, 0, 0, 0, 1]);
    ours.receive(0, &packet([0; 4], &[(INIT, 0, init)]));
    let init_ack = packets(&mut ours).remove(0);
    let chunk = chunks(&init_ack).next().unwrap();
    let cookie = elements(&chunk.bytes[20..]).find(|parameter| parameter[..2] == [0, 7]);
    let other = *chunk.value().first_chunk().unwrap();
    ours.receive(0, &packet(other, &[(COOKIE_ECHO, 0, cookie.unwrap()[4..].to_vec())]));
    assert!(packets(&mut ours).is_empty());
    assert!(bombard(ours, tag, |index| data(tsn + 1 + index, 0, 1, 0, b"x")).is_some());
}

#[test]
fn questions_whose_answer_fits_no_packet_are_survived() {
    // Chunk types whose upper bits say: report me if you do not know me (RFC 9260 3.2).
    let unknown = |length: usize| (0xfe, 0, vec![7; length]);
    let heartbeat = |length: usize| {
        let mut value = Vec::new();
        push_element(&mut value, [0, 1], &[&vec![7; length]]);
        (4, 0, value)
    };
    let resets = |count: u32| {
        let mut value = Vec::new();
        for number in 0..count {
            push_element(&mut value, [0, 14], &[&number.to_be_bytes()]);
        }
        (130, 0, value)
    };
    for pieces in [
        vec![unknown(1160)],
        vec![unknown(40_000)],
        vec![unknown(4); 140],
        vec![heartbeat(1160)],
        vec![heartbeat(60_000)],
        vec![resets(140)],
        vec![resets(5000)],
        vec![data(9, 0, 0, 7, b""); 70],
    ] {
        let (mut ours, tag, _) = victim();
        let question = packet(tag, &pieces);
        ours.receive(1, &question);
        for answer in packets(&mut ours) {
            assert!((16..=1191).contains(&answer.len()), "{} bytes", answer.len());
        }
        assert_eq!(ours.state(), State::Connected);
        ours.send(2, 0, 53, Bytes::from_static(b"still here"), ORDERED).unwrap();
    }
}

#[test]
fn nothing_is_taken_for_a_peer_that_shuts_down() {
    let (mut ours, tag, _) = victim();
    ours.send(1, 0, 53, Bytes::from_static(b"before"), ORDERED).unwrap();
    assert!(!packets(&mut ours).is_empty());
    // It has not acknowledged the message, so that there is something to wait for.
    ours.receive(2, &packet(tag, &[(7, 0, vec![0; 4])]));
    let sent = ours.send(3, 0, 53, Bytes::from_static(b"after"), ORDERED);
    assert_eq!(sent, Err(SendError::NotConnected));
    assert_eq!(ours.buffered_amount(), 6);
}

#[test]
fn strangers_do_not_count_as_the_peer() {
    let (mut ours, tag, tsn) = victim();
    let wrong = tag.map(|byte| !byte);
    for index in 0..3000_u32 {
        let pieces: Vec<_> = (0..50)
            .map(|piece| data(tsn.wrapping_add(index * 50 + piece), 0, 0, 0, b"x"))
            .collect();
        ours.receive(u64::from(index), &packet(wrong, &pieces));
    }
    assert_eq!(ours.state(), State::Connected);
}

#[test]
fn forward_tsn_far_ahead_and_zero_length_data_are_survived() {
    let (mut ours, tag, tsn) = victim();
    for skip in [1, 1000, 99_999, 200_000, 0x7fff_ffff, 0x8000_0000] {
        let mut value = tsn.wrapping_add(skip).to_be_bytes().to_vec();
        for stream in 0..250_u16 {
            value.extend_from_slice(&stream.to_be_bytes());
            value.extend_from_slice(&u16::MAX.to_be_bytes());
        }
        ours.receive(1, &packet(tag, &[(FORWARD_TSN, 0, value)]));
        ours.receive(2, &packet(tag, &[data(tsn, 0, 0, 3, b"")]));
        assert!(outputs(&mut ours).len() < 20);
    }
}
