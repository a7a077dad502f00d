mod json;
mod matching;
mod properties;
mod supported;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability};
use channel_proto::rtp_parameters::{
    MediaKind, ParameterValue, RtcpFeedback, RtpCodecParameters, RtpEncodingParameters, RtpMapping, RtpParameters,
    RtxParameters,
};

const SSRCS: ConsumerSsrcs = ConsumerSsrcs { media: 500, rtx: 600 };

fn opus() -> RtpCodecCapability {
    RtpCodecCapability::audio("audio/opus", 48_000, 2)
}

fn vp8() -> RtpCodecCapability {
    RtpCodecCapability::video("video/VP8")
}

fn vp9(profile: Option<i64>) -> RtpCodecCapability {
    let codec = RtpCodecCapability::video("video/VP9");
    profile
        .into_iter()
        .fold(codec, |codec, profile| codec.with_parameter("profile-id", profile))
}

fn h264(profile_level_id: Option<&str>, asymmetric: bool) -> RtpCodecCapability {
    let mut codec = RtpCodecCapability::video("video/H264").with_parameter("packetization-mode", 1);
    if let Some(id) = profile_level_id {
        codec = codec.with_parameter("profile-level-id", id);
    }
    if asymmetric {
        codec.with_parameter("level-asymmetry-allowed", 1)
    } else {
        codec
    }
}

/// What a sender of this codec sends, with this payload type.
fn sent(codec: &RtpCodecCapability, payload_type: u8) -> RtpCodecParameters {
    RtpCodecParameters {
        mime_type: codec.mime_type.clone(),
        payload_type,
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        parameters: codec.parameters.clone(),
        rtcp_feedback: codec.rtcp_feedback.clone(),
    }
}

fn rtx(payload_type: u8, apt: i64) -> RtpCodecParameters {
    sent(
        &RtpCodecCapability::video("video/rtx").with_parameter("apt", apt),
        payload_type,
    )
}

fn sender(codecs: Vec<RtpCodecParameters>, encodings: usize) -> RtpParameters {
    let encodings = (0..encodings as u32).map(|index| RtpEncodingParameters {
        ssrc: Some(11 + index),
        ..Default::default()
    });
    normalize_parameters(&RtpParameters {
        codecs,
        encodings: encodings.collect(),
        ..Default::default()
    })
    .unwrap()
}

fn payload_types(capabilities: &RtpCapabilities) -> Vec<u8> {
    capabilities
        .codecs
        .iter()
        .filter_map(|codec| codec.preferred_payload_type)
        .collect()
}

fn mapped(parameters: &mut RtpParameters, router: &RtpCapabilities) -> Result<RtpMapping, ErrorKind> {
    producer_mapping(parameters, router, 1000).map_err(|error| error.kind())
}

fn consumable(mut parameters: RtpParameters, router: &RtpCapabilities) -> RtpParameters {
    let kind = kind_of(&parameters.codecs[0].mime_type).unwrap();
    let mapping = producer_mapping(&mut parameters, router, 1000).unwrap();
    consumable_parameters(kind, &parameters, router, &mapping)
}

fn extension_ids(parameters: &RtpParameters) -> Vec<u8> {
    parameters
        .header_extensions
        .iter()
        .map(|extension| extension.id)
        .collect()
}

fn feedback(codec: &RtpCodecParameters) -> Vec<String> {
    let text = |f: &RtcpFeedback| format!("{} {}", f.kind, f.parameter).trim_end().to_owned();
    codec.rtcp_feedback.iter().map(text).collect()
}

#[test]
fn payload_types_of_routers() {
    let demo = vec![
        opus(),
        vp8(),
        vp9(Some(2)),
        h264(Some("4d0032"), true),
        h264(Some("42e01f"), true),
    ];
    let cases: Vec<(Vec<RtpCodecCapability>, Vec<u8>)> = vec![
        (vec![], vec![]),
        (demo, vec![100, 101, 102, 103, 104, 105, 106, 107, 108]),
        (vec![opus(), vp8(), vp8()], vec![100, 101, 102, 103, 104]),
        (
            vec![opus(), vp8().with_payload_type(125), h264(None, false)],
            vec![100, 125, 101, 102, 103],
        ),
        (vec![opus().with_payload_type(101), vp8()], vec![101, 100, 102]),
        (vec![opus().with_payload_type(35)], vec![35]),
        (vec![RtpCodecCapability::audio("audio/PCMU", 8000, 1)], vec![0]),
        (vec![RtpCodecCapability::audio("audio/CN", 8000, 1)], vec![13]),
    ];
    for (codecs, expected) in cases {
        assert_eq!(
            payload_types(&router_capabilities(&codecs).unwrap()),
            expected,
            "{codecs:?}"
        );
    }
    assert_eq!(
        payload_types(&router_capabilities(&vec![opus(); 32]).unwrap()).last(),
        Some(&99)
    );
    assert!(router_capabilities(&vec![vp8(); 16]).is_ok());
}

