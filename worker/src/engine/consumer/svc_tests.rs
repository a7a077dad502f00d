use channel_proto::rtp_parameters::{MediaKind, RtpParameters};

use super::*;
use crate::engine::mangle::HeaderMangler;
use crate::rtp::codec::Codec;
use crate::rtp::packet::RtpHeader;

/// A whole layer frame of VP9 in one packet.
fn packet(sequence: u16, picture_id: u8, spatial: u8, key: bool) -> ForwardedPacket {
    let mut bytes = vec![0x80, 98];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, picture_id, 0, 0, 0, 1]);
    // I, P, L, B, E; picture id of 7 bits; layers with D above the lowest; TL0PICIDX.
    let flags = 0x80 | 0x20 | 0x0c | if key { 0 } else { 0x40 };
    bytes.extend([flags, picture_id, spatial << 1 | u8::from(spatial > 0), 0, 0]);
    let header = RtpHeader::parse(&bytes).unwrap();
    let mangler = HeaderMangler::new(MediaKind::Video, &RtpParameters::default());
    let mut packet = mangler.mangle(&header, &bytes, 101, 0);
    packet.descriptor = Codec::Vp9.describe(header.payload(&bytes));
    packet.is_key_frame = packet.descriptor.is_key_frame;
    packet.key_frame_needed = true;
    packet
}

fn stream(spatial_layers: u128) -> impl Fn(u8) -> Option<StreamFacts> {
    move |stream| {
        (stream == 0).then_some(StreamFacts {
            score: 10,
            clock: None,
            spatial_layers,
        })
    }
}

fn svc(k_svc: bool) -> Svc {
    Svc::new(
        1000,
        3,
        1,
        k_svc,
        Layers {
            spatial: 2,
            temporal: 0,
        },
    )
}

/// Sequence number and marker.
fn sent(outcome: Outcome) -> Option<(u16, bool)> {
    match outcome {
        Outcome::Send(forwarded) => Some((forwarded.sequence_number, forwarded.marker)),
        _ => None,
    }
}

#[test]
fn numbers_have_no_gap_for_layers_left_out() {
    let mut consumer = svc(false);
    consumer.set_preferred(Layers {
        spatial: 1,
        temporal: 0,
    });
    assert_eq!(
        consumer.forward(&packet(9, 1, 0, true), true),
        Outcome::Drop(Why::NoTarget)
    );
    assert_eq!(
        consumer
            .evaluate(&stream(0b111), false)
            .and_then(|retargeted| retargeted.key_frame),
        Some(0)
    );
    assert_eq!(
        consumer.forward(&packet(10, 2, 0, false), true),
        Outcome::Drop(Why::NoKeyFrame)
    );
    let mut numbers = Vec::new();
    for (sequence, picture_id) in (20..).step_by(3).zip(3..8) {
        for spatial in 0..3 {
            let packet = packet(sequence + u16::from(spatial), picture_id, spatial, picture_id == 3);
            numbers.extend(sent(consumer.forward(&packet, true)));
        }
    }
    let expected: Vec<_> = (1000..1010).map(|number| (number, number % 2 == 1)).collect();
    assert_eq!(numbers, expected);
    // From before the key frame.
    assert_eq!(
        consumer.forward(&packet(19, 2, 0, false), true),
        Outcome::Drop(Why::Layer)
    );
}

#[test]
fn what_arrives_decides_what_is_aimed_at() {
    let mut consumer = svc(false);
    consumer.evaluate(&stream(0b001), false);
    assert_eq!(consumer.target().map(|target| target.spatial), Some(0));
    // More layers appear: a key frame is needed. One disappears: it is not.
    assert_eq!(
        consumer
            .evaluate(&stream(0b111), false)
            .and_then(|retargeted| retargeted.key_frame),
        Some(0)
    );
    assert_eq!(consumer.evaluate(&stream(0b011), false), Some(Retargeted::default()));
    assert_eq!(consumer.target().map(|target| target.spatial), Some(1));
    assert!(
        consumer
            .evaluate(&|_| None, false)
            .is_some_and(|retargeted| retargeted.stopped)
    );
    // After a pause of the sender.
    consumer.evaluate(&stream(0), false);
    assert_eq!(consumer.target().map(|target| target.spatial), Some(2));
    let mut consumer = svc(true);
    consumer.evaluate(&stream(0b111), false);
    assert_eq!(
        consumer
            .evaluate(&stream(0b011), false)
            .and_then(|retargeted| retargeted.key_frame),
        Some(0)
    );
}

