//! The channels against a worker that is played by the test.

use bytes::BytesMut;
use channel_proto::frame::MAX_PAYLOAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::wire::put_frame;
use super::*;
use crate::error::ErrorKind;

/// The worker's ends.
struct Fake {
    requests: UnixStream,
    responses: UnixStream,
    payloads: UnixStream,
    payload_events: UnixStream,
}

fn start(timeout: Duration) -> (Started, Fake) {
    let pair = || UnixStream::pair().unwrap();
    let ((ours1, requests), (ours2, responses), (ours3, payloads), (ours4, payload_events)) =
        (pair(), pair(), pair(), pair());
    let ends = Ends {
        requests: ours1,
        responses: ours2,
        payloads: ours3,
        payload_events: ours4,
    };
    (
        Link::start(ends, 1, timeout),
        Fake {
            requests,
            responses,
            payloads,
            payload_events,
        },
    )
}

async fn read_frame(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut frame = vec![0; u32::from_ne_bytes(length) as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

async fn write_frame(stream: &mut UnixStream, frame: &[u8]) {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, frame);
    stream.write_all(&bytes).await.unwrap();
}

impl Fake {
    async fn request(&mut self) -> Value {
        serde_json::from_slice(&read_frame(&mut self.requests).await).unwrap()
    }

    async fn say(&mut self, message: Value) {
        write_frame(&mut self.responses, message.to_string().as_bytes()).await;
    }

    async fn accept(&mut self, request: &Value, data: Value) {
        self.say(json!({ "id": request["id"], "accepted": true, "data": data }))
            .await;
    }
}

const LONG: Duration = Duration::from_secs(5);

fn dump(link: &Link) -> impl Future<Output = Result<Value>> + Send + use<> {
    let link = link.clone();
    async move {
        link.request(Target::default(), Command::WorkerDump, |reply| reply.parse())
            .await
    }
}

impl Created for () {
    fn abandon(self) {}
}

/// Something that notes when nobody wants it.
#[derive(Debug)]
struct Noted(mpsc::UnboundedSender<String>);

impl Created for Noted {
    fn abandon(self) {
        let _ = self.0.send("abandoned".to_owned());
    }
}

/// Creates a router that notes what it is told.
fn create(link: &Link, id: &'static str, seen: &mpsc::UnboundedSender<String>) -> tokio::task::JoinHandle<Result<()>> {
    let (link, seen) = (link.clone(), seen.clone());
    tokio::spawn(async move {
        let target = Target {
            router_id: Some(id.into()),
            ..Target::default()
        };
        let listener = link.clone();
        let listening = target.clone();
        let build = move |_| {
            let _ = seen.send("created".to_owned());
            listener.subscribe(&listening, move |message| {
                let text = match message {
                    Message::Event(event) => event.name().to_owned(),
                    Message::Payload(_, payload) => format!("{} bytes", payload.len()),
                };
                let _ = seen.send(text);
            });
            Ok(())
        };
        link.create(target, Command::WorkerCreateRouter, Command::RouterClose, build)
            .await
    })
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (started, mut fake) = start(LONG);
    let (first, second) = (tokio::spawn(dump(&started.link)), tokio::spawn(dump(&started.link)));
    let (a, b) = (fake.request().await, fake.request().await);
    assert_eq!((&a["id"], &b["id"]), (&json!(1), &json!(2)));
    assert_eq!(a["method"], "worker.dump");
    fake.say(json!({ "id": 77, "accepted": true })).await;
    fake.accept(&b, json!("second")).await;
    fake.accept(&a, json!("first")).await;
    let mut answers = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
    answers.sort_by_key(ToString::to_string);
    assert_eq!(answers, [json!("first"), json!("second")]);
}

#[tokio::test]
async fn refusals_are_errors_of_their_class() {
    let (started, mut fake) = start(LONG);
    for (class, kind) in [
        ("TypeError", ErrorKind::Type),
        ("Error", ErrorKind::Other),
        ("Strange", ErrorKind::Other),
    ] {
        let task = tokio::spawn(dump(&started.link));
        let request = fake.request().await;
        fake.say(json!({ "id": request["id"], "error": class, "reason": "no way" }))
            .await;
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (kind, "worker.dump: no way")
        );
    }
}