#[test]
fn a_router_takes_kind_and_spelling_from_the_mime_type() {
    let codec = RtpCodecCapability {
        kind: MediaKind::Audio,
        ..RtpCodecCapability::video("VIDEO/vp8")
    };
    let router = router_capabilities(&[codec]).unwrap();
    assert_eq!(
        (router.codecs[0].kind, router.codecs[0].mime_type.as_str()),
        (MediaKind::Video, "video/VP8")
    );
    assert_eq!(payload_types(&router), [100, 101]);
    let mono = RtpCodecCapability {
        channels: None,
        ..RtpCodecCapability::audio("audio/PCMU", 8000, 1)
    };
    assert_eq!(router_capabilities(&[mono]).unwrap().codecs[0].channels, Some(1));
}

#[test]
fn routers_that_cannot_be() {
    let multiopus = |coupled| {
        RtpCodecCapability::audio("audio/multiopus", 48_000, 6)
            .with_parameter("num_streams", 4)
            .with_parameter("coupled_streams", coupled)
    };
    let with = |name: &str, value| {
        let mut codec = vp8();
        codec.parameters.insert(name.to_owned(), value);
        codec
    };
    let cases = [
        (vec![opus(), vp8().with_payload_type(100)], ErrorKind::Type),
        (vec![vp8(), opus().with_payload_type(101)], ErrorKind::Type),
        (vec![opus(); 33], ErrorKind::Other),
        (vec![vp8(); 17], ErrorKind::Other),
        (
            vec![RtpCodecCapability::audio("audio/opus", 48_000, 4)],
            ErrorKind::Unsupported,
        ),
        (
            vec![RtpCodecCapability::audio("audio/opus", 44_100, 2)],
            ErrorKind::Unsupported,
        ),
        (
            vec![RtpCodecCapability::audio("audio/chicken", 8_000, 4)],
            ErrorKind::Unsupported,
        ),
        (vec![multiopus(1)], ErrorKind::Unsupported),
        (vec![RtpCodecCapability::video("video/rtx")], ErrorKind::Unsupported),
        (vec![with("apt", ParameterValue::String("100".into()))], ErrorKind::Type),
        (vec![with("x", ParameterValue::Bool(true))], ErrorKind::Type),
        (vec![RtpCodecCapability::video("foo/bar")], ErrorKind::Type),
        (vec![RtpCodecCapability::video("video/")], ErrorKind::Type),
    ];
    for (codecs, kind) in cases {
        assert_eq!(router_capabilities(&codecs).unwrap_err().kind(), kind, "{codecs:?}");
    }
    assert!(router_capabilities(&[multiopus(2)]).is_ok());
}

#[test]
fn mapping_of_payload_types_and_streams() {
    let router = router_capabilities(&[opus(), h264(Some("4d0032"), true)]).unwrap();
    let mut parameters = sender(vec![rtx(112, 111), sent(&h264(Some("4d0032"), true), 111)], 2);
    parameters.encodings[1] = RtpEncodingParameters {
        rid: Some("hi".into()),
        ..Default::default()
    };
    let mapping = mapped(&mut parameters, &router).unwrap();
    let codecs = mapping
        .codecs
        .iter()
        .map(|codec| (codec.payload_type, codec.mapped_payload_type));
    assert_eq!(codecs.collect::<Vec<_>>(), [(111, 101), (112, 102)]);
    let streams = mapping
        .encodings
        .iter()
        .map(|e| (e.mapped_ssrc, e.ssrc, e.rid.as_deref()));
    assert_eq!(
        streams.collect::<Vec<_>>(),
        [(1000, Some(11), None), (1001, None, Some("hi"))]
    );
}

