//! A consumer tells in its dump what it decided lately, why, and with what.

mod room;

use channel_proto::reply::{Decision, DecisionKind, DecisionReason, DecisionStream, Reply};
use room::Room;
use serde_json::{Value, json};

const SENDER: u16 = 9;
const RECEIVER: u16 = 10;
/// Of what the consumer sends.
const SSRC: u32 = 7;

fn codecs(payload_type: u8) -> Value {
    json!([{"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
        "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]}])
}

/// A producer of so many streams of VP8 and a consumer of it, over plain transports.
fn call(streams: u32) -> Room {
    let mut room = Room::new();
    let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
    let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
    let listen = |comedia: bool| json!({"listenIp": {"ip": "127.0.0.1"}, "rtcpMux": true, "comedia": comedia});
    room.request("worker.createRouter", input.clone(), json!({}));
    room.request("router.createPlainTransport", input.clone(), listen(true));
    room.request("router.createPlainTransport", output.clone(), listen(false));
    let each = |of: &dyn Fn(u32) -> Value| (0..streams).map(of).collect::<Vec<_>>();
    let encodings = each(&|index| json!({"ssrc": 1000 + index}));
    let mapped = each(&|index| json!({"ssrc": 1000 + index, "mappedSsrc": 2000 + index}));
    let consumable = each(&|index| json!({"ssrc": 2000 + index}));
    let mapping = json!({"codecs": [{"payloadType": 96, "mappedPayloadType": 101}], "encodings": mapped});
    let parameters = json!({"codecs": codecs(96), "encodings": encodings});
    let produce = json!({"kind": "video", "rtpParameters": parameters, "rtpMapping": mapping});
    room.request("transport.produce", input, produce);
    let address = json!({"ip": "127.0.0.1", "port": RECEIVER});
    room.request("transport.connect", output.clone(), address);
    let (kind, mode) = if streams > 1 {
        ("simulcast", format!("S{streams}T1"))
    } else {
        ("simple", "L1T1".into())
    };
    let parameters = json!({"codecs": codecs(101), "encodings": [{"ssrc": SSRC, "scalabilityMode": mode}]});
    let consume = json!({"kind": "video", "type": kind, "consumableRtpEncodings": consumable,
        "rtpParameters": parameters});
    room.request("transport.consume", output, consume);
    room
}

fn consumer(room: &mut Room, method: &str, data: Value) -> Reply {
    let internal = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
    room.request(method, internal, data)
}

fn decisions(room: &mut Room) -> Vec<Decision> {
    match consumer(room, "consumer.dump", json!({})) {
        Reply::ConsumerDump(dump) => dump.decisions,
        other => panic!("{other:?}"),
    }
}

/// What, why and how often, without the key frame requests.
fn but_requests(decisions: &[Decision]) -> Vec<(DecisionKind, DecisionReason, u32)> {
    decisions
        .iter()
        .filter(|decision| !matches!(decision.what, DecisionKind::KeyFrameRequest { .. }))
        .map(|decision| (decision.what, decision.why, decision.count))
        .collect()
}

/// A frame in one packet.
fn frame(room: &mut Room, stream: u32, number: u16, key: bool) {
    let mut packet = vec![0x80, 96 | 0x80];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 3000).to_be_bytes());
    packet.extend((1000 + stream).to_be_bytes());
    packet.extend([0x10, u8::from(!key), 0, 0]);
    room.datagram(1, SENDER, packet);
}

fn sender_report(room: &mut Room, stream: u32) {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend((1000 + stream).to_be_bytes());
    report.extend((3_900_000_000_u64 << 32).to_be_bytes());
    report.extend([0; 12]);
    room.datagram(1, SENDER, report);
}

fn picture_loss(room: &mut Room) {
    let mut request = vec![0x81, 206, 0, 2, 0, 0, 0, 1];
    request.extend(SSRC.to_be_bytes());
    room.datagram(2, RECEIVER, request);
}

#[test]
fn requests_and_drops_are_counted_by_reason() {
    let mut room = call(1);
    (0..30).for_each(|number| frame(&mut room, 0, number, false));
    frame(&mut room, 0, 30, true);
    for _ in 0..50 {
        picture_loss(&mut room);
    }
    consumer(&mut room, "consumer.requestKeyFrame", json!({}));
    let all = decisions(&mut room);
    let request = |sent: bool| DecisionKind::KeyFrameRequest { encoding_idx: 0, sent };
    let seen: Vec<_> = all
        .iter()
        .map(|decision| (decision.what, decision.why, decision.count))
        .collect();
    assert_eq!(
        seen,
        [
            // Nothing had come of its stream.
            (request(false), DecisionReason::Started, 1),
            (DecisionKind::Drop, DecisionReason::NoKeyFrame, 30),
            (request(true), DecisionReason::Receiver, 1),
            (request(false), DecisionReason::Receiver, 49),
            (request(false), DecisionReason::Parent, 1),
        ]
    );
    assert_eq!(all[0].streams, []);
    assert_eq!(
        all[1].streams,
        [Some(DecisionStream {
            score: 10,
            clock: false
        })]
    );
    assert_eq!((all[1].target_layers, all[1].preferred_layers), (None, None));
}

#[test]
fn choices_of_layers_tell_their_inputs() {
    use DecisionKind::{Drop, Switch, Target};
    use DecisionReason::{Clock, KeyFrame, NewStream, NoKeyFrame, Preferred, Stopped};
    let mut room = call(2);
    frame(&mut room, 0, 1, true);
    // Without a clock of both the second one is no target yet.
    frame(&mut room, 1, 1, true);
    sender_report(&mut room, 0);
    sender_report(&mut room, 1);
    frame(&mut room, 1, 2, false);
    frame(&mut room, 1, 3, true);
    consumer(&mut room, "consumer.setPreferredLayers", json!({"spatialLayer": 0}));
    consumer(&mut room, "consumer.pause", json!({}));
    let all = decisions(&mut room);
    assert_eq!(
        but_requests(&all),
        [
            (Target, NewStream, 1),
            (Switch, KeyFrame, 1),
            (Target, Clock, 1),
            (Drop, NoKeyFrame, 1),
            (Switch, KeyFrame, 1),
            (Target, Preferred, 1),
            (Target, Stopped, 1),
        ]
    );
    let clock = all.iter().find(|decision| decision.why == Clock).unwrap();
    let spatial = |layers: Option<channel_proto::rtp_parameters::ConsumerLayers>| layers.unwrap().spatial_layer;
    assert_eq!(
        [clock.preferred_layers, clock.target_layers, clock.current_layers].map(spatial),
        [1, 1, 0]
    );
    let stream = Some(DecisionStream { score: 10, clock: true });
    assert_eq!(clock.streams, [stream, stream]);
    let last = all.last().unwrap();
    assert_eq!((last.target_layers, last.current_layers), (None, None));
}
