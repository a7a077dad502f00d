//! Data producers and data consumers.

use client::{
    AppData, CloseReason, DataConsumer, DataConsumerEvent, DataConsumerOptions, DataMessage, DataProducer,
    DataProducerEvent, DataProducerOptions, DataType, DirectTransportOptions, Error, ErrorKind, Events, NumSctpStreams,
    PipeToRouterOptions, PlainTransportOptions, Router, SctpOptions, SctpStreamParameters, Transport, TransportEvent,
};

use crate::common::{next, rest, router, worker};

fn stream(stream_id: u16) -> SctpStreamParameters {
    SctpStreamParameters {
        stream_id,
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
    }
}

fn with_sctp() -> PlainTransportOptions {
    PlainTransportOptions {
        sctp: Some(SctpOptions::default()),
        ..PlainTransportOptions::new([127, 0, 0, 1])
    }
}

async fn direct_producer(router: &Router) -> DataProducer {
    let options = DirectTransportOptions::default();
    let transport = router.create_direct_transport(options).await.unwrap();
    let options = DataProducerOptions {
        label: "chat".into(),
        protocol: "text".into(),
        ..DataProducerOptions::default()
    };
    transport.produce_data(options).await.unwrap()
}

async fn direct_consumer(router: &Router, producer: &DataProducer) -> DataConsumer {
    let options = DirectTransportOptions::default();
    let transport = router.create_direct_transport(options).await.unwrap();
    let options = DataConsumerOptions::new(producer.id());
    transport.consume_data(options).await.unwrap()
}

