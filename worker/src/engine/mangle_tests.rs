use super::*;

#[test]
fn the_mid_has_room_for_eight_bytes_and_leaks_nothing() {
    assert_eq!(mid_element(Some("7")), [0x10, b'7', 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(mid_element(None), [0x17, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(mid_element(Some("longer-than-8")), mid_element(None));
}

/// A packet as it was sent and as a consumer got it, but for abs-send-time and the sequence number.
#[test]
fn a_packet_is_rewritten_as_recorded() {
    use channel_proto::rtp_parameters::RtpHeaderExtensionParameters;
    let extension = |id, uri: &str| RtpHeaderExtensionParameters {
        id,
        uri: uri.to_owned(),
        encrypt: false,
        parameters: Default::default(),
    };
    let parameters = RtpParameters {
        header_extensions: vec![
            extension(7, "urn:3gpp:video-orientation"),
            extension(3, "urn:ietf:params:rtp-hdrext:toffset"),
            extension(2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"),
        ],
        ..RtpParameters::default()
    };
    let sent = "90e0000200000bb801530ce1bede0005e263616d7000320102032701020304050607080090f0\
                800102013f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0";
    let sent = hex::decode(sent).unwrap();
    let mangler = HeaderMangler::new(MediaKind::Video, &parameters);
    let header = RtpHeader::parse(&sent).unwrap();
    let packet = mangler.mangle(&header, &sent, 101, 0);
    let rewrite = Rewrite {
        stream: 0,
        ssrc: 0x042c_6ba1,
        sequence_number: 2,
        timestamp: packet.timestamp,
        marker: true,
        vp8: None,
        mid: mid_element(Some("5")),
        wide_sequence_number: 0,
        form: Form::First,
    };
    let mut out = Vec::new();
    packet.write(&rewrite, &sent, &mut out);
    let forwarded = "90e5000200000bb8042c6ba1bede000810350000000000000042000000510000b000c2010203\
                     d701020304050607080090f0800102013f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0";
    assert_eq!(hex::encode(&out), forwarded);
    assert_eq!(out.len(), packet.size());
}

/// A packet of AV1 whose dependency descriptor has `length` bytes, with a MID, and as RTX too.
fn forward_descriptor(codec: &str, length: usize, csrcs: u8) -> (ForwardedPacket, Vec<u8>, Vec<u8>) {
    use channel_proto::rtp_parameters::{RtpCodecParameters, RtpHeaderExtensionParameters};
    let parameters = RtpParameters {
        codecs: vec![RtpCodecParameters {
            mime_type: codec.to_owned(),
            payload_type: 45,
            clock_rate: 90_000,
            channels: None,
            parameters: Default::default(),
            rtcp_feedback: Vec::new(),
        }],
        header_extensions: vec![RtpHeaderExtensionParameters {
            id: 13,
            uri: HeaderExtensionKind::DependencyDescriptor.uri().to_owned(),
            encrypt: false,
            parameters: Default::default(),
        }],
        ..RtpParameters::default()
    };
    let mut sent = vec![0x90 | csrcs, 45, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2];
    sent.extend((0..4 * csrcs).map(|byte| 0x30 + byte));
    let mut block = vec![13, length as u8];
    block.extend((0..length).map(|byte| byte as u8));
    block.resize(block.len().next_multiple_of(4), 0);
    sent.extend([0x10, 0, 0, (block.len() / 4) as u8]);
    sent.extend(block);
    sent.extend(b"payload");
    let mangler = HeaderMangler::new(MediaKind::Video, &parameters);
    let header = RtpHeader::parse(&sent).unwrap();
    let packet = mangler.mangle(&header, &sent, 45, 0);
    let mut rewrite = Rewrite {
        stream: 0,
        ssrc: 7,
        sequence_number: 5,
        timestamp: packet.timestamp,
        marker: true,
        vp8: None,
        mid: mid_element(Some("ab")),
        wide_sequence_number: 0x1234,
        form: Form::First,
    };
    let (mut first, mut again) = (Vec::new(), Vec::new());
    packet.write(&rewrite, &sent, &mut first);
    rewrite.form = Form::Rtx {
        payload_type: 46,
        ssrc: 8,
        sequence_number: 6,
        abs_send_time: 0x0055_6677,
    };
    packet.write(&rewrite, &sent, &mut again);
    (packet, first, again)
}

#[test]
fn a_dependency_descriptor_is_forwarded_in_whatever_form_it_needs() {
    for length in [3, 16, 17, 96] {
        let (packet, first, again) = forward_descriptor("video/AV1", length, 0);
        let descriptor: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        for (bytes, time) in [(&first, None), (&again, Some([0x55, 0x66, 0x77].as_slice()))] {
            let header = RtpHeader::parse(bytes).unwrap();
            let extension = |id| header.extension(bytes, id);
            assert_eq!(
                extension(extensions::DEPENDENCY_DESCRIPTOR),
                Some(&descriptor[..]),
                "{length}"
            );
            assert_eq!(extension(extensions::MID), Some(b"ab".as_slice()), "{length}");
            assert_eq!(
                extension(extensions::TRANSPORT_WIDE_CC),
                Some([0x12, 0x34].as_slice()),
                "{length}"
            );
            assert!(
                time.is_none() || extension(extensions::ABS_SEND_TIME) == time,
                "{length}"
            );
            assert!(header.payload(bytes).ends_with(b"payload"), "{length}");
        }
        assert_eq!(first.len(), packet.size());
        assert_eq!(first[12..14], if length > 16 { [0x10, 0x00] } else { [0xbe, 0xde] });
    }
}

#[test]
fn a_dependency_descriptor_of_another_codec_is_left_out() {
    let (_, first, _) = forward_descriptor("video/VP8", 96, 0);
    let header = RtpHeader::parse(&first).unwrap();
    assert_eq!(header.extension(&first, extensions::DEPENDENCY_DESCRIPTOR), None);
    assert_eq!(header.extension(&first, extensions::MID), Some(b"ab".as_slice()));
}

#[test]
fn a_dependency_descriptor_for_which_there_is_no_room_is_left_out() {
    for (length, csrcs) in [(255, 0), (160, 15), (200, 15)] {
        let (packet, first, _) = forward_descriptor("video/AV1", length, csrcs);
        let header = RtpHeader::parse(&first).unwrap();
        assert_eq!(header.extension(&first, extensions::DEPENDENCY_DESCRIPTOR), None);
        assert_eq!(header.extension(&first, extensions::MID), Some(b"ab".as_slice()));
        assert_eq!(header.payload(&first), b"payload");
        assert_eq!(first.len(), packet.size());
    }
    let (_, first, _) = forward_descriptor("video/AV1", 100, 15);
    let header = RtpHeader::parse(&first).unwrap();
    assert!(header.extension(&first, extensions::DEPENDENCY_DESCRIPTOR).is_some());
}
