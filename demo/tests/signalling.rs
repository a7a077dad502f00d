//! Signalling over a real WebSocket, with the real worker.

use std::path::PathBuf;

use clap::Parser;
use demo::{Config, Server};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn server() -> Server {
    let mut config = Config::parse_from(["demo", "--listen-port=0", "--media-port=0", "--num-workers=1"]);
    let built = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("worker");
    config.worker_bin = Some(std::env::var_os("WORKER_BIN").map_or(built, PathBuf::from));
    Server::start(config).await.unwrap()
}

async fn open(server: &Server, peer: &str) -> Socket {
    let url = format!("ws://{}/?roomId=r&peerId={peer}", server.address());
    let mut request = url.into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "protoo".parse().unwrap());
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn ask(socket: &mut Socket, method: &str, data: Value) -> Value {
    let request = json!({ "request": true, "id": 1, "method": method, "data": data });
    socket.send(Message::text(request.to_string())).await.unwrap();
    next(socket).await
}

#[tokio::test]
async fn join_and_leave_are_told_and_errors_are_typed() {
    let server = server().await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    let early = ask(&mut one, "pauseProducer", json!({ "producerId": "x" })).await;
    assert_eq!(early["errorReason"], "not joined");
    assert_eq!(ask(&mut one, "nonsense", json!({})).await["errorCode"], 500);
    assert_eq!(ask(&mut one, "join", json!({ "device": 3 })).await["errorCode"], 400);
    let codecs = ask(&mut one, "getRouterRtpCapabilities", json!({})).await["data"]["codecs"].clone();
    let types: Vec<_> = codecs
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["preferredPayloadType"].as_u64().unwrap())
        .collect();
    assert_eq!(types, (100..=108).collect::<Vec<_>>());
    let made = ask(
        &mut one,
        "createWebRtcTransport",
        json!({ "producing": true, "consuming": false }),
    )
    .await;
    assert!(
        made["data"]["iceCandidates"]
            .as_array()
            .is_some_and(|list| list.len() == 2),
        "{made}"
    );
    let join = |name: &str| json!({ "displayName": name, "device": { "name": "test" } });
    assert_eq!(ask(&mut one, "join", join("One")).await["data"]["peers"], json!([]));
    assert_eq!(
        ask(&mut two, "join", join("Two")).await["data"]["peers"][0]["id"],
        "one"
    );
    assert_eq!(next(&mut one).await["method"], "newPeer");
    drop(two);
    let told = next(&mut one).await;
    assert_eq!(
        (&told["method"], &told["data"]["peerId"]),
        (&json!("peerClosed"), &json!("two"))
    );
    server.close();
}
