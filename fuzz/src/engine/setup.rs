//! What stands in an engine before the input begins.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::world::{SINK, World};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const WIDE_NUMBER: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const MARKING: &str = "http://tools.ietf.org/html/draft-ietf-avtext-framemarking-07";
const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const ORIENTATION: &str = "urn:3gpp:video-orientation";
const DEPENDENCIES: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// A kind of producer: MIME type, payload type, type of its consumer, encodings.
fn kinds() -> [(&'static str, u8, &'static str, Value); 6] {
    let rids = json!([{ "rid": "a", "scalabilityMode": "L1T3" }, { "rid": "b", "scalabilityMode": "L1T3" }]);
    let svc = |ssrc: u32| json!([{ "ssrc": ssrc, "scalabilityMode": "L3T3" }]);
    [
        ("video/VP8", 96, "simulcast", rids),
        ("video/VP9", 98, "svc", svc(2000)),
        ("audio/opus", 100, "simple", json!([{ "ssrc": 3000 }])),
        ("video/AV1", 102, "svc", svc(4000)),
        (
            "video/H264",
            104,
            "simple",
            json!([{ "ssrc": 5000, "rtx": { "ssrc": 5001 } }]),
        ),
        (
            "video/VP8",
            106,
            "simple",
            json!([{ "ssrc": 6000, "rtx": { "ssrc": 6001 } }]),
        ),
    ]
}

fn codecs(mime: &str, payload_type: u8) -> Value {
    let audio = mime.starts_with("audio");
    let mut codec = json!({
        "mimeType": mime, "payloadType": payload_type, "clockRate": if audio { 48_000 } else { 90_000 },
        "parameters": if mime.ends_with("H264") { json!({ "packetization-mode": 1 }) } else { json!({}) },
        "rtcpFeedback": [
            { "type": "nack", "parameter": "" }, { "type": "nack", "parameter": "pli" },
            { "type": "ccm", "parameter": "fir" }, { "type": "transport-cc", "parameter": "" },
            { "type": "goog-remb", "parameter": "" },
        ],
    });
    if audio {
        codec["channels"] = 2.into();
        return json!([codec]);
    }
    let rtx = json!({
        "mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90_000,
        "parameters": { "apt": payload_type },
    });
    json!([codec, rtx])
}

fn extensions() -> Value {
    let uris = [
        MID,
        RID,
        REPAIRED_RID,
        SEND_TIME,
        WIDE_NUMBER,
        MARKING,
        LEVEL,
        ORIENTATION,
        DEPENDENCIES,
    ];
    (1..)
        .zip(uris)
        .map(|(id, uri)| json!({ "uri": uri, "id": id, "encrypt": false, "parameters": {} }))
        .collect()
}

/// A router `r` with a sender `in` of each kind, a receiver `out` of all of them, and a pipe.
pub fn room(world: &mut World) {
    world.accepted("worker.createRouter", json!({ "routerId": "r" }), json!({}));
    let of = |transport: &str| json!({ "routerId": "r", "transportId": transport });
    let ip = json!({ "ip": "127.0.0.1" });
    let learning = json!({ "listenIp": ip, "comedia": true, "rtcpMux": true });
    world.accepted("router.createPlainTransport", of("in"), learning);
    world.accepted(
        "router.createPlainTransport",
        of("out"),
        json!({ "listenIp": ip, "rtcpMux": true }),
    );
    let piping = json!({ "listenIp": ip, "enableRtx": true });
    world.accepted("router.createPipeTransport", of("pipe"), piping);
    for (transport, port) in [("out", SINK), ("pipe", SINK + 1)] {
        let peer = json!({ "ip": "192.0.2.1", "port": port });
        world.accepted("transport.connect", of(transport), peer);
    }
    for (index, (mime, payload_type, consumer_type, encodings)) in kinds().into_iter().enumerate() {
        let kind = &mime[..5];
        let mut internal = of("in");
        internal["producerId"] = format!("p{index}").into();
        let mapped = |at: usize| 100 * (index as u32 + 1) + at as u32;
        let encodings = encodings.as_array().expect("encodings").clone();
        let mappings: Vec<_> = (0..)
            .zip(&encodings)
            .map(|(at, encoding)| {
                let mut mapping = json!({ "mappedSsrc": mapped(at) });
                for key in ["rid", "ssrc", "scalabilityMode"] {
                    if let Some(value) = encoding.get(key) {
                        mapping[key] = value.clone();
                    }
                }
                mapping
            })
            .collect();
        let own = json!({ "mid": index.to_string(), "codecs": codecs(mime, payload_type), "encodings": encodings,
            "headerExtensions": extensions(), "rtcp": { "cname": "name", "reducedSize": true, "mux": true } });
        let types = [payload_type, payload_type + 1]
            .map(|number| json!({ "payloadType": number, "mappedPayloadType": number }));
        let mapping = json!({ "codecs": &types[..if kind == "audio" { 1 } else { 2 }], "encodings": mappings });
        let produce = json!({ "kind": kind, "rtpParameters": own, "rtpMapping": mapping });
        world.accepted("transport.produce", internal, produce);
        let consumable: Vec<_> = mappings
            .iter()
            .map(|mapping| {
                let mut encoding = json!({ "ssrc": mapping["mappedSsrc"] });
                if let Some(mode) = mapping.get("scalabilityMode") {
                    encoding["scalabilityMode"] = mode.clone();
                }
                encoding
            })
            .collect();
        for (transport, base) in [("out", 10_000), ("pipe", 20_000)] {
            let mut internal = of(transport);
            internal["producerId"] = format!("p{index}").into();
            internal["consumerId"] = format!("{}{index}", if transport == "out" { "c" } else { "q" }).into();
            let ssrc = |at: usize| base + mapped(at);
            let encode = |at: usize| {
                let mut encoding = json!({ "ssrc": ssrc(at), "rtx": { "ssrc": ssrc(at) + 50 } });
                if let Some(mode) = consumable[0].get("scalabilityMode") {
                    let streams = consumable.len();
                    let simulcast = transport == "out" && consumer_type == "simulcast";
                    encoding["scalabilityMode"] = if simulcast {
                        format!("L{streams}T3").into()
                    } else {
                        mode.clone()
                    };
                }
                encoding
            };
            let piped = transport == "pipe";
            let sent: Vec<_> = (0..if piped { consumable.len() } else { 1 }).map(encode).collect();
            let parameters = json!({ "codecs": codecs(mime, payload_type), "encodings": sent,
                "headerExtensions": extensions(), "rtcp": { "cname": "name", "reducedSize": true, "mux": true } });
            let consume = json!({ "kind": kind, "type": if piped { "pipe" } else { consumer_type },
                "rtpParameters": parameters, "consumableRtpEncodings": consumable });
            world.accepted("transport.consume", internal, consume);
        }
    }
}

