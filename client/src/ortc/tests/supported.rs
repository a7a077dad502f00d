//! The table of codecs and header extensions, and what becomes of extensions.

use super::*;
use crate::rtp_capabilities::RtpHeaderExtensionDirection as Direction;

#[test]
fn the_table_is_in_normal_form_and_never_changes() {
    let mut supported = supported_rtp_capabilities();
    assert_eq!(normalize_capabilities(&supported).unwrap(), supported);
    supported.codecs.clear();
    assert!(!supported_rtp_capabilities().codecs.is_empty());
}

#[test]
fn codecs_in_their_order() {
    const NONE: &[&str] = &[];
    const CC: &[&str] = &["transport-cc"];
    const VIDEO: &[&str] = &["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"];
    let expected = [
        ("audio/opus", 48_000, Some(2), None, CC),
        ("audio/multiopus", 48_000, Some(4), None, CC),
        ("audio/multiopus", 48_000, Some(6), None, CC),
        ("audio/multiopus", 48_000, Some(8), None, CC),
        ("audio/PCMU", 8_000, Some(1), Some(0), CC),
        ("audio/PCMA", 8_000, Some(1), Some(8), CC),
        ("audio/ISAC", 32_000, Some(1), None, CC),
        ("audio/ISAC", 16_000, Some(1), None, CC),
        ("audio/G722", 8_000, Some(1), Some(9), CC),
        ("audio/iLBC", 8_000, Some(1), None, CC),
        ("audio/SILK", 24_000, Some(1), None, CC),
        ("audio/SILK", 16_000, Some(1), None, CC),
        ("audio/SILK", 12_000, Some(1), None, CC),
        ("audio/SILK", 8_000, Some(1), None, CC),
        ("audio/CN", 32_000, Some(1), Some(13), NONE),
        ("audio/CN", 16_000, Some(1), Some(13), NONE),
        ("audio/CN", 8_000, Some(1), Some(13), NONE),
        ("audio/telephone-event", 48_000, Some(1), None, NONE),
        ("audio/telephone-event", 32_000, Some(1), None, NONE),
        ("audio/telephone-event", 16_000, Some(1), None, NONE),
        ("audio/telephone-event", 8_000, Some(1), None, NONE),
        ("video/VP8", 90_000, None, None, VIDEO),
        ("video/VP9", 90_000, None, None, VIDEO),
        ("video/H264", 90_000, None, None, VIDEO),
        ("video/H264-SVC", 90_000, None, None, VIDEO),
        ("video/H265", 90_000, None, None, VIDEO),
        ("video/AV1", 90_000, None, None, VIDEO),
    ];
    let codecs = supported_rtp_capabilities().codecs;
    assert_eq!(codecs.len(), expected.len());
    for (codec, (mime_type, clock_rate, channels, payload_type, wanted)) in codecs.iter().zip(expected) {
        let found = (
            codec.mime_type.as_str(),
            codec.clock_rate,
            codec.channels,
            codec.preferred_payload_type,
        );
        assert_eq!(found, (mime_type, clock_rate, channels, payload_type));
        let text = |f: &RtcpFeedback| format!("{} {}", f.kind, f.parameter).trim_end().to_owned();
        let feedback = codec.rtcp_feedback.iter().map(text).collect::<Vec<_>>();
        assert_eq!(feedback, wanted, "{mime_type}");
    }
    let number = |value| ParameterValue::Integer(value);
    let parameters = |index: usize| codecs[index].parameters.clone();
    for (index, mapping, streams, coupled) in [
        (1, "0,1,2,3", 2, 2),
        (2, "0,4,1,2,3,5", 4, 2),
        (3, "0,6,1,2,3,4,5,7", 5, 3),
    ] {
        let expected = [
            ("channel_mapping".to_owned(), ParameterValue::String(mapping.to_owned())),
            ("coupled_streams".to_owned(), number(coupled)),
            ("num_streams".to_owned(), number(streams)),
        ];
        assert_eq!(parameters(index), expected.into());
    }
    for codec in codecs.iter().filter(|codec| codec.mime_type.starts_with("video/H26")) {
        let expected = [("level-asymmetry-allowed".to_owned(), number(1))];
        assert_eq!(codec.parameters, expected.into(), "{}", codec.mime_type);
    }
}

