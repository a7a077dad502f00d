//! What the worker tells about objects.

use serde_json::json;

use super::fake::{Answer, Fake};
use super::next;
use crate::events::CloseReason;
use crate::{
    ActiveSpeakerObserverOptions, AudioLevelObserverOptions, DataConsumerEvent, DataConsumerOptions, DataMessage,
    DataProducerOptions, DirectTransportOptions, DtlsState, Error, ErrorKind, IceState, MediaKind, ProducerOptions,
    Router, RtpObserver, RtpObserverEvent, SctpOptions, SctpState, SctpStreamParameters, Transport, TransportEvent,
    WebRtcTransport, WebRtcTransportOptions,
};

async fn web_rtc(fake: &Fake) -> (Router, WebRtcTransport) {
    let options = WebRtcTransportOptions {
        sctp: Some(SctpOptions::default()),
        ..WebRtcTransportOptions::new([127, 0, 0, 1])
    };
    let router = fake.router();
    let transport = router.create_web_rtc_transport(options).await.unwrap();
    (router, transport)
}

#[tokio::test]
async fn a_connection_comes_up_and_ends() {
    let fake = Fake::start();
    let (_router, transport) = web_rtc(&fake).await;
    let mut events = transport.events();
    let tell = |event, data| fake.tell(transport.id(), event, &data);
    let tuple = json!({ "localIp": "127.0.0.1", "localPort": 1, "remoteIp": "10.0.0.1", "remotePort": 2,
        "protocol": "udp" });
    tell("iceselectedtuplechange", json!({ "iceSelectedTuple": tuple }));
    let TransportEvent::IceSelectedTupleChange(selected) = next(&mut events).await else {
        panic!("another event")
    };
    assert_eq!(selected.remote_port, Some(2));
    assert_eq!(transport.ice_selected_tuple(), Some(selected));
    tell("icestatechange", json!({ "iceState": "completed" }));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::IceStateChange(IceState::Completed)
    ));
    assert_eq!(transport.ice_state(), IceState::Completed);
    tell("dtlsstatechange", json!({ "dtlsState": "connecting" }));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::DtlsStateChange(DtlsState::Connecting)
    ));
    assert_eq!(transport.dtls_remote_cert(), None);
    tell(
        "dtlsstatechange",
        json!({ "dtlsState": "connected", "dtlsRemoteCert": "PEM" }),
    );
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::DtlsStateChange(DtlsState::Connected)
    ));
    assert_eq!(transport.dtls_remote_cert().as_deref(), Some("PEM"));
    tell("sctpstatechange", json!({ "sctpState": "connected" }));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::SctpStateChange(SctpState::Connected)
    ));
    assert_eq!(transport.sctp_state(), Some(SctpState::Connected));
    // What makes no sense, or is of another version, does not disturb.
    tell("icestatechange", json!({ "iceState": "chicken" }));
    tell("tuple", json!({ "tuple": tuple }));
    tell("somethingnew", json!({}));
    tell("icestatechange", json!({ "iceState": "disconnected" }));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::IceStateChange(IceState::Disconnected)
    ));
    assert_eq!(transport.ice_selected_tuple(), None);

    transport.close();
    assert_eq!(
        (transport.ice_state(), transport.dtls_state()),
        (IceState::Closed, DtlsState::Closed)
    );
    assert_eq!(transport.sctp_state(), Some(SctpState::Closed));
    tell("icestatechange", json!({ "iceState": "completed" }));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::Closed(CloseReason::Requested)
    ));
    assert!(events.recv().await.is_none());
    assert_eq!(fake.wait_for("transport.close", 1).await.len(), 1);
}

fn stream() -> DataProducerOptions {
    DataProducerOptions::sctp(SctpStreamParameters {
        stream_id: 7,
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
    })
}

