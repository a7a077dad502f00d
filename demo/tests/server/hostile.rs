//! Bad input: it is answered with an error or dropped, what it holds is limited, and others notice nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::SinkExt as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::broadcasters::viewer;
use crate::client::{Client, LIMIT, dial, http_with, open, server, start, until};
use crate::process::Demo;

/// All methods, and what each of them needs.
const METHODS: [(&str, &str); 25] = [
    ("getRouterRtpCapabilities", ""),
    ("join", "displayName"),
    ("createWebRtcTransport", "forceTcp"),
    ("connectWebRtcTransport", "transportId"),
    ("restartIce", "transportId"),
    ("produce", "transportId"),
    ("closeProducer", "producerId"),
    ("pauseProducer", "producerId"),
    ("resumeProducer", "producerId"),
    ("pauseConsumer", "consumerId"),
    ("resumeConsumer", "consumerId"),
    ("setConsumerPreferredLayers", "consumerId"),
    ("setConsumerPriority", "consumerId"),
    ("requestConsumerKeyFrame", "consumerId"),
    ("produceData", "transportId"),
    ("changeDisplayName", "displayName"),
    ("getTransportStats", "transportId"),
    ("getProducerStats", "producerId"),
    ("getConsumerStats", "consumerId"),
    ("getConsumerDump", "consumerId"),
    ("getTransportDump", "transportId"),
    ("getDataProducerStats", "dataProducerId"),
    ("getDataConsumerStats", "dataConsumerId"),
    ("applyNetworkThrottle", "secret"),
    ("resetNetworkThrottle", "secret"),
];

/// Two who are well, and see what goes on beside them.
async fn witnesses(server: &demo::Server) -> (Client, Client) {
    let mut speaker = open(server, "speaker").await;
    speaker.join("Speaker").await;
    (speaker, viewer(server, "listener").await)
}

/// What one produces, the other still gets.
async fn undisturbed((speaker, listener): &mut (Client, Client), ssrc: u32) {
    let producer = speaker.produce(ssrc).await;
    assert_eq!(listener.take().await["producerId"], producer);
}

#[tokio::test]
async fn frames_that_are_no_messages_are_dropped_and_too_many_end_the_connection() {
    let server = server(1).await;
    let mut witnesses = witnesses(&server).await;
    let mut one = open(&server, "one").await;
    let odd = [
        "",
        "{",
        "null",
        "[]",
        "3",
        "\"text\"",
        "{}",
        "\u{0}",
        r#"{"request":true}"#,
        r#"{"request":true,"id":1}"#,
        r#"{"request":true,"id":"x","method":"join"}"#,
        r#"{"request":true,"id":1,"method":7}"#,
        r#"{"response":true}"#,
        r#"{"response":true,"id":99,"ok":true}"#,
        r#"{"notification":true}"#,
        &"[".repeat(50_000),
        &"{\"a\":".repeat(50_000),
    ];
    for text in odd {
        one.socket.send(Message::text(text)).await.expect("a connection");
    }
    one.socket
        .send(Message::binary(vec![0; 1000]))
        .await
        .expect("a connection");
    // It is still served.
    one.join("One").await;
    for _ in 0..200 {
        // The connection may end meanwhile.
        let _ = one.socket.send(Message::text("nonsense")).await;
    }
    assert_eq!(one.close_code().await, Some(1008));
    assert_eq!(witnesses.0.told("peerClosed").await["data"]["peerId"], "one");
    undisturbed(&mut witnesses, 1).await;
    server.close();
}

#[tokio::test]
async fn whatever_is_asked_is_answered() {
    let flags = ["--insecure-http", "--num-workers=1", "--max-requests-per-second=100000"];
    let server = start(&flags).await;
    let mut witnesses = witnesses(&server).await;
    let mut one = open(&server, "one").await;
    let values = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("x".repeat(10_000)),
        json!([]),
        json!({}),
        json!([[[]]]),
    ];
    for joined in [false, true] {
        if joined {
            one.join("One").await;
        }
        for (method, key) in METHODS {
            for value in &values {
                for data in [value.clone(), json!({ key: value })] {
                    // What makes sense in spite of all.
                    if method == "createWebRtcTransport" || method == "getRouterRtpCapabilities" {
                        continue;
                    }
                    let answer = one.try_ask(method, data.clone()).await;
                    if answer["ok"] == true {
                        assert!(method == "changeDisplayName" && joined, "{method} {data}: {answer}");
                    } else {
                        let code = answer["errorCode"].as_u64();
                        assert!([400, 403, 500].map(Some).contains(&code), "{method} {data}: {answer}");
                    }
                }
            }
        }
        for method in ["", "nonsense", "Join", "__proto__", &"x".repeat(10_000)] {
            let answer = one.try_ask(method, json!({})).await;
            assert_eq!(answer["errorCode"], 500, "{answer}");
        }
    }
    undisturbed(&mut witnesses, 1).await;
    server.close();
}

