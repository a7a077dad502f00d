#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, 0x80 | 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    packet.extend_from_slice(body);
    packet
}

#[test]
fn a_recorded_packet() {
    let packet = hex::decode("90effffaffffe38000a98671bede0003e161306094920102030000007801").unwrap();
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!((header.payload_type, header.marker), (111, true));
    assert_eq!(
        (header.sequence_number, header.timestamp, header.ssrc),
        (65530, 4_294_960_000, 11_110_001)
    );
    assert_eq!(header.extension(&packet, 6), Some(&[0x94][..]));
    assert_eq!(header.extension(&packet, 14), Some(&b"a0"[..]));
    assert_eq!(header.extension(&packet, 1), None);
    assert_eq!(header.payload(&packet), [0x78, 0x01]);
}

#[test]
fn padding() {
    let only = RtpHeader::parse(&packet(0xa0, &[0, 0, 3])).unwrap();
    assert_eq!((only.payload_length, only.padding_length), (0, 3));
    for bad in [&[][..], &[1, 0], &[1, 3]] {
        assert!(
            matches!(RtpHeader::parse(&packet(0xa0, bad)), Err(RtpParseError::Padding(_))),
            "{bad:?}"
        );
        assert!(RtpHeader::parse_encrypted(&packet(0xa0, bad)).is_ok());
    }
}

#[test]
fn overruns_are_errors() {
    assert!(RtpHeader::parse(&packet(0x8f, &[0; 59])).is_err());
    assert!(RtpHeader::parse(&packet(0x8f, &[0; 60])).is_ok());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0])).is_err());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0, 0])).is_ok());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 0, 0, 0])).is_err());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 0x13, 0, 0, 0])).is_err());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 0x12, 0, 0, 0])).is_ok());
    assert!(RtpHeader::parse(&packet(0x90, &[0x10, 0, 0, 1, 0, 0, 0, 1])).is_err());
    assert!(RtpHeader::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 0xff, 0x1f, 0, 0])).is_ok());
}

#[test]
fn repeated_and_empty_elements() {
    let repeated = packet(0x90, &[0xbe, 0xde, 0, 1, 0x10, 7, 0x10, 8]);
    assert_eq!(
        RtpHeader::parse(&repeated).unwrap().extension(&repeated, 1),
        Some(&[8][..])
    );
    let empty = packet(0x90, &[0x10, 0x05, 0, 2, 1, 1, 9, 1, 0, 2, 1, 5]);
    let header = RtpHeader::parse(&empty).unwrap();
    assert_eq!(header.extension(&empty, 1), None);
    assert_eq!(header.extension(&empty, 2), Some(&[5][..]));
}

#[test]
fn demultiplexing() {
    assert!(is_rtp(&packet(0x80, &[])));
    assert!(!is_rtcp(&packet(0x80, &[])));
    assert!(is_rtcp(&[0x81, 206, 0, 2]));
    assert!(!is_rtp(&[0x81, 206, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert!(!is_rtcp(&[0x81]) && !is_rtp(&[]));
}

/// Elements by index arithmetic, as the RFC's figures put it.
fn oracle(profile: u16, block: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let (mut at, mut found) = (0, Vec::new());
    while at < block.len() {
        let (id, length, value) = match profile {
            0xbede if block[at] >> 4 == 15 => break,
            0xbede => (block[at] >> 4, usize::from(block[at] % 16) + 1, at + 1),
            p if p >> 4 == 0x100 => (block[at], usize::from(*block.get(at + 1).unwrap_or(&255)), at + 2),
            _ => break,
        };
        if id == 0 {
            at += 1;
            continue;
        }
        at = value + length;
        if at > block.len() {
            return None;
        }
        found.push((id, block[value..at].to_vec()));
    }
    Some(found)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, id: u8) {
        for header in [RtpHeader::parse(&bytes), RtpHeader::parse_encrypted(&bytes)].into_iter().flatten() {
            header.extension(&bytes, id);
            header.extension(&[], id);
            header.payload(&bytes);
            let total = header.payload_offset + header.payload_length + usize::from(header.padding_length);
            prop_assert_eq!(total, bytes.len());
        }
    }

    #[test]
    fn extension_blocks_agree_with_the_oracle(
        profile in prop_oneof![Just(0xbede_u16), 0x1000_u16..0x1012, any::<u16>()],
        words in prop::collection::vec(any::<[u8; 4]>().prop_map(|word| word.map(|byte| byte & 0x73)), 0..8),
    ) {
        let block = words.concat();
        let mut body = profile.to_be_bytes().to_vec();
        body.extend_from_slice(&(words.len() as u16).to_be_bytes());
        body.extend_from_slice(&block);
        let packet = packet(0x90, &body);
        let expected = oracle(profile, &block);
        let header = RtpHeader::parse(&packet);
        prop_assert_eq!(header.is_ok(), expected.is_some());
        if let (Ok(header), Some(expected)) = (header, expected) {
            for id in 0..=255 {
                let last = expected.iter().rfind(|element| element.0 == id).map(|element| &element.1[..]);
                prop_assert_eq!(header.extension(&packet, id), last.filter(|value| !value.is_empty()));
            }
        }
    }
}
