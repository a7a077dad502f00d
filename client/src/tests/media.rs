//! What the worker tells about producers, consumers and direct transports.

use serde_json::{Value, json};

use super::fake::{Answer, Fake};
use super::next;
use crate::{
    CloseReason, Consumer, ConsumerEvent, ConsumerLayers, ConsumerOptions, DirectTransport, DirectTransportOptions,
    ErrorKind, MediaKind, Producer, ProducerEvent, ProducerOptions, Router, TraceDirection, TraceInfo, TraceType,
    Transport, TransportEvent, TransportTraceType, VideoOrientation,
};

struct Room {
    router: Router,
    transport: DirectTransport,
}

async fn room(fake: &Fake) -> Room {
    let router = fake.router();
    let transport = router.create_direct_transport(DirectTransportOptions::default());
    let transport = transport.await.unwrap();
    Room { router, transport }
}

impl Room {
    async fn produce(&self) -> Producer {
        let parameters = serde_json::from_value(json!({ "encodings": [{ "ssrc": 1 }, { "rid": "hi" }],
            "codecs": [{ "mimeType": "video/VP8", "payloadType": 96, "clockRate": 90000 }] }));
        let options = ProducerOptions::new(MediaKind::Video, parameters.unwrap());
        self.transport.produce(options).await.unwrap()
    }

    async fn consume(&self, producer: &Producer) -> Consumer {
        let options = ConsumerOptions::new(producer.id(), self.router.rtp_capabilities().clone());
        self.transport.consume(options).await.unwrap()
    }
}

fn packet_trace(kind: &str, direction: &str) -> Value {
    json!({ "type": kind, "timestamp": 12, "direction": direction, "info": { "payloadType": 96, "sequenceNumber": 7,
        "timestamp": 3000, "marker": true, "ssrc": 1, "isKeyFrame": true, "size": 100, "payloadSize": 80,
        "spatialLayer": 0, "temporalLayer": 1, "rid": "hi", "somethingNew": 1 } })
}

#[tokio::test]
async fn a_producer_is_told_how_it_arrives() {
    let fake = Fake::start();
    let producer = room(&fake).await.produce().await;
    let mut events = producer.events();
    assert!(producer.score().is_empty());
    let scores = json!([{ "encodingIdx": 0, "ssrc": 1, "score": 10 },
        { "encodingIdx": 1, "ssrc": 22, "rid": "hi", "score": 9 }]);
    fake.tell(producer.id(), "score", &scores);
    let ProducerEvent::Score(told) = next(&mut events).await else {
        panic!("another event")
    };
    assert_eq!((told.len(), told[1].score, told[1].rid.as_deref()), (2, 9, Some("hi")));
    assert_eq!(producer.score(), told);

    // What makes no sense, or is of another version, does not disturb.
    fake.tell(producer.id(), "score", &json!("well"));
    for stranger in [
        json!({ "encodingIdx": 0, "ssrc": 2, "score": 1 }),
        json!({ "encodingIdx": 1, "ssrc": 22, "rid": "lo", "score": 1 }),
        json!({ "encodingIdx": 2, "ssrc": 1, "score": 1 }),
    ] {
        fake.tell(producer.id(), "score", &json!([stranger]));
    }
    fake.tell(producer.id(), "somethingnew", &json!({}));
    fake.tell_payload(producer.id(), "rtp", &json!({}), b"packet");
    let orientation = json!({ "camera": true, "flip": false, "rotation": 90 });
    fake.tell(producer.id(), "videoorientationchange", &orientation);
    let turned = VideoOrientation {
        camera: true,
        flip: false,
        rotation: 90,
    };
    assert!(matches!(next(&mut events).await, ProducerEvent::VideoOrientationChange(told) if told == turned));
    assert_eq!(producer.score(), told);

    fake.tell(producer.id(), "trace", &packet_trace("keyframe", "in"));
    let ProducerEvent::Trace(trace) = next(&mut events).await else {
        panic!("another event")
    };
    assert_eq!((trace.kind.as_str(), trace.direction), ("keyframe", TraceDirection::In));
    assert!(matches!(&trace.info, TraceInfo::Packet(packet) if packet.rid.as_deref() == Some("hi")));
    let pli = json!({ "type": "pli", "timestamp": 13, "direction": "out", "info": { "ssrc": 1 } });
    fake.tell(producer.id(), "trace", &pli);
    assert!(
        matches!(next(&mut events).await, ProducerEvent::Trace(trace) if trace.info == TraceInfo::Stream { ssrc: 1 })
    );
    let nack = json!({ "type": "nack", "timestamp": 14, "direction": "out", "info": {} });
    fake.tell(producer.id(), "trace", &nack);
    assert!(matches!(next(&mut events).await, ProducerEvent::Trace(trace) if trace.info == TraceInfo::Nothing {}));
}

