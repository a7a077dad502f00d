//! Sources and sinks of media without signalling of their own.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use demo::Server;
use serde_json::{Value, json};

use crate::client::{Client, LIMIT, http, http_with, open, server, start};

/// Uses the API below a room's broadcasters.
pub struct Api<'a>(pub &'a Server);

impl Api<'_> {
    /// Asks for what must be granted; returns the answer.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    async fn try_post(&self, path: &str, body: Value) -> (u16, String) {
        http(
            self.0,
            "POST",
            &format!("/rooms/r/broadcasters{path}"),
            &body.to_string(),
        )
        .await
    }

    pub async fn create(&self, id: &str, capabilities: Value) -> Value {
        let data = json!({
            "id": id, "displayName": "Source", "device": { "name": "test" }, "rtpCapabilities": capabilities,
        });
        self.post("", data).await
    }

    /// Makes a plain transport; returns its path and what it told.
    pub async fn plain(&self, id: &str) -> (String, Value) {
        let told = self
            .post(&format!("/{id}/transports"), json!({ "type": "plain" }))
            .await;
        let transport = told["id"].as_str().expect("an id");
        (format!("/{id}/transports/{transport}"), told)
    }
}

pub fn opus() -> Value {
    let extension = json!({ "uri": "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "id": 1 });
    let codec = json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48_000, "channels": 2 });
    json!({ "codecs": [codec], "headerExtensions": [extension], "encodings": [{ "ssrc": 1111 }] })
}

/// A packet of opus with its level (RFC 6464).
fn packet(sequence: u16, level: u8) -> Vec<u8> {
    let mut packet = vec![0x90, 100];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 960).to_be_bytes());
    packet.extend(1111_u32.to_be_bytes());
    packet.extend([0xBE, 0xDE, 0, 1, 0x10, 0x80 | level, 0, 0]);
    packet.extend([7; 40]);
    packet
}

