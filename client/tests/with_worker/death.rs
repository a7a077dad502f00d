//! What a worker leaves behind that was killed.

use std::pin::Pin;
use std::time::Duration;

use client::{
    CloseReason as Reason, ConsumerEvent, ConsumerOptions, DirectTransportOptions, Error, ErrorKind, MediaKind,
    PipeToRouterOptions, ProducerOptions, Result, RouterOptions, RtpObserver, Transport, TransportEvent, Worker,
    WorkerEvent,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{audio, rest, router, worker};
use crate::house::{House, house};

/// Long before requests run out of time by themselves.
const AT_ONCE: Duration = Duration::from_secs(5);

fn signal(worker: &Worker, signal: Signal) {
    kill(Pid::from_raw(worker.pid().try_into().unwrap()), signal).unwrap();
}

type Pending = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A request to each object of the house, and one for a new object of each kind.
fn requests(house: &House) -> Vec<(&'static str, Pending)> {
    macro_rules! requests {
        ($($name:literal: |$object:ident| $request:expr;)*) => {
            vec![$({
                let $object = house.$object.clone();
                let request: Pending = Box::pin(async move { $request.await.map(drop) });
                ($name, request)
            }),*]
        };
    }
    let producer_id = house.producer.id().to_owned();
    let capabilities = house.router.rtp_capabilities().clone();
    let wanted = ConsumerOptions::new(house.producer.id(), capabilities);
    let data = client::DataConsumerOptions::new(house.data_producer.id());
    requests! {
        "worker.dump": |worker| worker.dump();
        "worker.create_router": |worker| worker.create_router(RouterOptions::default());
        "worker.create_web_rtc_server": |worker| worker.create_web_rtc_server(Default::default());
        "server.dump": |server| server.dump();
        "router.dump": |router| router.dump();
        "router.create_direct_transport": |router| router.create_direct_transport(Default::default());
        "router.create_audio_level_observer": |router| router.create_audio_level_observer(Default::default());
        "transport.get_stats": |transport| transport.get_stats();
        "transport.restart_ice": |transport| transport.restart_ice();
        "transport.produce": |transport| transport.produce(ProducerOptions::new(MediaKind::Audio, audio(99)));
        "transport.consume": |transport| transport.consume(wanted.clone());
        "other.consume_data": |other| other.consume_data(data.clone());
        "producer.pause": |producer| producer.pause();
        "consumer.set_priority": |consumer| consumer.set_priority(3);
        "remote_consumer.get_stats": |remote_consumer| remote_consumer.get_stats();
        "data_producer.get_stats": |data_producer| data_producer.get_stats();
        "data_consumer.send": |data_consumer| data_consumer.send("hello");
        "remote_data_consumer.dump": |remote_data_consumer| remote_data_consumer.dump();
        "level.pause": |level| level.pause();
        "speaker.remove_producer": |speaker| speaker.remove_producer(&producer_id);
    }
}

#[tokio::test]
async fn everything_ends_and_everything_pending_fails() {
    let house = house().await;
    let (events, ends) = (house.worker.events(), house.ends());
    // It answers nothing any more.
    signal(&house.worker, Signal::SIGSTOP);
    let mut pending = requests(&house);
    for (name, request) in &mut pending {
        let look = std::future::poll_fn(|cx| std::task::Poll::Ready(request.as_mut().poll(cx).is_pending()));
        assert!(look.await, "{name} is not waiting");
    }
    signal(&house.worker, Signal::SIGKILL);
    let fail = async {
        for (name, request) in pending {
            let error = request.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidState, "{name}: {error}");
        }
    };
    tokio::time::timeout(AT_ONCE, fail)
        .await
        .expect("requests wait for the dead");

    for (name, is_closed, end) in ends {
        let expected = match name {
            "server" | "router" => Reason::WorkerClosed,
            "transport" | "other" | "level" | "speaker" => Reason::RouterClosed,
            _ => Reason::TransportClosed,
        };
        assert!(is_closed(), "{name}");
        assert_eq!(end.await, expected, "{name}");
    }
    assert!(house.worker.is_closed() && house.worker.has_died());
    let exit = house.worker.wait().await;
    assert_eq!((exit.pid, exit.signal), (house.worker.pid(), Some(9)));
    let events = rest(events).await;
    assert!(matches!(events.last(), Some(WorkerEvent::Died(died)) if *died == exit));
    let died = events.iter().filter(|event| matches!(event, WorkerEvent::Died(_)));
    assert_eq!(died.count(), 1);

    // From now on all fail without waiting.
    for (name, request) in requests(&house) {
        let error = request.await.unwrap_err();
        // What is gone is not found any more by what would need it.
        let gone = matches!(error, Error::NotFound { .. });
        assert!(gone || error.kind() == ErrorKind::InvalidState, "{name}: {error}");
    }
    // Closing what is closed says nothing more.
    house.worker.close();
    assert!(house.worker.has_died());
}

#[tokio::test]
async fn the_other_end_of_a_pipe_ends_too() {
    let workers = [worker().await, worker().await];
    let (here, there) = (router(&workers[0]).await, router(&workers[1]).await);
    let options = DirectTransportOptions::default();
    let source = here.create_direct_transport(options.clone()).await.unwrap();
    let producer = source.produce(ProducerOptions::new(MediaKind::Audio, audio(1)));
    let producer = producer.await.unwrap();
    let options_of_pipe = PipeToRouterOptions::default();
    let piped = here.pipe_producer_to_router(producer.id(), &there, &options_of_pipe);
    let piped = piped.await.unwrap();
    let sink = there.create_direct_transport(options).await.unwrap();
    let wanted = ConsumerOptions::new(producer.id(), there.rtp_capabilities().clone());
    let consumer = sink.consume(wanted).await.unwrap();
    let pipe = there.transports().into_iter().find(|found| found.id() != sink.id());
    let pipe_events = pipe.unwrap().events();

    signal(&workers[0], Signal::SIGKILL);
    let events = rest(consumer.events()).await;
    assert!(
        matches!(events.last(), Some(ConsumerEvent::Closed(Reason::ProducerClosed))),
        "{events:?}"
    );
    let events = rest(pipe_events).await;
    assert!(matches!(events.last(), Some(TransportEvent::Closed(Reason::Requested))));
    assert!(piped.producer.is_closed() && producer.is_closed());
    // The other worker goes on, and has nothing left of the pipe.
    assert!(!there.is_closed() && !sink.is_closed());
    assert_eq!(there.dump().await.unwrap().transport_ids, [sink.id()]);
    let late = here.pipe_producer_to_router(producer.id(), &there, &options_of_pipe);
    assert!(late.await.is_err());
}
