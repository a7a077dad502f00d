//! Two workers with a room each: what is sent into one comes out of the other, media and data.

use std::time::Duration;

use client::{
    ConsumerEvent, ConsumerOptions, DataConsumerEvent, DataConsumerOptions, DataProducerOptions, DirectTransport,
    DirectTransportOptions, MediaKind, PipeToRouterOptions, ProducerOptions, Router, RouterOptions, RtpCodecCapability,
    RtpCodecParameters, RtpEncodingParameters, RtpParameters, Transport, Worker, WorkerSettings,
};
use tokio::time::{interval, timeout};

const SSRC: u32 = 1234;
/// Long enough for the pipe to come up.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let workers = [
        Worker::new(WorkerSettings::default()).await?,
        Worker::new(WorkerSettings::default()).await?,
    ];
    let (here, input) = room(&workers[0]).await?;
    let (there, output) = room(&workers[1]).await?;

    let producer = input.produce(ProducerOptions::new(MediaKind::Audio, opus())).await?;
    let data_producer = input.produce_data(DataProducerOptions::default()).await?;
    let options = PipeToRouterOptions::default();
    here.pipe_producer_to_router(producer.id(), &there, &options).await?;
    here.pipe_data_producer_to_router(data_producer.id(), &there, &options)
        .await?;

    // They have the same ids in the other room.
    let capabilities = there.rtp_capabilities().clone();
    let consumer = output
        .consume(ConsumerOptions::new(producer.id(), capabilities))
        .await?;
    let data_consumer = output
        .consume_data(DataConsumerOptions::new(data_producer.id()))
        .await?;

    let sending = async {
        let mut ticks = interval(Duration::from_millis(20));
        for number in 0_u16.. {
            ticks.tick().await;
            producer.send(packet(number)).await?;
            data_producer.send(format!("message {number}")).await?;
        }
        anyhow::Ok(())
    };
    let receiving = async {
        let (mut media, mut data) = (consumer.events(), data_consumer.events());
        while let Some(event) = media.recv().await {
            if let ConsumerEvent::Rtp(packet) = event {
                println!("a packet of {} bytes came through the pipe", packet.len());
                break;
            }
        }
        while let Some(event) = data.recv().await {
            if let DataConsumerEvent::Message(message) = event {
                println!("{:?} came through the pipe", message.as_text().unwrap_or_default());
                break;
            }
        }
    };
    tokio::select! {
        result = sending => result?,
        result = timeout(PATIENCE, receiving) => result?,
    }
    for worker in workers {
        worker.close();
        worker.wait().await;
    }
    Ok(())
}

async fn room(worker: &Worker) -> client::Result<(Router, DirectTransport)> {
    let codecs = vec![RtpCodecCapability::audio("audio/opus", 48_000, 2)];
    let router = worker.create_router(RouterOptions::new(codecs)).await?;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await?;
    Ok((router, transport))
}

/// A sender of Opus.
fn opus() -> RtpParameters {
    RtpParameters {
        codecs: vec![RtpCodecParameters {
            mime_type: "audio/opus".to_owned(),
            payload_type: 111,
            clock_rate: 48_000,
            channels: Some(2),
            parameters: Default::default(),
            rtcp_feedback: Vec::new(),
        }],
        encodings: vec![RtpEncodingParameters {
            ssrc: Some(SSRC),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An RTP packet of that sender: 20 ms of sound.
fn packet(sequence_number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend((u32::from(sequence_number) * 960).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(b"sound");
    packet
}
