//! Packet indices: rollovers under loss, replays, and what is remembered of an SSRC.

use super::super::SrtpError;
use super::super::index::estimate;
use super::super::replay::{ReplayWindow, WINDOW};
use super::{open, open_rtcp, pair, rtcp, rtp, sealed};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use proptest::prelude::*;
use std::collections::HashSet;

const SSRC: u32 = 0x1234_5678;

/// The first packet arrives, then `lost` are lost across the wrap; everything after them must decrypt.
#[test]
fn wrap_with_losses() {
    for suite in SrtpCryptoSuite::ALL {
        for first in [65_530, 65_531, 65_532, 65_533, 65_534, 65_535, 0] {
            for lost in [0, 1, 2, 3, 5, 6, 7, 10, 100, 1000, 30_000] {
                let (mut sender, mut receiver) = pair(suite);
                for step in 0..lost + 20 {
                    let packet = sealed(&mut sender, SSRC, (first + step) as u16);
                    if step == 0 || step > lost {
                        assert!(open(&mut receiver, &packet).is_ok(), "{suite:?} {first} {lost} {step}");
                    }
                }
            }
        }
    }
}

#[test]
fn many_wraps_with_loss_and_reordering() {
    let (mut sender, mut receiver) = pair(SrtpCryptoSuite::AeadAes128Gcm);
    let mut held = None;
    for step in 0..300_000u32 {
        let packet = sealed(&mut sender, SSRC, (40_000 + step) as u16);
        match step % 7 {
            3 => {}
            4 => held = Some(packet),
            _ => {
                open(&mut receiver, &packet).unwrap();
                if step % 7 == 6 {
                    open(&mut receiver, &held.take().unwrap()).unwrap();
                }
            }
        }
    }
}

/// Two packets under one index would give the authentication key away, however they differ.
#[test]
fn no_index_is_used_twice() {
    for suite in SrtpCryptoSuite::ALL {
        let mut sender = pair(suite).0;
        let numbers: Vec<u16> = (0..40u16).map(|step| 65_520u16.wrapping_add(step)).collect();
        // Out of order is fine, each number once.
        for number in numbers.iter().step_by(2).chain(numbers.iter().skip(1).step_by(2)) {
            sealed(&mut sender, SSRC, *number);
        }
        for number in numbers {
            let (mut packet, header) = rtp(SSRC, number, 100);
            assert_eq!(sender.protect_rtp(&mut packet, 0, header), Err(SrtpError::IndexSpent));
        }
    }
}

#[test]
fn replays_are_refused() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let packets: Vec<_> = (0..2000).map(|sequence| sealed(&mut sender, SSRC, sequence)).collect();
        // Every other one arrives, then all of them once more: only the missing ones inside the window are news.
        for packet in packets.iter().step_by(2) {
            open(&mut receiver, packet).unwrap();
        }
        for (sequence, packet) in packets.iter().enumerate().take(1999) {
            let fresh = sequence % 2 == 1 && 1998 - sequence < WINDOW as usize;
            let result = open(&mut receiver, packet).map(drop);
            assert_eq!(
                result,
                if fresh { Ok(()) } else { Err(SrtpError::Replayed) },
                "{sequence}"
            );
            assert_eq!(open(&mut receiver, packet), Err(SrtpError::Replayed), "{sequence}");
        }
    }
}

/// A packet half a cycle away from the newest, where the estimate changes sides, is never taken twice.
#[test]
fn replays_half_a_cycle_away() {
    for suite in SrtpCryptoSuite::ALL {
        for start in [0u32, 1, 100, 32_767, 32_768, 32_769, 65_535] {
            for distance in (32_765..=32_771u32).chain([65_535, 65_536, 65_537]) {
                let (mut sender, mut receiver) = pair(suite);
                let old = sealed(&mut sender, SSRC, start as u16);
                open(&mut receiver, &old).unwrap();
                for step in (1000..distance).step_by(1000).chain([distance]) {
                    let packet = sealed(&mut sender, SSRC, (start + step) as u16);
                    open(&mut receiver, &packet).unwrap();
                    assert!(open(&mut receiver, &old).is_err(), "{suite:?} {start} {step}");
                }
                let newest = sealed(&mut sender, SSRC, (start + distance + 1) as u16);
                assert!(
                    open(&mut receiver, &newest).is_ok(),
                    "nothing above may have moved the state"
                );
            }
        }
    }
}

