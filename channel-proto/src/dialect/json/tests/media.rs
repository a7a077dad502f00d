//! What producers, consumers and their data counterparts accept.

use serde_json::{Value, json};

use super::audio_produce;
use super::leniency::{command, refused, with};
use crate::command::Command;
use crate::rtp_parameters::ParameterValue;
use crate::transport_parameters::SctpStreamParameters;

#[test]
fn producers_refuse_what_the_tables_say() {
    let rtx = json!({"mimeType": "audio/rtx", "payloadType": 112, "clockRate": 48000, "parameters": {"apt": 112}});
    let opus = json!({"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000});
    let two = json!([{"ssrc": 1, "scalabilityMode": "S2T1"}, {"ssrc": 2}]);
    let mapping = |entry: Value| json!({"/rtpMapping/encodings/0": entry, "/rtpParameters/mid": null});
    for (change, reason) in [
        (json!({"/kind": "AUDIO"}), None),
        (json!({"/kind": ""}), Some("invalid empty kind")),
        (json!({"/rtpParameters/mid": ""}), Some("empty mid")),
        (
            json!({"/rtpParameters/codecs": [opus, opus]}),
            Some("duplicated payloadType"),
        ),
        (
            json!({"/rtpParameters/codecs": [opus, rtx]}),
            Some("apt in RTX codec points to a RTX codec"),
        ),
        (
            json!({"/rtpParameters/encodings": two}),
            Some("cannot use both simulcast and encodings with multiple SVC spatial layers"),
        ),
        (
            json!({"/rtpParameters/encodings/0/scalabilityMode": "L1T3"}),
            Some("audio/opus codec not supported for svc"),
        ),
        (json!({"/rtpParameters/encodings/0/scalabilityMode": "L0T3"}), None),
        (
            json!({"/rtpParameters/encodings/0/codecPayloadType": 5}),
            Some("unknown codecPayloadType"),
        ),
        (
            json!({"/rtpParameters/headerExtensions/0/id": 256}),
            Some("invalid id 0"),
        ),
        (mapping(json!({"mappedSsrc": 5, "rid": "a"})), None),
        (
            mapping(json!({"mappedSsrc": 5})),
            Some("wrong entry in rtpMapping.encodings (missing ssrc or rid, or rtpParameters.mid)"),
        ),
        (mapping(json!(5)), Some("wrong entry in rtpMapping.encodings")),
        (
            json!({"/rtpMapping/encodings": []}),
            Some("rtpParameters.encodings size does not match rtpMapping.encodings size"),
        ),
        (json!({"/rtpMapping/codecs": []}), None),
    ] {
        let data = with(&audio_produce()["data"], &change);
        assert_eq!(refused("transport.produce", &data).as_deref(), reason, "{change}");
    }
}

#[test]
fn parameters_keep_what_can_be_said_in_sdp() {
    let parameters = json!({"cut": 4_294_967_297_u64, "cut-too": u64::MAX, "list": [1, 2], "mixed": [1, "a"],
        "empty": [], "object": {}, "yes": true, "text": "a"});
    let data = with(
        &audio_produce()["data"],
        &json!({"/rtpParameters/codecs/0/parameters": parameters}),
    );
    let Command::TransportProduce(Ok(produce)) = command("transport.produce", &data) else {
        panic!()
    };
    let kept = &produce.rtp_parameters.codecs[0].parameters;
    let names: Vec<&str> = kept.keys().map(String::as_str).collect();
    assert_eq!(names, ["cut", "cut-too", "list", "text", "yes"]);
    assert_eq!(kept["cut"], ParameterValue::Integer(1));
    assert_eq!(kept["cut-too"], ParameterValue::Integer(-1));
    assert_eq!(kept["list"], ParameterValue::Integers(vec![1, 2]));
}

#[test]
fn consumers_refuse_what_their_type_forbids() {
    let data = json!({"kind": "video", "type": "simulcast", "preferredLayers": {"spatialLayer": 12},
        "consumableRtpEncodings": [{"ssrc": 1}, {"ssrc": 2}],
        "rtpParameters": {"codecs": [{"mimeType": "video/vp8", "payloadType": 101, "clockRate": 90000}],
            "encodings": [{"ssrc": 7, "scalabilityMode": "S2T3"}]}});
    let one = json!([{"ssrc": 1}]);
    for (change, reason) in [
        (json!({}), None),
        (
            json!({"/type": "chicken"}),
            Some("invalid RtpParameters type [type:chicken]"),
        ),
        (json!({"/type": "none"}), Some("invalid type 'none'")),
        (
            json!({"/type": "simple"}),
            Some("invalid consumableRtpEncodings with size != 1"),
        ),
        (
            json!({"/type": "simple", "/consumableRtpEncodings": one, "/preferredLayers": {}}),
            None,
        ),
        (
            json!({"/type": "svc", "/consumableRtpEncodings": one}),
            Some("video/VP8 codec not supported for svc"),
        ),
        (
            json!({"/type": "pipe"}),
            Some("number of rtpParameters.encodings and consumableRtpEncodings do not match"),
        ),
        (
            json!({"/consumableRtpEncodings": one}),
            Some("invalid consumableRtpEncodings with size <= 1"),
        ),
        (
            json!({"/rtpParameters/encodings/0/scalabilityMode": "S3T3"}),
            Some("encoding.spatialLayers does not match number of consumableRtpEncodings"),
        ),
        (
            json!({"/rtpParameters/encodings/0/ssrc": 0}),
            Some("invalid encoding in rtpParameters (missing ssrc)"),
        ),
        (
            json!({"/rtpParameters/encodings/0/rtx": {}}),
            Some("invalid encoding in rtpParameters (missing rtx.ssrc)"),
        ),
        (
            json!({"/consumableRtpEncodings/1": {"rid": "a"}}),
            Some("wrong encoding in consumableRtpEncodings (missing ssrc)"),
        ),
        (
            json!({"/preferredLayers": {}}),
            Some("missing preferredLayers.spatialLayer"),
        ),
        (json!({"/preferredLayers": 5}), None),
    ] {
        let data = with(&data, &change);
        assert_eq!(refused("transport.consume", &data).as_deref(), reason, "{change}");
    }
    let Command::TransportConsume(Ok(consume)) = command("transport.consume", &data) else {
        panic!()
    };
    let first = &consume.rtp_parameters.encodings[0];
    assert_eq!((first.spatial_layers(), first.temporal_layers()), (2, 3));
    assert_eq!(first.codec_payload_type, Some(101));
    assert_eq!(consume.consumable_rtp_encodings[0].codec_payload_type, None);
}

#[test]
fn streams_are_ordered_unless_limited() {
    for (given, ordered, retransmits) in [
        (json!({}), true, None),
        (json!({"ordered": "no"}), true, None),
        (json!({"ordered": false}), false, None),
        (json!({"maxRetransmits": 3}), false, Some(3)),
        (json!({"maxRetransmits": 0}), true, None),
        (json!({"maxRetransmits": 0, "maxPacketLifeTime": 0}), true, None),
        (json!({"maxRetransmits": 0, "ordered": true}), true, None),
        (json!({"maxRetransmits": 0, "ordered": false}), false, Some(0)),
        (
            json!({"maxRetransmits": 0, "ordered": false, "maxPacketLifeTime": 0}),
            false,
            None,
        ),
        (
            json!({"maxRetransmits": 0, "ordered": false, "maxPacketLifeTime": 9}),
            false,
            None,
        ),
    ] {
        let stream = stream(&given).unwrap();
        assert_eq!(
            (stream.ordered, stream.max_retransmits),
            (ordered, retransmits),
            "{given}"
        );
    }
    for given in [
        json!({"maxRetransmits": 3, "maxPacketLifeTime": 3}),
        json!({"maxPacketLifeTime": 3, "ordered": true}),
    ] {
        assert!(stream(&given).is_none(), "{given}");
    }
}

fn stream(given: &Value) -> Option<SctpStreamParameters> {
    let mut data = json!({"type": "sctp", "sctpStreamParameters": given});
    data["sctpStreamParameters"]["streamId"] = 1.into();
    let Command::TransportProduceData(data) = command("transport.produceData", &data) else {
        panic!()
    };
    data.ok()?.sctp_stream_parameters
}
