//! Producers with several streams or layers, and codecs other than the usual two.

use client::{
    Consumer, ConsumerLayers, ConsumerOptions, ConsumerType, DirectTransport, ErrorKind, MediaKind, ParameterValue,
    Producer, ProducerOptions, ProducerType, Router, RouterOptions, RtcpParameters, RtpCodecCapability,
    RtpEncodingParameters, RtpHeaderExtensionParameters, RtpParameters, RtxParameters, Transport, Worker,
};

use crate::common::{audio, codec, opus, vp8, worker};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

fn h264() -> RtpCodecCapability {
    RtpCodecCapability::video("video/H264")
        .with_parameter("packetization-mode", 1)
        .with_parameter("profile-level-id", "4d0032")
        .with_parameter("level-asymmetry-allowed", 1)
}

fn surround() -> RtpCodecCapability {
    RtpCodecCapability::audio("audio/multiopus", 48_000, 6)
        .with_parameter("channel_mapping", "0,4,1,2,3,5")
        .with_parameter("num_streams", 4)
        .with_parameter("coupled_streams", 2)
}

struct Room {
    _worker: Worker,
    router: Router,
    transport: DirectTransport,
}

/// A room with payload types 100 (Opus), 101 (VP8), 103 (H264), 105 (VP9), 107 (AV1) and 109 (surround sound).
async fn room() -> Room {
    let worker = worker().await;
    let codecs = vec![
        opus(),
        vp8(),
        h264(),
        RtpCodecCapability::video("video/VP9"),
        RtpCodecCapability::video("video/AV1"),
        surround(),
    ];
    let router = worker.create_router(RouterOptions::new(codecs)).await.unwrap();
    let transport = router.create_direct_transport(Default::default()).await.unwrap();
    Room {
        _worker: worker,
        router,
        transport,
    }
}

/// A sender of one codec with payload type 111 and these encodings.
fn sender(capability: RtpCodecCapability, encodings: Vec<RtpEncodingParameters>) -> RtpParameters {
    RtpParameters {
        codecs: vec![codec(capability, 111)],
        encodings,
        ..Default::default()
    }
}

/// Four streams of H264 with retransmission.
fn simulcast() -> RtpParameters {
    let stream = |ssrc| RtpEncodingParameters {
        ssrc: Some(ssrc),
        rtx: Some(RtxParameters { ssrc: Some(ssrc + 1) }),
        ..Default::default()
    };
    let mut rtx = codec(RtpCodecCapability::video("video/rtx"), 112);
    rtx.parameters.insert("apt".to_owned(), ParameterValue::Integer(111));
    let mut parameters = sender(h264(), [10, 20, 30, 40].map(stream).to_vec());
    parameters.codecs.push(rtx);
    parameters.mid = Some("VIDEO".to_owned());
    parameters.header_extensions.push(RtpHeaderExtensionParameters {
        uri: MID.to_owned(),
        id: 10,
        encrypt: false,
        parameters: Default::default(),
    });
    parameters.rtcp = Some(RtcpParameters {
        cname: Some("FOOBAR".to_owned()),
        ssrc: None,
        reduced_size: true,
        mux: None,
    });
    parameters
}

fn layered(capability: RtpCodecCapability, mode: &str) -> RtpParameters {
    let stream = RtpEncodingParameters {
        ssrc: Some(10),
        scalability_mode: Some(mode.to_owned()),
        ..Default::default()
    };
    sender(capability, vec![stream])
}

impl Room {
    async fn produce(&self, kind: MediaKind, parameters: RtpParameters) -> Producer {
        let options = ProducerOptions::new(kind, parameters);
        self.transport.produce(options).await.unwrap()
    }

    fn wanted(&self, producer: &Producer) -> ConsumerOptions {
        ConsumerOptions::new(producer.id(), self.router.rtp_capabilities().clone())
    }

    async fn consume(&self, options: ConsumerOptions) -> Consumer {
        self.transport.consume(options).await.unwrap()
    }
}

fn layers(spatial_layer: i16, temporal_layer: Option<i16>) -> ConsumerLayers {
    ConsumerLayers {
        spatial_layer,
        temporal_layer,
    }
}

