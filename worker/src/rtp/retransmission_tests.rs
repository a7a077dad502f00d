#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

#[test]
fn a_store_forgets_by_age_and_by_size() {
    let mut store = PacketStore::new(2 * SECOND, 3 * BLOCK);
    assert_eq!(store.add(b"he", b"ader", 'a', 0), Some(0));
    assert_eq!(store.get(0, 2 * SECOND), Some((b"header".as_slice(), 'a')));
    assert_eq!(store.get(0, 2 * SECOND + 1), None);
    assert_eq!(store.get(1, 0), None);
    assert_eq!(store.add(&[], &[7; BLOCK + 1], 'b', 0), None);
    for number in 1..=100 {
        assert_eq!(store.add(&[1; 10], &[2; 990], 'c', SECOND), Some(number));
    }
    // 16 of them fit a block; the first holds one more.
    assert!(store.get(100, SECOND).is_some() && store.get(65, SECOND).is_some());
    assert_eq!(store.get(64, SECOND), None);
    assert_eq!(store.blocks.len(), 3);
    // When these are old, their blocks are used again.
    store.add(&[], &[3], 'd', 10 * SECOND);
    assert_eq!((store.oldest(), store.packets.len(), store.blocks.len()), (101, 1, 3));
    store.clear();
    assert!(store.blocks.is_empty());
    assert_eq!(
        store.add(&[], &[3], 'e', 10 * SECOND),
        Some(102),
        "numbers are not used again"
    );
}

#[test]
fn a_store_in_use_allocates_nothing() {
    let mut store = PacketStore::new(2 * SECOND, 4 << 20);
    let mut now = 0;
    let mut run = |store: &mut PacketStore<()>, packets: usize| {
        for _ in 0..packets {
            now += 3333;
            store.add(&[0; 40], &[0; 1100], (), now);
        }
        let mut blocks: Vec<_> = store.blocks.iter().map(|block| block.as_ptr()).collect();
        blocks.sort_unstable();
        (blocks, store.packets.capacity())
    };
    let before = run(&mut store, 2000);
    assert_eq!(before, run(&mut store, 100_000));
    let size = before.0.len() * BLOCK;
    assert!((684_000..800_000).contains(&size), "{size}: two seconds are 684 KB");
}

/// Changes every 50 packets, as if layers were switched.
fn sent(packet: u32) -> SentPacket {
    let epoch = packet / 50;
    SentPacket {
        packet,
        timestamp_offset: epoch.wrapping_mul(3000),
        marker: epoch.is_multiple_of(3).then_some(true),
        vp8_offsets: epoch.is_multiple_of(2).then_some((epoch as u16 & 0x7fff, epoch as u8)),
        exact: Some(Exact {
            wide_sequence_number: packet as u16,
            tail: (!packet).to_be_bytes(),
        }),
    }
}

#[test]
fn a_packet_is_repeated_at_most_once_a_round_trip() {
    let mut history = SentHistory::new(true);
    history.add(65_535, sent(4), 0);
    history.add(1, sent(6), 0);
    assert_eq!(history.find(65_535, 0), Some(sent(4)));
    assert_eq!(history.find(0, 0), None);
    assert_eq!(history.find(2, 0), None);
    assert!(history.contains(1) && !history.contains(0) && !history.contains(2));
    assert!(history.resent(65_535, 70 * SECOND));
    assert_eq!(history.find(65_535, 70 * SECOND - 1), None);
    assert_eq!(history.find(65_535, 70 * SECOND), Some(sent(4)));
    assert!(!history.resent(65_535, 71 * SECOND));
    // Late, into its gap.
    history.add(0, sent(5), 0);
    assert_eq!(history.find(0, 0), Some(sent(5)));
}

#[test]
fn an_even_stream_is_one_run_and_a_changing_one_few() {
    let mut history = SentHistory::new(false);
    let even = |packet| SentPacket { packet, ..sent(0) };
    for packet in 0..100_000_u32 {
        history.add(packet as u16, even(packet), packet.saturating_sub(600));
    }
    assert_eq!(history.runs.len(), 1);
    let mut history = SentHistory::new(false);
    for packet in 0..100_000_u32 {
        history.add(packet as u16, sent(packet), packet.saturating_sub(600));
    }
    assert!(history.runs.len() <= 14, "{}", history.runs.len());
    for packet in 99_400..100_000_u32 {
        let exact = None;
        assert_eq!(
            history.find(packet as u16, 0),
            Some(SentPacket { exact, ..sent(packet) })
        );
    }
}

