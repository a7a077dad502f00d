//! A socket sends RTP to a plain transport and hears its own packets back: the shortest way through real sockets.
//!
//! The transport learns the sender's address from the first packet (comedia) and answers to it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::bail;
use client::{
    ConsumerOptions, MediaKind, PlainTransportOptions, ProducerOptions, RouterOptions, RtpCodecCapability,
    RtpCodecParameters, RtpEncodingParameters, RtpParameters, Transport, Worker, WorkerSettings,
};
use tokio::net::UdpSocket;
use tokio::time::{Instant, interval, timeout};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PAYLOAD_TYPE: u8 = 111;
const SSRC: u32 = 1234;
/// Packets that are sent, one in 20 ms.
const PACKETS: u16 = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let worker = Worker::new(WorkerSettings::default()).await?;
    let opus = RtpCodecCapability::audio("audio/opus", 48_000, 2);
    let router = worker.create_router(RouterOptions::new(vec![opus])).await?;
    let transport = router
        .create_plain_transport(PlainTransportOptions {
            comedia: true,
            ..PlainTransportOptions::new(LOCALHOST)
        })
        .await?;
    let producer = transport
        .produce(ProducerOptions::new(MediaKind::Audio, what_is_sent()))
        .await?;
    let consumer = transport
        .consume(ConsumerOptions::new(producer.id(), router.rtp_capabilities().clone()))
        .await?;
    let echo_ssrc = consumer.rtp_parameters().encodings[0].ssrc;

    let socket = UdpSocket::bind((LOCALHOST, 0)).await?;
    socket.connect((LOCALHOST, transport.tuple().local_port)).await?;
    let mut pace = interval(Duration::from_millis(20));
    let mut buffer = [0; 1500];
    let mut heard = 0;
    let mut round_trips = Duration::ZERO;
    for number in 0..PACKETS {
        pace.tick().await;
        let sent_at = Instant::now();
        socket.send(&packet(number)).await?;
        loop {
            let Ok(length) = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await else {
                bail!("packet {number} did not come back");
            };
            let echo = &buffer[..length?];
            // RTCP comes on the same port, and has another SSRC's bytes there.
            let ssrc = echo.get(8..12).map(|ssrc| [ssrc[0], ssrc[1], ssrc[2], ssrc[3]]);
            if ssrc.map(u32::from_be_bytes) == echo_ssrc && echo.ends_with(&number.to_be_bytes()) {
                heard += 1;
                round_trips += sent_at.elapsed();
                break;
            }
        }
    }
    let stats = transport.get_stats().await?;
    println!(
        "{heard} packets came back, after {} us on average; the transport got {} and sent {} bytes of RTP",
        (round_trips / u32::from(PACKETS)).as_micros(),
        stats.iter().map(|stats| stats.rtp_bytes_received).sum::<u64>(),
        stats.iter().map(|stats| stats.rtp_bytes_sent).sum::<u64>(),
    );
    Ok(())
}

fn what_is_sent() -> RtpParameters {
    RtpParameters {
        codecs: vec![RtpCodecParameters {
            mime_type: "audio/opus".to_owned(),
            payload_type: PAYLOAD_TYPE,
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

/// An RTP packet (RFC 3550 5.1) with its number as payload.
fn packet(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, PAYLOAD_TYPE];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 960).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet
}
