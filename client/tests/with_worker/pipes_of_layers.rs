//! Pipes that carry several streams or layers, that are encrypted or repaired, and that are asked for by many at once.

use std::time::Duration;

use client::{
    AnyTransport, Consumer, ConsumerEvent, ConsumerOptions, ConsumerType, DirectTransport, MediaKind,
    PipeToRouterOptions, PipedProducer, Producer, ProducerOptions, ProducerType, Router, RouterOptions,
    RtpCodecCapability, RtpEncodingParameters, RtpParameters, Transport, Worker,
};

use crate::common::{audio, codec, next, opus, packet, video, vp8, worker};

/// Two routers of one worker, with a direct transport each.
struct Rooms {
    worker: Worker,
    routers: [Router; 2],
    transports: [DirectTransport; 2],
}

async fn rooms() -> Rooms {
    let worker = worker().await;
    let create = async || {
        let codecs = vec![opus(), vp8(), RtpCodecCapability::video("video/VP9")];
        let router = worker.create_router(RouterOptions::new(codecs)).await.unwrap();
        let transport = router.create_direct_transport(Default::default()).await.unwrap();
        (router, transport)
    };
    let ((first, entry), (second, exit)) = (create().await, create().await);
    Rooms {
        worker,
        routers: [first, second],
        transports: [entry, exit],
    }
}

impl Rooms {
    async fn produce(&self, kind: MediaKind, parameters: RtpParameters) -> Producer {
        let options = ProducerOptions::new(kind, parameters);
        self.transports[0].produce(options).await.unwrap()
    }

    async fn pipe(&self, producer: &Producer, options: &PipeToRouterOptions) -> PipedProducer {
        let [from, to] = &self.routers;
        from.pipe_producer_to_router(producer.id(), to, options).await.unwrap()
    }

    /// Consumes in the other room.
    async fn consume(&self, producer: &Producer) -> Consumer {
        let capabilities = self.routers[1].rtp_capabilities().clone();
        let options = ConsumerOptions::new(producer.id(), capabilities);
        self.transports[1].consume(options).await.unwrap()
    }
}

/// A sender of VP8 with three streams.
fn simulcast() -> RtpParameters {
    let stream = |ssrc| RtpEncodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    };
    RtpParameters {
        encodings: [1, 2, 3].map(stream).to_vec(),
        ..video(1)
    }
}

/// A key frame of VP8 in one packet.
fn key_frame(ssrc: u32, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 3000).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    // A descriptor that says that a partition begins; a frame header without the bit of what is not a key frame.
    packet.extend([0x10, 0x00]);
    packet.extend([ssrc as u8; 20]);
    packet
}