#[tokio::test]
async fn data_consumers_are_told() {
    let fake = Fake::start();
    let (_router, transport) = web_rtc(&fake).await;
    let producer = transport.produce_data(stream()).await.unwrap();
    let consumer = transport
        .consume_data(DataConsumerOptions::new(producer.id()))
        .await
        .unwrap();
    let mut events = consumer.events();
    fake.tell(consumer.id(), "sctpsendbufferfull", &json!(null));
    assert!(matches!(next(&mut events).await, DataConsumerEvent::SctpSendBufferFull));
    fake.tell(consumer.id(), "bufferedamountlow", &json!({ "bufferedAmount": 12 }));
    assert!(matches!(
        next(&mut events).await,
        DataConsumerEvent::BufferedAmountLow(12)
    ));
    fake.tell_payload(consumer.id(), "message", &json!({ "ppid": 56 }), b" ");
    assert!(matches!(next(&mut events).await, DataConsumerEvent::Message(empty) if empty == DataMessage::text("")));
    fake.tell(consumer.id(), "dataproducerclose", &json!(null));
    assert!(matches!(
        next(&mut events).await,
        DataConsumerEvent::Closed(CloseReason::DataProducerClosed)
    ));
    assert!(fake.asked("dataConsumer.close").is_empty() && transport.data_consumers().is_empty());
}

#[tokio::test]
async fn sending_data_is_answered() {
    let fake = Fake::start();
    let (_router, transport) = web_rtc(&fake).await;
    let producer = transport.produce_data(stream()).await.unwrap();
    let consumer = transport
        .consume_data(DataConsumerOptions::new(producer.id()))
        .await
        .unwrap();
    consumer.send("hello").await.unwrap();
    assert_eq!(fake.asked("dataConsumer.send")[0]["data"], json!({ "ppid": 51 }));
    fake.decide(|_| Answer::Refuse);
    assert!(matches!(consumer.send("full").await, Err(Error::Worker { .. })));
    fake.decide(|_| Answer::Silence);
    assert!(matches!(consumer.send("lost").await, Err(Error::Timeout { .. })));
    let large = consumer.send(vec![0; 1001]).await;
    assert!(matches!(
        large,
        Err(Error::TooBig {
            length: 1001,
            limit: 1000
        })
    ));
    let closing = consumer.send("late");
    fake.link.close();
    assert_eq!(closing.await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_refused_data_consumer_gives_its_stream_back() {
    let fake = Fake::start();
    let (_router, transport) = web_rtc(&fake).await;
    let producer = transport.produce_data(stream()).await.unwrap();
    let consume = || transport.consume_data(DataConsumerOptions::new(producer.id()));
    let answers: [fn() -> Answer; 3] = [|| Answer::Refuse, || Answer::Data(json!({})), || Answer::Silence];
    for answer in answers {
        fake.decide(move |_| answer());
        assert!(consume().await.is_err());
    }
    fake.decide(|_| Answer::Usual);
    // All four streams are there.
    let mut consumers = Vec::new();
    for _ in 0..4 {
        consumers.push(consume().await.unwrap());
    }
    assert!(matches!(consume().await, Err(Error::Exhausted(_))));
    let mut ids = consumers
        .iter()
        .map(|consumer| consumer.sctp_stream_parameters().unwrap().stream_id)
        .collect::<Vec<_>>();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3]);
}

#[tokio::test]
async fn producers_that_are_gone_are_not_told_about() {
    let fake = Fake::start();
    let router = fake.router();
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let parameters = serde_json::from_value(json!({ "encodings": [{ "ssrc": 1 }],
        "codecs": [{ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2 }] }));
    let options = ProducerOptions::new(MediaKind::Audio, parameters.unwrap());
    let producer = transport.produce(options).await.unwrap();
    let level = router
        .create_audio_level_observer(AudioLevelObserverOptions::default())
        .await
        .unwrap();
    let speaker = router
        .create_active_speaker_observer(ActiveSpeakerObserverOptions::default())
        .await
        .unwrap();
    let (mut levels, mut speakers) = (level.events(), speaker.events());
    let entry = |id: &str, volume| json!({ "producerId": id, "volume": volume });
    fake.tell(level.id(), "volumes", &json!([entry("gone", -1)]));
    fake.tell(
        level.id(),
        "volumes",
        &json!([entry("gone", -1), entry(producer.id(), -9)]),
    );
    fake.tell(level.id(), "silence", &json!(null));
    assert!(matches!(
        next(&mut levels).await,
        RtpObserverEvent::Volumes(volumes) if volumes.len() == 1 && volumes[0].volume == -9
    ));
    assert!(matches!(next(&mut levels).await, RtpObserverEvent::Silence));
    fake.tell(speaker.id(), "dominantspeaker", &json!({ "producerId": "gone" }));
    fake.tell(speaker.id(), "dominantspeaker", &json!({ "producerId": producer.id() }));
    assert!(matches!(
        next(&mut speakers).await,
        RtpObserverEvent::DominantSpeaker(speaker) if speaker.id() == producer.id()
    ));
}
