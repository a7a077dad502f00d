//! Producers and consumers.

use std::time::Duration;

use crate::common::{audio, next, packet, rest, router, settings, video, worker};
use client::{
    CloseReason, Consumer, ConsumerEvent, ConsumerLayers, ConsumerOptions, ConsumerType, DecisionKind, DecisionReason,
    DirectTransport, DirectTransportOptions, ErrorKind, Events, MediaKind, PacingDump, Producer, ProducerEvent,
    ProducerOptions, ProducerType, Router, RtpCapabilities, RtpEncodingParameters, RtpParameters, TraceDirection,
    TraceInfo, TraceType, Transport, TransportEvent, Worker, WorkerSettings,
};

struct Room {
    worker: Worker,
    router: Router,
    transport: DirectTransport,
}

async fn room() -> Room {
    room_of(worker().await).await
}

async fn room_of(worker: Worker) -> Room {
    let router = router(&worker).await;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    Room {
        worker,
        router,
        transport,
    }
}

impl Room {
    async fn produce(&self, kind: MediaKind, parameters: RtpParameters) -> Producer {
        self.transport
            .produce(ProducerOptions::new(kind, parameters))
            .await
            .unwrap()
    }

    async fn consume(&self, producer: &Producer) -> Consumer {
        let capabilities = self.router.rtp_capabilities().clone();
        self.transport
            .consume(ConsumerOptions::new(producer.id(), capabilities))
            .await
            .unwrap()
    }
}

/// The next event that is not a score: those come when they like.
async fn next_but_score(events: &mut Events<ConsumerEvent>) -> ConsumerEvent {
    loop {
        match next(events).await {
            ConsumerEvent::Score(_) => {}
            event => return event,
        }
    }
}

#[tokio::test]
async fn packets_go_through_in_order() {
    let room = room().await;
    let producer = room.produce(MediaKind::Audio, audio(1234)).await;
    let consumer = room.consume(&producer).await;
    let mut events = consumer.events();
    let ssrc = consumer.rtp_parameters().encodings[0].ssrc.unwrap();
    for number in 0..200 {
        producer
            .send(packet(1234, number, &number.to_be_bytes()))
            .await
            .unwrap();
    }
    for number in 0..200_u16 {
        let ConsumerEvent::Rtp(packet) = next_but_score(&mut events).await else {
            panic!("another event")
        };
        assert_eq!(packet[1] & 0x7f, 100);
        assert_eq!(packet[8..12], ssrc.to_be_bytes());
        assert_eq!(packet[packet.len() - 2..], number.to_be_bytes());
    }
    let stats = producer.get_stats().await.unwrap();
    assert_eq!(
        (stats[0].stats_type.as_str(), stats[0].packet_count),
        ("inbound-rtp", 200)
    );
    let stats = consumer.get_stats().await.unwrap();
    assert_eq!(
        (stats[0].stats_type.as_str(), stats[0].packet_count),
        ("outbound-rtp", 200)
    );
    assert_eq!((stats.len(), stats[1].stats_type.as_str()), (2, "inbound-rtp"));
}

