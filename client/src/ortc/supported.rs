//! What routers can forward.

use channel_proto::rtp_parameters::{MediaKind, RtcpFeedback};

use crate::rtp_capabilities::{
    RtpCapabilities, RtpCodecCapability, RtpHeaderExtension, RtpHeaderExtensionDirection as Direction,
};

/// Every codec and header extension that a router can be asked for. The order matters: the first match is taken.
pub fn supported_rtp_capabilities() -> RtpCapabilities {
    RtpCapabilities {
        codecs: codecs(),
        header_extensions: header_extensions(),
    }
}

fn feedback(kind: &str, parameter: &str) -> RtcpFeedback {
    RtcpFeedback {
        kind: kind.to_owned(),
        parameter: parameter.to_owned(),
    }
}

fn audio(subtype: &str, clock_rate: u32, channels: u8) -> RtpCodecCapability {
    RtpCodecCapability {
        rtcp_feedback: vec![feedback("transport-cc", "")],
        ..RtpCodecCapability::audio(format!("audio/{subtype}"), clock_rate, channels)
    }
}

fn multiopus(channels: u8, mapping: &str, streams: i64, coupled: i64) -> RtpCodecCapability {
    audio("multiopus", 48_000, channels)
        .with_parameter("channel_mapping", mapping)
        .with_parameter("num_streams", streams)
        .with_parameter("coupled_streams", coupled)
}

fn without_feedback(subtype: &str, clock_rate: u32) -> RtpCodecCapability {
    RtpCodecCapability::audio(format!("audio/{subtype}"), clock_rate, 1)
}

fn video(subtype: &str) -> RtpCodecCapability {
    RtpCodecCapability {
        rtcp_feedback: vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
            feedback("goog-remb", ""),
            feedback("transport-cc", ""),
        ],
        ..RtpCodecCapability::video(format!("video/{subtype}"))
    }
}

fn codecs() -> Vec<RtpCodecCapability> {
    let mut codecs = vec![
        audio("opus", 48_000, 2),
        multiopus(4, "0,1,2,3", 2, 2),
        multiopus(6, "0,4,1,2,3,5", 4, 2),
        multiopus(8, "0,6,1,2,3,4,5,7", 5, 3),
        audio("PCMU", 8_000, 1).with_payload_type(0),
        audio("PCMA", 8_000, 1).with_payload_type(8),
        audio("ISAC", 32_000, 1),
        audio("ISAC", 16_000, 1),
        audio("G722", 8_000, 1).with_payload_type(9),
        audio("iLBC", 8_000, 1),
    ];
    codecs.extend([24_000, 16_000, 12_000, 8_000].map(|clock| audio("SILK", clock, 1)));
    codecs.extend([32_000, 16_000, 8_000].map(|clock| without_feedback("CN", clock).with_payload_type(13)));
    codecs.extend([48_000, 32_000, 16_000, 8_000].map(|clock| without_feedback("telephone-event", clock)));
    codecs.extend(["VP8", "VP9"].map(video));
    codecs.extend(
        ["H264", "H264-SVC", "H265"].map(|subtype| video(subtype).with_parameter("level-asymmetry-allowed", 1)),
    );
    codecs.push(video("AV1"));
    codecs
}

fn header_extensions() -> Vec<RtpHeaderExtension> {
    use Direction::{RecvOnly, SendRecv};
    use MediaKind::{Audio, Video};
    const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
    const DEPENDENCY_DESCRIPTOR: &str =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

    [
        (1, Audio, MID, SendRecv),
        (1, Video, MID, SendRecv),
        // RIDs end at the router: consumers get one stream.
        (2, Video, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", RecvOnly),
        (
            3,
            Video,
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            RecvOnly,
        ),
        (4, Audio, ABS_SEND_TIME, SendRecv),
        (4, Video, ABS_SEND_TIME, SendRecv),
        (5, Audio, TRANSPORT_CC, RecvOnly),
        (5, Video, TRANSPORT_CC, SendRecv),
        (
            6,
            Video,
            "http://tools.ietf.org/html/draft-ietf-avtext-framemarking-07",
            SendRecv,
        ),
        (7, Video, "urn:ietf:params:rtp-hdrext:framemarking", SendRecv),
        // Without it nobody can tell the layers of AV1 apart.
        (8, Video, DEPENDENCY_DESCRIPTOR, SendRecv),
        (10, Audio, "urn:ietf:params:rtp-hdrext:ssrc-audio-level", SendRecv),
        (11, Video, "urn:3gpp:video-orientation", SendRecv),
        (12, Video, "urn:ietf:params:rtp-hdrext:toffset", SendRecv),
        (13, Video, ABS_CAPTURE_TIME, SendRecv),
        (13, Audio, ABS_CAPTURE_TIME, SendRecv),
    ]
    .into_iter()
    .map(|(preferred_id, kind, uri, direction)| RtpHeaderExtension {
        kind,
        uri: uri.to_owned(),
        preferred_id,
        preferred_encrypt: false,
        direction,
    })
    .collect()
}
