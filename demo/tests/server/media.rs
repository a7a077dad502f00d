//! Media between peers, as far as signalling goes.

use serde_json::{Value, json};

use crate::client::{Client, dial, open, server};

#[tokio::test]
async fn layers_and_priority_of_a_consumer_are_what_its_peer_chooses() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    two.transport(true).await;
    two.join("Two").await;
    one.produce_simulcast().await;
    let consumer = two.take().await;
    assert_eq!(consumer["type"], "simulcast");
    assert_eq!(consumer["rtpParameters"]["encodings"][0]["scalabilityMode"], "S3T3");
    let id = &consumer["id"];
    let layers = json!({ "consumerId": id, "spatialLayer": 1, "temporalLayer": 0 });
    two.ask("setConsumerPreferredLayers", layers).await;
    two.ask("setConsumerPriority", json!({ "consumerId": id, "priority": 255 }))
        .await;
    two.ask("requestConsumerKeyFrame", json!({ "consumerId": id })).await;
    let dump = two.ask("getConsumerDump", json!({ "consumerId": id })).await;
    assert_eq!(
        (&dump["preferredSpatialLayer"], &dump["preferredTemporalLayer"]),
        (&json!(1), &json!(0)),
        "{dump}"
    );
    assert_eq!(dump["priority"], 255, "{dump}");
    for (method, key, value) in [
        ("setConsumerPriority", "priority", json!(0)),
        ("setConsumerPriority", "priority", json!(256)),
        ("setConsumerPriority", "priority", json!("high")),
        ("setConsumerPreferredLayers", "spatialLayer", json!(-1)),
        ("setConsumerPreferredLayers", "spatialLayer", Value::Null),
    ] {
        let answer = two.try_ask(method, json!({ "consumerId": id, key: value })).await;
        assert_eq!(answer["errorCode"], 400, "{method} {key} {value}: {answer}");
    }
    server.close();
}

#[tokio::test]
async fn a_consumer_without_layers_ignores_them() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    two.transport(true).await;
    two.join("Two").await;
    one.produce(1).await;
    let consumer = two.take().await;
    let layers = json!({ "consumerId": consumer["id"], "spatialLayer": 1 });
    assert_eq!(two.ask("setConsumerPreferredLayers", layers).await, json!({}));
    server.close();
}

#[tokio::test]
async fn a_consumer_that_is_refused_does_not_stay() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    two.transport(true).await;
    two.join("Two").await;
    one.produce(1).await;
    let pushed = two.told("newConsumer").await;
    let id = json!({ "consumerId": pushed["data"]["id"] });
    two.ask("getConsumerDump", id.clone()).await;
    two.answer(&pushed, false).await;
    while two.try_ask("getConsumerDump", id.clone()).await["ok"] == true {
        tokio::task::yield_now().await;
    }
    server.close();
}

#[tokio::test]
async fn who_cannot_receive_is_sent_nothing() {
    let server = server(1).await;
    let (mut one, mut two, mut three) = (
        open(&server, "one").await,
        open(&server, "two").await,
        open(&server, "three").await,
    );
    one.join("One").await;
    one.produce(1).await;
    one.produce_data("chat").await;
    // Without capabilities.
    two.transport(true).await;
    two.ask("join", json!({ "displayName": "Two", "device": {} })).await;
    // Without a codec in common.
    let codec = json!({ "kind": "audio", "mimeType": "audio/PCMU", "clockRate": 8000 });
    let capabilities = json!({ "codecs": [codec], "headerExtensions": [] });
    three.transport(true).await;
    let data = json!({ "displayName": "Three", "device": {}, "rtpCapabilities": capabilities });
    three.ask("join", data).await;
    // What is produced now is sent after these two have been looked at.
    let mut four = open(&server, "four").await;
    four.transport(true).await;
    four.join("Four").await;
    four.take().await;
    for client in [&mut two, &mut three] {
        assert!(!client.was_told("newConsumer").await);
        assert!(!client.was_told("newDataConsumer").await);
    }
    let odd = json!({ "codecs": [{ "kind": "audio", "mimeType": "nonsense", "clockRate": 8000 }] });
    let mut five = open(&server, "five").await;
    let data = json!({ "displayName": "Five", "device": {}, "rtpCapabilities": odd });
    assert_eq!(five.try_ask("join", data).await["errorCode"], 400);
    server.close();
}

