//! What is a message, what is not, and how large it may be.

use protoo::PeerEvent;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::common::{RawClient, Seen, Server, masked, within};

/// The head of the answer to a request written by hand.
pub async fn raw_answer(server: &Server, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn what_is_no_message_is_dropped() {
    let mut server = Server::usual().await;
    let (mut client, peer) = server.connect_echo("a").await;
    for (text, id) in [
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "",
        "{}",
        r#"{"request":true,"id":1}"#,
        r#"{"request":true,"method":"echo"}"#,
        r#"{"request":true,"id":"1","method":"echo"}"#,
        r#"{"response":true,"ok":true}"#,
        r#"{"response":true,"id":77,"ok":true}"#,
        r#"{"notification":true}"#,
        &"[".repeat(100_000),
    ]
    .into_iter()
    .zip(1..)
    {
        client.send_text(text).await;
        client.echo(id.into(), json!({ "n": id })).await;
    }
    client.send_frame(Message::binary(vec![1, 2, 3])).await;
    client.echo(100.into(), json!([])).await;
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn too_much_nonsense_ends_the_connection() {
    let mut server = Server::usual().await;
    let (mut client, peer) = server.connect_echo("a").await;
    for _ in 0..=100 {
        client.send_text("null").await;
    }
    assert_eq!(client.see().await, Seen::Closed(Some(1008)));
    within(peer.closed()).await;
}

#[tokio::test]
async fn ids_come_back_as_they_are() {
    let mut server = Server::usual().await;
    let (mut client, _peer) = server.connect_echo("a").await;
    for id in ["0", "4294967295", "9007199254740991", "1.5"] {
        client.echo(serde_json::from_str(id).unwrap(), json!({})).await;
    }
}

#[tokio::test]
async fn the_largest_message_is_taken_and_no_larger_one() {
    let mut server = Server::usual().await;
    let (mut client, peer) = server.connect_echo("a").await;
    client.echo(1.into(), "x".repeat(959_000).into()).await;
    client
        .send(json!({ "request": true, "id": 2, "method": "echo", "data": "x".repeat(961_000) }))
        .await;
    assert_eq!(client.see().await, Seen::Closed(Some(1009)));
    within(peer.closed()).await;
    assert!(!server.room.has_peer("a"));
}

#[tokio::test]
async fn fragments_and_pings_between_them_are_fine() {
    let mut server = Server::usual().await;
    let mut client = RawClient::connect(server.address, "a").await.unwrap();
    let (_peer, mut events) = server.peer().await;
    client.write(&masked(0x01, br#"{"notification":true,"#)).await;
    client.write(&masked(0x89, b"?")).await;
    client.write(&masked(0x80, br#""method":"m"}"#)).await;
    let Some(PeerEvent::Notification(notification)) = within(events.next()).await else {
        panic!("no notification");
    };
    assert_eq!(notification.method, "m");
    assert_eq!(client.frame().await.unwrap(), (0x8a, b"?".to_vec()));
}

#[tokio::test]
async fn broken_frames_end_the_connection() {
    for (bytes, code) in [
        // Not UTF-8.
        (masked(0x81, &[0xff, 0xfe]), 1007),
        // Not masked.
        (b"\x81\x02{}".to_vec(), 1002),
        // An opcode that does not exist.
        (masked(0x83, b"x"), 1002),
        // 1 TiB announced.
        (vec![0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let mut server = Server::usual().await;
        let mut client = RawClient::connect(server.address, "a").await.unwrap();
        let (peer, mut events) = server.peer().await;
        client.write(&bytes).await;
        assert_eq!(client.close_code().await.unwrap(), code, "{bytes:?}");
        assert!(within(events.next()).await.is_none());
        assert!(peer.is_closed());
    }
}