#[test]
fn rtcp_replays_are_refused_per_ssrc() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let packets: Vec<_> = (0..3000u32)
            .map(|step| {
                let mut packet = rtcp(step % 2, 1);
                sender.protect_rtcp(&mut packet, 0).unwrap();
                packet
            })
            .collect();
        for packet in packets.iter().rev().take(WINDOW as usize) {
            open_rtcp(&mut receiver, packet).unwrap();
            assert_eq!(open_rtcp(&mut receiver, packet), Err(SrtpError::Replayed));
        }
        assert_eq!(
            open_rtcp(&mut receiver, &packets[0]),
            Err(SrtpError::Replayed),
            "older than the window"
        );
    }
}

#[test]
fn rtcp_index_ends_at_31_bits() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        sender.set_next_rtcp_index((1 << 31) - 1);
        let mut packet = rtcp(SSRC, 1);
        sender.protect_rtcp(&mut packet, 0).unwrap();
        open_rtcp(&mut receiver, &packet).unwrap();
        for _ in 0..2 {
            assert_eq!(sender.protect_rtcp(&mut rtcp(SSRC, 1), 0), Err(SrtpError::KeyExhausted));
        }
    }
}

#[test]
fn rtp_index_ends_at_48_bits() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, _) = pair(suite);
        sender.set_highest(SSRC, (1 << 48) - 2);
        sealed(&mut sender, SSRC, 65_535);
        let (mut packet, header) = rtp(SSRC, 0, 10);
        assert_eq!(sender.protect_rtp(&mut packet, 0, header), Err(SrtpError::KeyExhausted));
        sealed(&mut sender, SSRC, 65_533);
    }
}

#[test]
fn estimate_follows_the_rfc() {
    let cycle = 1u64 << 16;
    assert_eq!(estimate(None, 65_535), Some(65_535));
    assert_eq!(estimate(Some(65_535), 0), Some(cycle));
    assert_eq!(estimate(Some(cycle), 65_535), Some(65_535));
    assert_eq!(estimate(Some(cycle + 5), 32_773), Some(cycle + 32_773));
    assert_eq!(estimate(Some(cycle + 5), 32_774), Some(32_774));
    assert_eq!(estimate(Some(cycle + 40_000), 7_232), Some(cycle + 7_232));
    assert_eq!(estimate(Some(cycle + 40_000), 7_231), Some(2 * cycle + 7_231));
    assert_eq!(
        estimate(Some(5), 60_000),
        Some(60_000),
        "there is nothing before the first cycle"
    );
    assert_eq!(estimate(Some((1 << 48) - 1), 0), None);
}

/// The late packet of a stream that began just after a wrap must not throw the rollover counter off.
#[test]
fn packet_before_the_first_is_refused() {
    let (mut sender, mut receiver) = pair(SrtpCryptoSuite::AeadAes256Gcm);
    open(&mut receiver, &sealed(&mut sender, SSRC, 2)).unwrap();
    let (mut packet, header) = rtp(SSRC, 65_535, 10);
    assert_eq!(sender.protect_rtp(&mut packet, 0, header), Err(SrtpError::IndexSpent));
    open(&mut receiver, &sealed(&mut sender, SSRC, 3)).unwrap();
}

#[test]
fn forgotten_sender_ssrc_goes_on_above_its_index() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        assert_eq!(sender.resume_sequence(SSRC), None);
        for sequence in [60_000, 65_535, 0, 500] {
            open(&mut receiver, &sealed(&mut sender, SSRC, sequence)).unwrap();
        }
        // A late packet must not lower what counts as the highest index.
        sealed(&mut sender, SSRC, 65_534);
        sender.forget(SSRC);
        receiver.forget(SSRC);
        assert_eq!(sender.resume_sequence(SSRC), Some(501));
        for spent in [500, 499, 0, 65_535, 60_000] {
            let (mut packet, header) = rtp(SSRC, spent, 10);
            assert_eq!(
                sender.protect_rtp(&mut packet, 0, header),
                Err(SrtpError::IndexSpent),
                "{spent}"
            );
        }
        for sequence in [502, 501, 503] {
            open(&mut receiver, &sealed(&mut sender, SSRC, sequence)).unwrap();
        }
        let (mut packet, header) = rtp(SSRC, 500, 10);
        assert_eq!(sender.protect_rtp(&mut packet, 0, header), Err(SrtpError::IndexSpent));
        sender.forget(999);
        assert_eq!(sender.resume_sequence(999), None);
    }
}