/// All join and produce at once: each pair of them must find each other exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_and_produces_at_the_same_time_finds_each_other_once() {
    const PEERS: usize = 20;
    let server = server(2).await;
    let mut clients = Vec::new();
    for index in 0..PEERS {
        clients.push(open(&server, &format!("p{index}")).await);
    }
    let tasks = clients.into_iter().enumerate().map(|(index, mut client)| {
        tokio::spawn(async move {
            client.transport(true).await;
            client.join(&format!("P{index}")).await;
            client.produce(1000).await;
            client
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut clients: Vec<Client> = Vec::new();
    for task in tasks {
        clients.push(task.await.expect("a client"));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let mut owners = Vec::new();
        for _ in 1..PEERS {
            owners.push(client.take().await["peerId"].as_str().expect("an id").to_owned());
        }
        owners.sort();
        owners.dedup();
        assert_eq!(owners.len(), PEERS - 1, "p{index} got {owners:?}");
        assert!(!client.was_told("newConsumer").await, "p{index} got one twice");
    }
    server.close();
}

#[tokio::test]
async fn statistics_of_all_kinds_are_told_to_their_owner_alone() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    two.transport(true).await;
    two.join("Two").await;
    let transport = one.transport(false).await;
    let producer = one.produce(1).await;
    let data_producer = one.produce_data("chat").await;
    let consumer = two.take().await["id"].clone();
    let mut data_consumer = two.told("newDataConsumer").await;
    while data_consumer["data"]["label"] != "chat" {
        data_consumer = two.told("newDataConsumer").await;
    }
    let data_consumer = data_consumer["data"]["id"].clone();
    let stats = one.ask("getTransportStats", json!({ "transportId": transport })).await;
    assert_eq!(
        (&stats[0]["type"], &stats[0]["transportId"]),
        (&json!("webrtc-transport"), &transport),
        "{stats}"
    );
    // Nothing was sent, so there are no streams yet.
    assert_eq!(
        one.ask("getProducerStats", json!({ "producerId": producer })).await,
        json!([])
    );
    let stats = two.ask("getConsumerStats", json!({ "consumerId": consumer })).await;
    assert_eq!(stats[0]["type"], "outbound-rtp", "{stats}");
    let stats = one
        .ask("getDataProducerStats", json!({ "dataProducerId": data_producer }))
        .await;
    assert_eq!(
        (&stats[0]["type"], &stats[0]["label"]),
        (&json!("data-producer"), &json!("chat")),
        "{stats}"
    );
    let stats = two
        .ask("getDataConsumerStats", json!({ "dataConsumerId": data_consumer }))
        .await;
    assert_eq!(
        (&stats[0]["type"], &stats[0]["label"]),
        (&json!("data-consumer"), &json!("chat")),
        "{stats}"
    );
    let dump = one.ask("getTransportDump", json!({ "transportId": transport })).await;
    assert_eq!((&dump["id"], &dump["iceState"]), (&transport, &json!("new")), "{dump}");
    for (method, key, id) in [
        ("getTransportStats", "transportId", &transport),
        ("getTransportDump", "transportId", &transport),
        ("getProducerStats", "producerId", &producer),
        ("getDataProducerStats", "dataProducerId", &data_producer),
    ] {
        let answer = two.try_ask(method, json!({ key: id })).await;
        assert_eq!(answer["errorCode"], 500, "{method}: {answer}");
        assert_eq!(
            one.try_ask(method, json!({})).await["errorCode"],
            400,
            "{method} of nothing"
        );
    }
    for (method, key, id) in [
        ("getConsumerStats", "consumerId", &consumer),
        ("getConsumerDump", "consumerId", &consumer),
        ("getDataConsumerStats", "dataConsumerId", &data_consumer),
    ] {
        let answer = one.try_ask(method, json!({ key: id })).await;
        assert_eq!(answer["errorCode"], 500, "{method}: {answer}");
    }
    server.close();
}

#[tokio::test]
async fn a_peer_can_have_so_many_transports_and_producers_and_no_more() {
    let server = server(1).await;
    let mut one = dial(&server, "roomId=r&peerId=one").await.expect("a connection");
    one.join("One").await;
    let mut transport = Value::Null;
    for _ in 0..16 {
        transport = one.ask("createWebRtcTransport", json!({})).await["id"].take();
    }
    assert_eq!(one.try_ask("createWebRtcTransport", json!({})).await["errorCode"], 429);
    let codec = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48_000, "channels": 2 });
    let mut produce = async |ssrc: u32| {
        let parameters = json!({ "codecs": [codec], "encodings": [{ "ssrc": ssrc }] });
        let data = json!({ "transportId": transport, "kind": "audio", "rtpParameters": parameters });
        one.try_ask("produce", data).await
    };
    for ssrc in 1..=64 {
        assert_eq!(produce(ssrc).await["ok"], true);
    }
    assert_eq!(produce(65).await["errorCode"], 429);
    server.close();
}