#[tokio::test]
async fn a_consumer_is_told_how_things_go() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let consumer = room.consume(&room.produce().await).await;
    let mut events = consumer.events();
    let score = json!({ "score": 9, "producerScore": 8, "producerScores": [8, 0, 7] });
    fake.tell(consumer.id(), "score", &score);
    assert!(matches!(next(&mut events).await, ConsumerEvent::Score(score) if score.producer_scores == [8, 0, 7]));
    assert_eq!(consumer.score().score, 9);

    assert_eq!(consumer.current_layers(), None);
    let layers = ConsumerLayers {
        spatial_layer: 2,
        temporal_layer: Some(1),
    };
    fake.tell(
        consumer.id(),
        "layerschange",
        &json!({ "spatialLayer": 2, "temporalLayer": 1 }),
    );
    assert!(matches!(next(&mut events).await, ConsumerEvent::LayersChange(told) if told == Some(layers)));
    assert_eq!(consumer.current_layers(), Some(layers));
    fake.tell_null(consumer.id(), "layerschange");
    assert!(matches!(next(&mut events).await, ConsumerEvent::LayersChange(None)));
    assert_eq!(consumer.current_layers(), None);

    fake.tell(consumer.id(), "trace", &packet_trace("rtp", "out"));
    assert!(matches!(
        next(&mut events).await,
        ConsumerEvent::Trace(trace) if trace.direction == TraceDirection::Out
    ));
    fake.tell(consumer.id(), "somethingnew", &json!(null));
    fake.tell_payload(consumer.id(), "rtp", &json!({}), b"packet");
    assert!(matches!(next(&mut events).await, ConsumerEvent::Rtp(packet) if packet.as_ref() == b"packet"));
}

#[tokio::test]
async fn only_changes_of_pausing_are_told() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let consumer = room.consume(&room.produce().await).await;
    let mut events = consumer.events();
    let tell = |event| fake.tell(consumer.id(), event, &json!(null));
    tell("producerresume");
    tell("producerpause");
    tell("producerpause");
    assert!(matches!(next(&mut events).await, ConsumerEvent::ProducerPaused));
    assert!(matches!(next(&mut events).await, ConsumerEvent::Paused));
    assert!(consumer.is_producer_paused() && !consumer.is_paused());
    // Both reasons count; only the last one that goes makes a difference.
    consumer.pause().await.unwrap();
    consumer.pause().await.unwrap();
    tell("producerresume");
    assert!(matches!(next(&mut events).await, ConsumerEvent::ProducerResumed));
    consumer.resume().await.unwrap();
    assert!(matches!(next(&mut events).await, ConsumerEvent::Resumed));
    consumer.pause().await.unwrap();
    assert!(matches!(next(&mut events).await, ConsumerEvent::Paused));
    assert!(events.try_recv().is_none());
}

#[tokio::test]
async fn a_producer_that_is_paused_already_is_no_news() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let producer = room.produce().await;
    // The worker tells before it answers.
    let teller = fake.teller();
    fake.decide(move |request| {
        if request["method"] != "transport.consume" {
            return Answer::Usual;
        }
        let id = request["internal"]["consumerId"].as_str().unwrap();
        teller(id, "producerpause");
        Answer::Data(json!({ "paused": false, "producerPaused": true,
            "score": { "score": 10, "producerScore": 10, "producerScores": [0] } }))
    });
    let consumer = room.consume(&producer).await;
    let mut events = consumer.events();
    assert!(consumer.is_producer_paused());
    fake.tell(consumer.id(), "producerresume", &json!(null));
    assert!(matches!(next(&mut events).await, ConsumerEvent::ProducerResumed));
    assert!(matches!(next(&mut events).await, ConsumerEvent::Resumed));
}