#[test]
fn a_pause_ends_with_a_key_frame_and_the_next_number() {
    let mut consumer = svc(false);
    consumer.evaluate(&stream(0b111), false);
    assert_eq!(
        sent(consumer.forward(&packet(20, 3, 0, true), true)),
        Some((1000, false))
    );
    assert!(consumer.stop() && !consumer.stop());
    assert_eq!((consumer.target(), consumer.current()), (None, None));
    assert_eq!(
        consumer.forward(&packet(21, 3, 1, true), true),
        Outcome::Drop(Why::NoTarget)
    );
    consumer.evaluate(&stream(0b111), false);
    assert_eq!(
        consumer.forward(&packet(50, 12, 0, false), true),
        Outcome::Drop(Why::NoKeyFrame)
    );
    assert_eq!(
        sent(consumer.forward(&packet(51, 13, 0, true), true)),
        Some((1001, false))
    );
    assert_eq!(
        consumer.forward(&packet(22, 3, 2, true), true),
        Outcome::Drop(Why::Layer)
    );
}

#[test]
fn a_first_packet_that_is_left_out_does_not_use_up_the_beginning() {
    let mut consumer = svc(false);
    consumer.evaluate(&stream(0b111), false);
    // Not of a codec that the receiver understands.
    assert_eq!(
        consumer.forward(&packet(20, 3, 0, true), false),
        Outcome::Drop(Why::PayloadType)
    );
    assert_eq!(
        sent(consumer.forward(&packet(40, 4, 0, true), true)),
        Some((1000, false))
    );
}

fn of_layer(spatial: u8) -> Layers {
    Layers { spatial, temporal: 0 }
}

#[test]
fn packets_that_overtake_the_first_one_of_a_key_frame_leave_room_for_it() {
    let mut consumer = svc(false);
    consumer.set_preferred(of_layer(0));
    consumer.evaluate(&stream(0b111), false);
    consumer.forward(&packet(20, 3, 0, true), true);
    assert_eq!(
        consumer.forward(&packet(21, 3, 1, true), true),
        Outcome::Drop(Why::Layer)
    );
    consumer.set_preferred(of_layer(2));
    consumer.evaluate(&stream(0b111), false);
    assert!(consumer.waits_for_key_frame());
    let come = [(25, 2), (24, 1), (23, 0)].map(|(sequence, spatial)| packet(sequence, 4, spatial, true));
    let numbers = come.map(|packet| sent(consumer.forward(&packet, true)).map(|(number, _)| number));
    // That of 22 is left for it.
    assert_eq!(numbers, [Some(1004), Some(1003), Some(1002)]);
    assert!(!consumer.waits_for_key_frame());
}

#[test]
fn a_key_frame_behind_pictures_of_which_layers_were_left_out_is_waited_for_again() {
    for k_svc in [false, true] {
        let mut consumer = svc(k_svc);
        consumer.set_preferred(of_layer(0));
        consumer.evaluate(&stream(0b111), false);
        consumer.forward(&packet(20, 3, 0, true), true);
        consumer.set_preferred(of_layer(2));
        consumer.evaluate(&stream(0b111), false);
        assert_eq!(
            sent(consumer.forward(&packet(24, 5, 0, false), true)),
            Some((1004, true))
        );
        assert_eq!(
            consumer.forward(&packet(25, 5, 2, false), true),
            Outcome::Drop(Why::Layer)
        );
        assert_eq!(
            sent(consumer.forward(&packet(27, 6, 0, false), true)),
            Some((1006, true))
        );
        // 25 would have to go out between these two now.
        assert_eq!(
            sent(consumer.forward(&packet(21, 4, 0, true), true)),
            Some((1001, true))
        );
        assert_eq!(consumer.current(), Some(of_layer(0)));
        assert!(consumer.waits_for_key_frame(), "{k_svc}");
    }
}

#[test]
fn layers_that_end_with_a_packet_that_is_left_out_are_told_with_the_next_one() {
    let mut consumer = svc(true);
    consumer.evaluate(&stream(0b111), false);
    consumer.forward(&packet(20, 3, 0, true), true);
    consumer.set_preferred(of_layer(1));
    consumer.evaluate(&stream(0b111), false);
    assert_eq!(
        consumer.forward(&packet(23, 4, 2, true), true),
        Outcome::Drop(Why::Layer)
    );
    let changed = [(22, 1), (21, 0)].map(|(sequence, spatial)| {
        let outcome = consumer.forward(&packet(sequence, 4, spatial, true), true);
        matches!(
            outcome,
            Outcome::Send(Forwarded {
                layers_changed: true,
                ..
            })
        )
    });
    assert_eq!(changed, [true, false]);
}
