//! What endpoints write, and what it is taken for.

use serde_json::{Value, from_value, json};

use super::*;
use crate::rtp_capabilities::RtpHeaderExtensionDirection;
use crate::{SctpCapabilities, SctpStreamParameters};

/// What becomes of capabilities: none if they make no sense.
fn capabilities(value: Value) -> Option<RtpCapabilities> {
    normalize_capabilities(&from_value(value).ok()?).ok()
}

/// What becomes of parameters: none if they make no sense.
fn parameters(value: Value) -> Option<RtpParameters> {
    normalize_parameters(&from_value(value).ok()?).ok()
}

fn codec_with(field: &str, value: Value) -> Value {
    let mut codec = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000 });
    codec[field] = value;
    codec
}

fn sender_with(field: &str, value: Value) -> Value {
    let mut parameters = json!({ "codecs": [] });
    parameters[field] = value;
    parameters
}

#[test]
fn what_is_missing_or_null_has_a_default() {
    let nothing = RtpCapabilities::default();
    for value in [
        json!({}),
        json!({ "codecs": null, "headerExtensions": null, "fecMechanisms": [] }),
    ] {
        assert_eq!(capabilities(value).unwrap(), nothing);
    }
    let short = json!({ "mimeType": "audio/opus", "clockRate": 48000 });
    let long = json!({ "kind": "video", "mimeType": "audio/opus", "clockRate": 48000, "channels": 1, "parameters": null,
        "rtcpFeedback": null, "preferredPayloadType": null });
    let codec = |value| capabilities(json!({ "codecs": [value] })).unwrap().codecs.remove(0);
    assert_eq!(codec(short), codec(long));
    let feedback = json!({ "mimeType": "video/VP8", "clockRate": 90000, "channels": 2,
        "rtcpFeedback": [{ "type": "nack" }, { "type": "nack", "parameter": null }, { "type": "unheard of" }] });
    let codec = codec(feedback);
    assert_eq!((codec.kind, codec.channels), (MediaKind::Video, None));
    let parameters_of = codec.rtcp_feedback.iter().map(|feedback| feedback.parameter.as_str());
    assert_eq!(parameters_of.collect::<Vec<_>>(), ["", "", ""]);
    let extension = json!({ "headerExtensions": [{ "kind": "audio", "uri": "urn:x", "preferredId": 3,
        "preferredEncrypt": null, "direction": null }] });
    let extension = capabilities(extension).unwrap().header_extensions.remove(0);
    assert_eq!(
        (extension.direction, extension.preferred_encrypt),
        (RtpHeaderExtensionDirection::SendRecv, false)
    );

    let sender =
        parameters(json!({ "codecs": [], "headerExtensions": null, "encodings": null, "rtcp": null })).unwrap();
    assert!(sender.header_extensions.is_empty() && sender.encodings.is_empty());
    let rtcp = sender.rtcp.unwrap();
    assert_eq!((rtcp.cname, rtcp.reduced_size, rtcp.mux), (None, true, None));
    let unusual = json!({ "reducedSize": false, "mux": false });
    let rtcp = parameters(sender_with("rtcp", unusual)).unwrap().rtcp.unwrap();
    assert_eq!((rtcp.reduced_size, rtcp.mux), (true, Some(false)));
}

#[test]
fn what_nobody_knows_is_left_out() {
    let parameters = parameters(json!({ "msid": "- -", "codecs": [codec_with("name", json!("opus"))],
        "encodings": [{ "ssrc": 1, "active": true, "scaleResolutionDownBy": 1.5, "priority": "low", "dtx": null }] }));
    let parameters = parameters.unwrap();
    assert_eq!((parameters.codecs.len(), parameters.encodings[0].ssrc), (1, Some(1)));
}

