//! Sends an RTP packet into a producer and gets it back from a consumer, all in this process.

use client::{
    ConsumerEvent, ConsumerOptions, DirectTransportOptions, MediaKind, ProducerOptions, RouterOptions,
    RtpCodecCapability, RtpCodecParameters, RtpEncodingParameters, RtpParameters, Transport, Worker, WorkerSettings,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let worker = Worker::new(WorkerSettings::default()).await?;
    let router = worker
        .create_router(RouterOptions::new(vec![RtpCodecCapability::audio(
            "audio/opus",
            48_000,
            2,
        )]))
        .await?;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await?;

    let opus = RtpCodecParameters {
        mime_type: "audio/opus".to_owned(),
        payload_type: 111,
        clock_rate: 48_000,
        channels: Some(2),
        parameters: Default::default(),
        rtcp_feedback: Vec::new(),
    };
    let stream = RtpEncodingParameters {
        ssrc: Some(1234),
        ..Default::default()
    };
    let parameters = RtpParameters {
        codecs: vec![opus],
        encodings: vec![stream],
        ..Default::default()
    };
    let producer = transport
        .produce(ProducerOptions::new(MediaKind::Audio, parameters))
        .await?;
    let consumer = transport
        .consume(ConsumerOptions::new(producer.id(), router.rtp_capabilities().clone()))
        .await?;
    let mut events = consumer.events();

    // Version 2, payload type 111, sequence number 1, timestamp 960, SSRC 1234, then three bytes of payload.
    let packet = [&[0x80, 111, 0, 1, 0, 0, 0x03, 0xc0, 0, 0, 0x04, 0xd2][..], b"abc"].concat();
    producer.send(packet).await?;
    while let Some(event) = events.recv().await {
        if let ConsumerEvent::Rtp(packet) = event {
            println!(
                "payload type {}, payload {:?}",
                packet[1] & 0x7f,
                &packet[packet.len() - 3..]
            );
            break;
        }
    }
    Ok(())
}
