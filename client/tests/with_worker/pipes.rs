//! Pipe transports, and pipes between routers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use client::{
    AppData, CloseReason, ConsumerEvent, ConsumerLayers, ConsumerOptions, ConsumerType, DirectTransport,
    DirectTransportOptions, ErrorKind, Events, MediaKind, PipeConnectOptions, PipeToRouterOptions,
    PipeTransportOptions, PipedProducer, Producer, ProducerEvent, ProducerOptions, Router, RtpEncodingParameters,
    RtpParameters, SrtpParameters, Transport, Worker,
};

use crate::common::{audio, next, packet, rest, router, video, worker};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Two workers with a router each, and a direct transport in each router.
struct Rooms {
    workers: [Worker; 2],
    routers: [Router; 2],
    transports: [DirectTransport; 2],
}

async fn rooms() -> Rooms {
    let workers = [worker().await, worker().await];
    let routers = [router(&workers[0]).await, router(&workers[1]).await];
    let create = async |router: &Router| {
        let options = DirectTransportOptions::default();
        router.create_direct_transport(options).await.unwrap()
    };
    let transports = [create(&routers[0]).await, create(&routers[1]).await];
    Rooms {
        workers,
        routers,
        transports,
    }
}

fn options() -> PipeToRouterOptions {
    // Data has tests of its own.
    PipeToRouterOptions {
        enable_sctp: false,
        ..PipeToRouterOptions::default()
    }
}

impl Rooms {
    async fn produce(&self, room: usize, kind: MediaKind, ssrc: u32) -> Producer {
        let parameters = match kind {
            MediaKind::Audio => audio(ssrc),
            MediaKind::Video => video(ssrc),
        };
        let options = ProducerOptions {
            app_data: AppData::new("original"),
            ..ProducerOptions::new(kind, parameters)
        };
        self.transports[room].produce(options).await.unwrap()
    }

    async fn pipe(&self, producer: &Producer) -> PipedProducer {
        let [from, to] = &self.routers;
        from.pipe_producer_to_router(producer.id(), to, &options())
            .await
            .unwrap()
    }
}