#[test]
fn header_extensions_in_their_order() {
    use Direction::{RecvOnly, SendRecv};
    use MediaKind::{Audio, Video};
    let extensions = supported_rtp_capabilities().header_extensions;
    let found = extensions
        .iter()
        .map(|extension| (extension.preferred_id, extension.kind, extension.direction));
    let expected = [
        (1, Audio, SendRecv),
        (1, Video, SendRecv),
        (2, Video, RecvOnly),
        (3, Video, RecvOnly),
        (4, Audio, SendRecv),
        (4, Video, SendRecv),
        (5, Audio, RecvOnly),
        (5, Video, SendRecv),
        (6, Video, SendRecv),
        (7, Video, SendRecv),
        (8, Video, SendRecv),
        (10, Audio, SendRecv),
        (11, Video, SendRecv),
        (12, Video, SendRecv),
        (13, Video, SendRecv),
        (13, Audio, SendRecv),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(extensions.iter().all(|extension| !extension.preferred_encrypt));
}

#[test]
fn routers_have_all_extensions_whatever_their_codecs() {
    let all = supported_rtp_capabilities().header_extensions;
    for codecs in [vec![], vec![opus()], vec![vp8(), vp9(None), h264(None, true)]] {
        assert_eq!(router_capabilities(&codecs).unwrap().header_extensions, all);
    }
}

#[test]
fn only_what_a_router_sends_goes_to_consumers() {
    let mut router = router_capabilities(&[vp8()]).unwrap();
    let kept = |router: &RtpCapabilities| extension_ids(&consumable(sender(vec![sent(&vp8(), 96)], 1), router));
    assert_eq!(kept(&router), [1, 4, 5, 6, 7, 8, 11, 12, 13]);
    for (direction, stays) in [
        (Direction::SendRecv, true),
        (Direction::SendOnly, true),
        (Direction::RecvOnly, false),
        (Direction::Inactive, false),
    ] {
        for extension in &mut router.header_extensions {
            if extension.preferred_id == 11 {
                extension.direction = direction;
                extension.preferred_encrypt = true;
            }
        }
        assert_eq!(kept(&router).contains(&11), stays, "{direction:?}");
    }
    // What the producer has does not matter, nor what else the extension is said to be.
    let mut parameters = sender(vec![sent(&vp8(), 96)], 1);
    parameters.header_extensions.clear();
    router
        .header_extensions
        .iter_mut()
        .filter(|extension| extension.preferred_id == 12)
        .for_each(|extension| extension.preferred_encrypt = true);
    let consumable = consumable(parameters, &router);
    let encrypted = consumable
        .header_extensions
        .iter()
        .filter(|extension| extension.encrypt);
    assert_eq!(encrypted.map(|extension| extension.id).collect::<Vec<_>>(), [12]);
    assert!(
        consumable
            .header_extensions
            .iter()
            .all(|extension| extension.parameters.is_empty())
    );
}

#[test]
fn a_consumer_has_the_extensions_that_both_know_by_the_same_id() {
    let router = router_capabilities(&[opus(), vp8()]).unwrap();
    let audio = consumable(sender(vec![sent(&opus(), 111)], 1), &router);
    let mut capabilities = router.clone();
    // Kind and direction of the receiver's are not looked at.
    for extension in &mut capabilities.header_extensions {
        extension.kind = MediaKind::Video;
        extension.direction = Direction::Inactive;
    }
    let ids = |capabilities: &RtpCapabilities| {
        extension_ids(&consumer_parameters(&audio, capabilities, false, SSRCS).unwrap())
    };
    assert_eq!(ids(&capabilities), [1, 4, 10, 13]);
    capabilities
        .header_extensions
        .retain(|extension| extension.preferred_id != 4);
    capabilities
        .header_extensions
        .iter_mut()
        .filter(|extension| extension.preferred_id == 10)
        .for_each(|extension| extension.preferred_id = 3);
    assert_eq!(ids(&capabilities), [1, 13]);
    // Without the time of sending nothing tells a sender of sound about bandwidth.
    let parameters = consumer_parameters(&audio, &capabilities, false, SSRCS).unwrap();
    assert!(parameters.codecs[0].rtcp_feedback.is_empty());
    let rtcp = parameters.rtcp.unwrap();
    assert_eq!((rtcp.reduced_size, rtcp.mux), (true, Some(true)));
}

#[test]
fn the_receiver_says_which_feedback_it_gives() {
    let router = router_capabilities(&[vp8()]).unwrap();
    let consumable = consumable(sender(vec![sent(&vp8(), 96), rtx(97, 96)], 1), &router);
    let mut capabilities = router.clone();
    capabilities.codecs[0].rtcp_feedback = [("ccm", "fir"), ("unheard", "of"), ("nack", "")]
        .map(|(kind, parameter)| RtcpFeedback {
            kind: kind.to_owned(),
            parameter: parameter.to_owned(),
        })
        .to_vec();
    // Its RTX is for another payload type: only the clock rate has to be right.
    capabilities.codecs[1]
        .parameters
        .insert("apt".to_owned(), ParameterValue::Integer(33));
    let parameters = consumer_parameters(&consumable, &capabilities, false, SSRCS).unwrap();
    assert_eq!(feedback(&parameters.codecs[0]), ["ccm fir", "unheard of", "nack"]);
    assert_eq!(parameters.codecs[1].integer_parameter("apt"), Some(100));
    assert_eq!(parameters.encodings[0].rtx.and_then(|rtx| rtx.ssrc), Some(600));
    capabilities.codecs[1].clock_rate = 48_000;
    let parameters = consumer_parameters(&consumable, &capabilities, false, SSRCS).unwrap();
    assert_eq!((parameters.codecs.len(), parameters.encodings[0].rtx), (1, None));
}
