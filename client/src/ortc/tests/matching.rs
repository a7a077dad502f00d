//! Which codecs are the same.

use super::*;

#[test]
fn h264_negotiation() {
    // What the producer and the router have, each with whether levels may differ; what comes of it.
    type Side = (Option<&'static str>, bool);
    let cases: [(Side, Side, Option<Option<&str>>); 15] = [
        ((Some("42e015"), false), (Some("42e01f"), false), Some(Some("42e015"))),
        ((Some("42e01f"), false), (Some("42e015"), true), Some(Some("42e015"))),
        ((Some("42e015"), true), (Some("42e01f"), true), Some(Some("42e015"))),
        ((Some("42e01f"), true), (Some("42e015"), true), Some(Some("42e01f"))),
        ((None, false), (Some("42e01f"), false), Some(Some("42e01f"))),
        ((None, false), (None, false), Some(None)),
        ((Some("4d0032"), false), (Some("4d001f"), false), Some(Some("4d001f"))),
        ((Some("42001f"), false), (Some("42e01f"), false), None),
        ((Some("640032"), false), (Some("640c1f"), false), None),
        ((Some("CHICKEN"), false), (Some("42e01f"), false), None),
        ((Some("42e01f"), false), (Some("42f00b"), false), Some(Some("42f00b"))),
        // A router lets levels differ even if its codec does not say so.
        ((Some("42e01f"), true), (Some("42f00b"), false), Some(Some("42e01f"))),
        ((Some("42e00a"), false), (Some("42f00b"), false), Some(Some("42e00a"))),
        ((Some("58e01f"), false), (Some("4de01f"), false), Some(Some("42e01f"))),
        ((Some(""), false), (Some("42e015"), false), Some(Some("42e015"))),
    ];
    for (producer, router, expected) in cases {
        let capabilities = router_capabilities(&[h264(router.0, router.1)]).unwrap();
        let mut parameters = sender(vec![sent(&h264(producer.0, producer.1), 96)], 1);
        let result = mapped(&mut parameters, &capabilities);
        let Some(id) = expected else {
            assert_eq!(result, Err(ErrorKind::Unsupported), "{producer:?} {router:?}");
            continue;
        };
        assert!(result.is_ok(), "{producer:?} {router:?}");
        let negotiated = parameters.codecs[0].parameters.get("profile-level-id");
        assert_eq!(
            negotiated,
            id.map(|id| ParameterValue::String(id.into())).as_ref(),
            "{producer:?} {router:?}"
        );
    }
}

#[test]
fn packetization_modes_and_vp9_profiles_have_to_be_equal() {
    let mode = |value| {
        let mut codec = h264(None, false);
        codec.parameters.remove("packetization-mode");
        codec.parameters.extend(
            [value]
                .into_iter()
                .flatten()
                .map(|v| ("packetization-mode".to_owned(), v)),
        );
        codec
    };
    let cases = [
        (mode(Some(ParameterValue::Integer(1))), h264(None, false), true),
        (mode(Some(ParameterValue::String("1".into()))), h264(None, false), true),
        (mode(Some(ParameterValue::Integer(0))), h264(None, false), false),
        (mode(None), h264(None, false), false),
        (mode(None), mode(Some(ParameterValue::Integer(0))), true),
        (vp9(Some(0)), vp9(None), true),
        (vp9(None), vp9(None), true),
        (vp9(Some(2)), vp9(None), false),
        (vp9(Some(2)), vp9(Some(0)), false),
        (vp9(None), vp9(Some(2)), false),
    ];
    for (producer, router, same) in cases {
        let capabilities = router_capabilities(std::slice::from_ref(&router)).unwrap();
        let result = mapped(&mut sender(vec![sent(&producer, 96)], 1), &capabilities);
        assert_eq!(result.is_ok(), same, "{producer:?} {router:?}");
    }
}

#[test]
fn multiopus_streams_have_to_be_equal() {
    let codec = |channels, streams: i64, coupled: i64| {
        RtpCodecCapability::audio("audio/multiopus", 48_000, channels)
            .with_parameter("num_streams", streams)
            .with_parameter("coupled_streams", coupled)
    };
    let router = router_capabilities(&[codec(6, 4, 2)]).unwrap();
    for (streams, coupled) in [(2, 2), (4, 1)] {
        let result = mapped(&mut sender(vec![sent(&codec(6, streams, coupled), 100)], 1), &router);
        assert_eq!(result, Err(ErrorKind::Unsupported));
    }
    let consumable = consumable(sender(vec![sent(&codec(6, 4, 2), 100)], 1), &router);
    assert!(can_consume(&consumable, &router).unwrap());
    let eight = RtpCapabilities {
        codecs: vec![codec(8, 5, 3)],
        header_extensions: vec![],
    };
    assert!(!can_consume(&consumable, &eight).unwrap());
}

/// What a producer of this codec gets from a router with that one.
fn try_with(producer: &RtpCodecCapability, router: &RtpCodecCapability) -> Result<RtpMapping, ErrorKind> {
    let router = router_capabilities(std::slice::from_ref(router)).unwrap();
    mapped(&mut sender(vec![sent(producer, 96)], 1), &router)
}

#[test]
fn multiopus_of_all_sizes() {
    // The table has 4, 6 and 8 channels, each with its own streams.
    for (channels, streams, coupled) in [(4, 2, 2), (6, 4, 2), (8, 5, 3)] {
        let codec = RtpCodecCapability::audio("audio/multiopus", 48_000, channels)
            .with_parameter("num_streams", streams)
            .with_parameter("coupled_streams", coupled);
        let router = router_capabilities(std::slice::from_ref(&codec)).unwrap();
        assert_eq!(router.codecs.len(), 1);
        assert!(
            router.codecs[0].parameters.contains_key("channel_mapping"),
            "{channels}"
        );
        let parameters = consumable(sender(vec![sent(&codec, 96)], 1), &router);
        let consumer = consumer_parameters(&parameters, &router, false, SSRCS).unwrap();
        assert_eq!(consumer.codecs[0].channels, Some(channels));
        assert_eq!(consumer.codecs[0].integer_parameter("num_streams"), Some(streams));
        assert_eq!(consumer.encodings[0].rtx, None);

        // A number and a text are not the same here, in either way of looking.
        let text = codec
            .clone()
            .with_parameter("num_streams", streams.to_string().as_str());
        assert_eq!(try_with(&text, &codec), Err(ErrorKind::Unsupported));
        let error = router_capabilities(&[text]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let stereo = RtpCodecCapability {
            channels: Some(2),
            ..codec.clone()
        };
        assert_eq!(try_with(&stereo, &codec), Err(ErrorKind::Unsupported));
    }
}

#[test]
fn av1_profiles_have_to_be_equal() {
    let av1 = |profile: Option<i64>| {
        let codec = RtpCodecCapability::video("video/AV1");
        profile
            .into_iter()
            .fold(codec, |codec, profile| codec.with_parameter("profile", profile))
    };
    for (producer, router, same) in [
        (None, None, true),
        (Some(0), None, true),
        (None, Some(0), true),
        (Some(1), Some(1), true),
        (Some(1), None, false),
        (Some(1), Some(2), false),
    ] {
        let result = try_with(&av1(producer), &av1(router));
        assert_eq!(result.is_ok(), same, "{producer:?} {router:?}");
    }
    let other_level = av1(None).with_parameter("level-idx", 5).with_parameter("tier", 1);
    assert!(try_with(&other_level, &av1(None)).is_ok());
    let text = RtpCodecCapability::video("video/av1").with_parameter("profile", "0");
    assert!(try_with(&text, &av1(None)).is_ok());
}

#[test]
fn other_codecs_are_their_name_clock_and_channels() {
    for name in ["video/VP8", "video/H265"] {
        let codec = RtpCodecCapability::video(name);
        assert!(try_with(&codec.clone().with_parameter("x", 1), &codec).is_ok());
        let fast = RtpCodecCapability {
            clock_rate: 48_000,
            ..codec.clone()
        };
        assert_eq!(try_with(&fast, &codec), Err(ErrorKind::Unsupported));
    }
    let parameters = opus().with_parameter("useinbandfec", 1).with_parameter("ptime", "10");
    assert!(try_with(&parameters, &opus()).is_ok());
    let spelling = RtpCodecCapability {
        mime_type: "AUDIO/OPUS".to_owned(),
        ..opus()
    };
    assert!(try_with(&spelling, &opus()).is_ok());
    let mono = RtpCodecCapability {
        channels: None,
        ..opus()
    };
    assert_eq!(try_with(&mono, &opus()), Err(ErrorKind::Unsupported));
    // The number of channels of a picture is not looked at.
    let picture = RtpCodecCapability {
        channels: Some(3),
        ..vp8()
    };
    assert!(try_with(&picture, &vp8()).is_ok());
}

#[test]
fn h264_svc_is_negotiated_like_h264() {
    let svc = |id: &str| RtpCodecCapability {
        mime_type: "video/H264-SVC".to_owned(),
        ..h264(Some(id), false)
    };
    assert!(try_with(&svc("4d0032"), &svc("4d001f")).is_ok());
    assert_eq!(try_with(&svc("640032"), &svc("4d001f")), Err(ErrorKind::Unsupported));
    assert_eq!(
        try_with(&svc("4d0032"), &h264(Some("4d0032"), false)),
        Err(ErrorKind::Unsupported)
    );
}

#[test]
fn a_producer_takes_the_first_codec_that_matches() {
    let router = router_capabilities(&[
        opus(),
        vp8(),
        vp9(Some(2)),
        h264(Some("4d0032"), true),
        h264(Some("42e01f"), true),
    ])
    .unwrap();
    for (producer, payload_type) in [
        (vp9(Some(2)), Some(103)),
        (vp9(Some(0)), None),
        (h264(Some("4d001f"), true), Some(105)),
        (h264(Some("42e01f"), true), Some(107)),
        (h264(None, true), Some(107)),
        (h264(Some("640c1f"), true), None),
    ] {
        let mapping = mapped(&mut sender(vec![sent(&producer, 96)], 1), &router).ok();
        let found = mapping.map(|mapping| mapping.codecs[0].mapped_payload_type);
        assert_eq!(found, payload_type, "{producer:?}");
    }
}

#[test]
fn a_receiver_is_offered_what_it_can_decode() {
    let router = router_capabilities(&[vp9(Some(2)), h264(Some("42e01f"), true), h264(Some("4d001f"), true)]).unwrap();
    let can = |producer: &RtpCodecCapability, receiver: RtpCodecCapability| {
        let consumable = consumable(sender(vec![sent(producer, 96)], 1), &router);
        let capabilities = RtpCapabilities {
            codecs: vec![receiver],
            header_extensions: Vec::new(),
        };
        can_consume(&consumable, &capabilities).unwrap()
    };
    assert!(can(&vp9(Some(2)), vp9(Some(2))));
    assert!(!can(&vp9(Some(2)), vp9(None)));
    // The level does not matter to a receiver, the profile and the packetization do.
    assert!(can(&h264(Some("42e01f"), true), h264(Some("42e034"), true)));
    assert!(can(&h264(Some("42e01f"), true), h264(None, false)));
    assert!(!can(&h264(Some("42e01f"), true), h264(Some("4d001f"), true)));
    let single = RtpCodecCapability::video("video/H264").with_parameter("profile-level-id", "42e01f");
    assert!(!can(&h264(Some("42e01f"), true), single));
}