#[tokio::test]
async fn four_streams_of_one_picture() {
    let room = room().await;
    let producer = room.produce(MediaKind::Video, simulcast()).await;
    assert_eq!(producer.producer_type(), ProducerType::Simulcast);
    assert_eq!(
        producer.rtp_parameters().rtcp.clone().unwrap().cname.as_deref(),
        Some("FOOBAR")
    );
    let dump = producer.dump().await.unwrap();
    let codecs = dump.rtp_mapping.codecs.iter();
    let codecs = codecs.map(|codec| (codec.payload_type, codec.mapped_payload_type));
    assert_eq!(codecs.collect::<Vec<_>>(), [(111, 103), (112, 104)]);
    let mapped = dump.rtp_mapping.encodings.iter().map(|stream| stream.ssrc);
    assert_eq!(mapped.collect::<Vec<_>>(), [10, 20, 30, 40].map(Some));
    producer.pause().await.unwrap();

    // The first MID is that of a sound.
    let sound = room.produce(MediaKind::Audio, audio(1)).await;
    let sound = room.consume(room.wanted(&sound)).await;
    assert_eq!(sound.rtp_parameters().mid.as_deref(), Some("0"));
    assert_eq!(sound.rtp_parameters().codecs[0].payload_type, 100);
    assert_eq!(
        (sound.score().score, sound.score().producer_score),
        (10, 0),
        "nothing has arrived"
    );
    // One that is given does not use up a number.
    let custom = ConsumerOptions {
        mid: Some("custom".to_owned()),
        ..room.wanted(&producer)
    };
    assert_eq!(
        room.consume(custom).await.rtp_parameters().mid.as_deref(),
        Some("custom")
    );

    let consumer = room
        .consume(ConsumerOptions {
            paused: true,
            preferred_layers: Some(layers(12, None)),
            mid: Some(String::new()),
            ..room.wanted(&producer)
        })
        .await;
    let parameters = consumer.rtp_parameters();
    assert_eq!(parameters.mid.as_deref(), Some("1"));
    let payload_types = parameters.codecs.iter().map(|codec| codec.payload_type);
    assert_eq!(payload_types.collect::<Vec<_>>(), [103, 104]);
    let [stream] = parameters.encodings.as_slice() else {
        panic!("{parameters:?}")
    };
    assert_eq!(stream.scalability_mode.as_deref(), Some("S4T1"));
    assert_eq!(stream.rtx.unwrap().ssrc, stream.ssrc.map(|ssrc| ssrc + 1));
    assert_eq!(consumer.consumer_type(), ConsumerType::Simulcast);
    assert!(consumer.is_paused() && consumer.is_producer_paused());
    assert_eq!(consumer.preferred_layers(), Some(layers(3, Some(0))));
    assert_eq!(consumer.current_layers(), None);
    assert_eq!(consumer.score().producer_scores, [0, 0, 0, 0]);
    let chosen = consumer.set_preferred_layers(layers(2, Some(3))).await.unwrap();
    assert_eq!(chosen, Some(layers(2, Some(0))));
    assert_eq!(consumer.preferred_layers(), chosen);

    let piped = ConsumerOptions {
        pipe: true,
        ..room.wanted(&producer)
    };
    let piped = room.consume(piped).await;
    assert_eq!(
        (piped.rtp_parameters().encodings.len(), piped.consumer_type()),
        (4, ConsumerType::Pipe)
    );
    assert_eq!(piped.score().producer_scores, [0, 0, 0, 0]);
    assert_eq!(piped.dump().await.unwrap().rtp_streams.unwrap().len(), 4);
}

#[tokio::test]
async fn layers_of_one_stream() {
    let room = room().await;
    let producer = room
        .produce(
            MediaKind::Video,
            layered(RtpCodecCapability::video("video/VP9"), "L3T3_KEY"),
        )
        .await;
    assert_eq!(producer.producer_type(), ProducerType::Svc);
    let consumer = room.consume(room.wanted(&producer)).await;
    assert_eq!(consumer.consumer_type(), ConsumerType::Svc);
    assert_eq!(consumer.preferred_layers(), Some(layers(2, Some(2))));
    let stream = &consumer.rtp_parameters().encodings[0];
    assert_eq!(stream.scalability_mode.as_deref(), Some("L3T3_KEY"));
    assert_eq!(
        consumer.set_preferred_layers(layers(9, None)).await.unwrap(),
        Some(layers(2, Some(2)))
    );
}

#[tokio::test]
async fn av1_with_dependency_descriptors() {
    let room = room().await;
    let mut parameters = layered(RtpCodecCapability::video("video/AV1"), "L3T3");
    parameters.header_extensions.push(RtpHeaderExtensionParameters {
        uri: DEPENDENCY_DESCRIPTOR.to_owned(),
        id: 8,
        encrypt: false,
        parameters: Default::default(),
    });
    let producer = room.produce(MediaKind::Video, parameters).await;
    assert_eq!(producer.producer_type(), ProducerType::Svc);
    let consumer = room.consume(room.wanted(&producer)).await;
    assert_eq!(consumer.consumer_type(), ConsumerType::Svc);
    let parameters = consumer.rtp_parameters();
    assert_eq!(parameters.codecs[0].payload_type, 107);
    let descriptor = |extension: &RtpHeaderExtensionParameters| extension.uri == DEPENDENCY_DESCRIPTOR;
    assert!(parameters.header_extensions.iter().any(descriptor));
}