#[test]
fn unpinned_ssrcs_are_bounded_and_the_least_recent_leaves() {
    let (mut sender, mut receiver) = pair(SrtpCryptoSuite::AeadAes128Gcm);
    for ssrc in 0..64 {
        open(&mut receiver, &sealed(&mut sender, ssrc, 1)).unwrap();
    }
    open(&mut receiver, &sealed(&mut sender, 0, 2)).unwrap();
    open(&mut receiver, &sealed(&mut sender, 64, 1)).unwrap();
    assert!(receiver.known(0) && !receiver.known(1) && receiver.known(64));
    for ssrc in 1000..11_000 {
        open(&mut receiver, &sealed(&mut sender, ssrc, 1)).unwrap();
        let mut report = rtcp(ssrc + 100_000, 0);
        sender.protect_rtcp(&mut report, 0).unwrap();
        open_rtcp(&mut receiver, &report).unwrap();
        assert!(receiver.stream_count() <= 64);
    }
}

#[test]
fn pinned_ssrcs_stay() {
    let (mut sender, mut receiver) = pair(SrtpCryptoSuite::AeadAes128Gcm);
    let before: Vec<_> = (0..200).map(|ssrc| sealed(&mut sender, ssrc, 1)).collect();
    for (ssrc, packet) in before.iter().enumerate() {
        // Half of them before, half after their first packet, some twice.
        if ssrc % 2 == 0 {
            receiver.pin(ssrc as u32);
        }
        open(&mut receiver, packet).unwrap();
        receiver.pin(ssrc as u32);
    }
    for ssrc in 1000..2000 {
        open(&mut receiver, &sealed(&mut sender, ssrc, 1)).unwrap();
    }
    assert_eq!(receiver.stream_count(), 264);
    for packet in &before {
        assert_eq!(open(&mut receiver, packet), Err(SrtpError::Replayed));
    }
    // Once let go they are as bounded as the rest, but not gone at once.
    for ssrc in 0..200 {
        receiver.forget(ssrc);
        receiver.forget(ssrc);
        assert!(receiver.known(ssrc));
    }
    assert_eq!(receiver.stream_count(), 64);
    receiver.pin(5_000_000);
    receiver.forget(5_000_000);
    assert!(!receiver.known(5_000_000), "a pin without packets leaves nothing");
    assert_eq!(receiver.stream_count(), 64);
}

proptest! {
    /// The ring of bits against a set of everything seen.
    #[test]
    fn window_is_right(start in 0u64..5000, steps in prop::collection::vec(-1500i64..1500, 1..300)) {
        let mut window = ReplayWindow::starting_at(start);
        let mut seen = HashSet::from([start]);
        let mut highest = start;
        for step in steps {
            let index = highest.saturating_add_signed(step);
            let fresh = !seen.contains(&index) && highest.saturating_sub(index) < WINDOW;
            prop_assert_eq!(window.accepts(index), fresh);
            if fresh {
                window.record(index);
                seen.insert(index);
                highest = highest.max(index);
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }

    /// Sender and receiver agree as long as fewer than half a cycle is lost at a time.
    #[test]
    fn both_ends_agree(first in any::<u16>(), gaps in prop::collection::vec(1u32..32_768, 1..40)) {
        let (mut sender, mut receiver) = pair(SrtpCryptoSuite::AeadAes128Gcm);
        let mut sequence = u32::from(first);
        prop_assert!(open(&mut receiver, &sealed(&mut sender, SSRC, sequence as u16)).is_ok());
        for gap in gaps {
            for step in (1000..gap).step_by(1000).chain([gap]) {
                let packet = sealed(&mut sender, SSRC, (sequence + step) as u16);
                if step == gap {
                    prop_assert!(open(&mut receiver, &packet).is_ok());
                }
            }
            sequence += gap;
        }
    }
}