#[test]
fn retransmission_formats_need_a_media_codec() {
    let router = router_capabilities(&[opus(), vp8()]).unwrap();
    let cases = [
        (vec![sent(&vp8(), 96), rtx(97, 99)], ErrorKind::Type),
        (vec![sent(&vp8(), 96), rtx(97, 96), rtx(98, 97)], ErrorKind::Type),
        (vec![sent(&vp9(None), 96)], ErrorKind::Unsupported),
    ];
    for (codecs, kind) in cases {
        assert_eq!(mapped(&mut sender(codecs.clone(), 1), &router), Err(kind), "{codecs:?}");
    }
    let no_rtx = RtpCapabilities {
        codecs: router.codecs[..2].to_vec(),
        ..router.clone()
    };
    let result = mapped(&mut sender(vec![sent(&vp8(), 96), rtx(97, 96)], 1), &no_rtx);
    assert_eq!(result, Err(ErrorKind::Unsupported));
}

#[test]
fn consumable_parameters_of_video_and_audio() {
    let router = router_capabilities(&[opus(), h264(Some("4d0032"), true)]).unwrap();
    let mut parameters = sender(
        vec![sent(&h264(Some("4d0032"), true).with_parameter("foo", 1234), 111)],
        3,
    );
    parameters.mid = Some("7".into());
    parameters.encodings[0].rtx = Some(RtxParameters { ssrc: Some(21) });
    parameters.encodings[0].max_bitrate = Some(111_111);
    let video = consumable(parameters, &router);
    assert_eq!(video.mid, None);
    // The router retransmits although this producer does not.
    let codecs = video
        .codecs
        .iter()
        .map(|codec| (codec.mime_type.as_str(), codec.payload_type));
    assert_eq!(codecs.collect::<Vec<_>>(), [("video/H264", 101), ("video/rtx", 102)]);
    assert_eq!(video.codecs[0].integer_parameter("foo"), Some(1234));
    assert_eq!(video.codecs[1].integer_parameter("apt"), Some(101));
    assert_eq!(extension_ids(&video), [1, 4, 5, 6, 7, 8, 11, 12, 13]);
    let encodings = video
        .encodings
        .iter()
        .map(|e| (e.ssrc, e.rtx, e.max_bitrate))
        .collect::<Vec<_>>();
    assert_eq!(
        encodings,
        [
            (Some(1000), None, Some(111_111)),
            (Some(1001), None, None),
            (Some(1002), None, None)
        ]
    );

    let audio = consumable(sender(vec![sent(&opus(), 111)], 1), &router);
    assert_eq!(audio.codecs.len(), 1);
    assert_eq!(extension_ids(&audio), [1, 4, 10, 13]);
}

#[test]
fn congestion_feedback_follows_header_extensions() {
    let router = router_capabilities(&[vp8()]).unwrap();
    let consumable = consumable(sender(vec![sent(&vp8(), 96)], 1), &router);
    let with_extensions = |ids: &[u8], renumbered: Option<u8>| {
        let mut capabilities = router.clone();
        capabilities
            .header_extensions
            .retain(|extension| ids.contains(&extension.preferred_id));
        for (extension, id) in capabilities.header_extensions.iter_mut().zip(renumbered) {
            extension.preferred_id = id;
        }
        capabilities
    };
    let twcc_only = {
        let mut capabilities = with_extensions(&[5], None);
        capabilities
            .header_extensions
            .retain(|extension| extension.kind == MediaKind::Video);
        capabilities.header_extensions[0].preferred_id = 7;
        capabilities
    };
    let always = ["nack", "nack pli", "ccm fir"];
    let cases = [
        (with_extensions(&[4, 5], None), vec![4, 5], Some("transport-cc")),
        (with_extensions(&[4], None), vec![4], Some("goog-remb")),
        (with_extensions(&[], None), vec![], None),
        (twcc_only, vec![], None),
    ];
    for (capabilities, ids, extra) in cases {
        let parameters = consumer_parameters(&consumable, &capabilities, false, SSRCS).unwrap();
        assert_eq!(extension_ids(&parameters), ids);
        let expected = always.into_iter().chain(extra).collect::<Vec<_>>();
        assert_eq!(feedback(&parameters.codecs[0]), expected, "{ids:?}");
    }
}

