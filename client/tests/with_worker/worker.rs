//! Worker and router.

use crate::common::{next, rest, router, settings, worker};
use client::{CloseReason, DirectTransportOptions};
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
    let tasks = (0..1000).map(|_| {
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
