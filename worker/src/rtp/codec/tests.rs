use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 7] = [
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::H264,
    Codec::H264Svc,
    Codec::Opus,
    Codec::Other,
];

#[test]
fn vp8() {
    // As recorded: 15-bit picture id, TL0PICIDX, TID and KEYIDX.
    let payload = [0x90, 0xf0, 0x80, 0x01, 0x02, 0x01, 0x00];
    let descriptor = vp8::Descriptor::parse(&payload).unwrap();
    assert_eq!(
        (descriptor.picture_id, descriptor.tl0_picture_index),
        (Some(1), Some(2))
    );
    assert_eq!(
        (descriptor.temporal_layer, descriptor.key_index, descriptor.length),
        (Some(0), Some(1), 6)
    );
    assert!(descriptor.is_key_frame);
    for end in 0..7 {
        assert_eq!(vp8::Descriptor::parse(&payload[..end]), None);
    }
    // Without extension.
    assert!(Codec::Vp8.describe(&[0x10, 0x00]).is_key_frame);
    assert!(!Codec::Vp8.describe(&[0x10, 0x01]).is_key_frame);
    assert!(!Codec::Vp8.describe(&[0x00, 0x00]).is_key_frame);
    assert!(!Codec::Vp8.describe(&[0x11, 0x00]).is_key_frame);
}

#[test]
fn vp9() {
    let payload = [0xa8, 0x81, 0x02, 0x33, 0x07, 0x00];
    let descriptor = vp9::Descriptor::parse(&payload).unwrap();
    assert_eq!(
        (descriptor.picture_id, descriptor.tl0_picture_index),
        (Some(0x102), Some(7))
    );
    assert_eq!(
        (descriptor.temporal_layer, descriptor.spatial_layer),
        (Some(1), Some(1))
    );
    assert!(descriptor.switching_up && descriptor.inter_layer && descriptor.start && !descriptor.end);
    assert!(!descriptor.is_key_frame);
    for end in 0..6 {
        assert_eq!(vp9::Descriptor::parse(&payload[..end]), None);
    }
    assert!(Codec::Vp9.describe(&[0x08, 0]).is_key_frame);
    assert!(!Codec::Vp9.describe(&[0x48, 0]).is_key_frame);
}

#[test]
fn h264() {
    let key = |payload: &[u8]| Codec::H264.describe(payload).is_key_frame;
    assert!(key(&[0x67, 0x42]) && !key(&[0x67]) && !key(&[0x65, 0]));
    assert!(key(&[0x78, 0, 1, 0x68, 0, 2, 0x67, 0x42]));
    assert!(!key(&[0x78, 0, 1, 0x68, 0, 2, 0x67]) && !key(&[0x78, 0, 0, 0]));
    assert!(key(&[0x7c, 0x87]) && !key(&[0x7c, 0x07]) && key(&[0x7d, 0x87]));
}

#[test]
fn opus() {
    let dtx = |payload: &[u8]| opus::Descriptor::parse(payload).map(|descriptor| descriptor.is_dtx);
    assert_eq!(dtx(&[]), None);
    assert_eq!(
        [dtx(&[0x78]), dtx(&[0x79]), dtx(&[0x7a]), dtx(&[0x7b])],
        [Some(true), Some(true), None, None]
    );
    assert_eq!(
        [dtx(&[0x78, 0]), dtx(&[0x7a, 0]), dtx(&[0x7b, 0])],
        [Some(false), Some(true), Some(false)]
    );
}

#[test]
fn mime_types() {
    assert_eq!(Codec::from_mime_type("video/VP8"), Codec::Vp8);
    assert_eq!(Codec::from_mime_type("audio/PCMU"), Codec::Other);
    assert!(!Codec::Opus.waits_for_key_frame() && Codec::H264.waits_for_key_frame());
}

proptest! {
    #[test]
    fn no_payload_panics(payload: Vec<u8>) {
        for codec in CODECS {
            codec.describe(&payload);
        }
    }
}