/// Sends audio to a transport until the future that it is raced with is done.
pub async fn while_speaking<T>(transport: &Value, level: u8, wait: impl Future<Output = T>) -> T {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = format!("127.0.0.1:{}", transport["port"]);
    let speak = async {
        for sequence in 0.. {
            socket.send_to(&packet(sequence, level), &address).expect("a packet");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = speak => unreachable!("it speaks for ever"),
        result = wait => result,
    }
}

/// A peer that can receive and has joined.
pub async fn viewer(server: &Server, name: &str) -> Client {
    let mut viewer = open(server, name).await;
    viewer.transport(true).await;
    viewer.join(name).await;
    viewer
}

#[tokio::test]
async fn a_broadcaster_is_seen_heard_and_gone() {
    let server = server(1).await;
    let mut one = viewer(&server, "one").await;
    let (status, capabilities) = http(&server, "GET", "/rooms/r", "").await;
    assert_eq!(status, 200);
    assert!(capabilities.contains("audio/opus"), "{capabilities}");
    let api = Api(&server);
    assert_eq!(api.create("source", Value::Null).await, json!({ "peers": [] }));
    let told = one.told("newPeer").await["data"].take();
    assert_eq!(
        (&told["id"], &told["device"]["flag"]),
        (&json!("source"), &json!("broadcaster")),
        "{told}"
    );
    let (transport, told) = api.plain("source").await;
    assert_eq!(told["ip"], "127.0.0.1");
    assert!(told["port"].is_u64() && told["rtcpPort"].is_u64(), "{told}");
    let wanted = json!({ "kind": "audio", "rtpParameters": opus() });
    let producer = api.post(&format!("{transport}/producers"), wanted).await["id"].take();
    let consumer = one.take().await;
    assert_eq!(
        (&consumer["producerId"], &consumer["peerId"]),
        (&producer, &json!("source"))
    );
    assert_eq!(consumer["appData"], json!({ "peerId": "source" }));
    // It speaks, and then it does not.
    let speaker = while_speaking(&told, 20, async { one.told("activeSpeaker").await["data"].take() }).await;
    assert_eq!(speaker["peerId"], "source");
    assert!(
        speaker["volume"]
            .as_i64()
            .is_some_and(|volume| (-127..0).contains(&volume)),
        "{speaker}"
    );
    assert_eq!(one.told("dominantSpeaker").await["data"]["peerId"], "source");
    loop {
        let speaker = one.told("activeSpeaker").await["data"].take();
        if speaker["peerId"].is_null() {
            break;
        }
    }
    // Who comes later gets it too, and is told of it.
    let mut two = open(&server, "two").await;
    two.transport(true).await;
    let peers = two.join("Two").await;
    assert!(
        peers
            .as_array()
            .expect("a list")
            .iter()
            .any(|peer| peer["id"] == "source"),
        "{peers}"
    );
    assert_eq!(two.take().await["producerId"], producer);
    let (status, answer) = http(&server, "DELETE", "/rooms/r/broadcasters/source", "").await;
    assert_eq!((status, answer.as_str()), (200, "broadcaster deleted"));
    for client in [&mut one, &mut two] {
        assert_eq!(client.told("peerClosed").await["data"]["peerId"], "source");
        client.told("consumerClosed").await;
    }
    server.close();
}

#[tokio::test]
async fn a_broadcaster_can_be_a_sink() {
    let server = server(1).await;
    let mut one = viewer(&server, "one").await;
    let from_page = one.produce(5).await;
    let api = Api(&server);
    let capabilities = serde_json::from_str(&http(&server, "GET", "/rooms/r", "").await.1).expect("JSON");
    let answer = api.create("sink", capabilities).await;
    let expected = json!([{ "id": from_page, "kind": "audio" }]);
    assert_eq!(
        (&answer["peers"][0]["id"], &answer["peers"][0]["producers"]),
        (&json!("one"), &expected)
    );
    // What one broadcaster sends, another gets.
    api.create("source", Value::Null).await;
    let (transport, told) = api.plain("source").await;
    let wanted = json!({ "kind": "audio", "rtpParameters": opus() });
    let producer = api.post(&format!("{transport}/producers"), wanted).await["id"].take();
    let wanted = json!({ "type": "plain", "comedia": false, "rtcpMux": true });
    let sink = api.post("/sink/transports", wanted).await["id"].take();
    let sink = format!("/sink/transports/{}", sink.as_str().expect("an id"));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    api.post(&format!("{sink}/connect"), json!({ "ip": "127.0.0.1", "port": port }))
        .await;
    let id = producer.as_str().expect("an id");
    let consumer = api.post(&format!("{sink}/consume?producerId={id}"), json!({})).await;
    assert_eq!(
        (&consumer["type"], &consumer["kind"]),
        (&json!("simple"), &json!("audio")),
        "{consumer}"
    );
    let ssrc = consumer["rtpParameters"]["encodings"][0]["ssrc"]
        .as_u64()
        .expect("an SSRC");
    let mut buffer = [0; 2000];
    let arrived = async {
        loop {
            let length = socket.recv(&mut buffer).await.expect("a packet");
            let ssrc_at = length.checked_sub(1).and(buffer.get(8..12));
            if buffer[1] & 0x7F == 100 && ssrc_at == Some(&(ssrc as u32).to_be_bytes()[..]) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, while_speaking(&told, 20, arrived))
        .await
        .expect("its packets");
    // It may take each several times, but not for ever.
    let path = format!("{sink}/consume?producerId={id}");
    for _ in 1..1000 {
        api.post(&path, json!({})).await;
    }
    assert_eq!(api.try_post(&path, json!({})).await.0, 429);
    server.close();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_status() {
    let server = start(&["--insecure-http", "--num-workers=1", "--broadcaster-token=t0ken"]).await;
    let mut one = viewer(&server, "one").await;
    let ask = async |method: &str, path: &str, body: &str| {
        http_with(server.address(), method, path, "Authorization: Bearer t0ken\r\n", body).await
    };
    assert_eq!(http(&server, "GET", "/rooms/r", "").await.0, 401);
    let wrong = http_with(
        server.address(),
        "GET",
        "/rooms/r",
        "Authorization: Bearer t0kex\r\n",
        "",
    )
    .await;
    assert_eq!(wrong.0, 401);
    assert_eq!(ask("GET", "/rooms/other", "").await.0, 404);
    let good = r#"{"id":"b","displayName":"B","device":{"name":"test"}}"#;
    assert_eq!(ask("POST", "/rooms/other/broadcasters", good).await.0, 404);
    let all = "/rooms/r/broadcasters";
    for bad in [
        "",
        "{",
        "[]",
        "null",
        r#"{"id":"b"}"#,
        r#"{"id":"b","displayName":"B"}"#,
        r#"{"id":"b","displayName":"B","device":{}}"#,
        r#"{"id":"b","displayName":"","device":{"name":"x"}}"#,
        r#"{"id":"","displayName":"B","device":{"name":"x"}}"#,
        r#"{"id":"b","displayName":"B","device":{"name":"x"},"rtpCapabilities":{"codecs":[{"mimeType":"x"}]}}"#,
    ] {
        assert_eq!(ask("POST", all, bad).await.0, 400, "{bad}");
    }
    assert_eq!(ask("POST", all, &"x".repeat(300_000)).await.0, 413);
    assert_eq!(ask("POST", all, good).await.0, 200);
    assert_eq!(ask("POST", all, good).await.0, 409);
    let peer = r#"{"id":"one","displayName":"B","device":{"name":"test"}}"#;
    assert_eq!(ask("POST", all, peer).await.0, 409, "the id of a peer");
    let transports = format!("{all}/b/transports");
    for bad in ["{}", r#"{"type":"pigeon"}"#, r#"{"type":"plain","comedia":3}"#] {
        assert_eq!(ask("POST", &transports, bad).await.0, 400, "{bad}");
    }
    assert_eq!(
        ask("POST", &format!("{all}/c/transports"), r#"{"type":"plain"}"#)
            .await
            .0,
        404
    );
    let (status, told) = ask("POST", &transports, r#"{"type":"plain"}"#).await;
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let transport = format!("{transports}/{}", told["id"].as_str().expect("an id"));
    for (path, body, expected) in [
        (
            format!("{transport}/connect"),
            r#"{"dtlsParameters":{"role":"auto","fingerprints":[]}}"#,
            400,
        ),
        (format!("{transport}/producers"), "{}", 400),
        (
            format!("{transport}/producers"),
            r#"{"kind":"smell","rtpParameters":{}}"#,
            400,
        ),
        (
            format!("{transport}/producers"),
            r#"{"kind":"audio","rtpParameters":{"codecs":[]}}"#,
            400,
        ),
        (format!("{transport}/consume"), "", 400),
        (format!("{transport}/consume?producerId=x"), "", 400),
        (format!("{transport}/consume/data"), r#"{"dataProducerId":"x"}"#, 404),
        (format!("{transports}/x/connect"), "{}", 404),
    ] {
        let (status, answer) = ask("POST", &path, body).await;
        assert_eq!(status, expected, "{path} {body}: {answer}");
    }
    let (status, told) = ask(
        "POST",
        &transports,
        r#"{"type":"webrtc","sctpCapabilities":{"numStreams":{"OS":9,"MIS":9}}}"#,
    )
    .await;
    assert!(
        status == 200 && told.contains("sctpParameters") && told.contains("iceCandidates"),
        "{told}"
    );
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let data = format!("{transports}/{}/produce/data", told["id"].as_str().expect("an id"));
    let wanted = r#"{"label":"chat","protocol":"","sctpStreamParameters":{"streamId":1,"ordered":true},"appData":{}}"#;
    assert_eq!(ask("POST", &data, wanted).await.0, 200);
    loop {
        let pushed = one.told("newDataConsumer").await;
        one.answer(&pushed, true).await;
        if pushed["data"]["label"] == "chat" {
            assert_eq!(pushed["data"]["peerId"], "b");
            break;
        }
    }
    assert_eq!(ask("DELETE", &format!("{all}/b"), "").await.0, 200);
    assert_eq!(ask("DELETE", &format!("{all}/b"), "").await.0, 404);
    server.close();
}

#[tokio::test]
async fn a_broadcaster_that_falls_silent_is_removed_and_none_outlives_its_room() {
    let server = start(&["--insecure-http", "--num-workers=1", "--broadcaster-timeout=1"]).await;
    let mut one = viewer(&server, "one").await;
    let api = Api(&server);
    api.create("silent", Value::Null).await;
    api.plain("silent").await;
    assert_eq!(one.told("peerClosed").await["data"]["peerId"], "silent");
    api.create("left", Value::Null).await;
    drop(one);
    let gone = async {
        while http(&server, "GET", "/rooms/r", "").await.0 != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone)
        .await
        .expect("the room ends without peers");
    server.close();
}

/// A script of ours that runs; it is asked to end when this is dropped.
struct Script(Child);

impl Script {
    fn start(name: &str, server: &Server, program: &str) -> Self {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok(), "{program} is missing: `make tools` installs it");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("broadcasters");
        let child = Command::new(folder.join(name))
            .env("SERVER_URL", format!("http://{}", server.address()))
            .env("ROOM_ID", "r")
            .spawn();
        Self(child.expect("the script"))
    }

    fn end(&self) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill")
                .success()
        );
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.end();
        let _ = self.0.wait();
    }
}

/// Audio and video of a script arrive in the room, and it says goodbye.
async fn broadcasts(name: &str, program: &str) {
    let server = server(1).await;
    let mut one = viewer(&server, "one").await;
    let script = Script::start(name, &server, program);
    let peer = one.told("newPeer").await["data"]["id"].take();
    let consumers = [one.take().await, one.take().await];
    let mut kinds: Vec<_> = consumers.iter().map(|consumer| consumer["kind"].as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [Some("audio"), Some("video")]);
    for consumer in &consumers {
        assert_eq!(consumer["peerId"], peer);
        let id = json!({ "consumerId": consumer["id"] });
        let arrives = async {
            let arrived = |stats: &Value| stats["type"] == "inbound-rtp" && stats["packetCount"].as_u64() > Some(10);
            while !one
                .ask("getConsumerStats", id.clone())
                .await
                .as_array()
                .expect("a list")
                .iter()
                .any(arrived)
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, arrives).await;
        assert!(in_time.is_ok(), "nothing arrives of {consumer}");
    }
    script.end();
    assert_eq!(one.told("peerClosed").await["data"]["peerId"], peer);
    server.close();
}

#[tokio::test]
async fn ffmpeg_broadcasts_into_a_room() {
    broadcasts("ffmpeg.sh", "ffmpeg").await;
}

#[tokio::test]
async fn gstreamer_broadcasts_into_a_room() {
    broadcasts("gstreamer.sh", "gst-launch-1.0").await;
}