#[test]
fn exact_bytes_are_kept_for_as_long_as_they_can_be_repeated() {
    let mut history = SentHistory::new(true);
    for packet in 0..5000_u32 {
        history.add(packet as u16, sent(packet), packet.saturating_sub(3000));
    }
    assert_eq!(history.find(4999 - 1023, 0), Some(sent(4999 - 1023)));
    assert_eq!(history.find(4999 - 1024, 0), None);
    let mut slow = SentHistory::new(true);
    for packet in 0..5000_u32 {
        slow.add(packet as u16, sent(packet), packet.saturating_sub(50));
    }
    assert!(slow.exact.len() <= 128);
    assert_eq!(slow.find(4950, 0), Some(sent(4950)));
    assert_eq!(size_of::<ExactSlot>(), 8);
    // In the clear there is nothing to keep.
    let mut clear = SentHistory::new(true);
    for packet in 0..5000_u32 {
        let exact = None;
        clear.add(packet as u16, SentPacket { exact, ..sent(0) }, 0);
    }
    assert!(clear.exact.is_empty());
}

#[test]
fn a_flood_of_requests_gets_a_share() {
    let mut budget = ResendBudget::default();
    let (mut media, mut resent) = (0, 0);
    for _ in 0..10_000 {
        budget.earn(1200);
        media += 1200;
        while budget.spend(1202) {
            resent += 1202;
        }
    }
    assert!(resent <= media / 4 + 128 * 1024, "{resent} of {media}");
    assert!(resent > media / 5);
}

proptest! {
    #[test]
    fn a_store_holds_what_was_put_in(
        packets in prop::collection::vec((0usize..900, 0u64..200_000), 1..500),
        blocks in 1usize..4,
    ) {
        let mut store = PacketStore::new(SECOND, blocks * BLOCK);
        let mut model: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut now = 0;
        for (index, (length, elapsed)) in packets.into_iter().enumerate() {
            now += elapsed;
            let packet = vec![index as u8; length + 12];
            let number = store.add(&packet[..12], &packet[12..], index, now);
            prop_assert_eq!(number, Some(index as u32));
            model.push((now, packet));
            prop_assert!(store.blocks.len() <= blocks);
            let mut kept = 0;
            for (number, (at, packet)) in model.iter().enumerate() {
                if let Some((bytes, facts)) = store.get(number as u32, now) {
                    prop_assert!(now - at <= SECOND && facts == number);
                    prop_assert_eq!(bytes, packet.as_slice());
                    kept += packet.len();
                }
            }
            // What is forgotten early is forgotten for want of room: a block at a time, and ends of blocks stay empty.
            let young: usize = model.iter().filter(|(at, _)| now - at <= SECOND).map(|(_, packet)| packet.len()).sum();
            let room = (blocks - 1) * (BLOCK - 912);
            prop_assert!(kept >= young.min(room), "{} {}", kept, young);
        }
    }

    #[test]
    fn a_history_finds_what_the_slow_model_finds(
        start: u16,
        steps in prop::collection::vec((-30i64..40, 1u32..4, 0u64..50_000), 1..600),
        kept in 1u32..300,
    ) {
        let mut history = SentHistory::new(true);
        // By unwrapped number: what was sent, and when it was repeated.
        let mut model: BTreeMap<i64, (SentPacket, Option<u64>)> = BTreeMap::new();
        let (mut newest, mut packet, mut now) = (1_000_000 + i64::from(start), 0, 0);
        for (step, packets, elapsed) in steps {
            packet += packets;
            now += elapsed;
            let at = if model.is_empty() { newest } else { newest + step };
            let duplicate = model.contains_key(&at);
            // Nothing is given up while the store has the packet; beyond that it may be.
            let held = |packet: u32, now_at: u32| now_at - packet < kept;
            if duplicate && held(model[&at].0.packet, packet) && newest - at < 60 {
                prop_assert!(history.contains(at as u16));
                prop_assert!(history.resent(at as u16, now) == model[&at].1.is_none());
                model.get_mut(&at).unwrap().1 = Some(now);
                continue;
            }
            if duplicate {
                continue;
            }
            prop_assert!(!history.contains(at as u16));
            history.add(at as u16, sent(packet), packet.saturating_sub(kept));
            model.insert(at, (sent(packet), None));
            newest = newest.max(at);
            for (at, (sent, resent_at)) in &model {
                let found = history.find(*at as u16, now.saturating_sub(20_000));
                if held(sent.packet, packet) && newest - at < 60 {
                    let expected = resent_at.is_none_or(|at| now - at >= 20_000).then_some(*sent);
                    prop_assert_eq!(found, expected);
                } else if newest - at < 30_000 {
                    prop_assert!(found.is_none_or(|found| found == *sent), "{:?} for {:?}", found, sent);
                }
            }
        }
        prop_assert!(history.runs.len() <= MAX_RUNS);
    }

    #[test]
    fn no_sequence_breaks_a_history(numbers: Vec<(u16, u32, u32)>) {
        let mut history = SentHistory::new(true);
        for (number, packet, oldest) in numbers {
            history.add(number, sent(packet), oldest);
            history.find(number ^ 3, 5);
            history.resent(number ^ 1, 7);
            prop_assert!(history.runs.len() <= MAX_RUNS && history.repeated.len() <= MAX_REPEATED);
            let apart = history.runs.iter().zip(history.runs.iter().skip(1));
            prop_assert!(apart.into_iter().all(|(one, next)| one.end() <= next.first));
        }
    }
}
