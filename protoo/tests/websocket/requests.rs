//! Requests in both directions.

use std::time::Duration;

use futures_util::future::join_all;
use protoo::{Options, PeerEvent, RequestError};
use serde_json::{Value, json};

use super::common::{Seen, Server, within};

#[tokio::test]
async fn a_client_is_answered() {
    let mut server = Server::usual().await;
    let (mut client, _peer) = server.connect_echo("a").await;
    client.echo(7.into(), json!({ "text": "hi" })).await;
    client
        .send(json!({ "request": true, "id": 8, "method": "other" }))
        .await;
    let refused = json!({
        "response": true, "id": 8, "ok": false, "errorCode": 503, "errorReason": "WHO KNOWS!"
    });
    assert_eq!(client.message().await, refused);
    client
        .send(json!({ "request": true, "id": 9, "method": "panic" }))
        .await;
    let failed = json!({
        "response": true, "id": 9, "ok": false, "errorCode": 500, "errorReason": "not answered"
    });
    assert_eq!(client.message().await, failed);
}

#[tokio::test]
async fn nobody_listens() {
    let mut server = Server::usual().await;
    let (mut client, _peer, events) = server.connect("a").await;
    drop(events);
    client.send(json!({ "request": true, "id": 9, "method": "m" })).await;
    assert_eq!(client.message().await["errorCode"], 500);
}

#[tokio::test]
async fn a_client_answers() {
    let mut server = Server::usual().await;
    let (mut client, peer, _events) = server.connect("a").await;
    let answering = async {
        let request = client.message().await;
        assert_eq!(request["method"], "sum");
        assert_eq!(request["data"], json!([1, 2]));
        // Answers to nothing, then the answer twice.
        client
            .send(json!({ "response": true, "id": 0, "ok": true, "data": 4 }))
            .await;
        for data in [3, 5] {
            client
                .send(json!({ "response": true, "id": request["id"], "ok": true, "data": data }))
                .await;
        }
        let request = client.message().await;
        client
            .send(json!({ "response": true, "id": request["id"], "errorCode": 403, "errorReason": "no" }))
            .await;
        let request = client.message().await;
        client
            .send(json!({ "response": true, "id": request["id"], "ok": true, "data": "text" }))
            .await;
    };
    let asking = async {
        assert_eq!(peer.request::<u32>("sum", [1, 2]).await.unwrap(), 3);
        match peer.request::<Value>("refuse", ()).await {
            Err(RequestError::Rejected(rejection)) => {
                assert_eq!((rejection.code, rejection.reason.as_str()), (403, "no"));
            }
            other => panic!("{other:?}"),
        }
        let wrong = peer.request::<u32>("text", ()).await;
        assert!(matches!(wrong, Err(RequestError::Data(_))), "{wrong:?}");
    };
    tokio::join!(answering, within(asking));
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_late_answer_is_no_answer() {
    let mut server = Server::start(Options {
        request_timeout: Duration::from_millis(50),
        ..Options::default()
    })
    .await;
    let (mut client, peer) = server.connect_echo("a").await;
    let result = within(peer.request::<Value>("m", ())).await;
    assert!(matches!(result, Err(RequestError::Timeout)), "{result:?}");
    let request = client.message().await;
    client
        .send(json!({ "response": true, "id": request["id"], "ok": true }))
        .await;
    client.echo(1.into(), json!({})).await;
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_thousand_requests_each_way_find_their_answers() {
    let mut server = Server::usual().await;
    let (mut client, peer) = server.connect_echo("a").await;
    let asking = async {
        let requests = (1..=1000).map(|n| {
            let peer = &peer;
            async move { assert_eq!(peer.request::<u32>("double", n).await.unwrap(), 2 * n) }
        });
        join_all(requests).await;
    };
    let answering = async {
        for n in 0..1000 {
            client
                .send(json!({ "request": true, "id": n, "method": "echo", "data": { "n": n } }))
                .await;
        }
        let (mut asked, mut answers) = (Vec::new(), 0);
        while asked.len() < 1000 || answers < 1000 {
            let message = client.message().await;
            if message["request"] == true {
                asked.push(message);
            } else {
                assert_eq!(message["data"]["n"], message["id"]);
                answers += 1;
            }
        }
        // In another order than asked.
        asked.sort_by_key(|request| request["data"].as_u64().unwrap().reverse_bits());
        for request in asked {
            let data = 2 * request["data"].as_u64().unwrap();
            client
                .send(json!({ "response": true, "id": request["id"], "ok": true, "data": data }))
                .await;
        }
    };
    tokio::join!(within(asking), answering);
}

#[tokio::test]
async fn what_is_sent_first_arrives_first() {
    let mut server = Server::usual().await;
    let (mut client, peer, mut events) = server.connect("a").await;
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let PeerEvent::Request(request, responder) = event {
                peer.notify("before", &request.data).unwrap();
                responder.accept(request.data);
            }
        }
    });
    for n in 0..500 {
        client
            .send(json!({ "request": true, "id": n, "method": "m", "data": { "n": n } }))
            .await;
    }
    for n in 0..500 {
        let notification = client.message().await;
        assert_eq!(notification["method"], "before");
        assert_eq!(notification["data"]["n"], n);
        assert_eq!(client.message().await["id"], n);
    }
}

#[tokio::test]
async fn a_handler_may_ask_back() {
    let mut server = Server::usual().await;
    let (mut client, peer, mut events) = server.connect("a").await;
    tokio::spawn(async move {
        let Some(PeerEvent::Request(_, responder)) = events.next().await else {
            panic!("no request");
        };
        let answer: Value = peer.request("name?", ()).await.unwrap();
        responder.accept(answer);
    });
    client
        .send(json!({ "request": true, "id": 1, "method": "greet" }))
        .await;
    let question = client.message().await;
    client
        .send(json!({ "response": true, "id": question["id"], "ok": true, "data": { "name": "A" } }))
        .await;
    assert_eq!(client.message().await["data"]["name"], "A");
}

#[tokio::test]
async fn more_requests_than_anybody_handles_end_the_connection() {
    let mut server = Server::start(Options {
        max_queued_messages: 10,
        max_queued_bytes: 1000,
        ..Options::default()
    })
    .await;
    let (mut client, peer, _events) = server.connect("a").await;
    for _ in 0..100 {
        client.send(json!({ "notification": true, "method": "m" })).await;
    }
    assert_eq!(client.see().await, Seen::Closed(Some(1008)));
    within(peer.closed()).await;
}