async fn message(events: &mut Events<DataConsumerEvent>) -> DataMessage {
    match next(events).await {
        DataConsumerEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_go_through_in_order() {
    let worker = worker().await;
    let router = router(&worker).await;
    let producer = direct_producer(&router).await;
    let consumer = direct_consumer(&router, &producer).await;
    assert_eq!(
        (producer.data_type(), consumer.data_type()),
        (DataType::Direct, DataType::Direct)
    );
    assert_eq!((consumer.label(), consumer.protocol()), ("chat", "text"));
    assert_eq!(consumer.data_producer_id(), producer.id());

    let messages = (0..200_u32)
        .map(|number| match number % 2 {
            0 => DataMessage::text(number.to_string()),
            _ => DataMessage::binary(number.to_be_bytes().to_vec()),
        })
        .chain([DataMessage::text(""), DataMessage::binary(Vec::new())])
        .collect::<Vec<_>>();
    let mut events = consumer.events();
    for message in &messages {
        producer.send(message.clone()).await.unwrap();
    }
    for expected in &messages {
        assert_eq!(message(&mut events).await, *expected);
    }
    // An empty message is one byte on its way.
    let bytes = messages
        .iter()
        .map(|message| message.payload().len().max(1) as u64)
        .sum::<u64>();
    let sent = &producer.get_stats().await.unwrap()[0];
    assert_eq!(
        (sent.kind.as_str(), sent.messages_received, sent.bytes_received),
        ("data-producer", 202, bytes)
    );
    let received = &consumer.get_stats().await.unwrap()[0];
    assert_eq!(
        (received.kind.as_str(), received.messages_sent, received.bytes_sent),
        ("data-consumer", 202, bytes)
    );
}

#[tokio::test]
async fn what_direct_data_cannot_do() {
    let worker = worker().await;
    let router = router(&worker).await;
    let producer = direct_producer(&router).await;
    let consumer = direct_consumer(&router, &producer).await;
    assert_eq!(consumer.send("no").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(
        consumer.get_buffered_amount().await.unwrap_err().kind(),
        ErrorKind::Other
    );
    let threshold = consumer.set_buffered_amount_low_threshold(1).await;
    assert_eq!(threshold.unwrap_err().kind(), ErrorKind::Other);
    let large = producer.send(vec![0; 262_145]).await.unwrap_err();
    assert!(
        matches!(
            large,
            Error::TooBig {
                length: 262_145,
                limit: 262_144
            }
        ),
        "{large}"
    );
}

#[tokio::test]
async fn streams_and_their_reliability() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router.create_plain_transport(with_sctp()).await.unwrap();
    assert_eq!(transport.sctp_parameters().unwrap().mis, 1024);
    let mut transport_events = transport.events();
    let options = DataProducerOptions {
        label: "l".into(),
        ..DataProducerOptions::sctp(stream(666))
    };
    let producer = transport.produce_data(options).await.unwrap();
    assert!(matches!(
        next(&mut transport_events).await,
        TransportEvent::NewDataProducer(new) if new.id() == producer.id()
    ));
    assert_eq!(producer.sctp_stream_parameters(), Some(stream(666)));
    let dump = producer.dump().await.unwrap();
    assert_eq!(
        (dump.id.as_str(), dump.sctp_stream_parameters),
        (producer.id(), Some(stream(666)))
    );
    assert_eq!(producer.send("no").await.unwrap_err().kind(), ErrorKind::Unsupported);

    // Ids are counted from 0, and go back when a data consumer ends.
    let plain = DataConsumerOptions::new(producer.id());
    let first = transport.consume_data(plain.clone()).await.unwrap();
    assert_eq!(first.sctp_stream_parameters(), Some(stream(0)));
    let limited = DataConsumerOptions {
        max_packet_life_time: Some(4000),
        ..plain.clone()
    };
    let limited = transport.consume_data(limited).await.unwrap();
    let parameters = limited.dump().await.unwrap().sctp_stream_parameters.unwrap();
    assert_eq!((parameters.stream_id, parameters.ordered), (1, false));
    assert_eq!(
        (parameters.max_packet_life_time, parameters.max_retransmits),
        (Some(4000), None)
    );
    assert_eq!(limited.get_buffered_amount().await.unwrap(), 0);
    assert!(transport.data_consumers().len() == 2 && transport.data_producers().len() == 1);

    for wrong in [
        DataConsumerOptions {
            ordered: Some(true),
            max_retransmits: Some(1),
            ..plain.clone()
        },
        DataConsumerOptions {
            max_packet_life_time: Some(1),
            max_retransmits: Some(1),
            ..plain.clone()
        },
        DataConsumerOptions::new(""),
    ] {
        assert_eq!(transport.consume_data(wrong).await.unwrap_err().kind(), ErrorKind::Type);
    }
    let nobody = transport.consume_data(DataConsumerOptions::new("nobody")).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
    let third = transport.consume_data(plain).await.unwrap();
    // The two that were refused took 2 and 3 only for as long as it took to refuse them.
    assert_eq!(third.sctp_stream_parameters().unwrap().stream_id, 4);

    let taken = transport.produce_data(DataProducerOptions::sctp(stream(666))).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Other);
    let missing = transport.produce_data(DataProducerOptions::default()).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Type);
    let same_id = DataProducerOptions {
        id: Some(producer.id().to_owned()),
        ..DataProducerOptions::sctp(stream(1))
    };
    assert_eq!(
        transport.produce_data(same_id).await.unwrap_err().kind(),
        ErrorKind::Type
    );
    let without = router.create_plain_transport(PlainTransportOptions::new([127, 0, 0, 1]));
    let without = without
        .await
        .unwrap()
        .produce_data(DataProducerOptions::sctp(stream(1)))
        .await;
    assert_eq!(without.unwrap_err().kind(), ErrorKind::Type);
}

#[tokio::test]
async fn stream_ids_are_used_again() {
    let worker = worker().await;
    let router = router(&worker).await;
    let producer = direct_producer(&router).await;
    let options = PlainTransportOptions {
        sctp: Some(SctpOptions {
            num_streams: NumSctpStreams { os: 2, mis: 2 },
            ..SctpOptions::default()
        }),
        ..with_sctp()
    };
    let transport = router.create_plain_transport(options).await.unwrap();
    let consume = || transport.consume_data(DataConsumerOptions::new(producer.id()));
    let (first, _second) = (consume().await.unwrap(), consume().await.unwrap());
    assert!(matches!(consume().await, Err(Error::Exhausted(_))));
    first.close();
    let third = consume().await.unwrap();
    assert_eq!(third.sctp_stream_parameters().unwrap().stream_id, 0);
}

