//! A worker with one of everything, to see what ends with what.

use std::pin::Pin;

use client::{
    ActiveSpeakerObserver, AudioLevelObserver, CloseReason, Consumer, ConsumerEvent, ConsumerOptions, DataConsumer,
    DataConsumerEvent, DataConsumerOptions, DataProducer, DataProducerEvent, DataProducerOptions, DirectTransport,
    Events, ListenInfo, MediaKind, Producer, ProducerEvent, ProducerOptions, Protocol, Router, RouterEvent,
    RtpObserver, RtpObserverEvent, SctpOptions, SctpStreamParameters, Transport, TransportEvent, WebRtcServer,
    WebRtcServerEvent, WebRtcServerOptions, WebRtcTransport, WebRtcTransportOptions, Worker,
};

use crate::common::{audio, rest, router, worker};

/// One of everything. Media and data come in on `transport`; some of both goes out there again, and some on `other`.
pub struct House {
    pub worker: Worker,
    pub server: WebRtcServer,
    pub router: Router,
    pub transport: WebRtcTransport,
    pub other: DirectTransport,
    pub producer: Producer,
    pub consumer: Consumer,
    pub remote_consumer: Consumer,
    pub data_producer: DataProducer,
    pub data_consumer: DataConsumer,
    pub remote_data_consumer: DataConsumer,
    pub level: AudioLevelObserver,
    pub speaker: ActiveSpeakerObserver,
}

pub async fn house() -> House {
    let worker = worker().await;
    let socket = ListenInfo {
        protocol: Protocol::Udp,
        ip: [127, 0, 0, 1].into(),
        announced_ip: None,
        port: 0,
    };
    let server = worker.create_web_rtc_server(WebRtcServerOptions::new(vec![socket]));
    let server = server.await.unwrap();
    let router = router(&worker).await;
    let options = WebRtcTransportOptions {
        sctp: Some(SctpOptions::default()),
        ..WebRtcTransportOptions::with_server(server.clone())
    };
    let transport = router.create_web_rtc_transport(options).await.unwrap();
    let other = router.create_direct_transport(Default::default()).await.unwrap();
    let producer = transport.produce(ProducerOptions::new(MediaKind::Audio, audio(1234)));
    let producer = producer.await.unwrap();
    let wanted = ConsumerOptions::new(producer.id(), router.rtp_capabilities().clone());
    let consumer = transport.consume(wanted.clone()).await.unwrap();
    let remote_consumer = other.consume(wanted).await.unwrap();
    let stream = SctpStreamParameters {
        stream_id: 7,
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
    };
    let data_producer = transport.produce_data(DataProducerOptions::sctp(stream)).await.unwrap();
    let wanted = DataConsumerOptions::new(data_producer.id());
    let data_consumer = transport.consume_data(wanted.clone()).await.unwrap();
    let remote_data_consumer = other.consume_data(wanted).await.unwrap();
    let level = router.create_audio_level_observer(Default::default()).await.unwrap();
    let speaker = router.create_active_speaker_observer(Default::default()).await.unwrap();
    level.add_producer(producer.id()).await.unwrap();
    House {
        worker,
        server,
        router,
        transport,
        other,
        producer,
        consumer,
        remote_consumer,
        data_producer,
        data_consumer,
        remote_data_consumer,
        level,
        speaker,
    }
}

/// Events of which the last one tells why its object was closed.
trait Closing {
    fn reason(&self) -> Option<CloseReason>;
}

macro_rules! closing {
    ($($event:ident),*) => {
        $(impl Closing for $event {
            fn reason(&self) -> Option<CloseReason> {
                match self {
                    Self::Closed(reason) => Some(*reason),
                    _ => None,
                }
            }
        })*
    };
}

closing!(
    ConsumerEvent,
    DataConsumerEvent,
    DataProducerEvent,
    ProducerEvent,
    RouterEvent,
    RtpObserverEvent,
    TransportEvent,
    WebRtcServerEvent
);

/// How an object of the house ends.
type End = Pin<Box<dyn Future<Output = CloseReason>>>;
/// Whether it has.
type IsClosed = Box<dyn Fn() -> bool>;

fn end<E: Closing + std::fmt::Debug + 'static>(events: Events<E>) -> End {
    Box::pin(async move {
        let events = rest(events).await;
        let reasons = events.iter().filter_map(Closing::reason).collect::<Vec<_>>();
        assert_eq!(reasons.len(), 1, "{events:?}");
        let last = events.last().and_then(Closing::reason);
        last.expect("the last event is not that of the end")
    })
}

impl House {
    /// All that can end, with its name, whether it has, and how.
    pub fn ends(&self) -> Vec<(&'static str, IsClosed, End)> {
        macro_rules! ends {
            ($($object:ident),*) => {
                vec![$({
                    let object = self.$object.clone();
                    let closed: IsClosed = Box::new(move || object.is_closed());
                    (stringify!($object), closed, end(self.$object.events()))
                }),*]
            };
        }
        ends!(
            server,
            router,
            transport,
            other,
            producer,
            consumer,
            remote_consumer,
            data_producer,
            data_consumer,
            remote_data_consumer,
            level,
            speaker
        )
    }

    /// Does something and sees that exactly these objects end by it, for these reasons.
    pub async fn ends_by(&self, trigger: impl FnOnce(&Self), expected: &[(&str, CloseReason)]) {
        let ends = self.ends();
        trigger(self);
        for (name, is_closed, end) in ends {
            match expected.iter().find(|(object, _)| *object == name) {
                Some((_, reason)) => {
                    assert_eq!(end.await, *reason, "{name}");
                    assert!(is_closed(), "{name}");
                }
                None => assert!(!is_closed(), "{name}"),
            }
        }
    }
}
