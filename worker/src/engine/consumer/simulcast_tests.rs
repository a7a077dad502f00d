use channel_proto::rtp_parameters::{MediaKind, RtpParameters};

use super::*;
use crate::engine::mangle::HeaderMangler;
use crate::rtp::clock::SenderClock;
use crate::rtp::packet::RtpHeader;

/// A packet of VP8 without counters.
fn packet(sequence: u16, timestamp: u32, key: bool, marker: bool) -> ForwardedPacket {
    let mut bytes = vec![0x80, 96 | u8::from(marker) << 7];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0x10, u8::from(!key), 0, 0]);
    let header = RtpHeader::parse(&bytes).unwrap();
    let mangler = HeaderMangler::new(MediaKind::Video, &RtpParameters::default());
    let mut packet = mangler.mangle(&header, &bytes, 101, 0);
    packet.descriptor = Codec::Vp8.describe(header.payload(&bytes));
    packet.is_key_frame = packet.descriptor.is_key_frame;
    packet.key_frame_needed = true;
    packet
}

fn stream(score: u8, clock: Option<(u64, u32)>) -> Option<StreamFacts> {
    Some(StreamFacts {
        score,
        clock: clock.map(|(seconds, timestamp)| SenderClock {
            ntp: (3_000_000_000 + seconds) << 32,
            timestamp,
        }),
        spatial_layers: 0,
    })
}

fn simulcast(preferred: u8) -> Simulcast {
    let preferred = Layers {
        spatial: preferred,
        temporal: 0,
    };
    Simulcast::new(1000, Codec::Vp8, 90_000, 2, 1, preferred)
}

fn sent(outcome: Outcome) -> (u16, u32) {
    match outcome {
        Outcome::Send(forwarded) => (forwarded.sequence_number, forwarded.timestamp),
        other => panic!("{other:?}"),
    }
}

/// Both streams at the same pace, 1000000 ticks apart.
fn together(spatial: u8) -> Option<StreamFacts> {
    stream(10, Some((0, u32::from(spatial) * 1_000_000)))
}

#[test]
fn a_frame_cut_short_by_a_switch_leaves_a_gap() {
    let mut consumer = simulcast(0);
    assert_eq!(
        consumer
            .evaluate(&together, false)
            .and_then(|retargeted| retargeted.key_frame),
        Some(0)
    );
    assert_eq!(
        sent(consumer.forward(&packet(10, 3000, true, false), 0, true, &together)),
        (1000, 3000)
    );
    consumer.set_preferred(Layers {
        spatial: 1,
        temporal: 0,
    });
    assert_eq!(
        consumer
            .evaluate(&together, true)
            .and_then(|retargeted| retargeted.key_frame),
        Some(1)
    );
    assert_eq!(
        consumer.forward(&packet(70, 1_006_000, false, true), 1, true, &together),
        Outcome::Drop(Why::NoKeyFrame)
    );
    assert_eq!(
        sent(consumer.forward(&packet(71, 1_006_000, true, true), 1, true, &together)),
        (1002, 6000)
    );
    // After a whole frame there is none.
    consumer.set_preferred(Layers {
        spatial: 0,
        temporal: 0,
    });
    consumer.evaluate(&together, true);
    assert_eq!(
        sent(consumer.forward(&packet(20, 9000, true, true), 0, true, &together)),
        (1003, 9000)
    );
}

#[test]
fn timestamps_do_not_go_back() {
    let mut consumer = simulcast(0);
    consumer.evaluate(&together, false);
    consumer.forward(&packet(10, 90_000, true, true), 0, true, &together);
    consumer.set_preferred(Layers {
        spatial: 1,
        temporal: 0,
    });
    consumer.evaluate(&together, true);
    // A frame of nearly the same time is moved by a little, what follows it by less and less.
    let mut timestamps = Vec::new();
    for number in 0..5_u16 {
        let packet = packet(50 + number, 1_089_000 + 3000 * u32::from(number), number == 0, true);
        timestamps.push(sent(consumer.forward(&packet, 1, true, &together)).1);
    }
    assert_eq!(timestamps[0], 90_000 + 33 * 90);
    assert!(timestamps.is_sorted());
    assert_eq!(timestamps[3..], [98_000, 101_000]);
}

