//! Worker and router.

use crate::common::{next, rest, router, settings, worker};
use client::{AppData, CloseReason, DirectTransportOptions};
use client::{
    ErrorKind, LogLevel, PlainTransportOptions, RouterEvent, RouterOptions, RtpCodecCapability, Transport,
    TransportEvent, UpdateSettings, Worker, WorkerEvent, WorkerSettings,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn signal(worker: &Worker, signal: Signal) {
    kill(Pid::from_raw(worker.pid().try_into().unwrap()), signal).unwrap();
}

#[tokio::test]
async fn a_fresh_worker() {
    let worker = worker().await;
    assert!(worker.pid() > 0 && !worker.is_closed() && !worker.has_died());
    let dump = worker.dump().await.unwrap();
    assert_eq!(dump.pid, worker.pid());
    assert!(dump.router_ids.is_empty() && dump.web_rtc_server_ids.is_empty());
    assert!(worker.get_resource_usage().await.unwrap().ru_maxrss > 0);
    let settings = UpdateSettings {
        log_level: Some(LogLevel::Warn),
        log_tags: Some(vec!["ice".into()]),
    };
    worker.update_settings(settings).await.unwrap();
}

#[tokio::test]
async fn wrong_settings_are_type_errors() {
    let cases = [
        WorkerSettings {
            rtc_min_port: 1000,
            rtc_max_port: 999,
            ..settings()
        },
        WorkerSettings {
            dtls_certificate_file: Some("/nowhere/cert.pem".into()),
            ..settings()
        },
        WorkerSettings {
            dtls_private_key_file: Some("/nowhere/key.pem".into()),
            ..settings()
        },
    ];
    for settings in cases {
        let error = Worker::new(settings.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Type, "{settings:?}: {error}");
    }
}

#[tokio::test]
async fn many_requests_at_once() {
    let worker = worker().await;
    let tasks = (0..5000).map(|_| {
        let worker = worker.clone();
        tokio::spawn(async move { worker.dump().await.map(|dump| dump.pid) })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().unwrap(), worker.pid());
    }
}

#[tokio::test]
async fn closing_a_worker_closes_what_it_holds() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    worker.close();
    assert!(worker.is_closed() && router.is_closed() && transport.is_closed());
    assert_eq!(worker.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(router.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(transport.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(matches!(
        rest(worker.events()).await.as_slice(),
        [WorkerEvent::NewRouter(_), WorkerEvent::Closed]
    ));
    let events = rest(router.events()).await;
    assert!(matches!(
        events.last(),
        Some(RouterEvent::Closed(CloseReason::WorkerClosed))
    ));
    let events = rest(transport.events()).await;
    assert!(matches!(
        events.last(),
        Some(TransportEvent::Closed(CloseReason::RouterClosed))
    ));
    assert_eq!(worker.wait().await.code, Some(0));
}

#[tokio::test]
async fn a_killed_worker_has_died() {
    for with in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let worker = worker().await;
        let router = router(&worker).await;
        let events = worker.events();
        signal(&worker, with);
        let events = rest(events).await;
        assert!(
            matches!(events.as_slice(), [WorkerEvent::NewRouter(_), WorkerEvent::Died(_)]),
            "{with}: {events:?}"
        );
        assert!(worker.is_closed() && worker.has_died() && router.is_closed());
        worker.wait().await;
    }
}

#[tokio::test]
async fn signals_that_a_worker_ignores() {
    let worker = worker().await;
    for ignored in [
        Signal::SIGPIPE,
        Signal::SIGHUP,
        Signal::SIGALRM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        signal(&worker, ignored);
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    worker.dump().await.unwrap();
}

#[tokio::test]
async fn routers() {
    let worker = worker().await;
    let mut events = worker.events();
    let router = router(&worker).await;
    assert!(matches!(next(&mut events).await, WorkerEvent::NewRouter(new) if new.id() == router.id()));
    assert_eq!(worker.dump().await.unwrap().router_ids, [router.id()]);
    let dump = router.dump().await.unwrap();
    assert_eq!(dump.id, router.id());
    assert!(dump.transport_ids.is_empty() && dump.map_producer_id_consumer_ids.is_empty());

    let chicken = RouterOptions::new(vec![RtpCodecCapability::video("video/chicken")]);
    assert_eq!(
        worker.create_router(chicken).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );

    let transport = router
        .create_plain_transport(PlainTransportOptions::new([127, 0, 0, 1]))
        .await
        .unwrap();
    router.close();
    router.close();
    assert!(router.is_closed() && transport.is_closed());
    assert!(worker.routers().is_empty());
    assert!(worker.dump().await.unwrap().router_ids.is_empty());
    assert!(matches!(
        rest(router.events()).await.as_slice(),
        [
            RouterEvent::NewTransport(_),
            RouterEvent::Closed(CloseReason::Requested)
        ]
    ));
}

#[tokio::test]
async fn whoever_wants_to_hears_of_workers() {
    let mut workers = client::new_workers();
    let options = WorkerSettings {
        app_data: AppData::new("mine"),
        ..settings()
    };
    let worker = Worker::new(options).await.unwrap();
    assert_eq!(worker.app_data().get::<&str>(), Some(&"mine"));
    // Other tests start workers, too.
    let found = loop {
        let found = next(&mut workers).await;
        if found.pid() == worker.pid() {
            break found;
        }
    };
    assert!(!found.is_closed() && found.app_data().get::<&str>().is_some());
    let mut late = client::new_workers();
    while let Some(other) = late.try_recv() {
        assert_ne!(other.pid(), worker.pid());
    }
}

#[tokio::test]
async fn a_closed_worker_does_nothing() {
    let worker = worker().await;
    let pending = (0..100).map(|_| {
        let worker = worker.clone();
        tokio::spawn(async move { worker.dump().await })
    });
    let pending = pending.collect::<Vec<_>>();
    tokio::task::yield_now().await;
    worker.close();
    for request in pending {
        // Those that were answered before are fine.
        if let Err(error) = request.await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
        }
    }
    let settings = worker.update_settings(UpdateSettings::default()).await;
    assert_eq!(settings.unwrap_err().kind(), ErrorKind::InvalidState);
    let usage = worker.get_resource_usage().await;
    assert_eq!(usage.unwrap_err().kind(), ErrorKind::InvalidState);
    let router = worker.create_router(RouterOptions::default()).await;
    assert_eq!(router.unwrap_err().kind(), ErrorKind::InvalidState);
    let events = rest(worker.events()).await;
    assert!(matches!(events.as_slice(), [WorkerEvent::Closed]), "{events:?}");
    assert!(!worker.has_died() && worker.wait().await.code == Some(0));
}

#[tokio::test]
async fn a_router_without_codecs_moves_data() {
    let worker = worker().await;
    let options = RouterOptions {
        app_data: AppData::new(std::sync::Mutex::new(1)),
        ..RouterOptions::default()
    };
    let router = worker.create_router(options).await.unwrap();
    // What is attached can change if it is made to.
    *router
        .app_data()
        .get::<std::sync::Mutex<i32>>()
        .unwrap()
        .lock()
        .unwrap() += 1;
    let again = &worker.routers()[0];
    assert_eq!(
        *again.app_data().get::<std::sync::Mutex<i32>>().unwrap().lock().unwrap(),
        2
    );
    assert!(router.rtp_capabilities().codecs.is_empty());
    let transport = router.create_direct_transport(DirectTransportOptions::default());
    let producer = transport.await.unwrap().produce_data(Default::default()).await;
    assert_eq!(router.data_producers()[0].id(), producer.unwrap().id());
}
