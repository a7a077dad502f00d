//! Starting, watching and ending processes, with a script that plays the worker.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{Error, ErrorKind, Events, LogLevel, Result, Worker, WorkerEvent, WorkerSettings};

fn settings(behaviour: &str) -> WorkerSettings {
    WorkerSettings {
        binary: Some(PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fake_worker.sh"
        ))),
        environment: vec![("BEHAVIOUR".to_owned(), behaviour.to_owned())],
        ..WorkerSettings::default()
    }
}

async fn start(behaviour: &str) -> Result<Worker> {
    Worker::new(settings(behaviour)).await
}

async fn all(mut events: Events<WorkerEvent>) -> Vec<WorkerEvent> {
    let mut all = Vec::new();
    while let Some(event) = events.recv().await {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn wrong_settings() {
    let error = start("refuse_settings").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Type);
    assert!(error.to_string().contains("bad port range"), "{error}");
}

#[tokio::test]
async fn a_worker_that_ends_at_once() {
    let error = start("end_at_once").await.unwrap_err();
    let Error::Start { exit, stderr } = &error else {
        panic!("{error}")
    };
    assert_eq!((exit.code, exit.signal, stderr.as_str()), (Some(3), None, "no memory"));
    assert_eq!(error.kind(), ErrorKind::Other);
}

#[tokio::test]
async fn a_worker_that_never_comes_up() {
    let (timeout, started) = (Duration::from_millis(300), Instant::now());
    let result = Worker::new(WorkerSettings {
        start_timeout: timeout,
        ..settings("say_nothing")
    })
    .await;
    assert!(matches!(result, Err(Error::StartTimeout(_))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_worker_that_writes_garbage() {
    let result = start("garbage").await;
    assert!(
        matches!(&result, Err(Error::Start { exit, .. }) if exit.signal == Some(9)),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let binary = Some(PathBuf::from("/nowhere/worker"));
    let error = Worker::new(WorkerSettings {
        binary,
        ..WorkerSettings::default()
    })
    .await
    .unwrap_err();
    assert!(
        matches!(&error, Error::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_program_is_given() {
    let settings = WorkerSettings {
        log_level: LogLevel::Debug,
        log_tags: vec!["ice".into(), "rtp".into()],
        rtc_min_port: 2000,
        rtc_max_port: 3000,
        dtls_certificate_file: Some("cert.pem".into()),
        dtls_private_key_file: Some("key.pem".into()),
        ..settings("show_arguments")
    };
    let error = Worker::new(settings).await.unwrap_err().to_string();
    let arguments = "--logLevel=debug --logTag=ice --logTag=rtp --rtcMinPort=2000 --rtcMaxPort=3000 \
                     --dtlsCertificateFile=cert.pem --dtlsPrivateKeyFile=key.pem";
    assert!(error.contains(arguments), "{error}");
    assert!(error.contains("version 3.10.0"), "{error}");
}

#[tokio::test]
async fn a_worker_that_dies() {
    let worker = start("end_later").await.unwrap();
    assert!(!worker.is_closed() && !worker.has_died());
    // Nobody answers; the request fails when the process ends.
    assert_eq!(worker.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    let events = all(worker.events()).await;
    assert!(
        matches!(events.as_slice(), [WorkerEvent::Died(exit)] if exit.code == Some(7)),
        "{events:?}"
    );
    assert!(worker.is_closed() && worker.has_died());
    assert_eq!(worker.wait().await.code, Some(7));
    worker.close();
}

#[tokio::test]
async fn a_worker_whose_channels_break_is_killed() {
    let worker = start("break_channel").await.unwrap();
    let exit = worker.wait().await;
    assert_eq!(exit.signal, Some(9));
    assert!(worker.has_died());
}

#[tokio::test]
async fn closing_ends_the_process() {
    let worker = start("obey").await.unwrap();
    worker.close();
    worker.close();
    assert!(worker.is_closed() && !worker.has_died());
    assert_eq!(worker.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(worker.wait().await.signal, Some(15));
    let events = all(worker.events()).await;
    assert!(matches!(events.as_slice(), [WorkerEvent::Closed]), "{events:?}");
}

#[tokio::test]
async fn a_worker_that_does_not_obey_is_killed() {
    let worker = start("stubborn").await.unwrap();
    worker.close();
    assert_eq!(worker.wait().await.signal, Some(9));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_process() {
    let worker = start("obey").await.unwrap();
    let mut events = worker.events();
    let pid = i32::try_from(worker.pid()).unwrap();
    drop(worker);
    assert!(matches!(events.recv().await, Some(WorkerEvent::Closed)));
    for _ in 0..100 {
        if nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} is still there");
}
