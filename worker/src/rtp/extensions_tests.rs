#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::rtp::packet::RtpHeader;

const HEADER: HeaderWriter<'static> = HeaderWriter {
    payload_type: 100,
    marker: true,
    padding: false,
    sequence_number: 1,
    timestamp: 4_294_960_000,
    ssrc: 70_010_001,
    csrcs: &[],
    extensions: &[],
};

#[test]
fn as_recorded() {
    let mut out = Vec::new();
    HeaderWriter {
        extensions: &[(MID, b"longer"), (AUDIO_LEVEL, &[0x94])],
        ..HEADER
    }
    .write(&mut out);
    assert_eq!(
        hex::encode(&out),
        "90e40001ffffe380042c4491bede0003156c6f6e676572a094000000"
    );
}

#[test]
fn two_byte_form_when_needed() {
    for (id, value) in [(15, &[1u8][..]), (1, &[]), (1, &[7; 17])] {
        let mut out = Vec::new();
        let length = HeaderWriter {
            csrcs: &[1; 20],
            extensions: &[(id, value), (2, b"r")],
            ..HEADER
        }
        .write(&mut out);
        let header = RtpHeader::parse(&out).unwrap();
        assert_eq!((header.payload_offset, header.csrc_count), (length, 15));
        assert_eq!(
            header.extension(&out, id),
            Some(value).filter(|value| !value.is_empty())
        );
        assert_eq!(header.extension(&out, 2), Some(&b"r"[..]));
        assert_eq!(length % 4, 0);
    }
}

#[test]
fn values() {
    assert_eq!(AudioLevel::read(&[0x94]), Some(AudioLevel { voice: true, level: 20 }));
    assert_eq!(AudioLevel::read(&[]), None);
    let orientation = VideoOrientation {
        camera: true,
        flip: true,
        rotation: 90,
    };
    assert_eq!(VideoOrientation::read(&[0x0d]), Some(orientation));
    assert_eq!(abs_send_time(1_000_000), 1 << 18);
    assert_eq!(abs_send_time(64_000_000), 0);
    assert_eq!(abs_send_time(u64::MAX) >> 24, 0);
}

#[test]
fn uris() {
    for kind in HeaderExtensionKind::ALL {
        assert_eq!(HeaderExtensionKind::from_uri(kind.uri()), Some(*kind));
    }
    assert_eq!(HeaderExtensionKind::VideoOrientation.id(), VIDEO_ORIENTATION);
    assert_eq!(HeaderExtensionKind::from_uri("urn:x"), None);
}