#[tokio::test]
async fn ends_of_data() {
    let worker = worker().await;
    let router = router(&worker).await;
    let producer = direct_producer(&router).await;
    let consumer = direct_consumer(&router, &producer).await;
    let other = direct_consumer(&router, &producer).await;
    assert_eq!(router.data_producers().len(), 1);
    let other_events = other.events();
    other.close();
    other.close();
    assert!(matches!(
        rest(other_events).await.as_slice(),
        [DataConsumerEvent::Closed(CloseReason::Requested)]
    ));
    let (producer_events, consumer_events) = (producer.events(), consumer.events());
    producer.close();
    assert!(router.data_producers().is_empty());
    assert!(matches!(
        rest(producer_events).await.as_slice(),
        [DataProducerEvent::Closed(CloseReason::Requested)]
    ));
    assert!(matches!(
        rest(consumer_events).await.as_slice(),
        [DataConsumerEvent::Closed(CloseReason::DataProducerClosed)]
    ));
    assert!(consumer.is_closed());
    assert_eq!(producer.send("late").await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(consumer.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);

    let producer = direct_producer(&router).await;
    let consumer = direct_consumer(&router, &producer).await;
    router.close();
    assert!(matches!(
        rest(producer.events()).await.as_slice(),
        [DataProducerEvent::Closed(CloseReason::TransportClosed)]
    ));
    assert!(matches!(
        rest(consumer.events()).await.as_slice(),
        [DataConsumerEvent::Closed(CloseReason::TransportClosed)]
    ));
}

#[tokio::test]
async fn data_of_one_worker_arrives_at_the_other() {
    let workers = [worker().await, worker().await];
    let (a, b) = (router(&workers[0]).await, router(&workers[1]).await);
    let producer = direct_producer(&a).await;
    let options = PipeToRouterOptions::default();
    let (piped, again) = tokio::try_join!(
        a.pipe_data_producer_to_router(producer.id(), &b, &options),
        a.pipe_data_producer_to_router(producer.id(), &b, &options),
    )
    .unwrap();
    assert_eq!(piped.consumer.id(), again.consumer.id());
    assert_eq!(piped.producer.id(), producer.id());
    assert_eq!((piped.producer.label(), piped.producer.protocol()), ("chat", "text"));
    assert_eq!(piped.producer.sctp_stream_parameters(), Some(stream(0)));
    assert_eq!(a.transports().len(), 2);

    // Messages before the association is up are not kept, so the first one is sent until it arrives.
    let consumer = direct_consumer(&b, &piped.producer).await;
    let mut events = consumer.events();
    let first = async {
        loop {
            producer.send("first").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        message = message(&mut events) => assert_eq!(message.as_text(), Some("first")),
        () = first => unreachable!("sending does not end"),
    }
    // Besides those of the data producer, the data consumer on the way sends messages of its own.
    piped.consumer.send("by the way").await.unwrap();
    while message(&mut events).await.as_text() != Some("by the way") {}
    assert!(piped.consumer.get_buffered_amount().await.is_ok());

    producer.close();
    assert!(matches!(
        rest(events).await.as_slice(),
        [DataConsumerEvent::Closed(CloseReason::DataProducerClosed)]
    ));
    assert!(piped.consumer.is_closed() && piped.producer.is_closed());
    let gone = a.pipe_data_producer_to_router(producer.id(), &b, &options).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::Type);
}

#[tokio::test]
async fn data_passes_both_ways_through_one_pipe() {
    let workers = [worker().await, worker().await];
    let (a, b) = (router(&workers[0]).await, router(&workers[1]).await);
    let (there, back) = (direct_producer(&a).await, direct_producer(&b).await);
    let options = PipeToRouterOptions::default();
    let (there_piped, back_piped) = tokio::try_join!(
        a.pipe_data_producer_to_router(there.id(), &b, &options),
        b.pipe_data_producer_to_router(back.id(), &a, &options),
    )
    .unwrap();
    // One connection between them, on which each side has streams of its own.
    assert_eq!((a.transports().len(), b.transports().len()), (2, 2));
    assert_eq!(there_piped.producer.sctp_stream_parameters(), Some(stream(0)));
    assert_eq!(back_piped.producer.sctp_stream_parameters(), Some(stream(0)));
    let at_b = direct_consumer(&b, &there_piped.producer).await;
    let at_a = direct_consumer(&a, &back_piped.producer).await;
    let (mut from_a, mut from_b) = (at_b.events(), at_a.events());
    let send = async {
        loop {
            there.send("there").await.unwrap();
            back.send("back").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let receive = async { (message(&mut from_a).await, message(&mut from_b).await) };
    tokio::select! {
        (there, back) = receive => assert_eq!((there.as_text(), back.as_text()), (Some("there"), Some("back"))),
        () = send => unreachable!("sending does not end"),
    }
    // One direction ends without the other.
    there.close();
    rest(at_b.events()).await;
    back.send("goes on").await.unwrap();
    while message(&mut from_b).await.as_text() != Some("goes on") {}
    assert!(there_piped.consumer.is_closed() && !back_piped.consumer.is_closed());
}

#[tokio::test]
async fn a_pipe_keeps_the_reliability_of_a_stream() {
    let worker = worker().await;
    let (a, b) = (router(&worker).await, router(&worker).await);
    let transport = a.create_plain_transport(with_sctp()).await.unwrap();
    let limited = SctpStreamParameters {
        ordered: false,
        max_packet_life_time: Some(5000),
        ..stream(666)
    };
    let options = DataProducerOptions {
        label: "foo".into(),
        protocol: "bar".into(),
        app_data: AppData::new("original"),
        ..DataProducerOptions::sctp(limited)
    };
    let original = transport.produce_data(options).await.unwrap();
    let options = PipeToRouterOptions::default();
    let piped = a
        .pipe_data_producer_to_router(original.id(), &b, &options)
        .await
        .unwrap();
    let expected = SctpStreamParameters {
        stream_id: 0,
        ..limited
    };
    assert_eq!(piped.consumer.sctp_stream_parameters(), Some(expected));
    assert_eq!(piped.producer.sctp_stream_parameters(), Some(expected));
    assert_eq!((piped.producer.label(), piped.producer.protocol()), ("foo", "bar"));
    assert_eq!(piped.producer.app_data().get::<&str>(), Some(&"original"));
    assert_eq!(piped.consumer.app_data().get::<&str>(), None);
    // Both ends of one id in one worker: each closes for itself.
    piped.producer.close();
    assert!(piped.consumer.is_closed() && !original.is_closed());
    assert_eq!(original.dump().await.unwrap().label, "foo");
}

#[tokio::test]
async fn parameters_of_a_stream_that_cannot_be() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router.create_plain_transport(with_sctp()).await.unwrap();
    for (ordered, max_packet_life_time, max_retransmits) in [
        (true, Some(1), None),
        (true, None, Some(1)),
        (true, None, Some(0)),
        (true, Some(1), Some(1)),
        (false, Some(1), Some(1)),
    ] {
        let wrong = SctpStreamParameters {
            stream_id: 1,
            ordered,
            max_packet_life_time,
            max_retransmits,
        };
        let error = transport.produce_data(DataProducerOptions::sctp(wrong)).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Type, "{wrong:?}");
    }
    for stream_id in 1..4 {
        let (ordered, max_packet_life_time, max_retransmits) = match stream_id {
            1 => (false, None, None),
            2 => (false, Some(1), None),
            _ => (false, None, Some(0)),
        };
        let right = SctpStreamParameters {
            stream_id,
            ordered,
            max_packet_life_time,
            max_retransmits,
        };
        let producer = transport.produce_data(DataProducerOptions::sctp(right)).await.unwrap();
        assert_eq!(producer.sctp_stream_parameters(), Some(right));
    }
}

#[tokio::test]
async fn a_pipe_without_sctp_carries_no_data() {
    let worker = worker().await;
    let (a, b) = (router(&worker).await, router(&worker).await);
    let producer = direct_producer(&a).await;
    let without = PipeToRouterOptions {
        enable_sctp: false,
        ..PipeToRouterOptions::default()
    };
    for options in [&without, &PipeToRouterOptions::default()] {
        // The routers are connected by the first call; later ones use that.
        let error = a.pipe_data_producer_to_router(producer.id(), &b, options).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Type);
        assert_eq!((a.transports().len(), b.transports().len()), (2, 1));
    }
    b.transports()[0].close();
    assert_eq!((a.transports().len(), b.transports().len()), (1, 0));
    let options = PipeToRouterOptions::default();
    let piped = a
        .pipe_data_producer_to_router(producer.id(), &b, &options)
        .await
        .unwrap();
    assert_eq!(piped.producer.id(), producer.id());
}
