//! What ends with what, and what each object says of it.

use client::{CloseReason, CloseReason as Reason, ErrorKind, RtpObserver, Transport, WorkerEvent};

use crate::common::rest;
use crate::house::house;

/// Ends of everything on the transport that has media and data coming in.
const ON_TRANSPORT: [(&str, CloseReason); 4] = [
    ("producer", Reason::TransportClosed),
    ("consumer", Reason::TransportClosed),
    ("data_producer", Reason::TransportClosed),
    ("data_consumer", Reason::TransportClosed),
];

/// What goes out elsewhere is told by the worker.
const ELSEWHERE: [(&str, CloseReason); 2] = [
    ("remote_consumer", Reason::ProducerClosed),
    ("remote_data_consumer", Reason::DataProducerClosed),
];

/// Ends of all that a router has.
const IN_ROUTER: [(&str, CloseReason); 6] = [
    ("transport", Reason::RouterClosed),
    ("other", Reason::RouterClosed),
    ("level", Reason::RouterClosed),
    ("speaker", Reason::RouterClosed),
    ("remote_consumer", Reason::TransportClosed),
    ("remote_data_consumer", Reason::TransportClosed),
];

#[tokio::test]
async fn of_a_worker() {
    let house = house().await;
    let events = house.worker.events();
    let own = [("server", Reason::WorkerClosed), ("router", Reason::WorkerClosed)];
    let expected = [&own[..], &IN_ROUTER, &ON_TRANSPORT].concat();
    house.ends_by(|house| house.worker.close(), &expected).await;
    assert!(!house.worker.has_died());
    let events = rest(events).await;
    assert!(matches!(events.last(), Some(WorkerEvent::Closed)), "{events:?}");
    assert!(house.worker.routers().is_empty() && house.worker.web_rtc_servers().is_empty());
}

#[tokio::test]
async fn of_a_server() {
    let house = house().await;
    let own = [("server", Reason::Requested), ("transport", Reason::ListenServerClosed)];
    let expected = [&own[..], &ON_TRANSPORT, &ELSEWHERE].concat();
    house.ends_by(|house| house.server.close(), &expected).await;
    // Nobody is offered what is gone.
    assert!(house.router.producers().is_empty() && house.router.data_producers().is_empty());
    let capabilities = house.router.rtp_capabilities();
    assert!(!house.router.can_consume(house.producer.id(), capabilities));
    let late = house.level.add_producer(house.producer.id()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Other);
}

#[tokio::test]
async fn of_a_router() {
    let house = house().await;
    let own = [("router", Reason::Requested)];
    let expected = [&own[..], &IN_ROUTER, &ON_TRANSPORT].concat();
    house.ends_by(|house| house.router.close(), &expected).await;
    assert!(house.router.transports().is_empty() && house.router.producers().is_empty());
    assert!(house.router.data_producers().is_empty() && house.router.rtp_observers().is_empty());
    assert!(house.server.transports().is_empty());
    let late = house.level.add_producer(house.producer.id()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn of_a_transport() {
    let house = house().await;
    let own = [("transport", Reason::Requested)];
    let expected = [&own[..], &ON_TRANSPORT, &ELSEWHERE].concat();
    house.ends_by(|house| house.transport.close(), &expected).await;
    assert!(house.transport.consumers().is_empty() && house.other.consumers().is_empty());
    assert!(house.transport.data_consumers().is_empty() && house.other.data_consumers().is_empty());
    assert_eq!(house.router.transports().len(), 1);
}

#[tokio::test]
async fn of_a_producer() {
    let house = house().await;
    let expected = [
        ("producer", Reason::Requested),
        ("consumer", Reason::ProducerClosed),
        ("remote_consumer", Reason::ProducerClosed),
    ];
    house.ends_by(|house| house.producer.close(), &expected).await;
    assert!(house.transport.producers().is_empty() && house.router.producers().is_empty());
}

#[tokio::test]
async fn of_a_data_producer() {
    let house = house().await;
    let expected = [
        ("data_producer", Reason::Requested),
        ("data_consumer", Reason::DataProducerClosed),
        ("remote_data_consumer", Reason::DataProducerClosed),
    ];
    house.ends_by(|house| house.data_producer.close(), &expected).await;
    assert!(house.transport.data_producers().is_empty() && house.router.data_producers().is_empty());
}

#[tokio::test]
async fn of_what_nothing_depends_on() {
    let house = house().await;
    let requested = Reason::Requested;
    house
        .ends_by(|house| house.consumer.close(), &[("consumer", requested)])
        .await;
    let mut expected = vec![("consumer", requested), ("data_consumer", requested)];
    house.data_consumer.close();
    house.ends_by(|_| (), &expected).await;
    house.level.close();
    house.speaker.close();
    expected.extend([("level", requested), ("speaker", requested)]);
    house.ends_by(|_| (), &expected).await;
    assert_eq!(house.transport.dump().await.unwrap().producer_ids.len(), 1);
    assert!(house.router.rtp_observers().is_empty());
}
