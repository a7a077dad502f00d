//! How connections end.

use std::time::Duration;

use futures_util::future::join_all;
use protoo::{CreatePeerError, Options, Peer, PeerEvent, RequestError, TransportClosed};
use serde_json::{Value, json};

use super::common::{Client, RawClient, Seen, Server, within};

/// Ten requests that are never answered.
async fn ten_requests(peer: &Peer<()>) -> Vec<Result<Value, RequestError>> {
    join_all((0..10).map(|n| peer.request("m", n))).await
}

fn all_failed(results: &[Result<Value, RequestError>]) -> bool {
    results
        .iter()
        .all(|result| matches!(result, Err(RequestError::PeerClosed)))
}

#[tokio::test]
async fn closing_a_peer_fails_what_it_waits_for() {
    let mut server = Server::usual().await;
    let (mut client, peer, mut events) = server.connect("a").await;
    let closing = async {
        for _ in 0..10 {
            client.message().await;
        }
        // Not delivered any more.
        client.send(json!({ "notification": true, "method": "m" })).await;
        peer.close();
        peer.close();
        assert!(events.next().await.is_none());
        assert_eq!(client.see().await, Seen::Closed(Some(4000)));
    };
    let (results, ()) = tokio::join!(within(ten_requests(&peer)), closing);
    assert!(all_failed(&results), "{results:?}");
    assert!(server.room.peers().is_empty());
    assert_eq!(peer.notify("m", ()), Err(TransportClosed));
    let after = peer.request::<Value>("m", ()).await;
    assert!(matches!(after, Err(RequestError::TransportClosed)), "{after:?}");
}

#[tokio::test]
async fn a_client_that_leaves_fails_what_waits_for_it() {
    for politely in [true, false] {
        let mut server = Server::usual().await;
        let (mut client, peer, mut events) = server.connect("a").await;
        let leaving = async {
            for _ in 0..10 {
                client.message().await;
            }
            client
                .send(json!({ "notification": true, "method": "last words" }))
                .await;
            if politely {
                client.close().await;
            }
            drop(client);
        };
        let (results, ()) = tokio::join!(within(ten_requests(&peer)), leaving);
        assert!(all_failed(&results), "{results:?}");
        // What came before is delivered.
        assert!(matches!(within(events.next()).await, Some(PeerEvent::Notification(_))));
        assert!(within(events.next()).await.is_none());
        // Whoever learns of the end finds the room without the peer.
        assert!(server.room.peers().is_empty());
    }
}

#[tokio::test]
async fn closing_a_room_sends_everybody_away() {
    let mut server = Server::usual().await;
    let (mut one, _, _events) = server.connect("1").await;
    let (mut two, second, mut events) = server.connect("2").await;
    let ids: Vec<_> = server.room.peers().iter().map(|peer| peer.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2"]);
    // From where a handler sees the end of a peer: no deadlock.
    let room = server.room.clone();
    let handler = tokio::spawn(async move {
        assert!(events.next().await.is_none());
        room.close();
    });
    second.close();
    within(handler).await.unwrap();
    within(server.room.closed()).await;
    assert_eq!(one.see().await, Seen::Closed(Some(4000)));
    assert_eq!(two.see().await, Seen::Closed(Some(4000)));
    assert!(server.room.peers().is_empty());
    // Nobody gets in any more.
    let mut late = Client::connect(server.address, "3", Some("protoo")).await.unwrap();
    assert_eq!(late.see().await, Seen::Closed(Some(4000)));
    assert_eq!(CreatePeerError::RoomClosed.to_string(), "room closed");
}

#[tokio::test]
async fn a_server_that_goes_down_lets_clients_come_back() {
    let mut server = Server::usual().await;
    let (mut client, _, _events) = server.connect("1").await;
    server.room.go_away();
    assert_eq!(client.see().await, Seen::Closed(Some(1001)));
}

#[tokio::test]
async fn a_peer_may_be_closed_while_it_is_answered() {
    let mut server = Server::usual().await;
    let (mut client, peer, mut events) = server.connect("1").await;
    client.send(json!({ "request": true, "id": 1, "method": "m" })).await;
    let Some(PeerEvent::Request(_, responder)) = within(events.next()).await else {
        panic!("no request");
    };
    peer.close();
    responder.accept(());
    assert_eq!(client.see().await, Seen::Closed(Some(4000)));
}

#[tokio::test]
async fn a_silent_client_is_asked_and_dropped() {
    let mut server = Server::start(Options {
        ping_after: Duration::from_millis(50),
        pong_within: Duration::from_millis(200),
        ..Options::default()
    })
    .await;
    // One that answers lives on.
    let (mut client, living) = server.connect_echo("living").await;
    for _ in 0..5 {
        assert_eq!(client.see().await, Seen::Ping);
    }
    client.echo(1.into(), json!({})).await;
    assert!(!living.is_closed());
    let client = RawClient::connect(server.address, "dead").await.unwrap();
    let (dead, mut events) = server.peer().await;
    assert!(within(events.next()).await.is_none());
    assert!(dead.is_closed());
    assert!(!server.room.has_peer("dead"));
    drop(client);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_others_are_not() {
    let mut server = Server::start(Options {
        close_within: Duration::from_millis(100),
        ..Options::default()
    })
    .await;
    let (mut other, _other) = server.connect_echo("other").await;
    let client = RawClient::connect(server.address, "stuck").await.unwrap();
    let (stuck, _events) = server.peer().await;
    let flood = async {
        // Beyond what the kernel takes, the queue grows to its limit.
        while stuck.notify("m", "x".repeat(100_000)).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(flood).await;
    within(stuck.closed()).await;
    assert!(!server.room.has_peer("stuck"));
    other.echo(1.into(), json!({})).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_does_not_close_is_cut_off() {
    use tokio::time::{Instant, timeout};
    let mut server = Server::start(Options {
        close_within: Duration::from_millis(100),
        ..Options::default()
    })
    .await;
    let mut client = RawClient::connect(server.address, "a").await.unwrap();
    let (peer, _events) = server.peer().await;
    peer.close();
    assert_eq!(client.close_code().await.unwrap(), 4000);
    let cut = timeout(super::common::LONG, client.frame()).await;
    assert!(cut.is_ok_and(|frame| frame.is_err()), "{:?}", Instant::now());
}
