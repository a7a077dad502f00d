//! Signalling over a real WebSocket, with the real worker.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use demo::{Config, Server};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Generous: these tests share the machine with others.
const LIMIT: Duration = Duration::from_secs(20);

async fn server(workers: usize) -> Server {
    let workers = format!("--num-workers={workers}");
    let mut config = Config::parse_from(["demo", "--listen-port=0", "--media-port=0", &workers]);
    let deps = std::env::current_exe().expect("this program");
    let built = deps.ancestors().nth(2).expect("a target directory").join("worker");
    config.worker_bin = Some(std::env::var_os("WORKER_BIN").map_or(built, PathBuf::from));
    Server::start(config).await.expect("a server")
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    /// Requests and notifications that came before somebody asked for them.
    backlog: Vec<Value>,
    asked: u32,
}

async fn dial(server: &Server, query: &str) -> Result<Client, Error> {
    let mut request = format!("ws://{}/?{query}", server.address()).into_client_request()?;
    let protocol = "protoo".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    connect_async(request).await.map(|(socket, _)| Client {
        socket,
        backlog: Vec::new(),
        asked: 0,
    })
}

async fn open(server: &Server, peer: &str) -> Client {
    dial(server, &format!("roomId=r&peerId={peer}"))
        .await
        .expect("a connection")
}

impl Client {
    async fn message(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(LIMIT, self.socket.next())
                .await
                .expect("something in time")
            {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("a connection");
    }

    /// Asks; returns the whole response.
    async fn try_ask(&mut self, method: &str, data: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({ "request": true, "id": id, "method": method, "data": data }))
            .await;
        loop {
            let message = self.message().await.expect("a connection");
            if message["response"] == true && message["id"] == id {
                return message;
            }
            self.backlog.push(message);
        }
    }

    /// Asks for what must be granted; returns the data.
    async fn ask(&mut self, method: &str, data: Value) -> Value {
        let mut response = self.try_ask(method, data).await;
        assert_eq!(response["ok"], true, "{method}: {response}");
        response["data"].take()
    }

    /// The next request or notification of this method.
    async fn told(&mut self, method: &str) -> Value {
        loop {
            if let Some(index) = self.backlog.iter().position(|message| message["method"] == method) {
                return self.backlog.remove(index);
            }
            let message = self.message().await.expect("a connection");
            self.backlog.push(message);
        }
    }

    async fn answer(&mut self, request: &Value, ok: bool) {
        let (id, reason) = (&request["id"], "no, thank you");
        self.send(&json!({ "response": true, "id": id, "ok": ok, "errorCode": 403, "errorReason": reason }))
            .await;
    }

    /// Joins with all that the router can; returns those who are there.
    async fn join(&mut self, name: &str) -> Value {
        let capabilities = self.ask("getRouterRtpCapabilities", json!({})).await;
        let data = json!({ "displayName": name, "device": { "name": "test" }, "rtpCapabilities": capabilities });
        self.ask("join", data).await["peers"].take()
    }

    /// Creates a transport and connects it, as far as signalling goes; returns its id.
    async fn transport(&mut self, consuming: bool) -> Value {
        let data = json!({ "producing": !consuming, "consuming": consuming });
        let made = self.ask("createWebRtcTransport", data).await;
        let fingerprint = json!({ "algorithm": "sha-256", "value": vec!["AB"; 32].join(":") });
        let parameters = json!({ "role": "client", "fingerprints": [fingerprint] });
        let data = json!({ "transportId": made["id"], "dtlsParameters": parameters });
        self.ask("connectWebRtcTransport", data).await;
        made["id"].clone()
    }

    /// Produces audio; returns the producer's id.
    async fn produce(&mut self, ssrc: u32) -> Value {
        let transport = self.transport(false).await;
        let codec = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48_000, "channels": 2 });
        let parameters = json!({ "codecs": [codec], "encodings": [{ "ssrc": ssrc }] });
        let data = json!({
            "transportId": transport, "kind": "audio", "rtpParameters": parameters, "appData": { "share": false },
        });
        self.ask("produce", data).await["id"].take()
    }
}

#[tokio::test]
async fn join_and_leave_are_told_and_errors_are_typed() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    let early = one.try_ask("pauseProducer", json!({ "producerId": "x" })).await;
    assert_eq!(early["errorReason"], "not joined");
    assert_eq!(one.try_ask("nonsense", json!({})).await["errorCode"], 500);
    assert_eq!(one.try_ask("join", json!({ "device": 3 })).await["errorCode"], 400);
    let capabilities = one.ask("getRouterRtpCapabilities", json!({})).await;
    let codecs = capabilities["codecs"].as_array().expect("codecs").iter();
    let types: Vec<_> = codecs
        .filter_map(|codec| codec["preferredPayloadType"].as_u64())
        .collect();
    assert_eq!(types, (100..=108).collect::<Vec<_>>());
    assert_eq!(one.join("One").await, json!([]));
    assert_eq!(two.join("Two").await[0]["id"], "one");
    let told = one.told("newPeer").await;
    assert_eq!(
        (&told["data"]["id"], &told["data"]["displayName"]),
        (&json!("two"), &json!("Two"))
    );
    let again = two.try_ask("join", json!({ "displayName": "Two", "device": {} })).await;
    assert_eq!(again["errorReason"], "already joined");
    two.ask("changeDisplayName", json!({ "displayName": "Zwei" })).await;
    let told = one.told("peerDisplayNameChanged").await;
    assert_eq!(
        told["data"],
        json!({ "peerId": "two", "displayName": "Zwei", "oldDisplayName": "Two" })
    );
    drop(two);
    assert_eq!(one.told("peerClosed").await["data"]["peerId"], "two");
    server.close();
}

