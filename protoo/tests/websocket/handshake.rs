//! Who may connect.

use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::common::{Client, Seen, Server, within};

/// Status and reason of a refusal; none if it was accepted with our subprotocol.
async fn refusal(server: &Server, id: &str, subprotocol: Option<&str>) -> Option<(u16, String)> {
    let mut request = format!("ws://{}/?peerId={id}", server.address)
        .into_client_request()
        .unwrap();
    if let Some(subprotocol) = subprotocol {
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    match within(connect_async(request)).await {
        Ok((_, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "protoo");
            None
        }
        Err(Error::Http(response)) => {
            assert_eq!(response.headers()["connection"], "close");
            let reason = response.headers()["x-websocket-reject-reason"].to_str().unwrap();
            Some((response.status().as_u16(), reason.to_owned()))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_subprotocol_decides() {
    let server = Server::usual().await;
    for wrong in [None, Some("other"), Some("protoo2, xprotoo")] {
        let (status, reason) = refusal(&server, "a", wrong).await.unwrap();
        assert_eq!(
            (status, reason.as_str()),
            (403, "invalid/missing Sec-WebSocket-Protocol")
        );
    }
    assert_eq!(refusal(&server, "b", Some("protoo")).await, None);
    assert_eq!(refusal(&server, "c", Some("other, protoo")).await, None);
    let request = "GET /?peerId=d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Sec-WebSocket-Protocol: PROTOO\r\n\r\n";
    assert!(
        super::messages::raw_answer(&server, request)
            .await
            .starts_with("HTTP/1.1 101")
    );
}

#[tokio::test]
async fn the_application_refuses() {
    let server = Server::usual().await;
    let refused = refusal(&server, "refused", Some("protoo")).await;
    assert_eq!(refused, Some((404, "nosuch room".to_owned())));
    let refused = refusal(&server, "refused-late", Some("protoo")).await;
    assert_eq!(refused, Some((400, "late".to_owned())));
    assert!(server.room.peers().is_empty());
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_closed() {
    let server = Server::usual().await;
    let mut client = Client::connect(server.address, "forgotten", Some("protoo"))
        .await
        .unwrap();
    assert_eq!(client.see().await, Seen::Closed(Some(1011)));
}

#[tokio::test]
async fn a_peer_needs_an_id_of_its_own() {
    let mut server = Server::usual().await;
    let mut nameless = Client::connect(server.address, "", Some("protoo")).await.unwrap();
    assert_eq!(nameless.see().await, Seen::Closed(Some(4000)));
    let (mut first, peer) = server.connect_echo("a%20b").await;
    assert_eq!(peer.id(), "a b");
    assert!(peer.address().starts_with("WS:[127.0.0.1]:"), "{}", peer.address());
    let mut second = Client::connect(server.address, "a%20b", Some("protoo")).await.unwrap();
    assert_eq!(second.see().await, Seen::Closed(Some(4000)));
    first.echo(1.into(), "still here".into()).await;
    assert!(server.room.has_peer("a b"));
    // The id is free again once its peer is gone.
    first.close().await;
    within(peer.closed()).await;
    server.connect("a%20b").await;
}
