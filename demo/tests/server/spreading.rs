//! Rooms over workers.

use std::collections::HashSet;

use serde_json::json;

use crate::client::{Client, dial, open, server, start};

#[tokio::test]
async fn a_room_that_outgrows_a_worker_is_on_several_and_nobody_notices() {
    let flags = ["--insecure-http", "--num-workers=2", "--room-peers-per-worker=1"];
    let server = start(&flags).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    assert_eq!(
        server.spread("r").await.into_iter().collect::<HashSet<_>>(),
        HashSet::from([0, 1])
    );
    one.join("One").await;
    let early = one.produce(1).await;
    one.produce_data("chat").await;
    two.transport(true).await;
    two.join("Two").await;
    let consumer = two.take().await;
    assert_eq!((&consumer["producerId"], &consumer["peerId"]), (&early, &json!("one")));
    assert_eq!(consumer["appData"]["peerId"], "one");
    let mut labels = Vec::new();
    for _ in 0..2 {
        let pushed = two.told("newDataConsumer").await;
        two.answer(&pushed, true).await;
        labels.push(pushed["data"]["label"].as_str().expect("a label").to_owned());
    }
    labels.sort();
    assert_eq!(labels, ["bot", "chat"]);
    // Layers, pauses and ends go through the pipe.
    let video = one.produce_simulcast().await;
    let consumer = two.take().await;
    assert_eq!(
        (&consumer["producerId"], &consumer["type"]),
        (&video, &json!("simulcast"))
    );
    one.ask("pauseProducer", json!({ "producerId": video })).await;
    assert_eq!(two.told("consumerPaused").await["data"]["consumerId"], consumer["id"]);
    one.ask("resumeProducer", json!({ "producerId": video })).await;
    assert_eq!(two.told("consumerResumed").await["data"]["consumerId"], consumer["id"]);
    one.ask("closeProducer", json!({ "producerId": video })).await;
    assert_eq!(two.told("consumerClosed").await["data"]["consumerId"], consumer["id"]);
    // And the other way.
    one.transport(true).await;
    let back = two.produce(2).await;
    assert_eq!(one.take().await["producerId"], back);
    // With all workers taken, the rest go to the emptiest.
    let mut others = Vec::new();
    for name in ["three", "four", "five", "six"] {
        others.push(open(&server, name).await);
    }
    assert_eq!(server.spread("r").await.len(), 2);
    drop(one);
    assert_eq!(two.told("peerClosed").await["data"]["peerId"], "one");
    server.close();
}

#[tokio::test]
async fn rooms_go_where_least_is_to_do() {
    let server = server(2).await;
    let mut clients: Vec<Client> = Vec::new();
    for index in 0..6 {
        let query = format!("roomId=room{index}&peerId=p");
        clients.push(dial(&server, &query).await.expect("a connection"));
    }
    let mut workers = Vec::new();
    for index in 0..6 {
        workers.extend(server.spread(&format!("room{index}")).await);
    }
    assert_eq!(workers.iter().filter(|index| **index == 0).count(), 3, "{workers:?}");
    server.close();
}

/// However many open a room at the same time, it is one.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_rooms_at_once_are_spread_and_each_is_one() {
    let server = server(2).await;
    let names: Vec<String> = (0..50)
        .flat_map(|room| ["a", "b"].map(|peer| format!("roomId=room{room}&peerId={peer}")))
        .collect();
    let dials = names.iter().map(|query| dial(&server, query));
    let mut clients = Vec::new();
    for dialled in futures_util::future::join_all(dials).await {
        clients.push(dialled.expect("a connection"));
    }
    assert_eq!(server.rooms(), 50);
    let mut on_first = 0;
    for room in 0..50 {
        on_first += usize::from(server.spread(&format!("room{room}")).await == [0]);
    }
    assert!((10..=40).contains(&on_first), "{on_first} of 50 on one worker");
    for pair in clients.chunks_mut(2) {
        let [one, two] = pair else { unreachable!() };
        one.join("One").await;
        assert_eq!(two.join("Two").await[0]["id"], "a");
    }
    server.close();
}
