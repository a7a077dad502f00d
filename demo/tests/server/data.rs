//! Data producers and consumers, as far as signalling goes.

use serde_json::json;

use crate::client::{open, server};

#[tokio::test]
async fn data_goes_to_those_who_are_there_and_to_those_who_come_and_the_bot_talks_to_all() {
    let server = server(1).await;
    let (mut one, mut two) = (open(&server, "one").await, open(&server, "two").await);
    one.join("One").await;
    two.transport(true).await;
    two.join("Two").await;
    let bot = two.told("newDataConsumer").await;
    two.answer(&bot, true).await;
    assert_eq!(
        (&bot["data"]["peerId"], &bot["data"]["label"]),
        (&json!(null), &json!("bot")),
        "{bot}"
    );
    let chat = one.produce_data("chat").await;
    let other = one.produce_data("game").await;
    // Nobody is sent what is for the bot.
    one.produce_data("bot").await;
    let mut three = open(&server, "three").await;
    three.transport(true).await;
    three.join("Three").await;
    let mut found = Vec::new();
    for client in [&mut two, &mut three] {
        for _ in 0..2 {
            let pushed = client.told("newDataConsumer").await;
            client.answer(&pushed, true).await;
            if pushed["data"]["peerId"] == "one" {
                assert_eq!(pushed["data"]["protocol"], "text");
                assert_eq!(pushed["data"]["appData"], json!({ "some": "thing", "peerId": "one" }));
                assert_eq!(pushed["data"]["sctpStreamParameters"]["ordered"], true);
                found.push(pushed["data"]["dataProducerId"].clone());
            }
        }
    }
    let last = three.told("newDataConsumer").await;
    found.push(last["data"]["dataProducerId"].clone());
    assert_eq!(found.iter().filter(|id| **id == chat).count(), 2, "{found:?}");
    assert!(found.iter().filter(|id| **id == other).count() >= 1, "{found:?}");
    assert!(!two.was_told("newDataConsumer").await);
    drop(one);
    two.told("dataConsumerClosed").await;
    two.told("dataConsumerClosed").await;
    server.close();
}

#[tokio::test]
async fn a_data_consumer_that_is_refused_does_not_stay() {
    let server = server(1).await;
    let mut one = open(&server, "one").await;
    one.transport(true).await;
    one.join("One").await;
    let bot = one.told("newDataConsumer").await;
    let id = json!({ "dataConsumerId": bot["data"]["id"] });
    one.ask("getDataConsumerStats", id.clone()).await;
    one.answer(&bot, false).await;
    while one.try_ask("getDataConsumerStats", id.clone()).await["ok"] == true {
        tokio::task::yield_now().await;
    }
    server.close();
}