#[test]
fn a_shift_fades_and_keeps_the_order() {
    for extra in [1, 2, 2970, 6750, 100_000] {
        let shift = Shift {
            since: u32::MAX - 5000,
            extra,
        };
        let moved = |after: u32| after + shift.of(shift.since.wrapping_add(after));
        assert_eq!(moved(0), extra);
        for after in 0..4 * extra.min(20_000) {
            assert!(moved(after) <= moved(after + 1));
        }
        assert_eq!(moved(2 * extra), 2 * extra);
        assert!(!shift.is_over(shift.since.wrapping_add(2 * extra)));
        assert!(shift.is_over(shift.since.wrapping_add(2 * extra + SHIFT_MEMORY)));
        assert!(!shift.is_over(shift.since.wrapping_sub(10)));
    }
}

#[test]
fn timestamps_far_back_are_not_taken_at_once() {
    let mut consumer = simulcast(0);
    consumer.evaluate(&together, false);
    consumer.forward(&packet(10, 900_000, true, true), 0, true, &together);
    consumer.set_preferred(Layers {
        spatial: 1,
        temporal: 0,
    });
    consumer.evaluate(&together, true);
    let far = |sequence| packet(sequence, 1_100_000, true, true);
    for number in 1..4 {
        assert_eq!(consumer.forward(&far(50), 1, true, &together), Outcome::KeyFrameNeeded);
        // The old stream goes on meanwhile.
        let old = packet(10 + number, 900_000 + 3000 * u32::from(number), false, true);
        let (sequence_number, _) = sent(consumer.forward(&old, 0, true, &together));
        assert_eq!(sequence_number, 1000 + number);
    }
    assert_eq!(sent(consumer.forward(&far(60), 1, true, &together)), (1004, 909_001));
    assert_eq!(
        consumer.forward(&packet(14, 912_000, false, true), 0, true, &together),
        Outcome::Foreign
    );
}

#[test]
fn a_stream_whose_clock_is_unknown_is_no_target() {
    let mut consumer = simulcast(1);
    let without = |spatial| stream(10, (spatial == 0).then_some((0, 0)));
    let only_lowest = |spatial| without(spatial).filter(|_| spatial == 0);
    consumer.evaluate(&only_lowest, false);
    consumer.forward(&packet(10, 3000, true, true), 0, true, &only_lowest);
    consumer.evaluate(&without, false);
    assert_eq!(consumer.target().map(|target| target.spatial), Some(0));
    assert_eq!(
        consumer
            .evaluate(&together, false)
            .and_then(|retargeted| retargeted.key_frame),
        Some(1)
    );
    // A stream that died is left, even if nothing is left to send.
    let dead = |spatial| stream(u8::from(spatial == 0) * 10, Some((0, 0)));
    consumer.evaluate(&dead, false);
    assert_eq!(consumer.target().map(|target| target.spatial), Some(0));
    assert!(
        consumer
            .evaluate(&|_| stream(0, None), false)
            .is_some_and(|retargeted| retargeted.stopped)
    );
    assert_eq!((consumer.target(), consumer.current()), (None, None));
}

#[test]
fn what_the_receiver_does_not_want_leaves_no_gap() {
    let mut consumer = simulcast(0);
    consumer.evaluate(&together, false);
    consumer.forward(&packet(10, 3000, true, true), 0, true, &together);
    assert_eq!(
        consumer.forward(&packet(11, 6000, false, true), 0, false, &together),
        Outcome::Drop(Why::PayloadType)
    );
    let mut padding = packet(12, 6000, false, false);
    padding.padding_length = 4;
    assert_eq!(
        consumer.forward(&padding, 0, true, &together),
        Outcome::Drop(Why::Padding)
    );
    assert_eq!(
        sent(consumer.forward(&packet(13, 6000, false, true), 0, true, &together)),
        (1001, 6000)
    );
}

#[test]
fn preferred_layers_are_clamped() {
    use super::super::layers::preferred;
    let layers = |spatial, temporal| Layers { spatial, temporal };
    assert_eq!(preferred(None, 3, 2), layers(2, 1));
    assert_eq!(preferred(Some((12, None)), 3, 2), layers(2, 1));
    assert_eq!(preferred(Some((1, Some(700))), 3, 2), layers(1, 1));
    assert_eq!(preferred(Some((-5, Some(0))), 3, 2), layers(0, 0));
}