/// The next event of this kind; others are not looked at.
async fn find<E>(events: &mut Events<E>, wanted: impl Fn(&E) -> bool) -> E {
    loop {
        let event = next(events).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn pipe_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let create = async |srtp| {
        let options = PipeTransportOptions {
            enable_srtp: srtp,
            enable_rtx: srtp,
            ..PipeTransportOptions::new(LOCALHOST)
        };
        router.create_pipe_transport(options).await.unwrap()
    };
    let (open, secure) = (create(false).await, create(true).await);
    assert!(!open.rtx() && open.srtp_parameters().is_none() && open.sctp_parameters().is_none());
    assert!(secure.rtx());
    let key: SrtpParameters = secure.srtp_parameters().unwrap();
    assert_eq!(key.key_base64.len(), 60);
    assert_eq!(open.get_stats().await.unwrap()[0].kind, "pipe-transport");

    let peer = |srtp_parameters| PipeConnectOptions {
        ip: LOCALHOST,
        port: 9999,
        srtp_parameters,
    };
    let unwanted = open.connect(peer(Some(key.clone()))).await.unwrap_err();
    assert_eq!(unwanted.kind(), ErrorKind::Type);
    let missing = secure.connect(peer(None)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Type);
    open.connect(peer(None)).await.unwrap();
    secure.connect(peer(Some(key))).await.unwrap();
    for transport in [&open, &secure] {
        assert_eq!(transport.tuple().remote_port, Some(9999));
    }
    assert_eq!(open.connect(peer(None)).await.unwrap_err().kind(), ErrorKind::Other);
}

#[tokio::test]
async fn media_of_one_worker_arrives_at_the_other() {
    let rooms = rooms().await;
    let original = rooms.produce(0, MediaKind::Audio, 1234).await;
    let piped = rooms.pipe(&original).await;
    assert_eq!(piped.producer.id(), original.id());
    assert_eq!(piped.producer.app_data().get::<&str>(), Some(&"original"));
    assert_eq!(piped.consumer.consumer_type(), ConsumerType::Pipe);
    assert!(piped.consumer.rtp_parameters().mid.is_none());
    assert_eq!(
        (piped.consumer.score().score, piped.consumer.score().producer_score),
        (10, 10)
    );
    let extensions = piped.consumer.rtp_parameters().header_extensions.iter();
    assert_eq!(extensions.map(|extension| extension.id).collect::<Vec<_>>(), [10, 13]);
    let cname = |producer: &Producer| producer.rtp_parameters().rtcp.clone().unwrap().cname;
    assert_eq!(cname(&piped.producer), cname(&original));

    let capabilities = rooms.routers[1].rtp_capabilities().clone();
    let consumer = rooms.transports[1].consume(ConsumerOptions::new(original.id(), capabilities));
    let consumer = consumer.await.unwrap();
    let mut events = consumer.events();
    let sending = async {
        for number in 0_u16.. {
            original.send(packet(1234, number, b"through the pipe")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let arriving = find(&mut events, |event| matches!(event, ConsumerEvent::Rtp(_)));
    tokio::select! {
        () = sending => unreachable!("sending does not end"),
        event = arriving => {
            let ConsumerEvent::Rtp(packet) = event else { unreachable!("that was asked for") };
            assert!(packet.ends_with(b"through the pipe"));
        }
    }
}

#[tokio::test]
async fn everything_between_two_routers_shares_one_connection() {
    let rooms = rooms().await;
    let [a, b] = &rooms.routers;
    let (first, second) = (
        rooms.produce(0, MediaKind::Audio, 1).await,
        rooms.produce(0, MediaKind::Video, 2).await,
    );
    let back = rooms.produce(1, MediaKind::Audio, 3).await;
    let options = options();
    let (first_piped, again, second_piped, back_piped) = tokio::try_join!(
        a.pipe_producer_to_router(first.id(), b, &options),
        a.pipe_producer_to_router(first.id(), b, &options),
        a.pipe_producer_to_router(second.id(), b, &options),
        b.pipe_producer_to_router(back.id(), a, &options),
    )
    .unwrap();
    assert_eq!(first_piped.consumer.id(), again.consumer.id());
    assert_eq!(second_piped.producer.id(), second.id());
    assert_eq!(back_piped.producer.id(), back.id());
    for router in [a, b] {
        assert_eq!(router.dump().await.unwrap().transport_ids.len(), 2);
    }
    let ends = rooms.routers.each_ref().map(|router| {
        let mut transports = router.transports().into_iter();
        transports
            .find_map(|transport| match transport {
                client::AnyTransport::Pipe(pipe) => Some(pipe),
                _ => None,
            })
            .unwrap()
    });
    assert_eq!(ends[0].tuple().remote_port, Some(ends[1].tuple().local_port));
    assert_eq!(ends[1].tuple().remote_port, Some(ends[0].tuple().local_port));

    // With one end all is gone, at once, and can be made again.
    ends[0].close();
    assert!(ends[1].is_closed() && first_piped.producer.is_closed() && back_piped.consumer.is_closed());
    assert!(!first.is_closed() && !back.is_closed());
    let new = rooms.pipe(&first).await;
    assert_ne!(new.consumer.id(), first_piped.consumer.id());
}

#[tokio::test]
async fn the_piped_producer_follows_the_original() {
    let rooms = rooms().await;
    let original = rooms.produce(0, MediaKind::Video, 1).await;
    original.pause().await.unwrap();
    let piped = rooms.pipe(&original).await;
    assert!(piped.consumer.is_producer_paused() && piped.producer.is_paused());
    let feedback = &piped.consumer.rtp_parameters().codecs[0].rtcp_feedback;
    let feedback = feedback
        .iter()
        .map(|feedback| (feedback.kind.as_str(), feedback.parameter.as_str()));
    assert_eq!(feedback.collect::<Vec<_>>(), [("nack", "pli"), ("ccm", "fir")]);

    let capabilities = rooms.routers[1].rtp_capabilities().clone();
    let consumer = rooms.transports[1].consume(ConsumerOptions::new(original.id(), capabilities));
    let consumer = consumer.await.unwrap();
    let (mut events, mut producer_events) = (consumer.events(), piped.producer.events());
    original.resume().await.unwrap();
    find(&mut events, |event| matches!(event, ConsumerEvent::ProducerResumed)).await;
    // The worker tells before it answers.
    find(&mut producer_events, |event| matches!(event, ProducerEvent::Resumed)).await;
    assert!(!piped.producer.is_paused());
    original.pause().await.unwrap();
    find(&mut events, |event| matches!(event, ConsumerEvent::ProducerPaused)).await;
    find(&mut producer_events, |event| matches!(event, ProducerEvent::Paused)).await;
    assert!(piped.producer.is_paused());

    original.close();
    let last = rest(events).await.pop();
    assert!(matches!(last, Some(ConsumerEvent::Closed(CloseReason::ProducerClosed))));
    assert!(piped.consumer.is_closed() && piped.producer.is_closed());
}

#[tokio::test]
async fn an_end_of_a_pipe_ends_both() {
    let rooms = rooms().await;
    let original = rooms.produce(0, MediaKind::Audio, 1).await;
    let piped = rooms.pipe(&original).await;
    piped.producer.close();
    assert!(piped.consumer.is_closed() && !original.is_closed());

    let piped = rooms.pipe(&original).await;
    rooms.routers[1].close();
    assert!(piped.consumer.is_closed() && piped.producer.is_closed());
    assert_eq!(rooms.routers[0].transports().len(), 1);
    let [a, b] = &rooms.routers;
    let late = a.pipe_producer_to_router(original.id(), b, &options()).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::InvalidState);

    rooms.workers[0].close();
    assert!(original.is_closed());
}

#[tokio::test]
async fn what_cannot_be_piped() {
    let rooms = rooms().await;
    let [a, b] = &rooms.routers;
    let original = rooms.produce(0, MediaKind::Audio, 1).await;
    let itself = a.pipe_producer_to_router(original.id(), a, &options()).await;
    assert_eq!(itself.unwrap_err().kind(), ErrorKind::Type);
    let nobody = a.pipe_producer_to_router("nobody", b, &options()).await;
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::Type);

    // A failure leaves nothing, and the next attempt is not told about it.
    let elsewhere = PipeToRouterOptions {
        listen_ip: [8, 8, 8, 8].into(),
        ..options()
    };
    let failures = tokio::join!(
        a.pipe_producer_to_router(original.id(), b, &elsewhere),
        a.pipe_producer_to_router(original.id(), b, &elsewhere),
    );
    assert_eq!(failures.0.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(failures.1.unwrap_err().kind(), ErrorKind::Other);
    for router in [a, b] {
        assert_eq!(router.transports().len(), 1);
        assert_eq!(router.dump().await.unwrap().transport_ids.len(), 1);
    }
    rooms.pipe(&original).await;
}

/// Which layers a receiver of media in layers is to see, when it prefers this one.
type Seen = fn(u8) -> Vec<u8>;

/// Sends media in three layers through a pipe, and asserts that a receiver behind it gets those that it prefers. The
/// last byte of each packet says of which layer it is.
async fn layers_go_through_a_pipe(parameters: RtpParameters, packets: fn(u16) -> Vec<Vec<u8>>, seen: Seen) {
    let rooms = rooms().await;
    let sender = &rooms.transports[0];
    let ssrcs: Vec<u32> = parameters
        .encodings
        .iter()
        .filter_map(|encoding| encoding.ssrc)
        .collect();
    let original = sender.produce(ProducerOptions::new(MediaKind::Video, parameters));
    let original = original.await.unwrap();
    let piped = rooms.pipe(&original).await;
    assert_eq!(piped.consumer.consumer_type(), ConsumerType::Pipe);
    assert_eq!(piped.producer.producer_type(), original.producer_type());
    assert_eq!(piped.consumer.rtp_parameters().encodings.len(), ssrcs.len());
    let capabilities = rooms.routers[1].rtp_capabilities().clone();
    let consumer = rooms.transports[1].consume(ConsumerOptions::new(original.id(), capabilities));
    let consumer = consumer.await.unwrap();
    let mut events = consumer.events();
    let sending = async {
        for number in 0_u16.. {
            for packet in packets(number) {
                original.send(packet).await.unwrap();
            }
            if number % 50 == 0 {
                // Streams can be told to be of one time by the clocks of their reports only.
                for ssrc in &ssrcs {
                    sender.send_rtcp(sender_report(*ssrc, number)).await.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let looking = async {
        for layer in [2, 0, 1, 2] {
            let layers = ConsumerLayers {
                spatial_layer: layer.into(),
                temporal_layer: None,
            };
            consumer.set_preferred_layers(layers).await.unwrap();
            let (wanted, mut last) = (seen(layer), Vec::new());
            let comes = async {
                while last.len() < 30 || !wanted.iter().all(|layer| last.contains(layer)) {
                    if let ConsumerEvent::Rtp(packet) = next(&mut events).await {
                        last.push(packet[packet.len() - 1]);
                    }
                    if last.last().is_some_and(|layer| !wanted.contains(layer)) {
                        last.clear();
                    }
                }
            };
            let comes = tokio::time::timeout(Duration::from_secs(30), comes).await;
            comes.unwrap_or_else(|_| panic!("layer {layer} does not come"));
        }
    };
    tokio::select! {
        () = sending => panic!("sending does not end"),
        () = looking => {}
    }
}

fn sender_report(ssrc: u32, number: u16) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(ssrc.to_be_bytes());
    report.extend(((3_900_000_000_u64 << 32) + (u64::from(number) << 32) / 100).to_be_bytes());
    report.extend((u32::from(number) * 900).to_be_bytes());
    report.extend([0; 8]);
    report
}

/// The header of a video packet; all have the same timestamp that are sent together.
fn video_header(payload_type: u8, marker: bool, ssrc: u32, sequence_number: u16, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend((u32::from(number) * 900).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet
}

#[tokio::test]
async fn simulcast_goes_through_a_pipe() {
    let encodings = [1000, 1001, 1002].map(|ssrc| RtpEncodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    });
    let parameters = RtpParameters {
        encodings: encodings.to_vec(),
        ..video(1000)
    };
    let packets = |number: u16| {
        let stream = |stream: u8| {
            let mut packet = video_header(96, true, 1000 + u32::from(stream), number, number);
            // Key frames of VP8.
            packet.extend([0x10, 0, 0, stream]);
            packet
        };
        (0..3).map(stream).collect()
    };
    layers_go_through_a_pipe(parameters, packets, |layer| vec![layer]).await;
}

#[tokio::test]
async fn svc_goes_through_a_pipe() {
    let mut parameters = video(1000);
    parameters.codecs[0].mime_type = "video/VP9".to_owned();
    parameters.encodings[0].scalability_mode = Some("L3T1".to_owned());
    let packets = |number: u16| {
        let layer = |layer: u8| {
            let sequence_number = number.wrapping_mul(3).wrapping_add(layer.into());
            let mut packet = video_header(96, layer == 2, 1000, sequence_number, number);
            let [high, low] = (number | 0x8000).to_be_bytes();
            // Picture id, layers, beginning and end of a frame; its layer, predicted from the one below.
            packet.extend([0xac, high, low, 0x10 | layer << 1 | u8::from(layer > 0), 0, 0, layer]);
            packet
        };
        (0..3).map(layer).collect()
    };
    layers_go_through_a_pipe(parameters, packets, |layer| (0..=layer).collect()).await;
}