/// Sends again and again until a packet comes out, which is returned.
async fn until_it_arrives(consumer: &Consumer, mut send: impl AsyncFnMut(u16)) -> Vec<u8> {
    let mut events = consumer.events();
    let sending = async {
        for number in 1_u16.. {
            send(number).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let arriving = async {
        loop {
            if let ConsumerEvent::Rtp(packet) = next(&mut events).await {
                return packet.to_vec();
            }
        }
    };
    tokio::select! {
        packet = arriving => packet,
        () = sending => unreachable!("there are enough numbers"),
    }
}

fn pipes(router: &Router) -> usize {
    let transports = router.transports().into_iter();
    transports
        .filter(|transport| matches!(transport, AnyTransport::Pipe(_)))
        .count()
}

#[tokio::test]
async fn all_streams_go_through_and_one_comes_out() {
    let rooms = rooms().await;
    let original = rooms.produce(MediaKind::Video, simulcast()).await;
    assert_eq!(original.producer_type(), ProducerType::Simulcast);
    let piped = rooms.pipe(&original, &PipeToRouterOptions::default()).await;
    assert_eq!(piped.consumer.consumer_type(), ConsumerType::Pipe);
    assert_eq!(piped.consumer.rtp_parameters().encodings.len(), 3);
    assert_eq!(piped.producer.producer_type(), ProducerType::Simulcast);
    let ssrcs = |parameters: &RtpParameters| parameters.encodings.iter().map(|e| e.ssrc).collect::<Vec<_>>();
    assert_eq!(
        ssrcs(piped.producer.rtp_parameters()),
        ssrcs(piped.consumer.rtp_parameters())
    );
    let extensions = piped.consumer.rtp_parameters().header_extensions.iter();
    assert_eq!(
        extensions.map(|extension| extension.id).collect::<Vec<_>>(),
        [6, 7, 8, 11, 12, 13]
    );

    let consumer = rooms.consume(&piped.producer).await;
    assert_eq!(consumer.consumer_type(), ConsumerType::Simulcast);
    let stream = &consumer.rtp_parameters().encodings[0];
    assert_eq!(stream.scalability_mode.as_deref(), Some("S3T1"));
    let packet = until_it_arrives(&consumer, async |number| {
        for ssrc in [1, 2, 3] {
            original.send(key_frame(ssrc, number)).await.unwrap();
        }
    })
    .await;
    assert_eq!(packet[8..12], stream.ssrc.unwrap().to_be_bytes());
}

#[tokio::test]
async fn layers_of_one_stream_go_through() {
    let rooms = rooms().await;
    let stream = RtpEncodingParameters {
        ssrc: Some(1),
        scalability_mode: Some("L3T3_KEY".to_owned()),
        ..Default::default()
    };
    let parameters = RtpParameters {
        codecs: vec![codec(RtpCodecCapability::video("video/VP9"), 98)],
        encodings: vec![stream],
        ..Default::default()
    };
    let original = rooms.produce(MediaKind::Video, parameters).await;
    let piped = rooms.pipe(&original, &PipeToRouterOptions::default()).await;
    assert_eq!(piped.producer.producer_type(), ProducerType::Svc);
    let consumer = rooms.consume(&piped.producer).await;
    assert_eq!(consumer.consumer_type(), ConsumerType::Svc);
    let stream = &consumer.rtp_parameters().encodings[0];
    assert_eq!(stream.scalability_mode.as_deref(), Some("L3T3_KEY"));
}

#[tokio::test]
async fn what_is_lost_can_be_sent_again() {
    let rooms = rooms().await;
    let original = rooms.produce(MediaKind::Video, simulcast()).await;
    let options = PipeToRouterOptions {
        enable_rtx: true,
        ..PipeToRouterOptions::default()
    };
    let piped = rooms.pipe(&original, &options).await;
    let parameters = piped.consumer.rtp_parameters();
    let payload_types = parameters.codecs.iter().map(|codec| codec.payload_type);
    assert_eq!(payload_types.collect::<Vec<_>>(), [101, 102]);
    let feedback = parameters.codecs[0].rtcp_feedback.iter();
    let feedback = feedback.map(|feedback| (feedback.kind.as_str(), feedback.parameter.as_str()));
    assert_eq!(
        feedback.collect::<Vec<_>>(),
        [("nack", ""), ("nack", "pli"), ("ccm", "fir")]
    );
    assert!(parameters.encodings.iter().all(|stream| stream.rtx.is_some()));
    assert_eq!(piped.producer.producer_type(), ProducerType::Simulcast);
}

#[tokio::test]
async fn encrypted_media_goes_through() {
    let rooms = rooms().await;
    let original = rooms.produce(MediaKind::Audio, audio(1234)).await;
    let options = PipeToRouterOptions {
        enable_srtp: true,
        enable_sctp: false,
        ..PipeToRouterOptions::default()
    };
    let piped = rooms.pipe(&original, &options).await;
    for router in &rooms.routers {
        let pipe = router.transports().into_iter().find_map(|transport| match transport {
            AnyTransport::Pipe(pipe) => Some(pipe),
            _ => None,
        });
        let pipe = pipe.unwrap();
        assert_eq!(pipe.srtp_parameters().unwrap().key_base64.len(), 60);
        assert!(pipe.sctp_parameters().is_none());
    }
    let consumer = rooms.consume(&piped.producer).await;
    let packet = until_it_arrives(&consumer, async |number| {
        original.send(packet(1234, number, b"secret")).await.unwrap();
    })
    .await;
    assert!(packet.ends_with(b"secret"));
}

#[tokio::test]
async fn many_ask_at_once_in_both_directions() {
    let rooms = rooms().await;
    let [a, b] = &rooms.routers;
    let mut producers = Vec::new();
    for (router, other, transport) in [(a, b, &rooms.transports[0]), (b, a, &rooms.transports[1])] {
        for ssrc in 1..=10 {
            let options = ProducerOptions::new(MediaKind::Audio, audio(ssrc));
            producers.push((router, other, transport.produce(options).await.unwrap()));
        }
    }
    let options = PipeToRouterOptions::default();
    // Each is asked for three times.
    let calls = (0..3).flat_map(|_| &producers).map(|(from, to, producer)| {
        let (from, to, id, options) = (
            Router::clone(from),
            Router::clone(to),
            producer.id().to_owned(),
            options.clone(),
        );
        tokio::spawn(async move { from.pipe_producer_to_router(&id, &to, &options).await })
    });
    let calls = calls.collect::<Vec<_>>();
    let mut consumers = std::collections::HashMap::new();
    for call in calls {
        let piped = call.await.unwrap().unwrap();
        let known = consumers
            .entry(piped.producer.id().to_owned())
            .or_insert(piped.consumer.id().to_owned());
        assert_eq!(known, piped.consumer.id());
    }
    assert_eq!(consumers.len(), 20);
    for router in [a, b] {
        assert_eq!((pipes(router), router.producers().len()), (1, 20));
        assert_eq!(router.dump().await.unwrap().transport_ids.len(), 2);
    }
    // A third router is another pair.
    let third = rooms
        .worker
        .create_router(RouterOptions::new(vec![opus()]))
        .await
        .unwrap();
    let (from, _, producer) = &producers[0];
    from.pipe_producer_to_router(producer.id(), &third, &options)
        .await
        .unwrap();
    assert_eq!((pipes(a), pipes(b), pipes(&third)), (2, 1, 1));
    // What is piped can be piped on.
    let piped = b.pipe_producer_to_router(producer.id(), &third, &options).await;
    assert!(piped.is_err(), "it is there already");
}