#[tokio::test]
async fn surround_sound() {
    let room = room().await;
    let stream = RtpEncodingParameters {
        ssrc: Some(10),
        ..Default::default()
    };
    let producer = room
        .produce(MediaKind::Audio, sender(surround(), vec![stream.clone()]))
        .await;
    let consumer = room.consume(room.wanted(&producer)).await;
    let codec = &consumer.rtp_parameters().codecs[0];
    assert_eq!((codec.payload_type, codec.channels), (109, Some(6)));
    assert_eq!(codec.integer_parameter("coupled_streams"), Some(2));

    let other = RtpEncodingParameters {
        ssrc: Some(20),
        ..Default::default()
    };
    for (name, value) in [("num_streams", 2), ("coupled_streams", 1)] {
        let wrong = sender(surround().with_parameter(name, value), vec![other.clone()]);
        let wrong = room
            .transport
            .produce(ProducerOptions::new(MediaKind::Audio, wrong))
            .await;
        assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Unsupported, "{name}");
    }
    let mut eight = room.router.rtp_capabilities().clone();
    eight.codecs.retain(|codec| codec.mime_type == "audio/multiopus");
    eight.codecs[0].channels = Some(8);
    assert!(!room.router.can_consume(producer.id(), &eight));
    let error = room.transport.consume(ConsumerOptions::new(producer.id(), eight)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_a_sender_must_not_say() {
    let room = room().await;
    room.produce(MediaKind::Video, simulcast()).await;
    let error = async |kind, parameters| {
        let options = ProducerOptions::new(kind, parameters);
        room.transport.produce(options).await.unwrap_err().kind()
    };
    // Both the MID and the SSRCs are taken.
    let mut same_mid = simulcast();
    same_mid.encodings = vec![RtpEncodingParameters {
        ssrc: Some(99),
        ..Default::default()
    }];
    assert_eq!(error(MediaKind::Video, same_mid.clone()).await, ErrorKind::Other);
    let mut same_ssrc = simulcast();
    same_ssrc.mid = None;
    assert_eq!(error(MediaKind::Video, same_ssrc).await, ErrorKind::Other);

    let mut nothing_to_repair = same_mid.clone();
    nothing_to_repair.codecs[1]
        .parameters
        .insert("apt".to_owned(), ParameterValue::Integer(96));
    assert_eq!(error(MediaKind::Video, nothing_to_repair).await, ErrorKind::Type);
    let mut not_a_codec = same_mid.clone();
    not_a_codec.codecs[0].mime_type = "chicken".to_owned();
    assert_eq!(error(MediaKind::Video, not_a_codec).await, ErrorKind::Type);
    let mut other_profile = same_mid;
    other_profile.codecs[0].parameters.insert(
        "profile-level-id".to_owned(),
        ParameterValue::String("42e01f".to_owned()),
    );
    assert_eq!(error(MediaKind::Video, other_profile).await, ErrorKind::Unsupported);
    // Several streams are told apart by SSRC or RID.
    let nameless = sender(vp8(), vec![RtpEncodingParameters::default(); 2]);
    assert_eq!(error(MediaKind::Video, nameless).await, ErrorKind::Type);
    assert_eq!(room.transport.producers().len(), 1);
}

#[tokio::test]
async fn names_of_sources() {
    let room = room().await;
    let named = |ssrc, cname: &str| {
        let mut parameters = audio(ssrc);
        parameters.rtcp = Some(RtcpParameters {
            cname: Some(cname.to_owned()),
            ssrc: None,
            reduced_size: true,
            mux: None,
        });
        parameters
    };
    let cname = |producer: &Producer| producer.rtp_parameters().rtcp.clone().unwrap().cname.unwrap();
    // Chrome says that it has none by an empty one.
    let first = room.produce(MediaKind::Audio, named(1, "")).await;
    assert_eq!(cname(&first).len(), 8);
    let second = room.produce(MediaKind::Audio, named(2, "other")).await;
    assert_eq!(cname(&second), cname(&first));
    let consumer = room.consume(room.wanted(&second)).await;
    let rtcp = consumer.rtp_parameters().rtcp.clone().unwrap();
    assert_eq!((rtcp.cname, rtcp.mux), (Some(cname(&first)), Some(true)));

    let another = room.router.create_direct_transport(Default::default()).await.unwrap();
    let options = ProducerOptions::new(MediaKind::Audio, named(1, "other"));
    assert_eq!(cname(&another.produce(options).await.unwrap()), "other");
}