#[tokio::test]
async fn overlapping_pauses_are_told_once() {
    let fake = Fake::start();
    let producer = room(&fake).await.produce().await;
    let mut events = producer.events();
    let (first, second) = tokio::join!(producer.pause(), producer.pause());
    first.unwrap();
    second.unwrap();
    assert!(matches!(next(&mut events).await, ProducerEvent::Paused));
    producer.resume().await.unwrap();
    assert!(matches!(next(&mut events).await, ProducerEvent::Resumed));
    fake.decide(|_| Answer::Refuse);
    assert_eq!(producer.pause().await.unwrap_err().kind(), ErrorKind::Other);
    assert!(!producer.is_paused() && events.try_recv().is_none());
}

#[tokio::test]
async fn nothing_is_told_after_the_end() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let producer = room.produce().await;
    let (consumer, other) = (room.consume(&producer).await, room.consume(&producer).await);
    let mut events = consumer.events();
    fake.tell(consumer.id(), "producerclose", &json!(null));
    fake.tell(consumer.id(), "producerpause", &json!(null));
    fake.tell(other.id(), "producerpause", &json!(null));
    // By then the one before has come, too.
    assert!(matches!(next(&mut other.events()).await, ConsumerEvent::ProducerPaused));
    assert!(matches!(
        next(&mut events).await,
        ConsumerEvent::Closed(CloseReason::ProducerClosed)
    ));
    assert!(events.recv().await.is_none());
    assert!(!consumer.is_producer_paused());
    // It is gone on the other side already.
    assert!(fake.asked("consumer.close").is_empty());
    assert_eq!(consumer.pause().await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_direct_transport_gets_rtcp_and_traces() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let mut events = room.transport.events();
    fake.tell_payload(room.transport.id(), "rtcp", &json!(null), b"report");
    assert!(matches!(next(&mut events).await, TransportEvent::Rtcp(packet) if packet.as_ref() == b"report"));
    let estimation = json!({ "type": "bwe", "timestamp": 1, "direction": "out", "info": { "type": "transport-cc",
        "desiredBitrate": 1, "effectiveDesiredBitrate": 2, "minBitrate": 3, "maxBitrate": 4, "startBitrate": 5,
        "maxPaddingBitrate": 6, "availableBitrate": 7 } });
    fake.tell(room.transport.id(), "trace", &estimation);
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::Trace(trace) if matches!(&trace.info, TraceInfo::Bandwidth(told) if told.available_bitrate == 7)
    ));
}

#[tokio::test]
async fn what_is_traced_is_asked_for_by_name() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let producer = room.produce().await;
    let consumer = room.consume(&producer).await;
    let all = [
        TraceType::Rtp,
        TraceType::KeyFrame,
        TraceType::Nack,
        TraceType::Pli,
        TraceType::Fir,
    ];
    producer.enable_trace_event(&all).await.unwrap();
    consumer.enable_trace_event(&[]).await.unwrap();
    let types = [TransportTraceType::Probation, TransportTraceType::Bwe];
    room.transport.enable_trace_event(&types).await.unwrap();
    for (method, types) in [
        (
            "producer.enableTraceEvent",
            json!(["rtp", "keyframe", "nack", "pli", "fir"]),
        ),
        ("consumer.enableTraceEvent", json!([])),
        ("transport.enableTraceEvent", json!(["probation", "bwe"])),
    ] {
        assert_eq!(fake.asked(method)[0]["data"], json!({ "types": types }));
    }
}

#[tokio::test]
async fn what_is_not_set_is_not_sent() {
    let fake = Fake::start();
    let room = room(&fake).await;
    let producer = room.produce().await;
    room.consume(&producer).await;
    let data = |method: &str| fake.asked(method)[0]["data"].as_object().unwrap().clone();
    let keys = |method: &str| data(method).keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys("transport.consume"),
        ["consumableRtpEncodings", "kind", "paused", "rtpParameters", "type"]
    );
    let produced = data("transport.produce");
    assert!(produced.values().all(|value| !value.is_null()), "{produced:?}");
    assert_eq!(
        fake.asked("transport.consume")[0]["internal"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["consumerId", "producerId", "routerId", "transportId"]
    );
}
