//! Sends messages into a router and gets them back, all in this process.

use client::{
    DataConsumerEvent, DataConsumerOptions, DataMessage, DataProducerOptions, DirectTransportOptions, RouterOptions,
    Transport, Worker, WorkerSettings,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let worker = Worker::new(WorkerSettings::default()).await?;
    // A router without codecs carries data only.
    let router = worker.create_router(RouterOptions::default()).await?;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await?;
    let producer = transport
        .produce_data(DataProducerOptions {
            label: "chat".to_owned(),
            ..DataProducerOptions::default()
        })
        .await?;
    let consumer = transport.consume_data(DataConsumerOptions::new(producer.id())).await?;
    let mut events = consumer.events();

    for message in ["hello".into(), DataMessage::binary(vec![1, 2, 3]), "".into()] {
        producer.send(message).await?;
        if let Some(DataConsumerEvent::Message(echo)) = events.recv().await {
            match echo.as_text() {
                Some(text) => println!("{}: text {text:?}", consumer.label()),
                None => println!("{}: bytes {:?}", consumer.label(), echo.payload().as_ref()),
            }
        }
    }
    for stats in consumer.get_stats().await? {
        println!("{} messages, {} bytes", stats.messages_sent, stats.bytes_sent);
    }
    Ok(())
}