#[tokio::test]
async fn producers() {
    let room = room().await;
    let first = room.produce(MediaKind::Audio, audio(1)).await;
    assert_eq!(
        (first.producer_type(), first.is_paused(), first.kind()),
        (ProducerType::Simple, false, MediaKind::Audio)
    );
    assert!(first.get_stats().await.unwrap().is_empty());
    let dump = first.dump().await.unwrap();
    assert_eq!(
        (dump.id.as_str(), dump.rtp_mapping.codecs[0].mapped_payload_type),
        (first.id(), 100)
    );
    assert_eq!(room.router.producers().len(), 1);

    // All share the CNAME of the first, also if they bring one or an empty one.
    let cname = |producer: &Producer| producer.rtp_parameters().rtcp.clone().unwrap().cname.unwrap();
    assert_eq!(cname(&first).len(), 8);
    let second = room.produce(MediaKind::Video, video(2)).await;
    assert_eq!(cname(&second), cname(&first));

    let error = |options| async { room.transport.produce(options).await.unwrap_err().kind() };
    assert_eq!(
        error(ProducerOptions::new(MediaKind::Audio, audio(1))).await,
        ErrorKind::Other
    );
    assert_eq!(
        error(ProducerOptions::new(MediaKind::Video, audio(9))).await,
        ErrorKind::Type
    );
    let same_id = ProducerOptions {
        id: Some(first.id().into()),
        ..ProducerOptions::new(MediaKind::Audio, audio(9))
    };
    assert_eq!(error(same_id).await, ErrorKind::Type);
    let no_codecs = RtpParameters {
        codecs: Vec::new(),
        ..audio(9)
    };
    assert_eq!(
        error(ProducerOptions::new(MediaKind::Audio, no_codecs)).await,
        ErrorKind::Type
    );
    let no_stream = RtpParameters {
        encodings: vec![RtpEncodingParameters::default()],
        ..audio(9)
    };
    assert_eq!(
        error(ProducerOptions::new(MediaKind::Audio, no_stream)).await,
        ErrorKind::Type
    );
    let mut unknown = audio(9);
    unknown.codecs[0].mime_type = "audio/PCMU".to_owned();
    assert_eq!(
        error(ProducerOptions::new(MediaKind::Audio, unknown)).await,
        ErrorKind::Unsupported
    );

    first
        .enable_trace_event(&[TraceType::Rtp, TraceType::Pli])
        .await
        .unwrap();
    let types = first.dump().await.unwrap().trace_event_types;
    assert_eq!(
        types.split(',').collect::<std::collections::BTreeSet<_>>(),
        ["pli", "rtp"].into()
    );

    first.pause().await.unwrap();
    first.pause().await.unwrap();
    assert!(first.is_paused() && first.dump().await.unwrap().paused);
    first.resume().await.unwrap();
    first.close();
    first.close();
    assert_eq!(first.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(matches!(
        rest(first.events()).await.as_slice(),
        [
            ProducerEvent::Paused,
            ProducerEvent::Resumed,
            ProducerEvent::Closed(CloseReason::Requested)
        ]
    ));
    assert_eq!(room.router.producers().len(), 1);
    assert_eq!(room.transport.dump().await.unwrap().producer_ids, [second.id()]);
}

#[tokio::test]
async fn consumers() {
    let room = room().await;
    let producer = room.produce(MediaKind::Audio, audio(1)).await;
    let consumer = room.consume(&producer).await;
    assert_eq!(
        (consumer.producer_id(), consumer.consumer_type()),
        (producer.id(), ConsumerType::Simple)
    );
    assert_eq!(
        (consumer.is_paused(), consumer.is_producer_paused(), consumer.priority()),
        (false, false, 1)
    );
    assert_eq!(consumer.rtp_parameters().mid.as_deref(), Some("0"));
    assert_eq!(room.consume(&producer).await.rtp_parameters().mid.as_deref(), Some("1"));
    assert_eq!(consumer.dump().await.unwrap().producer_id, producer.id());

    let capabilities = room.router.rtp_capabilities();
    assert!(room.router.can_consume(producer.id(), capabilities));
    assert!(!room.router.can_consume(producer.id(), &RtpCapabilities::default()));
    assert!(!room.router.can_consume("nobody", capabilities));
    let error = |id: &str, capabilities: &RtpCapabilities| {
        let options = ConsumerOptions::new(id, capabilities.clone());
        async { room.transport.consume(options).await.unwrap_err().kind() }
    };
    assert_eq!(
        error(producer.id(), &RtpCapabilities::default()).await,
        ErrorKind::Unsupported
    );
    assert_eq!(error("nobody", capabilities).await, ErrorKind::Other);
    assert_eq!(error("", capabilities).await, ErrorKind::Type);

    consumer.set_priority(7).await.unwrap();
    assert_eq!(consumer.priority(), 7);
    consumer.unset_priority().await.unwrap();
    assert_eq!(consumer.priority(), 1);
    assert_eq!(consumer.set_priority(0).await.unwrap_err().kind(), ErrorKind::Type);
    let layers = ConsumerLayers {
        spatial_layer: 2,
        temporal_layer: Some(3),
    };
    assert_eq!(consumer.set_preferred_layers(layers).await.unwrap(), None);
    consumer.request_key_frame().await.unwrap();
    consumer.enable_trace_event(&[TraceType::Nack]).await.unwrap();
}

#[tokio::test]
async fn a_consumer_tells_why_it_asked_for_a_key_frame() {
    let room = room().await;
    let producer = room.produce(MediaKind::Video, video(1)).await;
    let consumer = room.consume(&producer).await;
    consumer.request_key_frame().await.unwrap();
    let decisions = consumer.dump().await.unwrap().decisions;
    let asked: Vec<_> = decisions.iter().map(|decision| (decision.what, decision.why)).collect();
    // No packet of it has come, so nobody can be asked.
    let what = DecisionKind::KeyFrameRequest {
        encoding_idx: 0,
        sent: false,
    };
    assert_eq!(asked, [(what, DecisionReason::Started), (what, DecisionReason::Parent)]);
}

#[tokio::test]
async fn a_transport_tells_how_bursts_are_spread() {
    for (asked, told) in [
        (None, 100),
        (Some(Duration::from_millis(30)), 30),
        (Some(Duration::ZERO), 0),
    ] {
        let settings = WorkerSettings {
            max_pacing_delay: asked,
            ..settings()
        };
        let room = room_of(Worker::new(settings).await.unwrap()).await;
        assert_eq!(room.transport.dump().await.unwrap().pacing, None);
        let producer = room.produce(MediaKind::Video, video(1)).await;
        room.consume(&producer).await;
        let pacing = PacingDump {
            max_delay: told,
            longest_wait: 0,
            packets: 0,
        };
        assert_eq!(room.transport.dump().await.unwrap().pacing, Some(pacing));
    }
}

#[tokio::test]
async fn options_of_consumers() {
    let room = room().await;
    let producer = room.produce(MediaKind::Video, video(1)).await;
    producer.pause().await.unwrap();
    let options = ConsumerOptions::new(producer.id(), room.router.rtp_capabilities().clone());

    let paused = ConsumerOptions {
        paused: true,
        mid: Some("custom".into()),
        ..options.clone()
    };
    let consumer = room.transport.consume(paused).await.unwrap();
    assert!(consumer.is_paused() && consumer.is_producer_paused());
    assert_eq!(consumer.rtp_parameters().mid.as_deref(), Some("custom"));
    assert!(consumer.rtp_parameters().encodings[0].rtx.is_some());

    // With all streams it is of another type, and has no MID.
    let piped = room.transport.consume(ConsumerOptions { pipe: true, ..options }).await;
    let piped = piped.unwrap();
    assert_eq!(
        (piped.consumer_type(), piped.rtp_parameters().mid.as_ref()),
        (ConsumerType::Pipe, None)
    );
    assert_eq!(piped.score().producer_score, 10);
    assert_eq!(piped.dump().await.unwrap().rtp_streams.unwrap().len(), 1);
    assert_eq!(room.transport.consumers().len(), 2);
}

#[tokio::test]
async fn pausing_is_told_once() {
    let room = room().await;
    let producer = room.produce(MediaKind::Audio, audio(1)).await;
    let consumer = room.consume(&producer).await;
    let mut events = consumer.events();
    producer.pause().await.unwrap();
    assert!(matches!(
        next_but_score(&mut events).await,
        ConsumerEvent::ProducerPaused
    ));
    assert!(matches!(next_but_score(&mut events).await, ConsumerEvent::Paused));
    consumer.pause().await.unwrap();
    producer.resume().await.unwrap();
    assert!(matches!(
        next_but_score(&mut events).await,
        ConsumerEvent::ProducerResumed
    ));
    consumer.resume().await.unwrap();
    assert!(matches!(next_but_score(&mut events).await, ConsumerEvent::Resumed));
    consumer.close();
    let events = rest(events).await;
    assert!(
        matches!(events.as_slice(), [ConsumerEvent::Closed(CloseReason::Requested)]),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_consumer_ends_with_its_producer() {
    let room = room().await;
    let producer = room.produce(MediaKind::Audio, audio(1)).await;
    let consumer = room.consume(&producer).await;
    producer.close();
    let events = rest(consumer.events()).await;
    assert!(
        matches!(events.last(), Some(ConsumerEvent::Closed(CloseReason::ProducerClosed))),
        "{events:?}"
    );
    assert!(consumer.is_closed() && room.transport.consumers().is_empty());
}

#[tokio::test]
async fn the_cascade_of_a_transport() {
    let room = room().await;
    let other = room
        .router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let producer = room.produce(MediaKind::Audio, audio(1)).await;
    let local = room.consume(&producer).await;
    let options = ConsumerOptions::new(producer.id(), room.router.rtp_capabilities().clone());
    let remote = other.consume(options).await.unwrap();
    room.transport.close();
    assert!(producer.is_closed() && local.is_closed());
    assert!(room.router.producers().is_empty());
    let reason = |events: Vec<ConsumerEvent>| match events.last() {
        Some(ConsumerEvent::Closed(reason)) => *reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(rest(local.events()).await), CloseReason::TransportClosed);
    assert_eq!(reason(rest(remote.events()).await), CloseReason::ProducerClosed);
    let events = rest(producer.events()).await;
    assert!(matches!(
        events.as_slice(),
        [ProducerEvent::Closed(CloseReason::TransportClosed)]
    ));

    let late = room
        .transport
        .produce(ProducerOptions::new(MediaKind::Audio, audio(2)))
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::InvalidState);
    room.worker.close();
    assert!(other.is_closed());
}

/// The next event that is wanted.
async fn find<E>(events: &mut Events<E>, wanted: impl Fn(&E) -> bool) -> E {
    loop {
        let event = next(events).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn packets_and_scores_are_told() {
    let room = room().await;
    let producer = room.produce(MediaKind::Audio, audio(1234)).await;
    let consumer = room.consume(&producer).await;
    producer.enable_trace_event(&[TraceType::Rtp]).await.unwrap();
    consumer.enable_trace_event(&[TraceType::Rtp]).await.unwrap();
    let (mut events, mut consumer_events) = (producer.events(), consumer.events());
    for number in 1..50 {
        producer.send(packet(1234, number, b"sound")).await.unwrap();
    }
    let trace = find(&mut events, |event| matches!(event, ProducerEvent::Trace(_))).await;
    let ProducerEvent::Trace(trace) = trace else {
        unreachable!("that was wanted")
    };
    let TraceInfo::Packet(info) = &trace.info else {
        panic!("{trace:?}")
    };
    assert_eq!(
        (trace.direction, info.ssrc, info.sequence_number),
        (TraceDirection::In, 1234, 1)
    );
    let trace = find(&mut consumer_events, |event| matches!(event, ConsumerEvent::Trace(_))).await;
    let ConsumerEvent::Trace(trace) = trace else {
        unreachable!("that was wanted")
    };
    assert!(matches!(&trace.info, TraceInfo::Packet(info) if info.payload_type == 100));
    assert_eq!(trace.direction, TraceDirection::Out);
    // Both are told of the first packet, too.
    let mut scores = producer.events();
    if producer.score().is_empty() {
        find(&mut scores, |event| matches!(event, ProducerEvent::Score(_))).await;
    }
    let score = &producer.score()[0];
    assert_eq!((score.ssrc, score.score, score.encoding_idx), (1234, 10, 0));
    while consumer.score().producer_score != 10 {
        find(&mut consumer_events, |event| matches!(event, ConsumerEvent::Score(_))).await;
    }
    assert_eq!(consumer.score().producer_scores, [10]);

    producer.enable_trace_event(&[]).await.unwrap();
    assert!(producer.dump().await.unwrap().trace_event_types.is_empty());
}

#[tokio::test]
async fn feedback_to_the_sender_comes_out() {
    let room = room().await;
    let producer = room.produce(MediaKind::Video, video(1234)).await;
    let consumer = room.consume(&producer).await;
    let mut events = room.transport.events();
    // Of a stream that has begun a key frame can be asked for.
    let mut first = packet(1234, 1, &[0x10, 0x01, 0, 0]);
    first[1] = 96;
    producer.send(first).await.unwrap();
    consumer.request_key_frame().await.unwrap();
    // Payload-specific feedback (206) of format 1: picture loss indication (RFC 4585 6.3.1).
    let pli = |packet: &[u8]| packet.len() >= 12 && packet[1] == 206 && packet[0] & 31 == 1;
    let event = find(
        &mut events,
        |event| matches!(event, TransportEvent::Rtcp(packet) if pli(packet)),
    )
    .await;
    let TransportEvent::Rtcp(packet) = event else {
        unreachable!("that was wanted")
    };
    assert_eq!(packet[8..12], 1234_u32.to_be_bytes());
}
