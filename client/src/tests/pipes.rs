//! Pipes between routers whose workers fail or are slow.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Answer, Fake};
use super::next;
use crate::{
    DirectTransportOptions, ErrorKind, MediaKind, PipeToRouterOptions, Producer, ProducerEvent, ProducerOptions,
    Router, Transport,
};

async fn producer(router: &Router) -> Producer {
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    let parameters = serde_json::from_value(json!({ "encodings": [{ "ssrc": 1 }],
        "codecs": [{ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2 }] }));
    let options = ProducerOptions::new(MediaKind::Audio, parameters.unwrap());
    transport.produce(options).await.unwrap()
}

/// Refuses or ignores one method, and does the rest as usual.
fn but(method: &'static str, answer: fn() -> Answer) -> impl Fn(&Value) -> Answer {
    move |request| match request["method"] == method {
        true => answer(),
        false => Answer::Usual,
    }
}

fn pipes(router: &Router) -> usize {
    // One transport is that of the producer, where there is one.
    let transports = router.transports().into_iter();
    transports
        .filter(|transport| matches!(transport, crate::AnyTransport::Pipe(_)))
        .count()
}

#[tokio::test]
async fn half_a_connection_is_taken_down_again() {
    let (here, there) = (Fake::start(), Fake::start());
    let (from, to) = (here.router(), there.router());
    let original = producer(&from).await;
    let options = PipeToRouterOptions::default();
    for (count, method) in [
        (1, "router.createPipeTransport"),
        (2, "transport.connect"),
        (3, "transport.produce"),
    ] {
        there.decide(but(method, || Answer::Refuse));
        let error = from
            .pipe_producer_to_router(original.id(), &to, &options)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{method}: {error}");
        let closed = if method == "transport.produce" {
            here.wait_for("consumer.close", 1).await.len()
        } else {
            here.wait_for("transport.close", count).await.len()
        };
        assert!(closed >= 1, "{method}");
        if method != "transport.produce" {
            assert_eq!((pipes(&from), pipes(&to)), (0, 0), "{method}");
        }
    }
    there.decide(|_| Answer::Usual);
    let piped = from
        .pipe_producer_to_router(original.id(), &to, &options)
        .await
        .unwrap();
    assert_eq!(piped.producer.id(), original.id());
    assert_eq!((pipes(&from), pipes(&to)), (1, 1));
}

#[tokio::test]
async fn another_caller_goes_on_where_one_gave_up() {
    let (here, there) = (Fake::start(), Fake::start());
    let (from, to) = (here.router(), there.router());
    let original = producer(&from).await;
    there.decide(but("router.createPipeTransport", || Answer::Silence));
    let call = || {
        let (from, to, id) = (from.clone(), to.clone(), original.id().to_owned());
        tokio::spawn(async move {
            let options = PipeToRouterOptions::default();
            from.pipe_producer_to_router(&id, &to, &options).await
        })
    };
    let (first, second) = (call(), call());
    there.wait_for("router.createPipeTransport", 1).await;
    // Only one of them asks.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(there.asked("router.createPipeTransport").len(), 1);
    there.decide(|_| Answer::Usual);
    first.abort();
    second.abort();
    let third = call().await.unwrap().unwrap();
    assert_eq!(third.producer.id(), original.id());
    // What the given-up call had made is gone.
    here.wait_for("transport.close", 1).await;
    assert_eq!((pipes(&from), pipes(&to)), (1, 1));
}

#[tokio::test]
async fn a_producer_that_closes_meanwhile_is_not_piped() {
    let (here, there) = (Fake::start(), Fake::start());
    let (from, to) = (here.router(), there.router());
    let original = producer(&from).await;
    let closing = original.clone();
    there.decide(move |request| {
        if request["method"] == "transport.produce" {
            closing.close();
        }
        Answer::Usual
    });
    let options = PipeToRouterOptions::default();
    let error = from
        .pipe_producer_to_router(original.id(), &to, &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    here.wait_for("consumer.close", 1).await;
    there.wait_for("producer.close", 1).await;
    assert!(to.producers().is_empty());
}

#[tokio::test]
async fn two_routers_of_one_worker_have_producers_of_one_id() {
    let fake = Fake::start();
    let (from, to) = (fake.router(), fake.router());
    let original = producer(&from).await;
    let options = PipeToRouterOptions::default();
    let piped = from.pipe_producer_to_router(original.id(), &to, &options).await;
    let piped = piped.unwrap();
    let (mut events, mut piped_events) = (original.events(), piped.producer.events());
    let tell = |ssrc: u32| {
        let score = json!([{ "encodingIdx": 0, "ssrc": ssrc, "score": 9 }]);
        fake.tell(original.id(), "score", &score);
    };
    // The worker does not say which of them it means; the stream does.
    tell(1);
    assert!(matches!(next(&mut events).await, ProducerEvent::Score(_)));
    let ssrc = piped.producer.rtp_parameters().encodings[0].ssrc.unwrap();
    tell(ssrc);
    assert!(matches!(next(&mut piped_events).await, ProducerEvent::Score(score) if score[0].ssrc == ssrc));
    piped.producer.close();
    fake.tell(
        original.id(),
        "videoorientationchange",
        &json!({ "camera": true, "flip": false, "rotation": 0 }),
    );
    assert!(matches!(
        next(&mut events).await,
        ProducerEvent::VideoOrientationChange(_)
    ));
    assert!(piped_events.recv().await.is_some() && piped_events.recv().await.is_none());
    assert!(!original.is_closed());
}

#[tokio::test]
async fn pausing_goes_through_the_pipe() {
    let (here, there) = (Fake::start(), Fake::start());
    let (from, to) = (here.router(), there.router());
    let original = producer(&from).await;
    let options = PipeToRouterOptions::default();
    let piped = from
        .pipe_producer_to_router(original.id(), &to, &options)
        .await
        .unwrap();
    here.tell(piped.consumer.id(), "producerpause", &json!(null));
    there.wait_for("producer.pause", 1).await;
    here.tell(piped.consumer.id(), "producerresume", &json!(null));
    there.wait_for("producer.resume", 1).await;
    here.tell(piped.consumer.id(), "producerclose", &json!(null));
    there.wait_for("producer.close", 1).await;
    assert!(piped.producer.is_closed());
}