/// A WebRTC transport with its own sockets and one on a server; returns their dumps.
pub fn listen(world: &mut World) -> [Value; 2] {
    world.accepted("worker.createRouter", json!({ "routerId": "r" }), json!({}));
    let mut internal = json!({ "routerId": "r", "transportId": "t0" });
    let options = json!({ "listenIps": [{ "ip": "127.0.0.1" }], "enableUdp": true, "enableTcp": true,
        "enableSctp": true, "numSctpStreams": { "OS": 10, "MIS": 10 }, "maxSctpMessageSize": 10_000,
        "sctpSendBufferSize": 10_000 });
    let own = world.accepted("router.createWebRtcTransport", internal.clone(), options.clone());
    let address = |protocol: &str| json!({ "protocol": protocol, "ip": "127.0.0.1", "port": 4444 });
    let addresses = json!({ "listenInfos": [address("udp"), address("tcp")] });
    world.accepted("worker.createWebRtcServer", json!({ "webRtcServerId": "s" }), addresses);
    internal["transportId"] = "t1".into();
    internal["webRtcServerId"] = "s".into();
    let shared = world.accepted("router.createWebRtcTransportWithServer", internal, options);
    for transport in ["t0", "t1"] {
        let digest = ["AB"; 32].join(":");
        let parameters = json!({ "role": "auto", "fingerprints": [{ "algorithm": "sha-256", "value": digest }] });
        let internal = json!({ "routerId": "r", "transportId": transport });
        world.accepted("transport.connect", internal, json!({ "dtlsParameters": parameters }));
    }
    [own, shared]
}

/// User fragment and password in a dump.
pub fn ice_credentials(dump: &Value) -> (String, String) {
    let text = |key: &str| dump["iceParameters"][key].as_str().unwrap_or_default().to_owned();
    (text("usernameFragment"), text("password"))
}

/// A binding request of a peer that knows the credentials, with attributes of its choice.
pub struct Check<'a> {
    /// User fragment and password.
    pub credentials: &'a (String, String),
    /// Attributes in front of the integrity.
    pub attributes: &'a [u8],
    /// With the right password.
    pub signed: bool,
}

impl Check<'_> {
    /// The message.
    pub fn bytes(&self) -> Vec<u8> {
        let (fragment, password) = self.credentials;
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend(b"transaction!");
        attribute(&mut bytes, 0x0006, format!("{fragment}:peer").as_bytes());
        bytes.extend(self.attributes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let ahead = 24;
        set_length(&mut bytes, ahead);
        let password = if self.signed { password } else { "wrong" };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &bytes);
        attribute(&mut bytes, 0x0008, tag.as_ref());
        set_length(&mut bytes, 8);
        let crc = crc32fast::hash(&bytes) ^ 0x5354_554e;
        attribute(&mut bytes, 0x8028, &crc.to_be_bytes());
        bytes
    }
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    set_length(bytes, 0);
}

fn set_length(bytes: &mut [u8], ahead: usize) {
    let length = (bytes.len() - 20 + ahead) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}
