//! Requests and notifications between peers, with the real worker.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use crate::client::{LIMIT, dial, open, server, start};

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
    assert_eq!(types, (100..=110).collect::<Vec<_>>());
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
    assert_eq!(server.rooms(), 2);
    one.join("One").await;
    assert_eq!(elsewhere.join("Two").await, json!([]));
    drop((one, elsewhere));
    let empty = async {
        while server.rooms() > 0 {
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
    assert_eq!(server.rooms(), 0);
    server.close();
}

#[tokio::test]
async fn candidates_are_addresses_that_others_can_reach() {
    for (flags, expected) in [
        (
            vec!["--media-ip=0.0.0.0", "--announced-ip=203.0.113.7"],
            Some("203.0.113.7"),
        ),
        (vec!["--media-ip=0.0.0.0"], None),
        (vec!["--media-ip=0.0.0.0", "--use-web-rtc-server=false"], None),
    ] {
        let server = start(&[&["--insecure-http", "--num-workers=1"], &flags[..]].concat()).await;
        let mut one = open(&server, "one").await;
        let created = one.ask("createWebRtcTransport", json!({})).await;
        let candidates = created["iceCandidates"].as_array().expect("candidates");
        // UDP and TCP.
        assert_eq!(candidates.len(), 2, "{created}");
        for candidate in candidates {
            let ip = candidate["ip"].as_str().expect("an address");
            assert_ne!(ip, "0.0.0.0", "{flags:?}");
            assert!(expected.is_none_or(|expected| expected == ip), "{flags:?}: {ip}");
        }
        server.close();
    }
}