#[tokio::test]
async fn parameters_of_media_that_make_no_sense_are_refused() {
    let server = server(1).await;
    let mut one = open(&server, "one").await;
    one.join("One").await;
    let transport = one.transport(false).await;
    let codec = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48_000, "channels": 2 });
    for (kind, parameters) in [
        ("audio", json!({ "codecs": [], "encodings": [] })),
        ("audio", json!({ "codecs": [codec], "encodings": [] })),
        ("video", json!({ "codecs": [codec], "encodings": [{ "ssrc": 1 }] })),
        (
            "audio",
            json!({ "codecs": [{ "mimeType": "audio/x" }], "encodings": [{ "ssrc": 1 }] }),
        ),
        ("audio", json!({ "codecs": [codec], "encodings": [{ "ssrc": -1 }] })),
        (
            "audio",
            json!({ "codecs": vec![codec.clone(); 1000], "encodings": [{ "ssrc": "1" }] }),
        ),
    ] {
        let data = json!({ "transportId": transport, "kind": kind, "rtpParameters": parameters });
        let answer = one.try_ask("produce", data).await;
        assert_eq!(answer["ok"], false, "{kind} {parameters}: {answer}");
    }
    for streams in [
        json!({ "streamId": 65_535, "ordered": true }),
        json!({ "streamId": -1 }),
        json!(null),
    ] {
        let data =
            json!({ "transportId": transport, "sctpStreamParameters": streams, "label": "chat", "protocol": "" });
        let answer = one.try_ask("produceData", data).await;
        assert_eq!(answer["ok"], false, "{streams}: {answer}");
    }
    for fingerprints in [json!([]), json!([{ "algorithm": "md5", "value": "x" }]), json!("x")] {
        let fresh = one.ask("createWebRtcTransport", json!({})).await;
        let parameters = json!({ "role": "client", "fingerprints": fingerprints });
        let data = json!({ "transportId": fresh["id"], "dtlsParameters": parameters });
        assert_eq!(
            one.try_ask("connectWebRtcTransport", data).await["ok"],
            false,
            "{fingerprints}"
        );
    }
    one.produce(1).await;
    server.close();
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_connection_alone() {
    let server = start(&["--insecure-http", "--num-workers=1", "--max-message-size=100000"]).await;
    let mut witnesses = witnesses(&server).await;
    let mut one = open(&server, "one").await;
    let fits = one.try_ask("nonsense", json!("x".repeat(90_000))).await;
    assert_eq!(fits["errorCode"], 500);
    for size in [100_001, 1_000_000] {
        let mut one = open(&server, "other").await;
        // The server may close before it has read all of it.
        let _ = one.socket.send(Message::text("x".repeat(size))).await;
        let code = one.close_code().await;
        assert!(
            code == Some(1009) || (size > 200_000 && code.is_none()),
            "{size}: {code:?}"
        );
    }
    undisturbed(&mut witnesses, 1).await;
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_connections_with_one_id_the_last_one_stays() {
    let demo = Demo::start(&["--num-workers=1"]);
    let mut other = demo.dial("roomId=r&peerId=other").await.expect("a connection");
    other.join("Other").await;
    let dials = (0..30).map(|_| demo.dial("roomId=r&peerId=same"));
    let mut left = Vec::new();
    for dialled in futures_util::future::join_all(dials).await {
        let mut client = dialled.expect("a connection");
        // Whoever was replaced is sent away, at once or when it asks for something.
        let ask = json!({ "request": true, "id": 1, "method": "createWebRtcTransport", "data": {} });
        let sent = client.socket.send(Message::text(ask.to_string())).await;
        if sent.is_ok() && client.message().await.is_some() {
            left.push(client);
        }
    }
    assert_eq!(left.len(), 1);
    until("the others are gone", async || {
        let peers = demo.metric("sluice_peers").await;
        peers == Some(2.0) && demo.metric("sluice_transports{worker=\"0\"}").await == Some(1.0)
    })
    .await;
    left[0].join("Same").await;
    assert_eq!(other.told("newPeer").await["data"]["displayName"], "Same");
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_refused() {
    let server = start(&["--insecure-http", "--num-workers=1", "--max-unanswered=2"]).await;
    let mut witnesses = witnesses(&server).await;
    let mut one = open(&server, "one").await;
    let transport = one.transport(false).await;
    const COUNT: u64 = 500;
    for id in 1000..1000 + COUNT {
        let data = json!({ "transportId": transport });
        let request = json!({ "request": true, "id": id, "method": "getTransportStats", "data": data });
        one.socket
            .feed(Message::text(request.to_string()))
            .await
            .expect("a connection");
    }
    one.socket.flush().await.expect("a connection");
    let mut codes: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..COUNT {
        let answer = one.message().await.expect("an answer");
        *codes.entry(answer["errorCode"].as_u64().unwrap_or(200)).or_default() += 1;
    }
    assert_eq!(codes.keys().copied().collect::<Vec<_>>(), [200, 429], "{codes:?}");
    undisturbed(&mut witnesses, 1).await;
    server.close();
}

#[tokio::test]
async fn others_are_not_flooded_through_the_server() {
    let server = start(&["--insecure-http", "--num-workers=1", "--max-requests-per-second=1"]).await;
    let mut other = open(&server, "other").await;
    other.join("Other").await;
    let mut one = open(&server, "one").await;
    one.join("One").await;
    const COUNT: u64 = 5000;
    for id in 1000..1000 + COUNT {
        let data = json!({ "displayName": format!("One {id}") });
        let request = json!({ "request": true, "id": id, "method": "changeDisplayName", "data": data });
        one.socket
            .feed(Message::text(request.to_string()))
            .await
            .expect("a connection");
    }
    one.socket.flush().await.expect("a connection");
    let mut granted = 0;
    for _ in 0..COUNT {
        let answer = one.message().await.expect("an answer");
        assert!(answer["ok"] == true || answer["errorCode"] == 429, "{answer}");
        granted += u64::from(answer["ok"] == true);
    }
    // Ten at once, two of which were for joining, and one for each second that this takes.
    assert!((8..COUNT / 10).contains(&granted), "{granted}");
    for _ in 0..granted {
        other.told("peerDisplayNameChanged").await;
    }
    assert!(!other.was_told("peerDisplayNameChanged").await);
    server.close();
}

#[tokio::test]
async fn who_never_answers_holds_nothing_and_has_to_go() {
    let flags = [
        "--insecure-http",
        "--num-workers=1",
        "--answer-within=1",
        "--max-unanswered=3",
    ];
    let server = start(&flags).await;
    let mut witnesses = witnesses(&server).await;
    let mut mute = viewer(&server, "mute").await;
    // The bot asks first, then each producer.
    for ssrc in 1..=4 {
        undisturbed(&mut witnesses, ssrc).await;
    }
    assert_eq!(mute.close_code().await, Some(4000));
    assert_eq!(witnesses.0.told("peerClosed").await["data"]["peerId"], "mute");
    undisturbed(&mut witnesses, 9).await;
    server.close();
}

#[tokio::test]
async fn who_does_not_join_has_to_go_and_who_joined_stays() {
    let server = start(&["--insecure-http", "--num-workers=1", "--join-within=1"]).await;
    let mut idle = open(&server, "idle").await;
    let mut one = open(&server, "one").await;
    one.join("One").await;
    assert_eq!(idle.close_code().await, Some(4000));
    assert!(!one.was_told("peerClosed").await, "it never was one");
    server.close();
}

#[tokio::test]
async fn rooms_and_peers_have_limits() {
    let limits = [
        "--max-rooms=2",
        "--max-peers-per-room=2",
        "--max-peers=3",
        "--max-peers-per-worker=3",
    ];
    let server = start(&[&["--insecure-http", "--num-workers=1"], &limits[..]].concat()).await;
    let dialled = async |query: &str| dial(&server, query).await;
    let mut kept = vec![
        dialled("roomId=a&peerId=1").await.expect("a connection"),
        dialled("roomId=a&peerId=2").await.expect("a connection"),
    ];
    let third = dialled("roomId=a&peerId=3").await.expect("a connection");
    assert!(third.ended, "the room is full");
    kept.push(dialled("roomId=b&peerId=1").await.expect("a connection"));
    let fourth = dialled("roomId=b&peerId=2").await.expect("a connection");
    assert!(fourth.ended, "the server is full");
    match dialled("roomId=c&peerId=1").await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        _ => panic!("one room too many"),
    }
    // Who comes back has its place.
    kept.push(dialled("roomId=a&peerId=1").await.expect("a connection"));
    assert!(!kept[3].ended);
    for client in &mut kept[1..] {
        client.join("Name").await;
    }
    server.close();
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (
        format!("--tls-cert={}", place("c")),
        format!("--tls-key={}", place("k")),
    );
    let tls = start(&["--listen-ip=127.0.0.1", "--num-workers=1", &certificate, &key]).await;
    let plain = server(1).await;
    let silent = [
        (tls.address(), ""),
        (plain.address(), ""),
        (plain.address(), "GET / HTTP/1.1\r\nHost: h"),
        (
            plain.address(),
            "POST /rooms/r/broadcasters HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{",
        ),
        (plain.address(), "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"),
    ];
    let waits = silent.map(|(address, said)| async move {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(said.as_bytes()).await.expect("a connection");
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {said:?} on {address}");
    });
    futures_util::future::join_all(waits).await;
    tls.close();
    plain.close();
}

#[tokio::test]
async fn one_host_does_not_take_all_connections() {
    let server = start(&["--insecure-http", "--num-workers=1", "--max-connections-per-host=5"]).await;
    let mut kept = Vec::new();
    for index in 0..5 {
        kept.push(open(&server, &format!("p{index}")).await);
    }
    assert!(dial(&server, "roomId=r&peerId=more").await.is_err());
    assert_eq!(
        http_with(server.address(), "GET", "/healthz", "", "").await.0,
        0,
        "closed at once"
    );
    kept.truncate(3);
    until("there is room again", async || {
        http_with(server.address(), "GET", "/healthz", "", "").await.0 == 200
    })
    .await;
    server.close();
}

/// Ten thousand, if the limit of open files allows as many to this process; the server is another one.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_websockets_disturb_nobody() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a limit");
    let count = usize::try_from(hard.saturating_sub(2000))
        .expect("a number")
        .clamp(500, 10_000);
    let most = format!("--max-connections={}", count + 20);
    let flags = [
        "--num-workers=1",
        &most,
        "--max-connections-per-host=100000",
        "--max-peers=100000",
    ];
    let flags = [
        &flags[..],
        &["--max-peers-per-worker=100000", "--max-peers-per-room=100000"],
    ]
    .concat();
    let demo = Demo::start(&flags);
    let mut speaker = demo.dial("roomId=r&peerId=speaker").await.expect("a connection");
    speaker.join("Speaker").await;
    let mut listener = demo.dial("roomId=r&peerId=listener").await.expect("a connection");
    listener.transport(true).await;
    listener.join("Listener").await;
    let memory = || -> u64 {
        let status = demo.proc("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("its memory");
        line.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number")
    };
    let (before, begun) = (memory(), Instant::now());
    let mut idle = Vec::new();
    while idle.len() < count {
        let some = idle.len()..count.min(idle.len() + 100);
        let dials = some.map(|index| {
            let query = format!("roomId=idle{}&peerId=p{index}", index % 20);
            let demo = &demo;
            async move { demo.dial(&query).await.expect("a connection") }
        });
        idle.extend(futures_util::future::join_all(dials).await);
    }
    println!(
        "{count} idle WebSockets in {:.1} s, {} KiB each",
        begun.elapsed().as_secs_f64(),
        memory().saturating_sub(before) / count as u64
    );
    let producer = speaker.produce(1).await;
    assert_eq!(listener.take().await["producerId"], producer);
    // Beyond the limit connections are closed at once, and those that are there live on.
    let mut more = Vec::new();
    for index in 0..50 {
        more.extend(demo.dial(&format!("roomId=more&peerId=m{index}")).await);
    }
    assert!(more.len() < 20, "{} of 50 got in", more.len());
    let random = idle.len() / 2;
    idle[random].join("Not idle").await;
    drop((idle, more));
    until("they are gone", async || demo.metric("sluice_rooms").await == Some(1.0)).await;
    until("their connections too", async || {
        demo.metric("sluice_connections").await < Some(10.0)
    })
    .await;
    let producer = speaker.produce(2).await;
    assert_eq!(listener.take().await["producerId"], producer);
}
