#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

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