#[test]
fn parameters_of_codecs_are_texts_and_numbers() {
    for (name, value, good) in [
        ("x", json!("text"), true),
        ("x", json!(1), true),
        ("x", json!(222.222), true),
        ("x", json!(-1), true),
        ("x", json!(true), false),
        ("x", json!(null), false),
        ("x", json!([1]), false),
        ("x", json!({ "y": 1 }), false),
        ("apt", json!(96), true),
        ("apt", json!("96"), false),
    ] {
        let codec = codec_with("parameters", json!({ name: value }));
        assert_eq!(
            parameters(sender_with("codecs", json!([codec]))).is_some(),
            good,
            "{codec}"
        );
        assert_eq!(capabilities(json!({ "codecs": [codec] })).is_some(), good, "{codec}");
        let extension = json!([{ "uri": "urn:x", "id": 1, "parameters": { "x": value } }]);
        let good = good || name == "apt";
        assert_eq!(
            parameters(sender_with("headerExtensions", extension)).is_some(),
            good,
            "{value}"
        );
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for (field, value) in [
        ("mimeType", json!("opus")),
        ("mimeType", json!("audio/")),
        ("mimeType", json!("text/plain")),
        ("mimeType", json!("")),
        ("mimeType", json!(1)),
        ("mimeType", json!(null)),
        ("payloadType", json!("111")),
        ("payloadType", json!(256)),
        ("payloadType", json!(null)),
        ("clockRate", json!(null)),
        ("clockRate", json!("48000")),
        ("clockRate", json!(-1)),
        ("rtcpFeedback", json!([{ "type": "" }])),
        ("rtcpFeedback", json!([{}])),
        ("rtcpFeedback", json!([1])),
    ] {
        let codec = codec_with(field, value);
        assert!(parameters(sender_with("codecs", json!([codec]))).is_none(), "{codec}");
    }
    for (field, value) in [
        ("codecs", json!(null)),
        ("codecs", json!({})),
        ("mid", json!(1)),
        ("rtcp", json!({ "cname": 1 })),
        ("headerExtensions", json!([{ "uri": "", "id": 1 }])),
        ("headerExtensions", json!([{ "uri": "urn:x" }])),
        ("headerExtensions", json!([{ "uri": "urn:x", "id": "1" }])),
        (
            "headerExtensions",
            json!([{ "uri": "urn:x", "id": 1, "encrypt": "yes" }]),
        ),
        ("encodings", json!([{ "ssrc": "1" }])),
        ("encodings", json!([{ "rid": 1 }])),
        ("encodings", json!([{ "rtx": {} }])),
        ("encodings", json!([{ "rtx": { "ssrc": "2" } }])),
        ("encodings", json!([{ "scalabilityMode": 3 }])),
    ] {
        let sender = sender_with(field, value);
        assert!(parameters(sender.clone()).is_none(), "{sender}");
    }
    let extension = json!({ "kind": "audio", "uri": "urn:x", "preferredId": 1 });
    assert!(capabilities(json!({ "headerExtensions": [extension] })).is_some());
    for (field, value) in [
        ("kind", json!("")),
        ("kind", json!(null)),
        ("uri", json!("")),
        ("preferredId", json!(null)),
        ("preferredEncrypt", json!(1)),
        ("direction", json!(1)),
    ] {
        let mut extension = extension.clone();
        extension[field] = value;
        assert!(
            capabilities(json!({ "headerExtensions": [extension] })).is_none(),
            "{extension}"
        );
    }
}

#[test]
fn where_a_mistake_is_stands_in_the_error() {
    let sender = from_value(json!({ "codecs": [codec_with("mimeType", json!("audio/opus")),
        codec_with("parameters", json!({ "apt": "1" }))] }));
    let error = normalize_parameters(&sender.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Type);
    assert!(error.to_string().starts_with("codecs[1]: "), "{error}");
}

#[test]
fn streams_are_in_order_unless_messages_may_be_given_up() {
    let stream = |value| from_value::<SctpStreamParameters>(value).ok();
    for (value, ordered) in [
        (json!({ "streamId": 1 }), true),
        (json!({ "streamId": 0, "ordered": null, "maxRetransmits": null }), true),
        (json!({ "streamId": 1, "maxRetransmits": 0 }), false),
        (json!({ "streamId": 1, "maxPacketLifeTime": 5000 }), false),
        (json!({ "streamId": 1, "ordered": false }), false),
        (json!({ "streamId": 1, "ordered": true, "maxRetransmits": 1 }), true),
    ] {
        assert_eq!(
            stream(value.clone()).map(|stream| stream.ordered),
            Some(ordered),
            "{value}"
        );
    }
    for wrong in [
        json!({}),
        json!({ "streamId": "1" }),
        json!({ "streamId": 65536 }),
        json!({ "streamId": -1 }),
    ] {
        assert_eq!(stream(wrong.clone()), None, "{wrong}");
    }
    let capabilities = json!({ "numStreams": { "OS": 1024, "MIS": 65535 } });
    let capabilities: SctpCapabilities = from_value(capabilities).unwrap();
    assert_eq!(
        (capabilities.num_streams.os, capabilities.num_streams.mis),
        (1024, 65535)
    );
    assert!(from_value::<SctpCapabilities>(json!({ "numStreams": { "OS": 1 } })).is_err());
}
