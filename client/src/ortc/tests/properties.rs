//! What holds for all inputs.

use proptest::prelude::*;

use super::*;

fn any_codec() -> impl Strategy<Value = RtpCodecCapability> {
    let known = vec![
        opus(),
        vp8(),
        vp9(Some(0)),
        vp9(None),
        vp9(Some(2)),
        h264(None, false),
        h264(Some("42e01f"), true),
        h264(Some("4d0032"), false),
        h264(Some("nonsense"), false),
        RtpCodecCapability::audio("audio/PCMU", 8000, 1),
        RtpCodecCapability::video("video/rtx").with_parameter("apt", 101),
        RtpCodecCapability::video("nonsense"),
    ];
    prop::sample::select(known)
}

proptest! {
    #[test]
    fn consuming_works_exactly_when_it_is_said_to(
        router in prop::collection::vec(any_codec(), 0..6),
        producer in any_codec(),
        encodings in 0..4_usize,
        consumer in prop::collection::vec(any_codec(), 0..6),
        extensions in prop::collection::vec(any::<bool>(), 15),
        pipe in any::<bool>(),
    ) {
        let Ok(router) = router_capabilities(&router) else { return Ok(()) };
        let raw = RtpParameters {
            codecs: vec![sent(&producer, 96)],
            encodings: vec![RtpEncodingParameters::default(); encodings],
            ..Default::default()
        };
        let Ok(mut parameters) = normalize_parameters(&raw) else { return Ok(()) };
        prop_assert_eq!(normalize_parameters(&parameters).unwrap(), parameters.clone());
        let Ok(mapping) = producer_mapping(&mut parameters, &router, 1000) else { return Ok(()) };
        let known = payload_types(&router);
        prop_assert!(mapping.codecs.iter().all(|codec| known.contains(&codec.mapped_payload_type)));

        let consumable = consumable_parameters(producer.kind, &parameters, &router, &mapping);
        let mut kept = extensions.into_iter();
        let mut header_extensions = router.header_extensions.clone();
        header_extensions.retain(|_| kept.next().unwrap_or(false));
        let capabilities = RtpCapabilities { codecs: consumer, header_extensions };
        let result = consumer_parameters(&consumable, &capabilities, pipe, SSRCS);
        prop_assert_eq!(can_consume(&consumable, &capabilities).unwrap_or(false), result.is_ok());
        if let Ok(result) = result {
            prop_assert!(result.codecs.iter().all(|codec| known.contains(&codec.payload_type)));
        }
    }

    #[test]
    fn no_json_makes_it_panic(json in "\\{\"codecs\":\\[\\{\"mimeType\":\"(video|audio|x)/(VP8|rtx|H264|opus)\",\
        \"clockRate\":(90000|48000|-1|1.5),\"payloadType\":(96|300|\"a\"),\"channels\":(1|2|null),\
        \"parameters\":\\{\"(apt|profile-level-id|packetization-mode)\":(1|1.5|true|null|\"42e01f\"|\\[\\])\\}\\}\\]\\}") {
        let router = router_capabilities(&[opus(), vp8(), h264(None, true)]).unwrap();
        if let Ok(parameters) = serde_json::from_str::<RtpParameters>(&json)
            && let Ok(mut parameters) = normalize_parameters(&parameters)
        {
            let _ = producer_mapping(&mut parameters, &router, 1);
        }
        if let Ok(capabilities) = serde_json::from_str::<RtpCapabilities>(&json) {
            let _ = router_capabilities(&capabilities.codecs);
        }
    }
}