#[tokio::test]
async fn what_comes_before_the_answer_waits_for_the_object() {
    let (started, mut fake) = start(LONG);
    let (seen, mut log) = mpsc::unbounded_channel();
    let creation = create(&started.link, "r", &seen);
    let request = fake.request().await;
    fake.say(json!({ "targetId": "r", "event": "early" })).await;
    // Payloads come on another way: let them overtake the answer, but not the notification.
    tokio::time::sleep(Duration::from_millis(50)).await;
    write_frame(&mut fake.payload_events, br#"{"targetId":"r","event":"rtp"}"#).await;
    write_frame(&mut fake.payload_events, &[0; 33]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    fake.accept(&request, json!({})).await;
    fake.say(json!({ "targetId": "r", "event": "late" })).await;
    fake.say(json!({ "targetId": "other", "event": "late" })).await;
    creation.await.unwrap().unwrap();
    for expected in ["created", "early", "33 bytes", "late"] {
        assert_eq!(log.recv().await.unwrap(), expected);
    }
    assert!(log.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_takes_effect_before_what_is_told_after_it() {
    let (started, mut fake) = start(LONG);
    let (seen, mut log) = mpsc::unbounded_channel();
    let creation = create(&started.link, "r", &seen);
    let request = fake.request().await;
    fake.accept(&request, json!({})).await;
    creation.await.unwrap().unwrap();
    assert_eq!(log.recv().await.unwrap(), "created");

    let link = started.link.clone();
    let task = tokio::spawn(async move {
        let apply = move |_| seen.send("answered".to_owned()).map_err(|_| Error::closed("log"));
        link.request(Target::default(), Command::RouterDump, apply).await
    });
    let request = fake.request().await;
    fake.accept(&request, json!({})).await;
    fake.say(json!({ "targetId": "r", "event": "told" })).await;
    assert_eq!(log.recv().await.unwrap(), "answered");
    assert_eq!(log.recv().await.unwrap(), "told");
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_creation_that_nobody_waits_for_is_undone() {
    let (started, mut fake) = start(Duration::from_millis(50));
    let (seen, mut log) = mpsc::unbounded_channel();
    // One runs out of time, the other one is given up.
    let late = create(&started.link, "late", &seen);
    let request = fake.request().await;
    assert!(matches!(late.await.unwrap(), Err(Error::Timeout { .. })));
    let undo = fake.request().await;
    assert_eq!(
        (&undo["method"], &undo["internal"]["routerId"]),
        (&json!("router.close"), &json!("late"))
    );
    fake.accept(&request, json!({})).await;

    let given_up = create(&started.link, "gone", &seen);
    fake.request().await;
    given_up.abort();
    assert_eq!(fake.request().await["internal"]["routerId"], "gone");
    fake.say(json!({ "targetId": "gone", "event": "late" })).await;
    assert!(log.try_recv().is_err());
    assert!(started.link.inner.state.lock().listeners.is_empty());
}

#[tokio::test]
async fn what_was_created_just_when_the_caller_gave_up_is_closed() {
    let (started, mut fake) = start(LONG);
    let (seen, mut log) = mpsc::unbounded_channel();
    let noted = seen.clone();
    let target = Target {
        router_id: Some("r".into()),
        ..Target::default()
    };
    let build = move |_| {
        let _ = noted.send("created".to_owned());
        Ok(Noted(noted.clone()))
    };
    let (command, undo) = (Command::WorkerCreateRouter, Command::RouterClose);
    let mut creation = Box::pin(started.link.create(target, command, undo, build));
    // It is asked for, and then not looked at until the answer has been applied.
    let first_look = std::future::poll_fn(|cx| std::task::Poll::Ready(creation.as_mut().poll(cx))).await;
    assert!(first_look.is_pending());
    let request = fake.request().await;
    fake.accept(&request, json!({})).await;
    assert_eq!(log.recv().await.unwrap(), "created");
    drop(creation);
    assert_eq!(log.recv().await.unwrap(), "abandoned");
    assert!(started.link.inner.state.lock().pending.is_empty());
}

#[tokio::test]
async fn a_refused_creation_leaves_nothing() {
    let (started, mut fake) = start(LONG);
    let (seen, _log) = mpsc::unbounded_channel();
    let creation = create(&started.link, "r", &seen);
    let request = fake.request().await;
    fake.say(json!({ "id": request["id"], "error": "Error", "reason": "no" }))
        .await;
    assert!(creation.await.unwrap().is_err());
    let state = started.link.inner.state.lock();
    assert!(state.listeners.is_empty() && state.pending.is_empty());
}

#[tokio::test]
async fn closing_fails_what_is_in_flight_and_what_comes() {
    let (started, mut fake) = start(LONG);
    let tasks = (0..100).map(|_| tokio::spawn(dump(&started.link))).collect::<Vec<_>>();
    for _ in 0..100 {
        fake.request().await;
    }
    started.link.close();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::InvalidState);
    }
    assert_eq!(dump(&started.link).await.unwrap_err().kind(), ErrorKind::InvalidState);
    let payload = PayloadCommand::ProducerSend(Target::default());
    let sent = started.link.send_payload(&payload, Bytes::new()).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_frame_larger_than_allowed_ends_the_channel() {
    let (mut started, mut fake) = start(LONG);
    fake.responses
        .write_all(&(MAX_PAYLOAD as u32 + 1).to_ne_bytes())
        .await
        .unwrap();
    started.readers.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn the_rest_of_the_wire() {
    let (started, mut fake) = start(LONG);
    // Logs, garbage and empty frames do not disturb.
    for frame in [&b"Dlog"[..], b"Wlog", b"Elog", b"?", b"", b"{broken"] {
        write_frame(&mut fake.responses, frame).await;
    }
    fake.say(json!({ "targetId": "4711", "event": "running" })).await;
    started.running.await.unwrap();

    let target = Target {
        producer_id: Some("p".into()),
        ..Target::default()
    };
    let sent = started
        .link
        .send_payload(&PayloadCommand::ProducerSend(target), Bytes::from_static(b"rtp"))
        .await;
    sent.unwrap();
    let header: Value = serde_json::from_slice(&read_frame(&mut fake.payloads).await).unwrap();
    assert_eq!(
        (&header["event"], &header["internal"]["producerId"]),
        (&json!("producer.send"), &json!("p"))
    );
    assert_eq!(read_frame(&mut fake.payloads).await, b"rtp");

    let large = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
    let refused = started
        .link
        .send_payload(&PayloadCommand::ProducerSend(Target::default()), large)
        .await;
    assert!(matches!(refused, Err(Error::TooBig { .. })));
}

#[test]
fn request_ids_skip_zero_and_those_in_flight() {
    let mut state = State {
        last_id: u32::MAX,
        ..State::default()
    };
    state.pending.insert(
        1,
        Pending {
            method: "",
            apply: Box::new(|_| ()),
        },
    );
    assert_eq!(state.free_id(), 2);
}
