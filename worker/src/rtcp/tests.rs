use proptest::prelude::*;

use super::*;

#[test]
fn requests_look_as_recorded() {
    let mut out = Vec::new();
    picture_loss_indication(&mut out, 0x0153_0ce1);
    assert_eq!(hex::encode(&out), "81ce000201530ce101530ce1");
    out.clear();
    full_intra_request(&mut out, 0x0153_0ce1, 1);
    assert_eq!(hex::encode(&out), "84ce000401530ce101530ce101530ce101000000");
}

#[test]
fn a_sender_compound_looks_as_recorded() {
    let mut out = Vec::new();
    sender_report(&mut out, 0x042c_4491, 0x0000_1b9b_722d_0e56, 0x7aa0, 36, 1700);
    source_description(&mut out, 0x042c_4491, "opus-src");
    let recorded = "80c80006042c449100001b9b722d0e5600007aa000000024000006a481ca0004042c449101086f7075732d7372630000";
    assert_eq!(hex::encode(out), recorded);
}

#[test]
fn a_receiver_compound_is_read_back() {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 255,
        cumulative_lost: -3,
        highest_sequence: 0x1_0002,
        jitter: 9,
        last_sender_report: 10,
        delay_since_last_sender_report: 11,
    };
    let mut out = Vec::new();
    receiver_report(&mut out, &[block]);
    receiver_reference_time(&mut out, 0x1234_5678_9abc_def0);
    let answer = DelaySinceReference {
        ssrc: 1,
        last_reference: 2,
        delay: 3,
    };
    delay_since_last_receiver_reference(&mut out, 5, &[answer]);
    let packets: Vec<_> = parse(&out).expect("RTCP").collect();
    let [RtcpPacket::ReceiverReport { ssrc: 0, reports }, first, second] = packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(reports.collect::<Vec<_>>(), [block]);
    let RtcpPacket::ExtendedReport { blocks, .. } = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        blocks.collect::<Vec<_>>(),
        [Block::ReferenceTime(0x1234_5678_9abc_def0)]
    );
    let RtcpPacket::ExtendedReport { ssrc: 5, blocks } = second else {
        panic!("{second:?}")
    };
    assert_eq!(blocks.collect::<Vec<_>>(), [Block::Delay(answer)]);
}

#[test]
fn an_unknown_packet_does_not_cost_the_rest() {
    let mut out = vec![0x80, 204, 0, 1, 1, 2, 3, 4];
    picture_loss_indication(&mut out, 5);
    let packets: Vec<_> = parse(&out).expect("RTCP").collect();
    assert_eq!(
        packets,
        [
            RtcpPacket::Other {
                packet_type: 204,
                count: 0
            },
            RtcpPacket::PictureLossIndication { media_ssrc: 5 }
        ]
    );
}

#[test]
fn requests_for_packets_look_as_recorded() {
    let mut out = Vec::new();
    assert_eq!(generic_nack(&mut out, 0x0153_0ce1, &[53, 54], 1200), 2);
    assert_eq!(hex::encode(&out), "81cd00030000000001530ce100350001");
    out.clear();
    // 16 further ones fit the bitmap; numbers wrap.
    let numbers: Vec<u16> = (0..40).map(|step| 65_530_u16.wrapping_add(step)).collect();
    assert_eq!(generic_nack(&mut out, 7, &numbers, 1200), 40);
    let packets: Vec<_> = parse(&out).expect("RTCP").collect();
    let [RtcpPacket::Nack { media_ssrc: 7, items }] = packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(items.packets(), 40);
    assert_eq!(items.collect::<Vec<_>>(), [(65_530, 0xffff), (11, 0xffff), (28, 0x1f)]);
    out.clear();
    let sparse: Vec<u16> = (0..100).map(|step| step * 20).collect();
    assert_eq!(generic_nack(&mut out, 7, &sparse, 100), 22);
    assert_eq!(out.len(), 100);
}

#[test]
fn a_bitrate_looks_as_recorded() {
    let mut out = Vec::new();
    receiver_estimated_maximum_bitrate(&mut out, 123_000, &[0x0153_0ce1]);
    assert_eq!(hex::encode(&out), "8fce0005000000000000000052454d420101e07801530ce1");
    for (bitrate, read) in [
        (0, 0),
        (262_143, 262_143),
        (1_000_001, 1_000_000),
        (u64::MAX, 0x3_ffff << 46),
    ] {
        out.clear();
        receiver_estimated_maximum_bitrate(&mut out, bitrate, &[]);
        assert_eq!(
            parse(&out).expect("RTCP").next(),
            Some(RtcpPacket::MaximumBitrate { bitrate: read })
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_every_step_advances(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        for first in [None, Some([0x81, 201]), Some([0xa1, 200]), Some([0x81, 207]), Some([0x84, 206]), Some([0x81, 205]), Some([0x8f, 205])] {
            if let (Some(first), Some(start)) = (first, bytes.get_mut(..2)) {
                start.copy_from_slice(&first);
            }
            let Some(compound) = parse(&bytes) else { continue };
            let packets: Vec<_> = compound.collect();
            prop_assert!(packets.len() <= bytes.len() / 4);
            for packet in packets {
                match packet {
                    RtcpPacket::SenderReport { reports, .. } | RtcpPacket::ReceiverReport { reports, .. } => {
                        prop_assert!(reports.count() <= 31);
                    }
                    RtcpPacket::ExtendedReport { blocks, .. } => prop_assert!(blocks.count() <= bytes.len()),
                    RtcpPacket::Nack { items, .. } => {
                        prop_assert!(items.packets() >= items.count() as u64);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Every number that is asked for is read again, and no other, in packets of at most `limit` bytes.
    #[test]
    fn requests_for_packets_are_read_as_written(first: u16, steps in prop::collection::vec(1..40_u16, 0..80), limit in 16..200_usize) {
        let mut number = first;
        let numbers: Vec<u16> = steps.iter().map(|step| { number = number.wrapping_add(*step); number }).collect();
        let mut read = Vec::new();
        let mut left = numbers.as_slice();
        while !left.is_empty() {
            let mut out = Vec::new();
            let taken = generic_nack(&mut out, 7, left, limit);
            prop_assert!(taken > 0 && out.len() <= limit, "{} taken, {} bytes", taken, out.len());
            for packet in parse(&out).expect("RTCP") {
                let RtcpPacket::Nack { media_ssrc: 7, items } = packet else { panic!("{packet:?}") };
                for (first, others) in items {
                    read.push(first);
                    read.extend((0..16).filter(|bit| others >> bit & 1 != 0).map(|bit| first.wrapping_add(bit + 1)));
                }
            }
            left = &left[taken..];
        }
        prop_assert_eq!(read, numbers);
    }
}
