//! A worker that answers whatever it is asked, unless the test says otherwise.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::channel::{Ends, Link, Started};
use crate::sync::Lock;
use crate::{AppData, Router, RtpCodecCapability, new_id, ortc};

/// What the fake worker does with a request.
pub(super) enum Answer {
    /// Accepts it with the data that belong to the method.
    Usual,
    /// Accepts it with other data.
    Data(Value),
    /// Refuses it.
    Refuse,
    /// Says nothing.
    Silence,
}

type Decide = Box<dyn Fn(&Value) -> Answer + Send + Sync>;

/// The worker's side.
pub(super) struct Fake {
    pub(super) link: Link,
    requests: Arc<Lock<Vec<Value>>>,
    decide: Arc<Lock<Decide>>,
    say: mpsc::UnboundedSender<Vec<u8>>,
    say_payload: mpsc::UnboundedSender<Vec<u8>>,
    _started: Started,
}

async fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut frame = vec![0; u32::from_ne_bytes(length) as usize];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

fn write_frames(mut stream: UnixStream) -> mpsc::UnboundedSender<Vec<u8>> {
    let (sender, mut frames) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(frame) = frames.recv().await {
            let mut bytes = BytesMut::new();
            bytes.put_u32_ne(frame.len() as u32);
            bytes.put_slice(&frame);
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    sender
}

impl Fake {
    pub(super) fn start() -> Self {
        let pair = || UnixStream::pair().unwrap();
        let (requests, mut asked) = pair();
        let (responses, answers) = pair();
        let (payloads, mut sent) = pair();
        let (payload_events, told) = pair();
        let ends = Ends {
            requests,
            responses,
            payloads,
            payload_events,
        };
        let started = Link::start(ends, 1, Duration::from_millis(500));
        let fake = Self {
            link: started.link.clone(),
            requests: Arc::default(),
            decide: Arc::new(Lock::new(Box::new(|_| Answer::Usual))),
            say: write_frames(answers),
            say_payload: write_frames(told),
            _started: started,
        };
        let (log, decide, say) = (fake.requests.clone(), fake.decide.clone(), fake.say.clone());
        tokio::spawn(async move {
            while let Some(frame) = read_frame(&mut asked).await {
                respond(&frame, &log, &decide, &say);
            }
        });
        let (log, decide, say) = (fake.requests.clone(), fake.decide.clone(), fake.say_payload.clone());
        tokio::spawn(async move {
            while let (Some(header), Some(_payload)) = (read_frame(&mut sent).await, read_frame(&mut sent).await) {
                respond(&header, &log, &decide, &say);
            }
        });
        fake
    }

    pub(super) fn router(&self) -> Router {
        let codecs = [
            RtpCodecCapability::audio("audio/opus", 48_000, 2),
            RtpCodecCapability::video("video/VP8"),
        ];
        let capabilities = ortc::router_capabilities(&codecs).unwrap();
        Router::new(
            new_id(),
            capabilities,
            AppData::default(),
            self.link.clone(),
            Weak::new(),
        )
    }

    /// From now on, what is done with requests.
    pub(super) fn decide(&self, decide: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
        *self.decide.lock() = Box::new(decide);
    }

    pub(super) fn tell(&self, target_id: &str, event: &str, data: &Value) {
        let mut message = json!({ "targetId": target_id, "event": event });
        if !data.is_null() {
            message["data"] = data.clone();
        }
        self.say.send(message.to_string().into_bytes()).unwrap();
    }

    /// Tells with data that are there and say "nothing".
    pub(super) fn tell_null(&self, target_id: &str, event: &str) {
        let message = json!({ "targetId": target_id, "event": event, "data": null });
        self.say.send(message.to_string().into_bytes()).unwrap();
    }

    /// Tells from within an answer, and before it.
    pub(super) fn teller(&self) -> impl Fn(&str, &str) + Send + Sync + 'static {
        let say = self.say.clone();
        move |target_id, event| {
            let message = json!({ "targetId": target_id, "event": event });
            say.send(message.to_string().into_bytes()).unwrap();
        }
    }

    pub(super) fn tell_payload(&self, target_id: &str, event: &str, data: &Value, payload: &[u8]) {
        let message = json!({ "targetId": target_id, "event": event, "data": data });
        self.say_payload.send(message.to_string().into_bytes()).unwrap();
        self.say_payload.send(payload.to_vec()).unwrap();
    }

    /// What was asked so far with this method.
    pub(super) fn asked(&self, method: &str) -> Vec<Value> {
        let requests = self.requests.lock();
        requests
            .iter()
            .filter(|request| request["method"] == method)
            .cloned()
            .collect()
    }

    /// Waits until this many requests of a method were asked.
    pub(super) async fn wait_for(&self, method: &str, count: usize) -> Vec<Value> {
        let asked = async {
            loop {
                let asked = self.asked(method);
                if asked.len() >= count {
                    return asked;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), asked)
            .await
            .expect("it is not asked")
    }
}

fn respond(frame: &[u8], log: &Lock<Vec<Value>>, decide: &Lock<Decide>, say: &mpsc::UnboundedSender<Vec<u8>>) {
    let request: Value = serde_json::from_slice(frame).unwrap();
    let answer = (*decide.lock())(&request);
    log.lock().push(request.clone());
    let id = &request["id"];
    let response = match answer {
        _ if id.is_null() => return,
        Answer::Silence => return,
        Answer::Refuse => json!({ "id": id, "error": "Error", "reason": "refused by the test" }),
        Answer::Data(data) => json!({ "id": id, "accepted": true, "data": data }),
        Answer::Usual => json!({ "id": id, "accepted": true, "data": usual(&request) }),
    };
    let _ = say.send(response.to_string().into_bytes());
}

/// What belongs to a method.
fn usual(request: &Value) -> Value {
    let (internal, data) = (&request["internal"], &request["data"]);
    let tuple = json!({ "localIp": "127.0.0.1", "localPort": 4000, "protocol": "udp" });
    let common = json!({ "id": internal["transportId"], "direct": false, "producerIds": [], "consumerIds": [],
        "mapSsrcConsumerId": {}, "mapRtxSsrcConsumerId": {}, "dataProducerIds": [], "dataConsumerIds": [],
        "recvRtpHeaderExtensions": {}, "rtpListener": { "ssrcTable": {}, "midTable": {}, "ridTable": {} },
        "maxMessageSize": 1000, "traceEventTypes": "" });
    let with = |mut dump: Value, more: Value| {
        if data["enableSctp"] == true {
            dump["sctpParameters"] = json!({ "port": 5000, "OS": 4, "MIS": 4, "maxMessageSize": 1000,
                "sendBufferSize": 1000, "sctpBufferedAmount": 0, "isDataChannel": false });
            dump["sctpState"] = json!("new");
            dump["sctpListener"] = json!({ "streamIdTable": {} });
        }
        let (Value::Object(dump), Value::Object(more)) = (&mut dump, more) else {
            unreachable!("both are objects")
        };
        dump.extend(more);
        Value::Object(std::mem::take(dump))
    };
    match request["method"].as_str().unwrap() {
        "router.createWebRtcTransport" => with(
            common,
            json!({ "iceRole": "controlled", "iceState": "new", "dtlsState": "new", "iceCandidates": [],
                "iceParameters": { "usernameFragment": "u", "password": "p", "iceLite": true },
                "dtlsParameters": { "role": "auto", "fingerprints": [] } }),
        ),
        "router.createPipeTransport" => with(common, json!({ "tuple": tuple, "rtx": false })),
        "router.createDirectTransport" => with(common, json!({ "direct": true })),
        "transport.connect" => json!({ "tuple": tuple }),
        "transport.produce" => json!({ "type": "simple" }),
        "transport.consume" => json!({ "paused": false, "producerPaused": false,
            "score": { "score": 10, "producerScore": 10, "producerScores": [0] } }),
        "transport.produceData" => with(data.clone(), json!({ "id": internal["dataProducerId"] })),
        "transport.consumeData" => with(
            data.clone(),
            json!({ "id": internal["dataConsumerId"], "dataProducerId": internal["dataProducerId"],
                "bufferedAmountLowThreshold": 0 }),
        ),
        _ => Value::Null,
    }
}
