//! A server to test, and a client that does what a test says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use demo::{Config, Server};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Generous: these tests share the machine with others.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A server without encryption, with so many workers.
pub async fn server(workers: usize) -> Server {
    let workers = format!("--num-workers={workers}");
    start(&["--insecure-http", &workers]).await
}

/// A server with these flags, on ports that are free.
pub async fn start(flags: &[&str]) -> Server {
    let always = ["demo", "--listen-port=0", "--media-port=0"];
    let elsewhere = flags.iter().any(|flag| flag.starts_with("--media-ip"));
    let local = (!elsewhere).then_some("--media-ip=127.0.0.1");
    let mut config = Config::parse_from(always.iter().chain(&local).chain(flags));
    config.worker_bin = Some(worker_bin());
    Server::start(config).await.expect("a server")
}

/// The worker to use.
pub fn worker_bin() -> PathBuf {
    let deps = std::env::current_exe().expect("this program");
    let built = deps.ancestors().nth(2).expect("a target directory").join("worker");
    std::env::var_os("WORKER_BIN").map_or(built, PathBuf::from)
}

/// Waits until something is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "not in time: {what}");
}

/// One end of a signalling connection.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Requests and notifications that came before somebody asked for them.
    backlog: Vec<Value>,
    asked: u32,
    /// Whether it was sent away instead of being let in.
    pub ended: bool,
}

/// Connects, and waits until it is in a room or sent away.
pub async fn dial(server: &Server, query: &str) -> Result<Client, Error> {
    dial_at(server.address(), query).await
}

/// Connects to a server of another process.
pub async fn dial_at(address: SocketAddr, query: &str) -> Result<Client, Error> {
    let mut request = format!("ws://{address}/?{query}").into_client_request()?;
    let protocol = "protoo".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (socket, _) = connect_async(request).await?;
    let mut client = Client {
        socket,
        backlog: Vec::new(),
        asked: 0,
        ended: false,
    };
    match client.message().await {
        Some(first) => assert_eq!(first["method"], "mediasoup-version"),
        None => client.ended = true,
    }
    Ok(client)
}

/// Connects to a room for all.
pub async fn open(server: &Server, peer: &str) -> Client {
    dial(server, &format!("roomId=r&peerId={peer}"))
        .await
        .expect("a connection")
}

impl Client {
    /// The code with which the server ends the connection; what comes before is ignored.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            let frame = tokio::time::timeout(LIMIT, self.socket.next());
            match frame.await.expect("something in time") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next message; none if the connection ended.
    pub async fn message(&mut self) -> Option<Value> {
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

    pub async fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("a connection");
    }

    /// Asks; returns the whole response.
    pub async fn try_ask(&mut self, method: &str, data: Value) -> Value {
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
    pub async fn ask(&mut self, method: &str, data: Value) -> Value {
        let mut response = self.try_ask(method, data).await;
        assert_eq!(response["ok"], true, "{method}: {response}");
        response["data"].take()
    }

    /// The next request or notification of this method.
    pub async fn told(&mut self, method: &str) -> Value {
        loop {
            if let Some(index) = self.backlog.iter().position(|message| message["method"] == method) {
                return self.backlog.remove(index);
            }
            let message = self.message().await.expect("a connection");
            self.backlog.push(message);
        }
    }

    /// Takes or refuses what the server asks.
    pub async fn answer(&mut self, request: &Value, ok: bool) {
        let (id, reason) = (&request["id"], "no, thank you");
        self.send(&json!({ "response": true, "id": id, "ok": ok, "errorCode": 403, "errorReason": reason }))
            .await;
    }

    /// Joins with all that the router can, and data; returns those who are there.
    pub async fn join(&mut self, name: &str) -> Value {
        let capabilities = self.ask("getRouterRtpCapabilities", json!({})).await;
        let data = json!({
            "displayName": name, "device": { "name": "test" }, "rtpCapabilities": capabilities,
            "sctpCapabilities": sctp_capabilities(),
        });
        self.ask("join", data).await["peers"].take()
    }

    /// Whether something of this method comes before the answer to a question that is asked now.
    pub async fn was_told(&mut self, method: &str) -> bool {
        self.ask("getRouterRtpCapabilities", json!({})).await;
        self.backlog.iter().any(|message| message["method"] == method)
    }

    /// Waits for a consumer of something that this one produces, and takes it; returns its data.
    pub async fn take(&mut self) -> Value {
        let mut pushed = self.told("newConsumer").await;
        self.answer(&pushed, true).await;
        self.told("consumerScore").await;
        pushed["data"].take()
    }

    /// Creates a transport and connects it, as far as signalling goes; returns its id.
    pub async fn transport(&mut self, consuming: bool) -> Value {
        let data = json!({
            "producing": !consuming, "consuming": consuming, "sctpCapabilities": sctp_capabilities(),
        });
        let made = self.ask("createWebRtcTransport", data).await;
        let fingerprint = json!({ "algorithm": "sha-256", "value": vec!["AB"; 32].join(":") });
        let parameters = json!({ "role": "client", "fingerprints": [fingerprint] });
        let data = json!({ "transportId": made["id"], "dtlsParameters": parameters });
        self.ask("connectWebRtcTransport", data).await;
        made["id"].clone()
    }

    /// Produces video with three layers; returns the producer's id.
    pub async fn produce_simulcast(&mut self) -> Value {
        let transport = self.transport(false).await;
        let codec = json!({ "mimeType": "video/VP8", "payloadType": 96, "clockRate": 90_000 });
        let layer = |ssrc: u32| json!({ "ssrc": ssrc, "scalabilityMode": "L1T3" });
        let parameters = json!({ "codecs": [codec], "encodings": [layer(10), layer(20), layer(30)] });
        let data = json!({ "transportId": transport, "kind": "video", "rtpParameters": parameters });
        self.ask("produce", data).await["id"].take()
    }

    /// Produces data; returns the data producer's id.
    pub async fn produce_data(&mut self, label: &str) -> Value {
        let transport = self.transport(false).await;
        let data = json!({
            "transportId": transport, "sctpStreamParameters": { "streamId": 1, "ordered": true },
            "label": label, "protocol": "text", "appData": { "some": "thing" },
        });
        self.ask("produceData", data).await["id"].take()
    }

    /// Produces audio; returns the producer's id.
    pub async fn produce(&mut self, ssrc: u32) -> Value {
        let transport = self.transport(false).await;
        let codec = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48_000, "channels": 2 });
        let parameters = json!({ "codecs": [codec], "encodings": [{ "ssrc": ssrc }] });
        let data = json!({
            "transportId": transport, "kind": "audio", "rtpParameters": parameters, "appData": { "share": false },
        });
        self.ask("produce", data).await["id"].take()
    }
}

fn sctp_capabilities() -> Value {
    json!({ "numStreams": { "OS": 1024, "MIS": 1024 } })
}

/// Asks without encryption; returns status and body.
pub async fn http(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    http_with(server.address(), method, path, "", body).await
}

/// Asks with a header more.
pub async fn http_with(address: SocketAddr, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n");
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(format!("{head}{header}\r\n{body}").as_bytes()).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    let _ = read.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    // Nothing at all, if it was closed at once.
    (status.unwrap_or_default(), body.to_owned())
}