#[tokio::test]
async fn whoever_joins_gets_what_others_produce_and_what_they_produce_later() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    let first = one.produce(1111).await;
    two.transport(true).await;
    two.join("Two").await;
    let pushed = two.told("newConsumer").await;
    assert_eq!(
        (&pushed["data"]["producerId"], &pushed["data"]["peerId"]),
        (&first, &json!("one"))
    );
    assert_eq!(pushed["data"]["appData"], json!({ "share": false, "peerId": "one" }));
    assert_eq!(pushed["data"]["rtpParameters"]["codecs"][0]["mimeType"], "audio/opus");
    two.answer(&pushed, true).await;
    two.told("consumerScore").await;
    let consumer = pushed["data"]["id"].clone();

    let second = one.produce(3333).await;
    let later = two.told("newConsumer").await;
    assert_eq!(later["data"]["producerId"], second);
    // Who refuses a consumer does not get it; the rest goes on.
    two.answer(&later, false).await;

    one.ask("pauseProducer", json!({ "producerId": first })).await;
    assert_eq!(two.told("consumerPaused").await["data"]["consumerId"], consumer);
    one.ask("resumeProducer", json!({ "producerId": first })).await;
    assert_eq!(two.told("consumerResumed").await["data"]["consumerId"], consumer);
    for method in ["pauseConsumer", "resumeConsumer", "requestConsumerKeyFrame"] {
        two.ask(method, json!({ "consumerId": consumer })).await;
        let theirs = one.try_ask(method, json!({ "consumerId": consumer })).await;
        assert_eq!(theirs["ok"], false, "{method} of another's consumer");
    }
    one.ask("closeProducer", json!({ "producerId": first })).await;
    assert_eq!(two.told("consumerClosed").await["data"]["consumerId"], consumer);
    let gone = one.try_ask("pauseProducer", json!({ "producerId": first })).await;
    assert_eq!(gone["ok"], false);
    // The other producer goes with its peer.
    drop(one);
    assert_eq!(two.told("peerClosed").await["data"]["peerId"], "one");
    server.close();
}

#[tokio::test]
async fn ice_restarts_and_strangers_transports_are_not_found() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    let transport = one.transport(false).await;
    let restarted = one.ask("restartIce", json!({ "transportId": transport })).await;
    assert!(restarted["usernameFragment"].is_string(), "{restarted}");
    let theirs = two.try_ask("restartIce", json!({ "transportId": transport })).await;
    assert_eq!(theirs["ok"], false);
    server.close();
}

#[tokio::test]
async fn a_second_connection_of_a_peer_replaces_the_first() {
    let server = server(1).await;
    let mut other = open(&server, "other").await;
    other.join("Other").await;
    let mut old = open(&server, "same").await;
    old.join("Old").await;
    other.told("newPeer").await;
    let mut new = open(&server, "same").await;
    assert_eq!(old.message().await, None, "the first is closed");
    assert_eq!(other.told("peerClosed").await["data"]["peerId"], "same");
    assert_eq!(new.join("New").await[0]["id"], "other");
    assert_eq!(other.told("newPeer").await["data"]["displayName"], "New");
    server.close();
}

#[tokio::test]
async fn rooms_do_not_see_each_other_and_end_with_their_last_peer() {
    let server = server(2).await;
    let mut one = open(&server, "one").await;
    let mut elsewhere = dial(&server, "roomId=other&peerId=two").await.expect("a connection");
    assert_eq!(server.rooms().await, 2);
    one.join("One").await;
    assert_eq!(elsewhere.join("Two").await, json!([]));
    drop((one, elsewhere));
    let empty = async {
        while server.rooms().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, empty).await.expect("empty rooms end");
    server.close();
}

#[tokio::test]
async fn names_that_are_missing_or_odd_are_refused() {
    let server = server(1).await;
    let long = "x".repeat(65);
    for query in [
        "",
        "roomId=r",
        "peerId=p",
        "roomId=&peerId=p",
        "roomId=r&peerId=%00",
        &format!("roomId={long}&peerId=p"),
    ] {
        match dial(&server, query).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400, "{query}"),
            _ => panic!("{query} got in"),
        }
    }
    assert_eq!(server.rooms().await, 0);
    server.close();
}