#[test]
fn a_consumer_announces_one_stream() {
    let router = router_capabilities(&[vp8()]).unwrap();
    let cases: [(usize, Option<&str>, Option<&str>); 5] = [
        (1, None, None),
        (1, Some("L3T3_KEY"), Some("L3T3_KEY")),
        (2, None, Some("S2T1")),
        (3, Some("L1T3"), Some("S3T3")),
        (4, None, Some("S4T1")),
    ];
    for (encodings, mode, expected) in cases {
        let mut parameters = sender(vec![sent(&vp8(), 96)], encodings);
        for (index, encoding) in (1..).zip(&mut parameters.encodings) {
            encoding.scalability_mode = mode.map(str::to_owned);
            encoding.max_bitrate = Some(111_111 * index);
        }
        let consumer = consumer_parameters(&consumable(parameters, &router), &router, false, SSRCS).unwrap();
        let [encoding] = consumer.encodings.as_slice() else {
            panic!("{:?}", consumer.encodings)
        };
        assert_eq!(encoding.scalability_mode.as_deref(), expected);
        assert_eq!(encoding.max_bitrate, Some(111_111 * encodings as u32));
        assert_eq!(
            (encoding.ssrc, encoding.rtx.and_then(|rtx| rtx.ssrc)),
            (Some(500), Some(600))
        );
    }
}

#[test]
fn a_consumer_without_retransmission() {
    let router = router_capabilities(&[vp8()]).unwrap();
    let consumable = consumable(sender(vec![sent(&vp8(), 96), rtx(97, 96)], 1), &router);
    let mut capabilities = router.clone();
    capabilities.codecs.truncate(1);
    let parameters = consumer_parameters(&consumable, &capabilities, false, SSRCS).unwrap();
    assert_eq!(parameters.codecs.len(), 1);
    assert_eq!(parameters.encodings[0].rtx, None);
}

#[test]
fn nothing_to_consume() {
    let router = router_capabilities(&[opus(), vp8()]).unwrap();
    let consumable = consumable(sender(vec![sent(&vp8(), 96)], 1), &router);
    let mut only_rtx = router.clone();
    only_rtx.codecs.retain(|codec| codec.mime_type == "video/rtx");
    let mut only_audio = router.clone();
    only_audio.codecs.truncate(1);
    for capabilities in [RtpCapabilities::default(), only_rtx, only_audio] {
        assert!(!can_consume(&consumable, &capabilities).unwrap());
        let error = consumer_parameters(&consumable, &capabilities, false, SSRCS).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}

#[test]
fn pipes_carry_everything_but_congestion_control() {
    let router = router_capabilities(&[opus(), h264(Some("4d0032"), true)]).unwrap();
    let video = consumable(sender(vec![sent(&h264(Some("4d0032"), true), 111)], 2), &router);

    let plain = pipe_consumer_parameters(&video, false, SSRCS);
    assert_eq!(
        plain.codecs.iter().map(|codec| codec.payload_type).collect::<Vec<_>>(),
        [101]
    );
    assert_eq!(feedback(&plain.codecs[0]), ["nack pli", "ccm fir"]);
    assert_eq!(extension_ids(&plain), [6, 7, 8, 11, 12, 13]);
    assert_eq!(
        plain.encodings.iter().map(|e| (e.ssrc, e.rtx)).collect::<Vec<_>>(),
        [(Some(500), None), (Some(501), None)]
    );

    let with_rtx = pipe_consumer_parameters(&video, true, SSRCS);
    assert_eq!(
        with_rtx
            .codecs
            .iter()
            .map(|codec| codec.payload_type)
            .collect::<Vec<_>>(),
        [101, 102]
    );
    assert_eq!(feedback(&with_rtx.codecs[0]), ["nack", "nack pli", "ccm fir"]);
    assert_eq!(with_rtx.encodings[1].rtx.and_then(|rtx| rtx.ssrc), Some(601));

    let audio = consumable(sender(vec![sent(&opus(), 111)], 1), &router);
    assert_eq!(extension_ids(&pipe_consumer_parameters(&audio, false, SSRCS)), [10, 13]);
}

#[test]
fn scalability_modes() {
    let cases = [
        (Some("L1T3"), (1, 3, false)),
        (Some("L3T2_KEY"), (3, 2, true)),
        (Some("S2T3"), (2, 3, false)),
        (Some("L20T3"), (20, 3, false)),
        (Some("L4T7_KEY_SHIFT"), (4, 7, true)),
        (Some("foo"), (1, 1, false)),
        (None, (1, 1, false)),
        (Some("S0T3"), (1, 1, false)),
        (Some("S1T0"), (1, 1, false)),
        (Some("S200T3"), (1, 1, false)),
    ];
    for (mode, (spatial, temporal, ksvc)) in cases {
        let layers = parse_scalability_mode(mode);
        assert_eq!(
            (layers.spatial_layers, layers.temporal_layers, layers.ksvc),
            (spatial, temporal, ksvc),
            "{mode:?}"
        );
    }
}
